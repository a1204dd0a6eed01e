package tenants

import "strings"

// MaxName limits the name of a tenant, in bytes.
const MaxName = 128

// Name returns the tenant that a request names, in lower case unless keepCase is set.
// ok is false if there can be no such tenant: a name has 1 to 128 letters, digits, dots,
// dashes and underscores of ASCII, and does not begin with a dot. So it is one element
// of a file's path and one segment of a URL's, and never an option or a hidden file.
func Name(text string, keepCase bool) (name string, ok bool) {
	if text == "" || len(text) > MaxName || text[0] == '.' {
		return "", false
	}
	lower := true
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		case c >= 'A' && c <= 'Z':
			lower = false
		default:
			return "", false
		}
	}
	if lower || keepCase {
		return text, true
	}
	return strings.ToLower(text), true
}
