package appview

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// isNamed reports whether a server may read a segment as one of the name: without what
// ends it, without what Windows drops from the end, and, if a path follows, without the
// extension of a script: Apache's MultiViews find /hooks.php for /hooks/x, and Apache
// runs it for /hooks.php/x too. Both are folded.
func isNamed(segment, name string, more bool) bool {
	if segment == name {
		return true
	}
	if end := strings.IndexFunc(segment, endsSegment); end >= 0 {
		segment = segment[:end]
	}
	segment, name = asOnWindows(segment), asOnWindows(name)
	if more {
		segment, _ = cutScript(segment)
		name, _ = cutScript(name)
	}
	return segment == name
}

// asOnWindows returns the name under which Windows opens a folder: without dots and
// spaces at its end, and without the stream of CVE-2010-2731, /hooks:$i30:$index_allocation.
func asOnWindows(segment string) string {
	if strings.Contains(segment, ":$") {
		segment, _, _ = strings.Cut(segment, ":")
	}
	if name := strings.TrimRight(segment, ". "); name != "" {
		return name
	}
	return segment
}

// scripts are extensions of scripts that servers run for every path below their name.
// Names of files and repositories that are part of an app's own paths end in others.
var scripts = []string{"php", "php3", "php4", "php5", "php7", "php8", "phtml", "cgi", "fcgi", "pl", "cfm", "asp", "aspx", "dll", "exe"}

// cutScript cuts the extension off a script's name.
func cutScript(segment string) (name string, ok bool) {
	if i := strings.LastIndexByte(segment, '.'); i >= 0 && slices.Contains(scripts, segment[i+1:]) {
		return segment[:i], true
	}
	return segment, false
}

// isVirtualHost reports whether a folded path has the form by which Zope learns from the
// proxy in front what it serves: /VirtualHostBase/https/shop.example:443/folder/VirtualHostRoot/page.
func isVirtualHost(p string) bool { return strings.HasPrefix(p, "/virtualhostbase/") }

// decodedAgain returns a folded path as servers read it that decode escapes once more
// (/%2568ooks), and that drop the segments of cookieless sessions (see withoutSessions).
func decodedAgain(p string) string {
	if again := unescapeAgain(p); again != p {
		p = FoldCase(again)
	}
	read := withoutSessions(withoutSessions(p)) // by IIS, then by ASP.NET
	if strings.HasPrefix(p, "/") && !strings.HasPrefix(read, "/") {
		return "/" + read
	}
	return read
}

// unescapeAgain decodes the escapes in a decoded path, %uXXXX of ASP.NET among them, and
// leaves what is none.
func unescapeAgain(p string) string {
	if !strings.Contains(p, "%") {
		return p
	}
	plain := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		rest := p[i:]
		if len(rest) > 5 && rest[0] == '%' && rest[1]|0x20 == 'u' {
			if code, err := strconv.ParseUint(rest[2:6], 16, 16); err == nil {
				plain, i = utf8.AppendRune(plain, rune(code)), i+5
				continue
			}
		}
		c := rest[0]
		if c == '%' && len(rest) > 2 {
			if high, low := hexDigit(rest[1]), hexDigit(rest[2]); high < 16 && low < 16 {
				c, i = high<<4|low, i+2
			}
		}
		plain = append(plain, c)
	}
	return string(plain)
}

// hexDigit returns the value of a hexadecimal digit, 16 for any other byte.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// withoutSessions drops what carries a session in the path instead of a cookie, as
// ASP.NET does before it looks for a route: /(S(x))/hooks, and /ho/(S(x))oks of
// CVE-2023-36899.
func withoutSessions(p string) string {
	if !strings.Contains(p, "/(") {
		return p
	}
	var kept strings.Builder
	kept.Grow(len(p))
	for {
		i := strings.Index(p, "/(")
		if i < 0 {
			kept.WriteString(p)
			return kept.String()
		}
		kept.WriteString(p[:i])
		n := sessionLength(p[i+1:])
		if n == 0 {
			kept.WriteByte('/')
		}
		p = p[i+1+n:]
	}
}

// sessionLength returns the length of the session that p begins with: (S(x)), or
// several, (A(x)S(y)). It returns 0 if there is none.
func sessionLength(p string) int {
	i := 1 // after the bracket
	for len(p) > i+1 && p[i] != ')' {
		if c := p[i] | 0x20; c < 'a' || c > 'z' || p[i+1] != '(' {
			return 0
		}
		end := strings.IndexAny(p[i:], ")/")
		if end < 0 || p[i+end] == '/' {
			return 0
		}
		i += end + 1
	}
	if i == 1 || i >= len(p) || p[i] != ')' {
		return 0
	}
	return i + 1
}
