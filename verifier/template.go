package verifier

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A template is the signed content, split once into literals and slots.
type template []part

type part struct {
	literal string
	slot    slot // the zero slot: a literal
	arg     string
	path    jsonPath // of a json slot
	filters []filter

	// Whoever sends the request chooses the text, and nothing in its own form ends it.
	free bool
	// The first byte of the literal after the slot, 0 where none follows: a text
	// without it can be read back from the message in one way only.
	end        byte
	beforeBody bool
}

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
	slotHeader
	slotJSON
	slotForm
	slotParam
)

var slotNames = map[string]slot{
	"body": slotBody, "timestamp": slotTimestamp, "id": slotID, "secret": slotSecret,
	"method": slotMethod, "url": slotURL, "url_no_query": slotURLNoQuery, "uri": slotURI,
	"path": slotPath, "query": slotQuery, "query_sorted": slotQuerySorted, "host": slotHost,
	"form_sorted": slotFormSorted,
	"header":      slotHeader, "json": slotJSON, "form": slotForm, "param": slotParam,
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
		p.arg = canonicalHeader(arg)
	case slotJSON:
		path, err := parseJSONPath(arg)
		if err != nil {
			return part{}, fmt.Errorf("{json:%s}: %w", arg, err)
		}
		p.path = path
	case slotParam:
		if filtered {
			return part{}, fmt.Errorf("{param:%s} takes no filters: give the value as it is signed", arg)
		}
	}
	if filtered {
		for f := range strings.SplitSeq(chain, "|") {
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

// coversBody reports whether changing any byte of the body changes the message.
func (t template) coversBody() bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.slot == slotBody && covers(p.filters) })
}

// guard notes for each slot what its text must not hold so that the message
// splits one way (see oneWay).
func (t template) guard(timestampUnit string) {
	for i := range t {
		p := &t[i]
		switch p.slot {
		case slotID, slotHeader, slotJSON, slotForm:
			p.free = !slices.ContainsFunc(p.filters, func(f filter) bool { return f.kind != fold })
		case slotTimestamp: // without a zone, a fraction may follow or not
			p.free = timestampUnit == "iso8601_utc"
		}
		if i+1 < len(t) && t[i+1].slot == slotNone {
			p.end = t[i+1].literal[0]
		}
		p.beforeBody = t[i:].bodyIn()
	}
}

// bodyIn reports whether the body itself, not a digest of it, stands in t.
func (t template) bodyIn() bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.slot == slotBody && len(p.filters) == 0 })
}

// proves reports whether the message gives back the text of a slot: a literal
// ends it, it touches no slot before it, and no body stands before it.
func (t template) proves(s slot, arg string) bool {
	i := slices.IndexFunc(t, func(p part) bool { return p.slot == s && p.arg == arg && len(p.filters) == 0 })
	if i < 0 || t[:i].bodyIn() {
		return false
	}
	return t[i].end != 0 && (i == 0 || t[i-1].slot == slotNone)
}

// oneWay reports whether text may stand in the slot: without the byte that ends
// it, or, where another slot touches it and a body follows, made of the
// characters of ids alone, so that no piece of a captured body passes as one.
func (p *part) oneWay(text []byte) bool {
	if p.end != 0 {
		return bytes.IndexByte(text, p.end) < 0
	}
	if !p.beforeBody {
		return true
	}
	return !bytes.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~:/+=@", r))
	})
}
