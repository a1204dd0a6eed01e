package verifier

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// HeaderNames lists the headers that the scheme reads, as the scheme spells them.
func (s Scheme) HeaderNames() []string {
	var names []string
	if s.Signature != nil {
		names = append(names, s.Signature.Header...)
	}
	if components := s.SignedComponents(); components != nil {
		names = append(names, headerInput)
		for _, name := range components {
			name, _, _ = strings.Cut(name, ";")
			if !strings.HasPrefix(name, "@") {
				names = append(names, canonicalHeader(name))
			}
		}
	}
	if s.Timestamp != nil {
		names = append(names, s.Timestamp.Header...)
	}
	if s.DeliveryID != nil {
		names = append(names, s.DeliveryID.Header...)
	}
	if s.KeyID != nil && s.KeyID.Header != "" {
		names = append(names, s.KeyID.Header)
	}
	for _, h := range s.RequireHeader {
		names = append(names, h.Name)
	}
	for _, h := range s.Handshakes {
		names = slices.AppendSeq(names, maps.Keys(h.When.Header))
	}
	for _, text := range s.Message {
		t, _ := template.Parse(text) // a malformed template names none
		for _, p := range t {
			if p.Slot == template.Header || p.Slot == template.SignedHeaders {
				names = append(names, p.Arg)
			}
		}
	}
	return names
}

// ParamNames lists the params that the scheme uses, {param:name} and {param:name?},
// each once, in no particular order.
func (s Scheme) ParamNames() []string {
	texts := slices.Concat(s.Message, slices.Collect(maps.Values(s.Claims)))
	if s.Signature != nil {
		texts = append(texts, s.Signature.Prefix)
	}
	for _, values := range s.RequireJSON {
		texts = append(texts, values...)
	}
	var names []string
	for _, text := range texts {
		t, _ := template.Parse(text) // Compile reports malformed templates
		for _, p := range t {
			if p.Slot == template.Param && !slices.Contains(names, p.Arg) {
				names = append(names, p.Arg)
			}
		}
	}
	return names
}

// algorithms lists the algorithms that items of the signature may name, or the
// scheme's only one.
func (s *Scheme) algorithms() []Algorithm {
	if s.Signature == nil || len(s.Signature.Accept) == 0 {
		if s.Algorithm == "" {
			return Algorithms[:1]
		}
		return []Algorithm{s.Algorithm}
	}
	var out []Algorithm
	for _, a := range Algorithms {
		for _, accepted := range s.Signature.Accept {
			if a == accepted && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	return out
}

func (v *Rules) compileKeyFields() error {
	s := &v.scheme
	if s.Algorithm != "" && !s.Algorithm.known() {
		return unknown("algorithm", "algorithm", s.Algorithm, Algorithms)
	}
	for _, a := range v.algorithms {
		if facts[a].weak && !s.AllowWeak {
			if f := facts[a]; f.plain {
				return wrong("algorithm", "%s is weak, a hash without a key: write hmac-%s if the sender signs with HMAC; else say allow_weak in a provider file", a, a)
			}
			return wrong("algorithm", "%s is weak: if the sender offers nothing better, say allow_weak in a provider file", a)
		}
	}
	for _, f := range []struct {
		field, value string
		known        []string
	}{
		{"secret_encoding", s.SecretEncoding, []string{encUTF8, encBase64, encBase64URL, encHex}},
		{"public_key_encoding", s.PublicKeyEncoding, []string{encBase64, encBase64URL, encHex}},
		{"key_derivation", s.KeyDerivation, []string{"sha1", "sha256"}},
		{"secret_normalize", s.SecretNormalize, []string{"nfkd"}},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			return unknown(f.field, "value", f.value, f.known)
		}
	}
	return nil
}

func (v *Rules) compilePublicURL() error {
	if v.scheme.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(v.scheme.PublicURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return wrong("public_url", "write the origin that the sender calls, scheme and host, no path: https://hooks.example.com")
	}
	v.publicOrigin = u.Scheme + "://" + u.Host
	_, authority, _ := strings.Cut(v.scheme.PublicURL, "://")
	authority, _, _ = strings.Cut(authority, "/")
	v.origin = u.Scheme + "://" + authority // as written: it is signed in this form
	return nil
}

func known(field, what, value string, known ...string) error {
	if !slices.Contains(known, value) {
		return unknown(field, what, value, known)
	}
	return nil
}

// unknown lists the known words. It repeats the given word only if it is a near miss
// of one of them, so that a misplaced secret never appears in an error.
func unknown[S ~string](field, what string, word S, known []S) error {
	if nearest.Of(string(word), strings.Split(join(known), ", ")) != "" {
		what += fmt.Sprintf(" %q", word)
	}
	return wrong(field, "unknown %s: known are %s", what, join(known))
}

// notAHeaderName does not repeat the text, which may be a secret: if a variable was
// unset, a header's value may have moved into the name's place.
const notAHeaderName = "invalid header name: write letters, digits and dashes"

func join[S ~string](list []S) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}
