package keys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLines limits the keys in one text. A rotation has two.
	maxLines = 16
	// minLine is the shortest key of several in one text, in bytes: a shorter line is
	// a rest of something else.
	minLine = 8
)

// divide splits texts of several lines: each line is a key or a value of its own, as
// in a rotation. A PEM, a JSON Web Key and base64 that is wrapped for certain stay
// whole. Errors hold no line.
func (k *Set) divide(s *source, whole []labelled) ([]labelled, error) {
	var all []labelled
	for _, t := range whole {
		parts, err := k.divideOne(s, t)
		if err != nil && t.label != "" {
			err = fmt.Errorf("%s: %w", t.label, err)
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, parts...); len(all) > maxCompared {
			return nil, errManyTexts
		}
	}
	return all, nil
}

func (k *Set) divideOne(s *source, t labelled) ([]labelled, error) {
	lines := linesOf(t.text)
	switch {
	case len(lines) == 1:
		t.text = lines[0]
		return []labelled{t}, nil
	case len(lines) == 0 || strings.Contains(t.text, "-----BEGIN "):
		return []labelled{t}, nil
	case s.use == usePublicKey && k.usable(s, []labelled{{text: lines[0]}}) != nil: // the whole may be a key
		return []labelled{t}, nil
	case s.use == useParam:
		return nil, fmt.Errorf("%d lines: write one", len(lines))
	case len(lines) > maxLines:
		return nil, fmt.Errorf("%d lines: at most %d keys, one a line; put more into a directory, one key per file", len(lines), maxLines)
	case !isWrapped(lines) || s.use == useHeader:
	case s.use != useUpstream && !strings.HasPrefix(k.scheme.SecretEncoding, "base64"): // one key, with or without its line breaks, or several
		return nil, errors.New("the lines look like one base64 text that was wrapped: write it on one line, or one key per file in a directory")
	case isKeyLine(lines[len(lines)-1]): // and so are the others, which are longer
		return nil, errOneOrSeveral
	default:
		t.text = strings.Join(lines, "")
		return []labelled{t}, nil
	}
	parts := make([]labelled, len(lines))
	for i, line := range lines {
		parts[i] = labelled{label: t.label, text: line, line: i + 1}
		if isEven(lines) {
			parts[i].even = len(lines)
		}
		if err := k.checkLine(s, parts[i]); err != nil {
			return nil, fmt.Errorf("line %d of %d, each one key or value: %w", i+1, len(lines), err)
		}
	}
	return parts, nil
}

// checkLine returns why one line of several is neither a key nor a value.
func (k *Set) checkLine(s *source, t labelled) error {
	switch {
	case strings.HasPrefix(strings.TrimSpace(t.text), "#"), isComment(t.text):
		return errors.New("a comment: write nothing but keys, one a line")
	case !s.isKey() && s.use != useUpstream:
		return nil
	case len(t.text) < minLine:
		return fmt.Errorf("fewer than %d characters: write nothing but keys, one a line, or one key per file in a directory", minLine)
	case s.use != usePublicKey:
		if checkLiteral(t.text) != nil || CheckRendered(t.text) != nil {
			return errors.New("a name or placeholder: write nothing but keys, one a line, and a real one that looks like this into a file of its own")
		}
		if holdsBlank(t.text) {
			return errors.New("it holds a blank, as no sender's secret does: write nothing but keys, one a line, and a passphrase into a file of its own")
		}
		if assignment.MatchString(t.text) {
			return errors.New("a name and a value: write nothing but keys, one a line, and a key that looks like this into a file of its own")
		}
	}
	return k.usable(s, []labelled{t})
}

// comment matches the beginning of a comment in the languages of configurations, with a
// blank behind it: base64 may begin with slashes.
var comment = regexp.MustCompile(`(?i)^\s*(#|//|/\*+|<!--|%|--|;|rem)\s`)

func isComment(text string) bool { return comment.MatchString(text) }

// assignment matches a line of a file of variables with a name in any case. In base64
// nothing follows an equals sign but another.
var assignment = regexp.MustCompile(`^[A-Za-z_]{2,}=[^=]`)

// holdsBlank reports whether a text has a blank inside, as sentences have, and
// passphrases. One behind Bearer or Basic does not count.
func holdsBlank(text string) bool {
	return strings.ContainsFunc(bareSecret(text), unicode.IsSpace)
}

// holdsUnseen reports whether a text begins or ends with a blank, as copying leaves one,
// or has an invisible character anywhere. Bytes that are no text are a key's own.
func holdsUnseen(text string) bool {
	return utf8.ValidString(text) && (strings.TrimSpace(text) != text ||
		strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }))
}

// linesOf returns the lines that are not blank.
func linesOf(text string) []string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	return slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
}

// isWrapped reports whether lines are one base64 text, as openssl (64 characters a
// line) and base64 (76) wrap it, for the last line is shorter.
func isWrapped(lines []string) bool { return mayBeWrapped(lines) && !isEven(lines) }

// isEven reports whether lines may be one base64 text that ends with a full line, as
// openssl rand -base64 96 writes it. Keys of 48 bytes, one a line, look the same.
func isEven(lines []string) bool {
	return mayBeWrapped(lines) && len(lines[len(lines)-1]) == len(lines[0])
}

func mayBeWrapped(lines []string) bool {
	last := len(lines) - 1
	width := len(lines[0])
	return (width == 64 || width == 76) && len(lines[last]) <= width && !slices.ContainsFunc(lines[:last], func(line string) bool { return len(line) != width }) &&
		base64Text.MatchString(strings.Join(lines, "")) && !hexText.MatchString(strings.Join(lines, ""))
}

// isKeyLine reports whether a line of base64 is long enough to be a key: 16 bytes.
func isKeyLine(line string) bool {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(line, "="))
	return err == nil && len(b) >= 16
}

// manyInOne is said of lines that are used as several keys and may be one. To refuse them
// would end rotations that work; as several keys they let nothing in that one would not.
const manyInOne = "%d lines of equal length are %d keys: if they are one base64 key that was wrapped, nothing signed with it verifies; write it on one line (openssl rand -base64 -A, or tr -d '\\n')"

// errOneOrSeveral refuses lines of which the first is 64 or 76 characters long and the
// last a shorter key.
var errOneOrSeveral = errors.New("the lines are one base64 key that was wrapped, or several keys: write one key on one line (openssl rand -base64 -A, or tr -d '\\n'), and several one per file in a directory")

var (
	base64Text = regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`)
	hexText    = regexp.MustCompile(`^[0-9A-Fa-f]+$`)
)
