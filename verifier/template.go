package verifier

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

// A template is the signed content, split once into literals and slots.
type template []part

type part struct {
	literal string
	slot    slot // the zero slot: a literal
	arg     string
	path    jsonpath.Path // of a json slot
	// A json slot's member may be absent or null: the text is empty then.
	optional bool
	// The text may hold what ends it: see checkOpen.
	open    bool
	lines   []jsonpath.Member // of a json_lines slot
	filters []filter

	guard guard
}

// guard is what the text of a slot must not hold so that the message splits one
// way. The zero guard lets everything pass: the text's own form ends it.
type guard struct {
	form form
	// The first byte of the next literal, where no body stands between. The
	// first such byte ends the text.
	end byte
	// The last byte of the literal before, where a body stands before that. The
	// last such byte begins the text.
	start byte
	// A body stands on a side without a literal.
	loose bool
	// Bytes at the front, or in all, that the form itself counts.
	length int
	// A query, where another message has the URL: it must not look like one.
	noURL bool
}

type form uint8

const (
	formEnds  form = iota // its own form ends it, or the receiver chose it
	formFree              // whoever sends the request chooses it
	formURI               // characters of a URI
	formCount             // a fixed number of digits
)

type slot uint8

const (
	slotNone slot = iota
	slotBody
	slotTimestamp
	slotID
	slotSecret
	slotMethod
	slotURL
	slotURLNoQuery
	slotURI
	slotPath
	slotQuery
	slotQuerySorted
	slotHost
	slotFormSorted
	slotURLFormSorted
	slotURIEncodedTwice
	slotFormPHP
	slotHeader // those from here on take an argument
	slotSignedHeaders
	slotKV
	slotJSON
	slotForm
	slotBodyDigest
	slotParam
	slotListedHeaders
	slotJSONLines
)

var slotNames = map[string]slot{
	"body": slotBody, "timestamp": slotTimestamp, "id": slotID, "secret": slotSecret,
	"method": slotMethod, "url": slotURL, "url_no_query": slotURLNoQuery, "uri": slotURI,
	"path": slotPath, "query": slotQuery, "query_sorted": slotQuerySorted, "host": slotHost,
	"form_sorted": slotFormSorted, "url_form_sorted": slotURLFormSorted,
	"uri_encoded_twice": slotURIEncodedTwice, "form_php": slotFormPHP,
	"header": slotHeader, "jws_headers": slotListedHeaders, "signed_headers": slotSignedHeaders, "kv": slotKV, "json": slotJSON, "form": slotForm, "body_digest": slotBodyDigest, "param": slotParam,
	"json_lines": slotJSONLines,
}

// takesArg reports whether a slot is written with an argument: {header:Name}.
func (s slot) takesArg() bool { return s >= slotHeader }

func slotList() string {
	var names []string
	for name, s := range slotNames {
		if s.takesArg() {
			name += ":…"
		}
		names = append(names, "{"+name+"}")
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// parseTemplate splits text into literals and slots. Params are spliced as
// literals: their braces and backslashes mean nothing.
func parseTemplate(text string, params map[string]string) (template, error) {
	var t template
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, part{literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
			if i == len(text) {
				return nil, fmt.Errorf(`ends in a single backslash: write \\ for a backslash`)
			}
			c, ok := templateEscapes[text[i]]
			if !ok {
				return nil, fmt.Errorf(`unknown escape \%c: known are \n \r \t \\ \{ \}`, text[i])
			}
			literal.WriteByte(c)
		case '}':
			return nil, fmt.Errorf(`a } without its {: write \} for a brace`)
		case '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return nil, fmt.Errorf(`a { without its }: write \{ for a brace`)
			}
			p, err := parseSlot(text[i+1 : i+end])
			if err != nil {
				return nil, err
			}
			i += end
			if p.slot == slotParam {
				value, ok := params[p.arg]
				if !ok || value == "" {
					return nil, fmt.Errorf("{param:%s} has no value: give it with: param %s <value>", p.arg, p.arg)
				}
				literal.WriteString(value)
				continue
			}
			flush()
			t = append(t, p)
		default:
			literal.WriteByte(text[i])
		}
	}
	flush()
	return t, nil
}

var templateEscapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '{': '{', '}': '}'}

