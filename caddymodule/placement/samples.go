package placement

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// samplesOfRegexp lists a few texts that a regular expression matches, with a zero byte
// where letters of any number may stand.
func samplesOfRegexp(pattern string) []string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	return few(samplesOf(tree), "")
}

func samplesOf(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return []string{strings.ToLower(string(re.Rune))}
		}
		return []string{string(re.Rune)}
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return twoOf(re)
	case syntax.OpCapture:
		return samplesOf(re.Sub[0])
	case syntax.OpQuest:
		return append(samplesOf(re.Sub[0]), "")
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		return repeated(re)
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			all = append(all, samplesOf(sub)...)
		}
		return few(all, "")
	case syntax.OpConcat:
		all := []string{""}
		for _, sub := range re.Sub {
			var longer []string
			for _, begin := range all {
				for _, end := range samplesOf(sub) {
					longer = append(longer, begin+end)
				}
			}
			all = few(longer, "")
		}
		return all
	}
	return []string{""}
}

// repeated returns samples of a repetition: a marker if it matches one.
func repeated(re *syntax.Regexp) []string {
	n := len(markers[0])
	isLong := re.Op != syntax.OpRepeat || re.Min <= n && (re.Max < 0 || re.Max >= n)
	if isLong && !strings.ContainsFunc(markers[0], func(r rune) bool { return !isOf(re.Sub[0], r) }) {
		return []string{"\x00"}
	}
	var all []string
	for _, sample := range samplesOf(re.Sub[0]) {
		all = append(all, strings.Repeat(sample, max(re.Min, 1)))
	}
	return all
}

// twoOf returns two characters of a class, or its only one, letters if there are any.
func twoOf(class *syntax.Regexp) (two []string) {
	for _, r := range append([]rune{'x', 'y'}, class.Rune...) {
		if isOf(class, r) && len(two) < 2 && !slices.Contains(two, string(r)) {
			two = append(two, string(r))
		}
	}
	return two
}

// isOf reports whether a class has a character.
func isOf(class *syntax.Regexp, r rune) bool {
	for i := 0; i+1 < len(class.Rune) && class.Op == syntax.OpCharClass; i += 2 {
		if class.Rune[i] <= r && r <= class.Rune[i+1] {
			return true
		}
	}
	return class.Op == syntax.OpAnyChar || class.Op == syntax.OpAnyCharNotNL
}
