package check

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// An alteration is a change that a scheme must detect. apply reports whether it found
// something to change.
type alteration struct {
	name  string
	apply func(*trial) bool
}

// alterations lists the changes to try on every genuine delivery of a provider.
func alterations(p *providers.Provider, vec *providers.Vector) []alteration {
	a := newAlterer(p, vec)
	return slices.Concat(a.ofBody(), a.ofLines(), a.ofKey(), a.ofHeaders(), a.ofSignature(), a.ofTime(), a.ofURL(), a.ofInput())
}

// An alterer knows what a provider's scheme signs.
type alterer struct {
	verifier.Scheme
	p        *providers.Provider
	vec      *providers.Vector
	messages []template.Template // for RFC 9421, one made of its components
}

func newAlterer(p *providers.Provider, vec *providers.Vector) *alterer {
	a := &alterer{Scheme: p.Scheme, p: p, vec: vec}
	for _, text := range p.Scheme.Messages() {
		t, _ := template.Parse(text) // the scheme has compiled
		a.messages = append(a.messages, t)
	}
	if components := p.Scheme.SignedComponents(); components != nil {
		a.messages = append(a.messages, slotsOf(components))
	}
	return a
}

// every reports whether is holds for all messages: the vector may be signed by any of
// the alternatives.
func (a *alterer) every(is func(template.Template) bool) bool {
	return len(a.messages) > 0 && !slices.ContainsFunc(a.messages, func(t template.Template) bool { return !is(t) })
}

// signs reports whether every message has a slot.
func (a *alterer) signs(s template.Slot) bool {
	return a.every(func(t template.Template) bool { return t.Has(s) })
}

// signsPart reports whether every message has a slot with that part of the URL.
func (a *alterer) signsPart(part func(*template.Facts) bool) bool {
	return a.every(func(t template.Template) bool { return t.Some(part) })
}

// signedHeaders lists the headers that every message names.
func (a *alterer) signedHeaders() []string {
	var names []string
	for _, p := range slices.Concat(a.messages...) {
		if p.Slot == template.Header && !slices.Contains(names, p.Arg) && a.every(func(t template.Template) bool { return t.HasArg(template.Header, p.Arg) }) {
			names = append(names, p.Arg)
		}
	}
	return names
}

func (a *alterer) ofBody() []alteration {
	if a.BodyUnsigned {
		return nil
	}
	return []alteration{
		{"a byte added to the body", func(t *trial) bool { t.body = append(t.body, ' '); return true }},
		{"a bit of the body flipped", func(t *trial) bool {
			if len(t.body) == 0 {
				return false
			}
			t.body[len(t.body)/2] ^= 1
			return true
		}},
		{"an empty body", func(t *trial) bool {
			had := len(t.body) > 0
			t.body = nil
			return had
		}},
	}
}

