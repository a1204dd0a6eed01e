package appview

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// A Prefix means all paths below one, as it is configured: /hooks/*, or * for
// every path.
type Prefix string

// Base is the path whose descendants the prefix means, "" for all.
func (m Prefix) Base() string {
	if m == "*" {
		return ""
	}
	return strings.TrimSuffix(string(m), "/*")
}

// Check admits literal prefixes alone. It repeats nothing of what was written: it
// may be a secret in the wrong place.
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

// CheckPath admits literal paths below the prefix, and all paths below one: /hooks/acme/*.
func (m Prefix) CheckPath(p string) error {
	if literal := strings.TrimSuffix(p, "/*"); literal != "" { // "": all of the prefix *
		if err := checkLiteral(literal); err != nil {
			return err
		}
	}
	if !Covers(m.Base()+"/*", p) {
		return fmt.Errorf("it is not below the prefix of verify_webhooks: write %s/…", m.Base())
	}
	return nil
}

// checkLiteral admits a path that matches itself alone, in whatever way it is
// matched.
func checkLiteral(p string) error {
	if !strings.HasPrefix(p, "/") {
		return errors.New("a path begins with a slash: /hooks/acme")
	}
	if strings.ContainsAny(p, "*?[]{}\\;%#\"<>^`| ") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("write the path as it is called: no wildcard but /* at its end, no placeholder, no query, no escape, no semicolon, no space")
	}
	if path.Clean(p) != strings.TrimSuffix(p, "/") {
		return errors.New("the path has a dot or empty segment: write the path that it means")
	}
	return nil
}

// Owns reports whether a decoded path is below the prefix as it was sent, or is
// unclean and has the segments of the prefix anywhere: an app may then read it as
// below. Case does not count.
func (m Prefix) Owns(p string) bool {
	base := m.Base()
	return base == "" || isBelow(p, base) || !isTidy(p) && mentions(p, base)
}

// isBelow reports whether base is p or begins it as a whole segment, whatever
// ends a segment.
func isBelow(p, base string) bool {
	rest, ok := strings.CutPrefix(FoldCase(p), FoldCase(base))
	return ok && (rest == "" || endsSegment(rune(rest[0])))
}

// mentions reports whether the segments of base are among those of p, in their
// order. Apps clean a path in more ways than one: they merge slashes or do not,
// count an encoded slash as one or do not, cut ;x off before or after. All of them
// only drop segments, so none reads base in a path that does not mention it.
func mentions(p, base string) bool {
	wanted := strings.Split(FoldCase(strings.TrimPrefix(base, "/")), "/")
	for segment := range strings.FieldsFuncSeq(FoldCase(p), func(c rune) bool { return c == '/' || c == '\\' }) {
		if end := strings.IndexFunc(segment, endsSegment); end >= 0 {
			segment = segment[:end]
		}
		if segment == wanted[0] {
			wanted = wanted[1:]
		}
		if len(wanted) == 0 {
			return true
		}
	}
	return false
}

// endsSegment reports whether some reader of a path takes c for the end of a segment.
func endsSegment(c rune) bool { return c == '/' || c == '\\' || c == ';' || c < ' ' || c == 0x7f }

// FoldCase makes all spellings of a letter one. Lower case alone would not: ſ is
// an S that has none.
func FoldCase(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// Covers reports whether every path that b means is one that a, which ends in
// /*, means.
func Covers(a, b string) bool {
	base, ok := strings.CutSuffix(FoldCase(a), "*")
	return ok && strings.HasPrefix(FoldCase(b), base) && len(FoldCase(b)) > len(base)
}
