package appview

import (
	"net/url"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/alike"
)

// NamesMethod reports whether a query has the parameter _method, which Rails,
// Symfony, Laravel and Spring may use as the request's method, in any spelling that
// [alike.Field] knows, of one value, a list or a map: some servers also separate
// parameters by ; or ignore case.
func NamesMethod(query string) bool {
	for field := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(field, "=")
		if len(name) < len("_method") || !strings.ContainsAny(name, "dD%") { // fast path: anyone can send thousands
			continue
		}
		name = unescapeValid(strings.ReplaceAll(FoldCase(name), "%u00", "%")) // %u005f is an IIS escape
		name, rest, more := strings.Cut(name, "[")                            // a list or map
		if alike.Field(name) == "" && more {                                  // PHP reads the bracket as _
			name, _, _ = strings.Cut(rest, "[")
			name = "_" + name
		}
		if alike.Field(name) == "_method" {
			return true
		}
	}
	return false
}

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