// ofLines changes signed members of the body if no others are signed, and members
// with a required value.
func (a *alterer) ofLines() []alteration {
	names := sortedKeys(a.RequireJSON)
	var signed []string
	for _, p := range slices.Concat(a.messages...) {
		if p.Slot == template.JSONLines {
			signed = nil // with alternatives, the last
		}
		for _, m := range p.Members {
			signed = append(signed, m.Name)
		}
	}
	names = append(names, signed...)
	var all []alteration
	for _, name := range names {
		all = append(all, alteration{"another " + name + " in the body", func(t *trial) bool {
			return t.editMember(name, func(text string) (string, bool) { return text + "x", true })
		}}, alteration{"no " + name + " in the body", func(t *trial) bool {
			return t.editMember(name, func(string) (string, bool) { return "", false })
		}})
	}
	for _, name := range signed {
		other := strings.ToLower(name)
		all = append(all, alteration{"a member " + other + " beside the signed one", func(t *trial) bool {
			t.body = append([]byte(`{"`+other+`":"x",`), t.body[1:]...)
			return true
		}})
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// otherSecret turns an example secret, text or hex, into another of the same form.
var otherSecret = strings.NewReplacer("Example", "Another", "00112233", "33221100")

func (a *alterer) ofKey() []alteration {
	with := func(key verifier.Key) func(*trial) bool {
		return func(t *trial) bool {
			if key.Text == "" || key == keyOf(a.vec) {
				return false
			}
			v, err := compile(a.p, a.vec, key)
			if err != nil {
				return false // not a key of this scheme: nothing to test
			}
			t.v = v
			return true
		}
	}
	public := a.vec.PublicKey != "" || a.PublicKeyPrefix != "" && strings.HasPrefix(a.vec.Secret, a.PublicKeyPrefix)
	if public {
		var all []alteration
		for _, pem := range a.p.ExamplePublicKeys() {
			all = append(all, alteration{"another public key", with(verifier.Key{Text: pem, Kind: verifier.PublicKey})})
		}
		return all
	}
	all := []alteration{
		{"another secret", with(verifier.Key{Text: a.p.ExampleSecret()})},
		{"yet another secret", with(verifier.Key{Text: otherSecret.Replace(a.p.ExampleSecret())})},
	}
	if a.SecretEncoding == "" || a.SecretEncoding == "utf8" {
		all = append(all, alteration{"a longer secret", with(verifier.Key{Text: a.vec.Secret + "x"})})
	}
	return all
}

// ofHeaders removes, doubles and changes the headers beside the signature's.
func (a *alterer) ofHeaders() []alteration {
	var all []alteration
	once := func(what string, names []string) { // on two lines
		all = append(all, alteration{"a second line of " + what, func(t *trial) bool {
			name, ok := t.first(names)
			if ok {
				t.req.Header[name] = append(t.req.Header[name], t.req.Header[name][0])
			}
			return ok
		}})
	}
	without := func(what string, names []string) {
		all = append(all, alteration{"no " + what, func(t *trial) bool { return t.remove(names) }})
	}
	changed := func(what string, names []string) {
		all = append(all, alteration{"another " + what, func(t *trial) bool {
			name, ok := t.first(names)
			if ok {
				t.req.Header[name][0] += "x"
			}
			return ok
		}})
	}
	if ts := a.Timestamp; ts != nil && len(ts.Header) > 0 {
		once("the timestamp", ts.Header)
		if !ts.Off || a.signs(template.Timestamp) {
			without("timestamp", ts.Header)
		}
	}
	if id := a.DeliveryID; id != nil && len(id.Header) > 0 {
		once("the id", id.Header)
		if a.signs(template.ID) {
			without("id", id.Header)
			changed("id", id.Header)
		}
	}
	for _, name := range a.signedHeaders() {
		once(name, []string{name})
		without(name, []string{name})
		changed(name, []string{name})
	}
	for _, required := range a.RequireHeader {
		once(required.Name, []string{required.Name})
		without(required.Name, []string{required.Name})
		if !slices.Contains(required.Values, "*") {
			changed(required.Name, []string{required.Name})
		}
	}
	return all
}

// encoded matches an encoded signature in its header, with any adjacent version or
// key: the end or middle of it is changed.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/=_-]{24,}`)

func (a *alterer) ofSignature() []alteration {
	edit := func(f func(text string) string) func(*trial) bool {
		return func(t *trial) bool {
			return a.editSignature(t, func(text string) (string, bool) {
				if a.Algorithm == verifier.Token || !encoded.MatchString(text) {
					return f(text), true
				}
				return encoded.ReplaceAllStringFunc(text, f), true
			})
		}
	}
	all := []alteration{
		{"no signature", func(t *trial) bool {
			return a.editSignature(t, func(string) (string, bool) { return "", false })
		}},
		{"an empty signature", func(t *trial) bool {
			return a.editSignature(t, func(string) (string, bool) { return "", true })
		}},
		{"garbage for a signature", func(t *trial) bool {
			return a.editSignature(t, func(string) (string, bool) { return "%%garbage%%", true })
		}},
		{"a signature that is not in its encoding", edit(func(text string) string { return text + "!" })},
		{"a signature cut short", edit(func(text string) string { return text[:max(0, len(text)-4)] })},
		{"another signature", edit(func(text string) string {
			i := len(text) - len(text)/3 - 1 // not the last: it may hold unused bits
			if i < 0 {
				return "0"
			}
			digit := byte('0')
			if text[i] == digit {
				digit = '1'
			}
			return text[:i] + string(digit) + text[i+1:]
		})},
	}
	if a.Signature == nil || len(a.Signature.Header) == 0 {
		return all
	}
	if a.Signature.Lines == "" {
		all = append(all, alteration{"a second line of the signature", func(t *trial) bool {
			name, ok := t.first(a.Signature.Header)
			if ok {
				t.req.Header[name] = append(t.req.Header[name], t.req.Header[name][0])
			}
			return ok
		}})
	}
	if a.Signature.Match == "all" {
		for _, name := range a.Signature.Header {
			all = append(all, alteration{"no " + name, func(t *trial) bool { return t.remove([]string{name}) }})
		}
	}
	return all
}

func (a *alterer) ofTime() []alteration {
	ts := a.Timestamp
	if ts == nil {
		return nil
	}
	var all []alteration
	stated := a.vec.Body + a.vec.Headers[signatureInput]
	leaf := ts.KV + ts.JSON[strings.LastIndexByte(ts.JSON, '.')+1:]
	if !ts.Off && !(ts.Optional && !strings.Contains(stated, leaf)) {
		far := time.Hour + 2*verifier.DefaultTolerance
		if a.Tolerance != nil {
			far = time.Hour + 2*time.Duration(*a.Tolerance)
		}
		all = append(all,
			alteration{"a clock that is far ahead", func(t *trial) bool { t.now = t.now.Add(far); return true }},
			alteration{"a clock that is far behind", func(t *trial) bool { t.now = t.now.Add(-far); return true }})
	}
	if ts.KV != "" && a.Signature != nil && a.Signature.Syntax == "kv" {
		separator := a.Signature.WithDefaults().PairSeparator
		all = append(all, alteration{"the timestamp's key twice", func(t *trial) bool {
			return a.editSignature(t, func(text string) (string, bool) {
				return text + separator + pairOf(text, separator, ts.KV), true
			})
		}})
		if a.signs(template.Timestamp) {
			all = append(all, alteration{"a timestamp of a second later", func(t *trial) bool {
				return a.editSignature(t, func(text string) (string, bool) {
					pair := pairOf(text, separator, ts.KV)
					return strings.Replace(text, pair, nextDigit(pair), 1), true
				})
			}})
		}
	}
	if len(ts.Header) > 0 && a.signs(template.Timestamp) {
		all = append(all, alteration{"a timestamp of a second later", func(t *trial) bool {
			name, ok := t.first(ts.Header)
			if ok {
				t.req.Header[name][0] = nextDigit(t.req.Header[name][0])
			}
			return ok
		}})
	}
	return all
}

// pairOf returns the first pair of a key in a kv header.
func pairOf(text, separator, key string) string {
	for pair := range strings.SplitSeq(text, separator) {
		if strings.HasPrefix(strings.TrimSpace(pair), key+"=") {
			return pair
		}
	}
	return key + "=1"
}

// nextDigit changes the last digit: the time stays fresh.
func nextDigit(text string) string {
	i := strings.LastIndexAny(text, "0123456789")
	if i < 0 {
		return text + "1"
	}
	digit := text[i] + 1
	if text[i] == '9' {
		digit = '8'
	}
	return text[:i] + string(digit) + text[i+1:]
}

func (a *alterer) ofURL() []alteration {
	var all []alteration
	if a.signsPart(func(f *template.Facts) bool { return f.Path }) {
		all = append(all, alteration{"another path", func(t *trial) bool {
			path, query, has := strings.Cut(t.req.Target, "?")
			t.req.Target = path + "x"
			if has {
				t.req.Target += "?" + query
			}
			return true
		}})
	}
	if a.signsPart(func(f *template.Facts) bool { return f.Query }) {
		all = append(all, alteration{"another query", func(t *trial) bool {
			more := "?x=1"
			if strings.Contains(t.req.Target, "?") {
				more = "&x=1"
			}
			t.req.Target += more
			return true
		}})
	}
	for _, p := range slices.Concat(a.messages...) {
		if p.Slot != template.QueryParam {
			continue
		}
		pair := regexp.MustCompile(`(^|[?&])` + regexp.QuoteMeta(p.Arg) + `=[^&]*`)
		for what, edit := range map[string]string{"another value of": "${0}x", "a second": "${0}&" + p.Arg + "=x", "no": "${1}x=y"} {
			all = append(all, alteration{what + " query parameter " + p.Arg, func(t *trial) bool {
				target := t.req.Target
				t.req.Target = pair.ReplaceAllString(target, edit)
				return t.req.Target != target
			}})
		}
	}
	if a.signs(template.Method) {
		all = append(all, alteration{"another method", func(t *trial) bool { t.req.Method += "X"; return true }})
	}
	if a.signs(template.Host) || a.PublicURL == "" && a.signsPart(func(f *template.Facts) bool { return f.Origin }) {
		all = append(all, alteration{"another host", func(t *trial) bool { t.req.Host = "x" + t.req.Host; return true }})
	}
	return all
}
