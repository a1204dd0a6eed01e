package appview

import (
	"net/url"
	"strings"
)

// NamesMethod reports whether a query has the parameter _method, which Rails,
// Symfony, Laravel and Spring may use as the request's method, in any spelling: PHP
// drops blanks before a name, reads dots, blanks and the first bracket as _, and ends
// a name at a zero byte; some servers separate parameters by ; or ignore case.
func NamesMethod(query string) bool {
	for field := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(field, "=")
		if len(name) < len("_method") || !strings.ContainsAny(name, "dD%") { // fast path: anyone can send thousands
			continue
		}
		name = unescapeValid(strings.ReplaceAll(FoldCase(name), "%u00", "%")) // %u005f is an IIS escape
		name, _, _ = strings.Cut(strings.TrimLeft(name, " \t\r\n\v\f"), "\x00")
		name = asPHP.Replace(name)
		if rest, ok := strings.CutPrefix(name, "["); ok {
			name = "_" + rest
		}
		name, _, _ = strings.Cut(name, "[") // a list or map
		if FoldCase(name) == foldedMethod {
			return true
		}
	}
	return false
}

var (
	asPHP        = strings.NewReplacer(".", "_", " ", "_")
	foldedMethod = FoldCase("_method")
)

// unescapeValid decodes valid escapes and keeps invalid ones, as PHP and Rails do.
func unescapeValid(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := 1
		if len(s) >= 3 && s[0] == '%' {
			n = 3
		}
		plain, err := url.QueryUnescape(s[:n])
		if err != nil {
			plain, n = s[:1], 1
		}
		b.WriteString(plain)
		s = s[n:]
	}
	return b.String()
}
