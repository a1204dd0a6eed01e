package appview

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
)

// A Prefix is a configured set of paths: all below one, /hooks/*, or every path, *.
type Prefix string

// Base is the path above the prefix's paths, "" for all.
func (m Prefix) Base() string {
	if m == "*" {
		return ""
	}
	return strings.TrimSuffix(string(m), "/*")
}

// Check allows only literal prefixes. Its error does not repeat the text, which may
// be a misplaced secret.
func (m Prefix) Check() error {
	text := string(m)
	base, ok := strings.CutSuffix(text, "/*")
	switch {
	case text == "*":
		return nil
	case text == "/*":
		return errors.New("the prefix is the whole site: write *")
	case strings.Contains(text, "{"):
		return errors.New("the prefix takes no placeholder: write it as it is called, such as /hooks/*")
	case strings.HasPrefix(text, "@"):
		return errors.New("a prefix is a path and no named matcher: write it as it is called, such as /hooks/*")
	case !ok:
		return errors.New("the prefix ends in a slash and a star: /hooks/* (/hooks and /hooks* are not prefixes); or write * for the whole site")
	}
	return checkLiteral(base)
}

// CheckPath allows literal paths below the prefix, and all paths below one:
// /hooks/acme/*.
func (m Prefix) CheckPath(p string) error {
	if literal := strings.TrimSuffix(p, "/*"); literal != "" { // "": the prefix is *
		if err := checkLiteral(literal); err != nil {
			return err
		}
	}
	if !Covers(m.Base()+"/*", p) {
		return fmt.Errorf("it is not below the prefix of verify_webhooks: write %s/…", m.Base())
	}
	return nil
}

// checkLiteral allows a path that matches only itself under every way of matching.
func checkLiteral(p string) error {
	if !strings.HasPrefix(p, "/") {
		return errors.New("a path begins with a slash: /hooks/acme")
	}
	if strings.ContainsAny(p, "*?[]{}$\\;%#\"<>^`| ") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("write the path as it is called: no wildcard but /* at its end, no placeholder, no query, no escape, no semicolon, no space")
	}
	if path.Clean(p) != strings.TrimSuffix(p, "/") {
		return errors.New("the path has a dot or empty segment: write the path that it means")
	}
	return nil
}

// Owns reports whether a decoded path is below the prefix, alone, behind the name of a
// script, or as some servers read it; or is unclean, or a virtual host of Zope, and
// contains the prefix's segments anywhere, so that an app may read it as below. Case is
// ignored.
func (m Prefix) Owns(p string) bool {
	base := FoldCase(m.Base())
	if base == "" {
		return true
	}
	p = FoldCase(p) // once: anyone can send long paths
	read := decodedAgain(p)
	return owns(p, base) || read != p && owns(read, base) || (!isTidy(p) || hasDetours(read)) && (mentions(p, base) || mentions(read, base))
}

// owns is Owns for a path, and every server that it leads through. Both are folded.
func owns(p, base string) bool {
	return isBelow(p, base) || isBelow(path.Clean(p), base) || isBehindScript(p, base) || isVirtualHost(p) && mentions(p, base)
}

// isBehindScript reports whether the part of p behind the name of a script is below
// base. A front controller routes by that part: /index.php/hooks/x, the PATH_INFO of
// RFC 3875 §4.1.5. Both are folded.
func isBehindScript(p, base string) bool {
	for {
		segment, rest, more := strings.Cut(p, "/")
		if !more {
			return false
		}
		if _, script := cutScript(asOnWindows(segment)); script && isBelow(p[len(segment):], base) {
			return true
		}
		p = rest
	}
}

// isBelow reports whether base is p or its first whole segments, whatever ends a
// segment. Both are folded.
func isBelow(p, base string) bool {
	for again := true; again; {
		var segment, want string
		var more bool
		segment, p, more = strings.Cut(p, "/")
		want, base, again = strings.Cut(base, "/")
		if !isNamed(segment, want, more) {
			return false
		}
	}
	return true
}

// mentions reports whether p contains the segments of base in order. Apps clean paths
// differently: they merge slashes or not, treat an encoded slash as one or not, cut
// ;x off before or after. All of them only drop segments, so none can read base in a
// path that does not contain it. Both are folded.
func mentions(p, base string) bool {
	wanted := strings.Split(strings.TrimPrefix(base, "/"), "/")
	for segment := range strings.FieldsFuncSeq(p, func(c rune) bool { return c == '/' || c == '\\' }) {
		if isNamed(segment, wanted[0], true) {
			wanted = wanted[1:]
		}
		if len(wanted) == 0 {
			return true
		}
	}
	return false
}

// endsSegment reports whether some reader ends a path segment at c.
func endsSegment(c rune) bool { return c == '/' || c == '\\' || c == ';' || c < ' ' || c == 0x7f }

// FoldCase maps all case variants of a letter to one. Lower-casing is not enough beyond
// ASCII: ſ is an S without a lower case.
func FoldCase(s string) string {
	for i := range len(s) {
		if s[i] > unicode.MaxASCII {
			return strings.ToLower(strings.ToUpper(s))
		}
	}
	return strings.ToLower(s)
}

// Covers reports whether a, which ends in /*, includes every path of b.
func Covers(a, b string) bool {
	base, ok := strings.CutSuffix(FoldCase(a), "*")
	return ok && strings.HasPrefix(FoldCase(b), base) && len(FoldCase(b)) > len(base)
}
