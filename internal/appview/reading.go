package appview

import (
	"slices"
	"strings"
)

// A Reading is a literal path that apps may read in others.
type Reading struct {
	names  []name
	below  bool
	behind bool // only behind the name of a script
}

// A name is a folded segment of a Reading. Segments that are read as it begin with its stem.
type name struct{ text, stem string }

// anyName is that of any segment.
const anyName = "*"

// ReadingOf returns the reading of a path and, if below, of all below it.
func ReadingOf(path string, below bool) Reading {
	r := Reading{below: below}
	for text := range strings.SplitSeq(strings.Trim(FoldCase(path), "/"), "/") {
		stem, _ := cutScript(asOnWindows(text))
		r.names = append(r.names, name{text, stem})
	}
	return r
}

// BehindScript is ReadingOf a path and all below it by an app that takes only what is
// behind the name of a script. A segment * of the path is any one.
func BehindScript(path string) Reading {
	r := ReadingOf(path, true)
	r.behind = true
	return r
}

// maxRead is the number of segments up to which a path is compared with readings: anyone
// can send long paths, and there may be hundreds of readings.
const maxRead = 64

// IsReadAs reports whether an app may read a clean path as one of others: in another
// case, with a slash or something behind its last name, as Windows has it, or behind a
// script, with or without the folder that it is in. A script behind the whole other path
// is one of many names below it, such as that of a customer, example.pl. A path of more
// than 64 segments may be read as anything.
func IsReadAs(path string, others ...[]Reading) bool {
	path = strings.TrimPrefix(FoldCase(path), "/")
	if strings.Count(path, "/") >= maxRead {
		return slices.ContainsFunc(others, func(list []Reading) bool { return len(list) > 0 })
	}
	segments := segmentsOf(path)
	script := slices.ContainsFunc(segments, func(s segment) bool { return s.script })
	return slices.ContainsFunc(others, func(list []Reading) bool {
		return slices.ContainsFunc(list, func(r Reading) bool { return (script || !r.behind) && r.isIn(segments) })
	})
}

// A segment is one of a folded path.
type segment struct {
	text         string
	script, more bool // it names a script that a path follows; anything follows
}

func segmentsOf(path string) (segments []segment) {
	for more := true; more && path != ""; {
		var s segment
		s.text, path, more = strings.Cut(path, "/")
		_, script := cutScript(asOnWindows(s.text))
		s.script, s.more = script && more, more
		segments = append(segments, s)
	}
	return segments
}

func (r Reading) isIn(segments []segment) bool {
	last := len(r.names) - 1
	seen := make([]bool, last+2) // seen[i]: what is read of the path so far may be the first i names
	seen[0] = !r.behind
	for _, s := range segments {
		for i := last; i >= 0; i-- {
			seen[i+1] = s.script && i < last && seen[i+1] || seen[i] && s.isRead(r.names[i], i == last)
		}
		seen[0] = s.script
		if r.below && seen[last+1] {
			return true
		}
	}
	return seen[last+1]
}

// isRead reports whether an app may read s as n, which may be the last of its path.
func (s segment) isRead(n name, last bool) bool {
	return n.text == anyName || strings.HasPrefix(s.text, n.stem) && (isNamed(s.text, n.text, s.more) || last && extends(s.text, n.text))
}

// extends reports whether a segment is a name with something behind it that apps cut off:
// an extension, an escaped query, a space.
func extends(segment, name string) bool {
	rest, ok := strings.CutPrefix(segment, name)
	return ok && rest != "" && strings.ContainsAny(rest[:1], " \t.:;?#%\\")
}
