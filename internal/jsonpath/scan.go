package jsonpath

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) && s.text[s.pos] > ' ' {
		return s.text[s.pos]
	}
	if s.space(); s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// scalar moves past a string, number or literal that begins with c.
func (s *scanner) scalar(c byte) error {
	switch c {
	case '"':
		return s.string()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
		return ErrNotJSON
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) string() error {
	start := s.pos
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			if !utf8.Valid(s.text[start:s.pos]) {
				return ErrNotJSON
			}
			return nil
		case c == '\\':
			if s.pos++; s.pos >= len(s.text) {
				return ErrNotJSON
			}
			switch s.text[s.pos] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if s.pos+4 >= len(s.text) {
					return ErrNotJSON
				}
				for range 4 {
					s.pos++
					if c := s.text[s.pos]; c-'0' > 9 && c|0x20-'a' > 5 {
						return ErrNotJSON
					}
				}
			default:
				return ErrNotJSON
			}
		case c < 0x20:
			return ErrNotJSON
		}
	}
	return ErrNotJSON
}

// number follows RFC 8259 §6.
func (s *scanner) number() error {
	if s.is('-') {
		s.pos++
	}
	if s.is('0') {
		s.pos++
	} else if !s.digits() {
		return ErrNotJSON
	}
	if s.is('.') {
		if s.pos++; !s.digits() {
			return ErrNotJSON
		}
	}
	if s.is('e') || s.is('E') {
		if s.pos++; s.is('+') || s.is('-') {
			s.pos++
		}
		if !s.digits() {
			return ErrNotJSON
		}
	}
	return nil
}

func (s *scanner) is(c byte) bool { return s.pos < len(s.text) && s.text[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && s.text[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// integer moves past the digits of a number that begins with c.
func (s *scanner) integer(c byte) bool {
	if c-'1' > 8 {
		return false
	}
	i := s.pos + 1
	for i < len(s.text) && s.text[i]-'0' <= 9 {
		i++
	}
	if i == len(s.text) || s.text[i] == '.' || s.text[i]|0x20 == 'e' {
		return false
	}
	s.pos = i
	return true
}

// skip moves past a value that begins with c and is not on any path. It accepts the
// same as value at a fraction of the cost: a body may be a million numbers.
func (s *scanner) skip(c byte, depth int) error {
	s.open = s.open[:0]
	for {
		if depth+len(s.open) > maxDepth {
			return ErrNotJSON
		}
		done := true // the value is complete
		switch c {
		case '{', '[':
			s.pos++
			s.open = append(s.open, c)
			c = s.peek()
			done = c == s.open[len(s.open)-1]+2 // its closing bracket
		default:
			if !s.integer(c) {
				if err := s.scalar(c); err != nil {
					return err
				}
			}
		}
		for done {
			if len(s.open) == 0 {
				return nil
			}
			switch top := s.open[len(s.open)-1]; s.peek() {
			case top + 2: // } or ]
				s.pos++
				s.open = s.open[:len(s.open)-1]
			case ',':
				s.pos++
				c, done = s.peek(), false
			default:
				return ErrNotJSON
			}
		}
		if s.open[len(s.open)-1] == '{' {
			if c != '"' {
				return ErrNotJSON
			}
			if err := s.string(); err != nil {
				return err
			}
			if s.peek() != ':' {
				return ErrNotJSON
			}
			s.pos++
			c = s.peek()
		}
	}
}

// CutString decodes the string at the start of text and returns the rest.
func CutString(text []byte) (decoded string, rest []byte, err error) {
	s := scanner{text: text}
	if err := s.string(); err != nil {
		return "", nil, err
	}
	decoded, err = unquote(text[:s.pos])
	return decoded, text[s.pos:], err
}

// unquote decodes a string that the scanner has accepted. A lone surrogate is
// invalid: it has no UTF-8 form.
func unquote(quoted []byte) (string, error) {
	in := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in), nil
	}
	out, err := appendUnquoted(make([]byte, 0, len(in)), in)
	return string(out), err
}

func appendUnquoted(out, in []byte) ([]byte, error) {
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' {
			out = append(out, in[i])
			continue
		}
		i++
		switch c := in[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(in[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				if !bytes.HasPrefix(in[i+1:], []byte(`\u`)) {
					return nil, ErrNotJSON
				}
				if r = utf16.DecodeRune(r, hexRune(in[i+3:])); r == utf8.RuneError {
					return nil, ErrNotJSON
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

// hexRune reads the four hex digits of a \u escape.
func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(n)
}
