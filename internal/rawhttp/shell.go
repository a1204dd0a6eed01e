package rawhttp

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pipe is the word for an unquoted |. No other word holds a zero byte.
const pipe = "\x00|"

// shellWords splits a command as a POSIX shell does, with $'…' of bash. Nothing is
// expanded.
func shellWords(text string) (words []string, err error) {
	s := &shell{rest: text}
	for {
		word, ok, err := s.word()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		words = append(words, word)
	}
	if len(words) == 0 {
		return nil, errors.New("an empty command")
	}
	return words, nil
}

type shell struct{ rest string }

var (
	errUnclosed = errors.New("a quote in the command is not closed: copy the whole command")
	errExpands  = errors.New("the command has a variable or another command in it ($ or `): write out what the shell would put there")
	errOperator = errors.New("the command has ; & < > or ( outside quotes: keep one curl command, and quote its URL")
	errWindows  = errors.New("the command is quoted for cmd of Windows (^): copy it for bash")
)

// word cuts off the next word.
func (s *shell) word() (word string, ok bool, err error) {
	s.space()
	if s.rest == "" {
		return "", false, nil
	}
	if s.rest[0] == '|' {
		s.rest = s.rest[1:]
		return pipe, true, nil
	}
	var text strings.Builder
	for s.rest != "" && !strings.ContainsRune(" \t\r\n|", rune(s.rest[0])) {
		piece, err := s.piece()
		if err != nil {
			return "", false, err
		}
		text.WriteString(piece)
	}
	return text.String(), true, nil
}

// space skips white space and escaped line breaks between words.
func (s *shell) space() {
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\r\n")
		rest, ok := strings.CutPrefix(s.rest, "\\\n")
		if !ok {
			rest, ok = strings.CutPrefix(s.rest, "\\\r\n")
		}
		if !ok {
			return
		}
		s.rest = rest
	}
}

// piece cuts off one quoted or unquoted piece of a word.
func (s *shell) piece() (string, error) {
	switch c := s.rest[0]; {
	case c == '\'':
		text, rest, ok := strings.Cut(s.rest[1:], "'")
		if !ok {
			return "", errUnclosed
		}
		s.rest = rest
		return text, nil
	case c == '"':
		return s.double()
	case strings.HasPrefix(s.rest, "$'"):
		return s.ansi()
	case c == '$' || c == '`':
		return "", errExpands
	case c == '^':
		return "", errWindows
	case strings.ContainsRune(";&<>()", rune(c)):
		return "", errOperator
	case c == '\\':
		return s.escaped(), nil
	}
	_, size := utf8.DecodeRuneInString(s.rest)
	piece := s.rest[:size]
	s.rest = s.rest[size:]
	return piece, nil
}

// escaped cuts off a backslash and what it quotes: nothing for a line break.
func (s *shell) escaped() string {
	if len(s.rest) < 2 {
		s.rest = ""
		return ""
	}
	piece := s.rest[1:2]
	s.rest = s.rest[2:]
	if piece == "\n" {
		return ""
	}
	return piece
}

// double reads "…", in which a backslash quotes only some characters.
func (s *shell) double() (string, error) {
	var text strings.Builder
	s.rest = s.rest[1:]
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == '"':
			s.rest = s.rest[1:]
			return text.String(), nil
		case c == '$' || c == '`':
			return "", errExpands
		case c == '\\' && len(s.rest) > 1 && strings.ContainsRune("$`\"\\\n", rune(s.rest[1])):
			text.WriteString(s.escaped())
		default:
			text.WriteByte(c)
			s.rest = s.rest[1:]
		}
	}
	return "", errUnclosed
}

// ansi reads $'…' with the escapes of bash.
func (s *shell) ansi() (string, error) {
	var text strings.Builder
	s.rest = s.rest[2:]
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == '\'':
			s.rest = s.rest[1:]
			return text.String(), nil
		case c != '\\' || len(s.rest) == 1:
			text.WriteByte(c)
			s.rest = s.rest[1:]
		default:
			code := s.rest[1]
			s.rest = s.rest[2:]
			if digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[code]; digits > 0 {
				text.WriteString(s.number(code == 'x', digits, 16))
			} else if code >= '0' && code <= '7' { // of printf %q
				s.rest = string(code) + s.rest
				text.WriteString(s.number(true, 3, 8))
			} else if plain := strings.IndexByte("ntrabfve", code); plain >= 0 {
				text.WriteByte("\n\t\r\a\b\f\v\x1b"[plain])
			} else {
				text.WriteByte(code) // \' \" \\ \?, and \! of browsers
			}
		}
	}
	return "", errUnclosed
}

// digitsOf are those of a base.
var digitsOf = map[int]string{8: "01234567", 16: "0123456789abcdefABCDEF"}

// number cuts off at most so many digits of a byte or of a character.
func (s *shell) number(isByte bool, digits, base int) string {
	n := 0
	for n < min(digits, len(s.rest)) && strings.IndexByte(digitsOf[base], s.rest[n]) >= 0 {
		n++
	}
	value, _ := strconv.ParseUint("0"+s.rest[:n], base, 32)
	s.rest = s.rest[n:]
	if isByte {
		return string([]byte{byte(value)})
	}
	return string(rune(value))
}
