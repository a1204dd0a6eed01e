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
	if s.KeySet != nil {
		names = append(names, s.KeySet.Header)
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
		{"message_digest", s.MessageDigest, []string{"sha256"}},
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

func (v *Rules) compileMessage() error {
	if v.scheme.MessageDigest != "" && (v.http != nil || v.signature.isJWS() || slices.ContainsFunc(v.algorithms, func(a Algorithm) bool { return !a.asymmetric() })) {
		return wrong("message_digest", "only with public keys that verify a message: an HMAC, a JWS and RFC 9421 sign the message itself")
	}
	if v.http != nil {
		return v.compileHTTPMessage()
	}
	if slices.Contains(v.algorithms, Token) {
		switch {
		case len(v.scheme.Message) > 0:
			return wrong("message", "a token signs nothing: drop the message")
		case !v.scheme.BodyUnsigned:
			return wrong("algorithm", "a token does not cover the body: say body_unsigned in a provider file if the sender offers no signature")
		}
		return nil
	}
	unit := ""
	if v.scheme.Timestamp != nil {
		unit = v.scheme.Timestamp.Unit
	}
	for _, text := range v.scheme.Messages() { // a JWT has none: see compileClaims
		t, err := v.scheme.parse(text)
		if err == nil {
			err = t.Guard(unit)
		}
		if err != nil {
			return wrong("message", "%v", err)
		}
		if !t.CoversBody() && !v.scheme.BodyUnsigned {
			return wrong("message", "does not cover the body: an altered body would pass. Put {body} (or a digest, {body|sha256|hex}) into it, or say body_unsigned in a provider file if the sender signs no body")
		}
		for _, p := range t {
			if p.Slot == template.BodyDigest {
				v.bodyDigest = p.Arg
			}
		}
		v.messages = append(v.messages, t)
	}
	if len(v.messages) > 1 {
		template.GuardAlternatives(v.messages)
	}
	return nil
}

// Messages lists the templates of the signed content: the scheme's, or {body}. A
// token signs nothing and has none; neither do a JWT and an RFC 9421 signature, which
// state what they sign.
func (s Scheme) Messages() StringList {
	switch {
	case len(s.Message) > 0:
		return s.Message
	case s.Signature == nil, s.Signature.Syntax == syntaxJWT, s.Signature.Syntax == syntaxHTTPSignature, slices.Contains(s.algorithms(), Token):
		return nil
	}
	return StringList{"{body}"}
}

// parse parses a text of the scheme, with the values of its params.
func (s *Scheme) parse(text string) (template.Template, error) {
	t, err := template.Parse(text)
	if err != nil {
		return nil, err
	}
	return t.With(s.Params)
}

// checkSlots requires a source for each slot, and a signed timestamp: an unsigned one
// proves nothing.
func (v *Rules) checkSlots() error {
	for _, t := range v.messages {
		v.timestampSigned = v.timestampSigned || t.Has(template.Timestamp)
		if t.Has(template.Timestamp) && v.scheme.Timestamp == nil {
			return wrong("message", "{timestamp} has no source: add a timestamp line")
		}
		if t.Has(template.ID) && v.scheme.DeliveryID == nil {
			return wrong("message", "{id} has no source: add a delivery_id line")
		}
	}
	for _, t := range v.messages {
		if i := slices.IndexFunc(t, func(p template.Part) bool { return p.Slot == template.KVHeaders }); i >= 0 &&
			(i < 2 || t[i-1].Literal != "." || t[i-2].Slot != template.Timestamp || v.timestampAt.key() == "" || len(t) != i+3 || t[i+1].Literal != "." || !t[i+2].IsBody()) {
			return wrong("message", "{kv_headers:…} goes with a timestamp beside the signature, and is only in {timestamp}.{kv_headers:%s}.{body}", t[i].Arg)
		}
		if v.signatureAt.are(inJSON|inForm) && t.HasBody() {
			return wrong("message", "{body} holds the signature itself: name what the sender signs, {json:…} or {form:…}")
		}
		if v.signature.Syntax != syntaxDetached && t.Has(template.ListedHeaders) {
			return wrong("message", "{jws_headers:…} is listed in a detached JWS, not in a signature of syntax %s", v.signature.Syntax)
		}
		for _, p := range t {
			if err := v.checkSlot(&p); err != nil {
				return err
			}
		}
		for _, a := range v.algorithms {
			if facts[a].plain && !t.Has(template.Secret) {
				return wrong("message", "%s is a hash without a key: the message must hold {secret}", a)
			}
		}
	}
	if err := v.checkDecoded(); err != nil {
		return err
	}
	ts := &v.timestamp
	if v.scheme.Timestamp == nil || ts.Off || v.http != nil {
		return nil
	}
	if ts.Optional && (!v.timestampAt.are(inJSON) || ts.Form != "" || v.timestampSigned || !v.coversBody()) {
		return wrong("timestamp", "optional: requires a JSON path in a body that the message covers: otherwise anyone could leave the timestamp out")
	}
	signed := v.everyMessage(func(t template.Template) bool {
		return t.Has(template.Timestamp) || v.signs(t, v.timestampAt, t.HasArg) ||
			v.timestampAt.are(inHeader) && (t.Has(template.ListedHeaders) || t.Has(template.SignedHeaders)) // which require it in their list
	})
	if !signed {
		return wrong("timestamp", "the message does not contain it, so anyone could change it: put {timestamp} where the sender signs it, or write: timestamp off")
	}
	return nil
}

// everyMessage reports whether is holds for all messages. False for a token, which
// has none and proves nothing else.
func (v *Rules) everyMessage(is func(template.Template) bool) bool {
	return len(v.messages) > 0 && !slices.ContainsFunc(v.messages, func(t template.Template) bool { return !is(t) })
}

// checkSlot refuses slots that the rest of the scheme cannot fill.
func (v *Rules) checkSlot(p *template.Part) error {
	sig := &v.signature
	switch p.Slot {
	case template.KV, template.KVHeaders:
		switch {
		case len(sig.Header) == 0 || sig.Syntax != "kv" && sig.Syntax != "positional":
			return wrong("message", "{%s:%s}: the signature is not in a header with keys: set its syntax to kv", p.Slot.Facts().Name, p.Arg)
		case slices.Contains(sig.Key, p.Arg) || p.Arg == v.timestampAt.key():
			return wrong("message", "{%s:%s}: that key is the signature or the timestamp: write {timestamp}", p.Slot.Facts().Name, p.Arg)
		case sig.Syntax == "positional" && !slices.Contains(sig.Names, p.Arg):
			return wrong("message", "{%s:%s}: not one of the names %s", p.Slot.Facts().Name, p.Arg, join(sig.Names))
		}
	case template.FormPHP:
		if sig.Form == "" {
			return wrong("message", "{form_php} leaves out the signature's field: say which with {\"form\": …}")
		}
	}
	return nil
}

// checkDecoded refuses slots that would read from a compressed body.
func (v *Rules) checkDecoded() error {
	s := &v.scheme
	if !s.BodyDecoded {
		return nil
	}
	inBody := s.BodyForm != "" || v.signatureAt.are(inJSON|inForm) || v.keyIDAt.are(inJSON) || v.timestampAt.are(inJSON|inForm) || v.idAt.are(inJSON|inForm)
	for _, t := range v.messages {
		for _, p := range t {
			inBody = inBody || p.Slot.Facts().Inside || p.Slot == template.Body && !p.IsBody()
		}
	}
	if inBody {
		return wrong("body_decoded", "works only with {body}: nothing else can be read from a body that may be compressed")
	}
	return nil
}