func parseSlot(text string) (part, error) {
	name, chain, filtered := strings.Cut(text, "|")
	name, arg, _ := strings.Cut(name, ":")
	s, ok := slotNames[name]
	if !ok {
		if nearest.Of(name, slices.Collect(maps.Keys(slotNames))) == "" { // no slip: see unknown
			return part{}, fmt.Errorf("unknown slot: known are %s", slotList())
		}
		return part{}, fmt.Errorf("unknown slot {%s}: known are %s", name, slotList())
	}
	if s.takesArg() != (arg != "") {
		if s.takesArg() {
			return part{}, fmt.Errorf("{%s} needs a name: {%s:…}", name, name)
		}
		return part{}, fmt.Errorf("{%s} takes no name after a colon", name)
	}
	p := part{slot: s, arg: arg}
	switch s {
	case slotHeader:
		if !httptoken.Valid(arg) {
			return part{}, errors.New("{header:…}: what stands there is not a header name: write letters, digits and dashes")
		}
		if p.arg = canonicalHeader(arg); p.arg == "Host" { // net/http keeps it elsewhere
			p.slot, p.arg = slotHost, ""
		}
	case slotSignedHeaders:
		if !httptoken.Valid(arg) {
			return part{}, errors.New("{signed_headers:…}: what stands there is not a header name: write letters, digits and dashes")
		}
		p.arg = canonicalHeader(arg)
	case slotJSON:
		p.arg, p.optional = strings.CutSuffix(arg, "?")
		path, err := jsonpath.Parse(p.arg)
		if err != nil {
			return part{}, fmt.Errorf("{json:%s}: %w", arg, err)
		}
		if p.optional && path.Many() {
			return part{}, fmt.Errorf("{json:%s}: with [*] some elements may have the member and others not: drop the ?", arg)
		}
		p.path = path
	case slotJSONLines:
		var err error
		if p.lines, err = parseJSONLines(arg); err != nil || filtered {
			return part{}, cmp.Or(err, errLinesAlone)
		}
	case slotBodyDigest:
		if !strings.HasSuffix(chain, "|hex") {
			return part{}, errors.New("{body_digest:…} needs the digest's filters, ending in hex: {body_digest:bodySHA256|sha256|hex}")
		}
	case slotParam:
		if filtered {
			return part{}, fmt.Errorf("{param:%s} takes no filters: give the value as it is signed", arg)
		}
	}
	if filtered {
		for f := range strings.SplitSeq(chain, "|") {
			if f == "any" {
				p.open = true
				continue
			}
			known, ok := filters[f]
			if !ok {
				return part{}, fmt.Errorf("unknown filter %q: known are %s", f, filterList())
			}
			p.filters = append(p.filters, known)
		}
	}
	return p, nil
}

// has reports whether a slot of that kind and argument stands in t.
func (t template) has(s slot, arg string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.slot == s && p.arg == arg })
}

// listsHeaders reports whether the headers that the signature lists stand in t.
func (t template) listsHeaders() bool { return t.hasKind(slotListedHeaders) }

// hasKind reports whether a slot of that kind stands in t, whatever its argument.
func (t template) hasKind(s slot) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.slot == s })
}

// coversBody reports whether changing any byte of the body changes the message.
func (t template) coversBody() bool {
	signsURL := t.has(slotURL, "") || t.has(slotURI, "") || t.has(slotQuery, "")
	return slices.ContainsFunc(t, func(p part) bool {
		return (p.slot == slotBody || p.slot == slotBodyDigest && signsURL) && covers(p.filters)
	})
}

// takesApart reports whether a slot's text is made of parts of the body.
func (s slot) takesApart() bool {
	switch s {
	case slotForm, slotFormSorted, slotURLFormSorted, slotFormPHP, slotJSONLines:
		return true
	}
	return false
}

// guard notes for each slot what its text must not hold (see oneWay).
func (t template) guard(timestampUnit string) {
	for i := range t {
		p := &t[i]
		if slices.ContainsFunc(p.filters, func(f filter) bool { return f.kind != fold }) {
			continue
		}
		g := &p.guard
		if p.open {
			continue // all others are read from the message's ends
		}
		g.end = t[i+1:].nextByte()
		if t[:i].opens() && t[i-1].slot == slotNone {
			g.start = t[i-1].literal[len(t[i-1].literal)-1]
			g.form = formFree
			continue
		}
		bodyBefore := t[:i].bodyIn()
		if bodyBefore {
			g.start = t[:i].lastByte()
		}
		g.loose = g.end == 0 && t[i+1:].bodyIn() || g.start == 0 && bodyBefore
		switch p.slot {
		case slotID, slotHeader, slotSignedHeaders, slotKV, slotJSON, slotForm:
			g.form = formFree
		case slotURL, slotURLNoQuery, slotURI, slotURIEncodedTwice, slotPath, slotQuery, slotQuerySorted, slotHost:
			if t.bodyIn() {
				g.form = formURI
			}
		case slotTimestamp:
			touches := i > 0 && t[i-1].slot != slotNone || i+1 < len(t) && t[i+1].slot != slotNone ||
				isDigit(g.start) || isDigit(g.end)
			switch digits := unixDigits[timestampUnit]; {
			case timestampUnit == "iso8601_utc": // a fraction and a zone may follow or not
				g.form, g.length, g.start = formFree, len("2006-01-02T15:04:05"), 0
			case digits > 0 && touches:
				g.form, g.length = formCount, digits
			}
		}
	}
}

