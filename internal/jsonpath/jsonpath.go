// Package jsonpath reads scalars from untrusted JSON so that every reader of that
// JSON finds the same.
//
// A [Path] names one scalar. [Path.Lookup] and [LookupAll] read the whole text once,
// so that their results are part of valid JSON, and refuse what two parsers could
// read differently: a repeated member on the path, invalid UTF-8, a lone surrogate,
// trailing text. They decode nothing off the path and allocate nothing for it.
//
// The package does not know what a value means.
package jsonpath

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Path names one scalar of a JSON text: member names joined by dots, array elements
// by [n] ("items[0].id", "[0].eventId"). [*] is every element: the scalars below must
// all exist and be equal. [only] is the element of an array with exactly one, so that
// nothing unsigned hides next to it.
type Path []step

type step struct {
	name  string
	index int // of an array element; unused with name
	array bool
	every bool // every element of the array
	only  bool // the array's only element
}

// ErrNoValue reports that the text is JSON but the path leads to nothing, null, an
// object or an array; in the last two cases an error wraps it. Any other error of a
// lookup means that the path is ambiguous or the text invalid.
var ErrNoValue = errors.New("no scalar value there")

// Why a path is ambiguous, as far as callers distinguish.
var (
	ErrNotJSON   = errors.New("not valid JSON")
	ErrDuplicate = errors.New("a member on the path appears twice")
)

var (
	errSpelling = errors.New("a member has the same name in another case, and some parsers treat the two as one")
	errArray    = errors.New("there is an array where the path names a member")
	errDiffer   = errors.New("the elements of an array differ there")
	errSeveral  = errors.New("an array on the path has more than its one element")
	errNoScalar = fmt.Errorf("an object or array: %w", ErrNoValue)
)

// maxDepth limits the nesting of objects and arrays: deeper JSON is ErrNotJSON.
const maxDepth = 512

// OnRead is called with the length of each text before it is read. Only tests set it,
// to measure the cost of a request.
var OnRead func(length int)

func reads(text []byte) {
	if OnRead != nil {
		OnRead(len(text))
	}
}

// Parse parses a path of a scheme. Its error shows the syntax.
func Parse(text string) (Path, error) {
	var p Path
	bad := errors.New("write a JSON path as member names joined by dots, array elements as [0], all of them as [*], a single one as [only]: data.id, items[0].id")
	if text == "" {
		return nil, bad
	}
	for rest, first := text, true; rest != ""; first = false {
		if rest[0] == '[' {
			digits, after, ok := strings.Cut(rest[1:], "]")
			if !ok || after != "" && after[0] != '.' && after[0] != '[' {
				return nil, bad
			}
			if digits == "*" {
				p, rest = append(p, step{array: true, every: true}), after
				continue
			}
			if digits == "only" {
				p, rest = append(p, step{array: true, only: true}), after
				continue
			}
			n, err := strconv.Atoi(digits)
			if err != nil || digits != strconv.Itoa(n) || n < 0 {
				return nil, bad
			}
			p, rest = append(p, step{index: n, array: true}), after
			continue
		}
		if !first {
			if rest[0] != '.' {
				return nil, bad
			}
			rest = rest[1:]
		}
		end := strings.IndexAny(rest, ".[]")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 || end < len(rest) && rest[end] == ']' {
			return nil, bad
		}
		p, rest = append(p, step{name: rest[:end]}), rest[end:]
	}
	return p, nil
}

// Top is the path to a member of the outermost object, for any name.
func Top(name string) Path { return Path{{name: name}} }

// Many reports whether the path contains [*].
func (p Path) Many() bool {
	return slices.ContainsFunc(p, func(s step) bool { return s.every })
}

// Last is the name of the member at the end of the path, "" for an array element.
func (p Path) Last() string { return p[len(p)-1].name }
