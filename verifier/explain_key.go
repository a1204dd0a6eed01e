package verifier

import (
	"fmt"
	"html"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// secretEdit is one way in which a secret's text may differ from the sender's
// dashboard. Undo returns "" if it does not apply.
type secretEdit struct {
	clause string
	undo   func(string) string
}

var secretEdits = []secretEdit{
	{"", func(t string) string { return t }}, // encodings only
	{"the secret has white space or a line break around it: remove it (printf %s, not echo)", changed(strings.TrimSpace)},
	{"the sender's secret has a line break at its end (it was made with echo): set it again at the sender, without it", func(t string) string { return t + "\n" }},
	{"the secret ends with a line break written as \\n, which nothing turned into one: remove it", changed(func(t string) string {
		return strings.TrimSuffix(strings.TrimSuffix(t, `\n`), `\r`)
	})},
	{"the secret has quotes around it: remove them", changed(func(t string) string { return strings.Trim(strings.TrimSpace(t), "\"'`") })},
	{"the secret begins with the prefix v1,: remove it, and whsec_ too unless secret_prefix names it", cutPrefix("v1,whsec_", "v1,whpk_", "v1,")},
	{"the secret begins with the prefix whsec_, which is not part of the key: remove it, or name it with secret_prefix", cutPrefix("whsec_")},
	{"the prefix whsec_ is part of this sender's secret but is missing: write the whole secret, as the dashboard shows it", func(t string) string {
		if strings.HasPrefix(t, "whsec_") {
			return ""
		}
		return "whsec_" + t
	}},
	{"a word precedes the secret (NAME=, Bearer): give only the text after it", func(t string) string {
		i := strings.LastIndexAny(t, "= ")
		if text := strings.TrimSpace(t[:max(i, 0)]); text == "" || i+1 == len(t) || strings.Trim(t[i:], "=") == "" {
			return ""
		}
		return strings.TrimSpace(t[i+1:])
	}},
	{"the secret holds HTML entities (&amp; for &): write the characters themselves", changed(html.UnescapeString)},
	{"the secret is in upper case, but the sender's is in lower case: copy it again", changed(strings.ToLower)},
	{"the secret holds an invisible character: type it, or copy it again", changed(func(t string) string {
		return strings.Map(func(r rune) rune {
			if r == '\u00a0' || r == '\ufeff' || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, t)
	})},
}

var secretEncodings = []string{encUTF8, encBase64, encHex}

func changed(edit func(string) string) func(string) string {
	return func(t string) string {
		if out := edit(t); out != t {
			return out
		}
		return ""
	}
}

func cutPrefix(prefixes ...string) func(string) string {
	return func(t string) string {
		for _, prefix := range prefixes {
			if rest, ok := strings.CutPrefix(t, prefix); ok {
				return rest
			}
		}
		return ""
	}
}

// secrets guesses that a secret's text was altered when it was configured, or has
// another encoding.
func secrets(s *search, yield func(guess) bool) {
	own := orDefault(s.c.Scheme.SecretEncoding, encUTF8)
	for i, k := range s.c.Keys {
		if k.Kind != Secret {
			continue
		}
		k.Label = orDefault(k.Label, fmt.Sprint(i+1))
		var tried []string
		for _, edit := range secretEdits {
			text := edit.undo(k.Text)
			if text == "" {
				continue
			}
			for _, encoding := range slices.Compact(append([]string{own}, secretEncodings...)) {
				if encoding == encBase64URL {
					encoding = encBase64 // reads both alphabets
				}
				for _, prefix := range slices.Compact([]string{s.c.Scheme.SecretPrefix, ""}) {
					g, ok := s.withSecret(k, text, encoding, prefix, &tried)
					if !ok {
						continue
					}
					g.clause = secretClause(k, edit.clause, encoding, own)
					if prefix != s.c.Scheme.SecretPrefix && edit.clause == "" {
						g.clause += fmt.Sprintf("; the prefix %s is part of the key: the scheme must not remove it", s.c.Scheme.SecretPrefix)
					}
					if !yield(g) {
						return
					}
				}
			}
		}
	}
}

// withSecret makes a guess with a secret whose bytes were not tried before.
func (s *search) withSecret(k Key, text, encoding, prefix string, tried *[]string) (guess, bool) {
	scheme := s.c.Scheme
	scheme.SecretEncoding, scheme.SecretPrefix = encoding, prefix
	if raw, _, err := scheme.decodeSecret(text); err != nil || slices.Contains(*tried, string(raw)) {
		return guess{}, false
	} else {
		*tried = append(*tried, string(raw))
	}
	k.Text = text
	keys, err := scheme.compileKeys([]Key{k})
	if err != nil {
		return guess{}, false
	}
	g := guess{signing: s.asked}
	g.keys = keys
	return g, true
}

func secretClause(k Key, edit, encoding, own string) string {
	where := ""
	if encoding != own && !(encoding == encBase64 && own == encBase64URL) {
		switch encoding {
		case encUTF8:
			where = fmt.Sprintf("the text of the secret is the key itself, not %s of it: write: secret_encoding utf8", own)
		default:
			where = fmt.Sprintf("the secret is the key in %s, but the scheme reads it as %s: write: secret_encoding %s", encoding, own, encoding)
		}
	}
	text := edit
	if text != "" && where != "" {
		text += "; and "
	}
	if text += where; text == "" {
		text = "the secret must be read differently"
	}
	return "secret " + k.Label + ": " + text
}

// otherKeys guesses that another handler's key was used with this handler's scheme.
func otherKeys(s *search, yield func(guess) bool) {
	for _, o := range s.c.Others {
		if len(o.Keys) == 0 {
			continue
		}
		for _, read := range []Scheme{o.Scheme, s.c.Scheme} { // the text as either handler reads it
			scheme := s.c.Scheme
			scheme.SecretEncoding, scheme.SecretPrefix, scheme.SecretSuffix = read.SecretEncoding, read.SecretPrefix, read.SecretSuffix
			keys, err := scheme.compileKeys(o.Keys)
			if err != nil {
				continue
			}
			g := guess{signing: s.asked, clause: fmt.Sprintf("the delivery is signed with a key of handler %s: add that key to this handler, or correct the URL at the sender", o.Name)}
			if g.keys = keys; !yield(g) {
				return
			}
		}
	}
}

// publicAlgorithms guesses that the sender uses another algorithm for the same kind
// of public key.
func publicAlgorithms(s *search, yield func(guess) bool) {
	for i := range s.v.keys {
		k := s.v.keys[i]
		if !k.algorithm.asymmetric() || s.v.statesMessage() {
			continue
		}
		own := k.algorithm
		for _, a := range Algorithms {
			if a == own || !a.asymmetric() || !facts[a].public.accepts(k.public) {
				continue
			}
			k.algorithm = a
			g := guess{signing: s.asked, clause: fmt.Sprintf("the sender signs with %s, but the scheme says %s: write: algorithm %s", a, own, a)}
			if g.keys = []compiledKey{k}; !yield(g) {
				return
			}
		}
	}
}

// fromOthers is the result of trying the other schemes.
type fromOthers struct {
	clause  string
	note    string // appended to another finding
	certain bool   // another handler accepts the delivery with a key of its own
}

// others checks the delivery with the other senders' schemes, except for freshness.
func (s *search) others() (out fromOthers) {
	var names []string
	for _, o := range s.c.Others {
		if len(o.Keys) == 0 && s.cost > s.limit/4 {
			continue // half the catalogue may use X-Signature: leave the rest to the search
		}
		if !s.carries(&o) || len(o.Keys) == 0 && reflect.DeepEqual(o.Scheme, s.c.Scheme) || !s.acceptedBy(&o) {
			continue
		}
		if len(o.Keys) > 0 && !slices.ContainsFunc(o.Keys, func(k Key) bool {
			return slices.ContainsFunc(s.c.Keys, func(own Key) bool { return own.Text == k.Text })
		}) {
			clause := "the delivery is genuine for handler %s: correct the URL at the sender, or this handler's scheme and key"
			if reflect.DeepEqual(o.Scheme, s.c.Scheme) {
				clause = "the delivery is signed with a key of handler %s: correct the URL at the sender, or give this handler that key"
			}
			return fromOthers{clause: fmt.Sprintf(clause, o.Name), certain: true}
		}
		if !slices.Contains(names, o.Name) { // a handler may have a provider's name
			names = append(names, o.Name)
		}
	}
	switch list := strings.Join(names, " or "); {
	case len(names) == 0:
	case len(names) <= 3:
		out.clause = fmt.Sprintf("the delivery is signed as %s signs, with this key: write that sender's name instead of this scheme", list)
		out.note = fmt.Sprintf(" (or write the sender's name, %s)", list)
	default:
		out.clause = "the delivery is signed as several other senders sign, with this key: name the right one instead of this scheme"
	}
	return out
}

// carries reports whether the delivery has everything from which another scheme reads
// signatures.
func (s *search) carries(o *Other) bool {
	sig := o.Scheme.Signature
	if sig == nil {
		return false
	}
	if len(sig.Header) == 0 {
		return len(o.Keys) > 0 || sig.Query != "" && strings.Contains(s.c.Request.Target, sig.Query)
	}
	return slices.ContainsFunc(sig.Header, func(name string) bool { return len(s.c.Request.Header[canonicalHeader(name)]) > 0 })
}

func (s *search) acceptedBy(o *Other) bool {
	scheme, keys := o.Scheme, o.Keys
	if len(keys) == 0 {
		keys = s.c.Keys
	}
	scheme.RequireHeader, scheme.Handshakes = nil, nil
	if scheme.Algorithm == Token {
		return false // the same secret in clear text does not identify a scheme
	}
	if scheme.Timestamp != nil {
		ts := *scheme.Timestamp
		ts.Off = true
		scheme.Timestamp = &ts
	}
	v, err := New(scheme, keys)
	if err != nil {
		return false
	}
	n := 0
	for i := range v.keys {
		if a := v.keys[i].algorithm; a.asymmetric() {
			n += publicCost(a, len(s.c.Body))
		} else {
			n += hashCost(a, s.c.Body)
		}
	}
	return s.charge(n*max(1, len(v.messages))) && v.check(s.c.Request, s.c.Now, s.c.Body) == nil
}
