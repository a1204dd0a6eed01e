package appview

import (
	"slices"
	"strings"
)

// A Reading is a literal path that apps may read in others.
type Reading struct {
	segments []string // folded
	below    bool
	behind   bool // only behind the name of a script
}

// ReadingOf returns the reading of a path and, if below, of all below it.
func ReadingOf(path string, below bool) Reading {
	return Reading{segments: strings.Split(strings.Trim(FoldCase(path), "/"), "/"), below: below}
}

// BehindScript is ReadingOf a path and all below it by an app that takes only what is
// behind the name of a script.
func BehindScript(path string) Reading {
	r := ReadingOf(path, true)
	r.behind = true
	return r
}

// IsReadAs reports whether an app may read a clean path as one of others: in another
// case, with a slash or something behind its last name, as Windows has it, or behind a
// script, with or without the folder that it is in. A script behind the whole other path
// is one of many names below it, such as that of a customer, example.pl.
func IsReadAs(path string, others []Reading) bool {
	path = strings.TrimPrefix(FoldCase(path), "/")
	script := namesScript(path)
	return slices.ContainsFunc(others, func(r Reading) bool { return (script || !r.behind) && r.isIn(path) })
}

// namesScript reports whether anything in front of a slash has the name of a script.
func namesScript(path string) bool {
	for more := path != ""; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		if _, script := cutScript(asOnWindows(segment)); script && more {
			return true
		}
	}
	return false
}

func (r Reading) isIn(path string) bool {
	last := len(r.segments) - 1
	seen := make([]bool, last+2) // seen[i]: what is read of the path so far may be the first i segments
	seen[0] = !r.behind
	for more := true; more && path != ""; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		_, script := cutScript(asOnWindows(segment))
		script = script && more
		for i := last; i >= 0; i-- {
			seen[i+1] = script && i < last && seen[i+1] || seen[i] && (isNamed(segment, r.segments[i], more) || i == last && extends(segment, r.segments[i]))
		}
		seen[0] = script
		if r.below && seen[last+1] {
			return true
		}
	}
	return seen[last+1]
}

// extends reports whether a segment is a name with something behind it that apps cut off:
// an extension, an escaped query, a space.
func extends(segment, name string) bool {
	rest, ok := strings.CutPrefix(segment, name)
	return ok && rest != "" && strings.ContainsAny(rest[:1], " \t.:;?#%\\")
}
