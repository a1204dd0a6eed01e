package verifier

import "strings"

// cutGroup takes the first set of pairs off a kv value. It is no iterator: a loop
// over one would make its Check escape.
func (s *Signature) cutGroup(value string) (group, rest string, more bool) {
	if s.GroupSeparator == "" {
		return value, "", false
	}
	return strings.Cut(value, s.GroupSeparator)
}

// cutPair reads a pair of a kv value, or the part of a positional one at a
// position that has a name.
func (s *Signature) cutPair(pair string, position int) (name, text string, ok bool) {
	text = strings.TrimSpace(pair)
	if s.Syntax == "positional" {
		return s.Names[position], text, true
	}
	name, text, ok = strings.Cut(text, "=")
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	return name, text, ok
}

// kvText returns the one text that a key beside the signatures has. The headers
// were read before: see addPairs.
func (c *Check) kvText(key string) (text string, rej *Rejection) {
	s := &c.v.signature
	seen := false
	for _, header := range s.Header {
		for _, line := range c.req.Header[header] {
			for rest, more := line, true; more; {
				var group string
				group, rest, more = s.cutGroup(rest)
				value, found := s.valueOf(group, key)
				if found > 1 || found == 1 && seen && value != text {
					return "", reject(MalformedSignature, "key %s, which is signed, has two values", key)
				}
				if found == 1 {
					text, seen = value, true
				}
			}
		}
		if seen && s.Match == "first_present" {
			break
		}
	}
	if !seen {
		return "", reject(MalformedSignature, "no key %s beside the signature, which is signed", key)
	}
	return text, nil
}

// valueOf returns what a key of a set of pairs has, and how often it stands there.
func (s *Signature) valueOf(group, key string) (value string, found int) {
	position := 0
	for pair := range strings.SplitSeq(group, s.PairSeparator) {
		if s.Syntax == "positional" && position == len(s.Names) {
			break
		}
		name, text, ok := s.cutPair(pair, position)
		position++
		if ok && name == key {
			value, found = text, found+1
		}
	}
	return value, found
}
