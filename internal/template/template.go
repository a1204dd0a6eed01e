package template

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

// A Template is signed content, parsed into literals and slots.
type Template []Part

// A Part is a piece of a template.
type Part struct {
	Literal string // only with the slot None
	Slot    Slot
	Arg     string            // after the slot's colon, without the ? of an optional one
	Path    jsonpath.Path     // of JSON, JSONIs and JSONPairs
	Want    string            // of JSONIs
	Members []jsonpath.Member // of JSONLines
	Without []string          // of FormPairs and JSONPairs: what is not signed
	// The member of JSON may be absent or null, and is then empty; a claim with Param
	// is checked only if the param has a value.
	Optional bool
	// The text may contain its own delimiter: see checkAny.
	Any     bool
	Filters []Filter

	guard guard
}

func (f *Facts) errWhole() error {
	return fmt.Errorf("{%s:…} must be the whole message, without filters", f.Name)
}

// Parse parses text into literals and slots; params remain slots. With an error,
// which is the first, it still returns what it could parse.
func Parse(text string) (t Template, err error) {
	for i := 0; i < len(text); i++ {
		var bad error
		switch text[i] {
		case '{':
			slot, _, closed := strings.Cut(text[i+1:], "}")
			if !closed {
				return t, cmp.Or(err, errors.New(`a { without its }: write \{ for a brace`))
			}
			var p Part
			if p, bad = parseSlot(slot); bad == nil {
				t = append(t, p)
			}
			i += len(slot) + 1
		case '}':
			bad = errors.New(`a } without its {: write \} for a brace`)
		case '\\':
			if i++; i == len(text) {
				return t, cmp.Or(err, errors.New(`ends in a single backslash: write \\ for a backslash`))
			}
			literal, ok := escapes[text[i]]
			if !ok {
				bad = fmt.Errorf(`unknown escape \%c: known are \n \r \t \\ \{ \}`, text[i])
			}
			t = t.withLiteral(literal)
		default:
			n := strings.IndexAny(text[i:], `{}\`)
			if n < 0 {
				n = len(text) - i
			}
			t = t.withLiteral(text[i : i+n])
			i += n - 1
		}
		err = cmp.Or(err, bad)
	}
	return t, err
}

var escapes = map[byte]string{'n': "\n", 'r': "\r", 't': "\t", '\\': `\`, '{': "{", '}': "}"}

// withLiteral appends literal text, to the last part if that is a literal.
func (t Template) withLiteral(text string) Template {
	if n := len(t); n > 0 && t[n-1].Slot == None {
		t[n-1].Literal += text
	} else if text != "" {
		t = append(t, Part{Literal: text})
	}
	return t
}

func parseSlot(text string) (Part, error) {
	name, chain, filtered := strings.Cut(text, "|")
	name, arg, named := strings.Cut(name, ":")
	slot := Slot(slices.IndexFunc(facts[:], func(f Facts) bool { return f.Name == name && name != "" }))
	if slot >= Slot(len(facts)) {
		if nearest.Of(name, slotNames()) == "" { // not a typo: it may be a misplaced secret
			return Part{}, fmt.Errorf("unknown slot: known are %s", slotList())
		}
		return Part{}, fmt.Errorf("unknown slot {%s}: known are %s", name, slotList())
	}
	if slot == Query && named {
		slot = QueryParam
	}
	p := Part{Slot: slot}
	if err := p.parseArgument(arg); err != nil {
		return Part{}, err
	}
	switch {
	case slot.Facts().Whole && filtered:
		return Part{}, slot.Facts().errWhole()
	case slot == KVHeaders && filtered:
		return Part{}, errors.New("{kv_headers:…} takes no filters")
	case slot == BodyDigest && !strings.HasSuffix(chain, "|hex"):
		return Part{}, errors.New("{body_digest:…} needs the digest's filters, ending in hex: {body_digest:bodySHA256|sha256|hex}")
	case slot == JSONIs && filtered:
		return Part{}, errors.New("{json_is:…} takes no filters")
	case slot == Param && filtered:
		return Part{}, fmt.Errorf("{param:%s} takes no filters: give the value as it is signed", arg)
	case !filtered:
		return p, nil
	}
	for f := range strings.SplitSeq(chain, "|") {
		if f == "any" {
			p.Any = true
			continue
		}
		i := slices.IndexFunc(filters, func(known Filter) bool { return known.Name == f })
		if i < 0 {
			return Part{}, fmt.Errorf("unknown filter %q: known are %s", f, filterList())
		}
		p.Filters = append(p.Filters, filters[i])
	}
	return p, nil
}

// parseArgument reads the text after the colon of a slot's name.
func (p *Part) parseArgument(arg string) (err error) {
	f := p.Slot.Facts()
	switch {
	case f.argument == noArgument && arg != "":
		return fmt.Errorf("{%s} takes no name after a colon", f.Name)
	case f.argument != noArgument && arg == "":
		return fmt.Errorf("{%s} needs a name: {%s:…}", f.Name, f.Name)
	}
	p.Arg = arg
	switch f.argument {
	case headerName:
		if !httptoken.Valid(arg) {
			return fmt.Errorf("{%s:…}: invalid header name: write letters, digits and dashes", f.Name)
		}
	case jsonPath:
		p.Arg, p.Optional = strings.CutSuffix(arg, "?")
		if p.Path, err = jsonpath.Parse(p.Arg); err != nil {
			return fmt.Errorf("{%s:%s}: %w", f.Name, arg, err)
		}
		if p.Optional && p.Path.Many() {
			return fmt.Errorf("{%s:%s}: with [*] some elements may have the member and others not: drop the ?", f.Name, arg)
		}
	case memberList:
		p.Members, err = parseMembers(arg)
	case nameList:
		p.Without, err = parseNames(arg)
	case pathText:
		path, want, ok := strings.Cut(arg, "=")
		if p.Path, err = jsonpath.Parse(path); err != nil || !ok || want == "" {
			return errors.New("write {json_is:path=text}, the text that a member must have: {json_is:Event.Code=1}")
		}
		p.Want = want
	case pathNames:
		path, names, some := strings.Cut(arg, ",")
		if p.Path, err = jsonpath.Parse(path); err != nil || p.Path.Many() {
			return errPairs
		}
		if some {
			p.Without, err = parseNames(names)
		}
	}
	if p.Slot == Param {
		p.Arg, p.Optional = strings.CutSuffix(arg, "?")
	}
	return err
}

// With prepares t for requests: it makes header names canonical and replaces params
// by their values as literals, in which braces and backslashes have no meaning. Its
// error names a param without a value.
func (t Template) With(params map[string]string) (Template, error) {
	var out Template
	for _, p := range t {
		switch {
		case p.Slot == None:
			out = out.withLiteral(p.Literal)
		case p.Slot != Param:
			if p.Slot.Facts().argument == headerName {
				p.Arg = textproto.CanonicalMIMEHeaderKey(p.Arg)
			}
			if p.Slot == Header && p.Arg == "Host" { // net/http moves it out of the headers
				p.Slot, p.Arg = Host, ""
			}
			out = append(out, p)
		case params[p.Arg] == "":
			return nil, fmt.Errorf("{param:%s} has no value: give it with: param %s <value>", p.Arg, p.Arg)
		default:
			out = out.withLiteral(params[p.Arg])
		}
	}
	return out, nil
}

// Text returns the text of a template without slots.
func (t Template) Text() (text string, ok bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) > 1 || t[0].Slot != None:
		return "", false
	}
	return t[0].Literal, true
}

// unescaper escapes a literal as templates do.
var unescaper = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`, `\`, `\\`, "{", `\{`, "}", `\}`)

// String returns t in the syntax of Parse.
func (t Template) String() string {
	var b strings.Builder
	for _, p := range t {
		if p.Slot == None {
			b.WriteString(unescaper.Replace(p.Literal))
			continue
		}
		b.WriteString("{" + p.Slot.Facts().Name)
		if p.Arg != "" {
			b.WriteString(":" + p.Arg)
		}
		if p.Optional {
			b.WriteByte('?')
		}
		if p.Any {
			b.WriteString("|any")
		}
		for _, f := range p.Filters {
			b.WriteString("|" + f.Name)
		}
		b.WriteByte('}')
	}
	return b.String()
}

// Has reports whether t contains a slot of this kind, with any argument.
func (t Template) Has(s Slot) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.Slot == s })
}

// HasArg reports whether t contains a slot of this kind with this argument.
func (t Template) HasArg(s Slot, arg string) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return p.Slot == s && p.Arg == arg })
}

// Some reports whether kind holds for some slot of t.
func (t Template) Some(kind func(*Facts) bool) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return kind(p.Slot.Facts()) })
}

var errPairs = errors.New("write {form_pairs:sign,sign_type} with the fields that are not signed, and {json_pairs:Data,Comments} with the path of the object and the members of it that are not signed")

func parseNames(text string) ([]string, error) {
	names := strings.Split(text, ",")
	if slices.Contains(names, "") {
		return nil, errPairs
	}
	return names, nil
}

var errMembers = errors.New("{json_lines:…}: write the members' names with commas, different ones in any case of their letters, a question mark after one that may be missing, not after the first or last: {json_lines:Message,Subject?,Type}")

// parseMembers parses the member list of {json_lines:Message,Subject?,Type}. The
// slot's text is those members of the body's object in that order, each as its name,
// a line feed, its text and a line feed; one with a question mark is left out if it
// is missing or null. Amazon SNS signs this way:
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
//
// The first text may hold anything, the others no line feed, so the content can be
// split in only one way from its end: two lines are the last member, the two before
// them the previous one, and the name shows whether an optional member is present.
func parseMembers(text string) ([]jsonpath.Member, error) {
	var all []jsonpath.Member
	for item := range strings.SplitSeq(text, ",") {
		name, optional := strings.CutSuffix(item, "?")
		if name == "" || strings.ContainsAny(name, "?.[] \t\r\n") || slices.ContainsFunc(all, func(m jsonpath.Member) bool { return strings.EqualFold(m.Name, name) }) {
			return nil, errMembers
		}
		all = append(all, jsonpath.Member{Name: name, Optional: optional})
	}
	if all[0].Optional || all[len(all)-1].Optional {
		return nil, errMembers
	}
	return all, nil
}
