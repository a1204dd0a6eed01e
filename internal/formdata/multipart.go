package formdata

import (
	"bytes"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

var lineBreak = []byte("\r\n")

// multipartValue returns the only value of a field of multipart/form-data (RFC 7578).
// Files, encoded parts and repeated fields have no value.
//
// mime/multipart would build a map for each part's headers: kilobytes for a few
// unauthenticated bytes. This reader keeps only the value, and refuses what two
// readers could parse differently: text before the first boundary, a boundary anywhere
// but between parts, bare line feeds, folded headers, text after a boundary, a part
// that is no named field.
func multipartValue(body []byte, boundary, name string, alone bool) (string, error) {
	if boundary == "" || len(boundary) > 70 { // RFC 2046 §5.1.1
		return "", errForm
	}
	reads(body)
	delimiter := []byte("\r\n--" + boundary)
	rest, ok := bytes.CutPrefix(body, delimiter[2:])
	var found []byte
	seen := false
	for n := 0; ok; n++ {
		if after, last := bytes.CutPrefix(rest, []byte("--")); last {
			switch {
			case !endsLine(after), bytes.Count(body, delimiter[2:]) != n+1:
				return "", errForm
			case !seen:
				return "", ErrNoValue
			}
			return string(found), nil
		}
		if n == MaxFields {
			return "", ErrFields
		}
		var p part
		if p, rest, ok = readPart(rest); !ok || !p.field {
			break
		}
		// The empty line after the headers may also be the one before the delimiter.
		end := bytes.Index(rest, delimiter)
		if end < 0 {
			break
		}
		if alone {
			switch decoded := lenient(string(p.name)); {
			case bytes.Contains(p.name, []byte("=?")): // RFC 2047; Commons FileUpload decodes it
				return "", errEncoded
			case isAlike(string(p.name), name), decoded != string(p.name) && (decoded == name || isAlike(decoded, name)):
				return "", errAlike
			}
		}
		if string(p.name) == name {
			if seen || p.file || p.encoded || !isText(p.contentType) {
				break
			}
			seen = true
			found = rest[min(2, end):end]
		}
		rest = rest[end+len(delimiter):]
	}
	return "", errForm
}

// endsLine reports whether only blanks precede the end of the line.
func endsLine(text []byte) bool {
	text = bytes.TrimLeft(text, " \t")
	return len(text) == 0 || bytes.HasPrefix(text, lineBreak)
}

// part is a part as its headers describe it.
type part struct {
	name        []byte
	field       bool // it has a name
	file        bool
	encoded     bool
	contentType []byte
}

// isText reports whether readers take a part of a type for a field with the same text.
// Some make a file of one of application/octet-stream.
func isText(contentType []byte) bool {
	if contentType == nil {
		return true
	}
	kind, params := parseType(string(contentType))
	return (kind == "text/plain" || kind == "application/json") && isASCIICompatible(params["charset"])
}

// readPart reads the rest of a delimiter's line and a part's headers. The rest begins
// with the line break of the empty line.
func readPart(text []byte) (p part, rest []byte, ok bool) {
	_, rest, ok = bytes.Cut(text, lineBreak)
	if !ok || !endsLine(text) {
		return p, nil, false
	}
	for disposed := false; !bytes.HasPrefix(rest, lineBreak); {
		var line []byte
		if line, rest, ok = bytes.Cut(rest, lineBreak); !ok {
			return p, nil, false
		}
		key, value, colon := bytes.Cut(line, []byte{':'})
		if !colon || !httptoken.Valid(key) || bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return p, nil, false
		}
		switch {
		case equalFold(key, "Content-Transfer-Encoding"):
			p.encoded = true
		case equalFold(key, "Content-Type"):
			if p.contentType != nil {
				return p, nil, false
			}
			p.contentType = bytes.TrimSpace(value)
		case equalFold(key, "Content-Disposition"):
			if disposed || !p.readDisposition(value) {
				return p, nil, false
			}
			disposed = true
		}
	}
	return p, rest, true
}

// readDisposition parses the value of Content-Disposition (RFC 7578 §4.2): form-data;
// name="order"; filename="a.txt". Parameters must not repeat.
func (p *part) readDisposition(text []byte) bool {
	kind, text, more := bytes.Cut(text, []byte{';'})
	p.field = equalFold(bytes.Trim(kind, " \t"), "form-data")
	named := false
	for more {
		key, rest, ok := bytes.Cut(text, []byte{'='})
		if !ok {
			return false
		}
		var value []byte
		if value, text, more, ok = cutParam(rest); !ok {
			return false
		}
		switch key = bytes.Trim(key, " \t"); {
		case !httptoken.Valid(key): // a token, like a header name
			return false
		case equalFold(key, "name"):
			if named || bytes.IndexByte(value, '\\') >= 0 {
				return false
			}
			named, p.name = true, value
		case equalFold(key, "filename"), equalFold(key, "filename*"):
			p.file = true
		case len(key) > 4 && equalFold(key[:5], "name*"): // RFC 7578 forbids it
			return false
		}
	}
	p.field = p.field && named
	return true
}

// cutParam cuts a parameter's value off the text after its equals sign. Readers
// disagree on whether a quotation mark after a backslash ends it, so it is refused.
func cutParam(text []byte) (value, rest []byte, more, ok bool) {
	if text, quoted := bytes.CutPrefix(text, []byte{'"'}); quoted {
		if value, rest, ok = bytes.Cut(text, []byte{'"'}); !ok || bytes.HasSuffix(value, []byte{'\\'}) {
			return nil, nil, false, false
		}
		before, rest, more := bytes.Cut(rest, []byte{';'})
		return value, rest, more, len(bytes.Trim(before, " \t")) == 0
	}
	value, rest, more = bytes.Cut(text, []byte{';'})
	value = bytes.Trim(value, " \t")
	return value, rest, more, httptoken.Valid(value)
}

func equalFold(text []byte, word string) bool {
	return len(text) == len(word) && strings.EqualFold(string(text), word)
}
