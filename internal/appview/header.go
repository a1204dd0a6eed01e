package appview

import "strings"

// IsHeader reports whether a header is one of names, or would become one in an app
// that takes other characters for - (CGI does so with _, some servers with all
// but letters and digits).
func IsHeader(name string, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(strings.Map(asDash, name), n) {
			return true
		}
	}
	return false
}

func asDash(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return r
	}
	return '-'
}