func (t template) opens() bool { return slices.ContainsFunc(t, func(p part) bool { return p.open }) }

// checkOpen lets one text of a message hold what divides it from the others: with
// those before it read from the front and those behind it from the back, it is
// what remains. Two of that kind could exchange pieces.
func (t template) checkOpen() error {
	if !t.opens() {
		return nil
	}
	open := 0
	for i, p := range t {
		if p.open {
			open++
		}
		touches := i > 0 && p.slot != slotNone && t[i-1].slot != slotNone
		if p.slot != slotNone && p.slot != slotJSON || len(p.filters) > 0 || touches || open > 1 {
			return errors.New("any goes with one {json:…} of a message that holds nothing but others and text between them, without filters")
		}
	}
	return nil
}

// unixDigits is how many digits unix times have from 2001 to 2286.
var unixDigits = map[string]int{"": 10, "s": 10, "ms": 13, "us": 16}

// nextByte returns the first byte of the first literal before any body, or 0.
func (t template) nextByte() byte {
	for _, p := range t {
		switch {
		case p.slot == slotNone:
			return p.literal[0]
		case p.slot == slotBody && len(p.filters) == 0:
			return 0
		}
	}
	return 0
}

// lastByte returns the last byte of the last literal after any body, or 0.
func (t template) lastByte() byte {
	for _, p := range slices.Backward(t) {
		switch {
		case p.slot == slotNone:
			return p.literal[len(p.literal)-1]
		case p.slot == slotBody && len(p.filters) == 0:
			return 0
		}
	}
	return 0
}

// bodyIn reports whether the body itself, not a digest of it, stands in t.
func (t template) bodyIn() bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.slot == slotBody && len(p.filters) == 0 })
}

// proves reports whether the message gives back the text of a slot: literals
// end it and all that stands before it, it touches no slot, and no body stands
// before it. Or it is the last, after nothing but literals and times of a fixed
// number of digits.
func (t template) proves(s slot, arg string) bool {
	i := slices.IndexFunc(t, func(p part) bool { return p.slot == s && p.arg == arg && len(p.filters) == 0 })
	if i > 0 && i == len(t)-1 && !slices.ContainsFunc(t[:i], func(p part) bool { return p.slot != slotNone && p.guard.form != formCount }) {
		return true
	}
	if i < 0 || t[:i].bodyIn() || i > 0 && t[i-1].slot != slotNone || i+1 == len(t) || t[i+1].slot != slotNone {
		return false
	}
	return !slices.ContainsFunc(t[:i], func(p part) bool {
		return p.guard.form == formURI && uriByte(p.guard.end) || p.slot == slotFormSorted || p.slot == slotURLFormSorted
	})
}

// oneWay reports whether text may stand in the slot: without the byte that ends
// it and the one that begins it, or, where nothing divides it from a body, made
// of the characters of ids alone, so that no piece of a captured JSON body
// passes as one.
func (g *guard) oneWay(text []byte) bool {
	if g.noURL && (bytes.HasPrefix(text, []byte("http://")) || bytes.HasPrefix(text, []byte("https://"))) {
		return false
	}
	switch g.form {
	case formEnds:
		return true
	case formCount:
		return len(text) == g.length
	case formURI: // literals may well be characters of a URI: a piece of JSON never is
		for _, c := range text {
			if !uriBytes[c] {
				return false
			}
		}
		return true
	}
	text = text[min(g.length, len(text)):]
	if g.end != 0 && bytes.IndexByte(text, g.end) >= 0 || g.start != 0 && bytes.IndexByte(text, g.start) >= 0 {
		return false
	}
	return !g.loose || !slices.ContainsFunc(text, func(c byte) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || strings.IndexByte("-._~:/+=@", c) >= 0)
	})
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// uriByte reports whether c may stand in a URI (RFC 3986), or is no ASCII, which
// some senders do not escape.
func uriByte(c byte) bool { return uriBytes[c] }

var uriBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = c > ' ' && c != 0x7f && strings.IndexByte("\"<>\\^`{|}", byte(c)) < 0
	}
	return table
}()
