package rejected

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// decodings returns the possible decodings of a text or of a part of it: a key inside
// "Basic dXNlcjprZXk=" begins at any of four characters.
func decodings(text string) (all []string) {
	if plain := unescape(text, false); plain != text {
		all = append(all, plain)
	}
	if strings.Contains(text, "+") {
		all = append(all, unescape(text, true))
	}
	if strings.Contains(text, `\`) {
		all = append(all, unquote(text))
	}
	for _, run := range strings.FieldsFunc(text, func(c rune) bool { return !isHex(c) }) {
		for offset := 0; offset < 2 && len(run) >= 2*shortest; offset++ {
			part := run[offset:]
			if plain, err := hex.DecodeString(part[:len(part)/2*2]); err == nil {
				all = append(all, string(plain))
			}
		}
	}
	for _, run := range strings.FieldsFunc(text, func(c rune) bool { return !isBase64(c) }) {
		run = asStandard.Replace(run)
		for offset := 0; offset < 4 && len(run) >= shortest+2; offset++ {
			part := run[offset:]
			if len(part)%4 == 1 { // not a valid length of base64
				part = part[:len(part)-1]
			}
			if plain, err := base64.RawStdEncoding.DecodeString(part); err == nil {
				all = append(all, string(plain))
			}
		}
	}
	return all
}

// unescape decodes the escapes of a URL, of a query with plus for a space, and leaves what
// is none as it is: one wrong escape must not hide others.
func unescape(text string, plus bool) string {
	if !strings.Contains(text, "%") && !(plus && strings.Contains(text, "+")) {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '+' && plus {
			c = ' '
		}
		if c == '%' && i+2 < len(text) && isHex(rune(text[i+1])) && isHex(rune(text[i+2])) {
			c = digit(text[i+1])<<4 | digit(text[i+2])
			i += 2
		}
		plain = append(plain, c)
	}
	return string(plain)
}

// unquote decodes the escapes of a JSON text, and leaves what is none as it is: PHP writes
// \/ and .NET \u002B where base64 has a slash and a plus.
func unquote(text string) string {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			plain = append(plain, text[i])
			continue
		}
		i++
		switch c := text[i]; c {
		case '"', '\\', '/':
			plain = append(plain, c)
		case 'n':
			plain = append(plain, '\n')
		case 'r':
			plain = append(plain, '\r')
		case 't':
			plain = append(plain, '\t')
		case 'u':
			if i+4 < len(text) && strings.IndexFunc(text[i+1:i+5], func(c rune) bool { return !isHex(c) }) < 0 {
				n := rune(digit(text[i+1]))<<12 | rune(digit(text[i+2]))<<8 | rune(digit(text[i+3]))<<4 | rune(digit(text[i+4]))
				plain = utf8.AppendRune(plain, n)
				i += 4
				continue
			}
			plain = append(plain, '\\', c)
		default:
			plain = append(plain, '\\', c)
		}
	}
	return string(plain)
}

// digit is the value of a hexadecimal digit.
func digit(c byte) byte {
	if c >= 'A' {
		return c&^0x20 - 'A' + 10
	}
	return c - '0'
}

var asStandard = strings.NewReplacer("-", "+", "_", "/")

func isHex(c rune) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isBase64(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("+/-_", c)
}

// lower is strings.ToLower for ASCII only: decoded bytes need not be text.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
