package verifier

import (
	"maps"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
)

const (
	syntaxHTTPSignature = "http_signature"
	contentDigestField  = "content-digest"
	headerSignature     = "Signature"
	headerInput         = "Signature-Input"
	headerDigest        = "Content-Digest"
)

// httpAlgorithms maps algorithms to their names in the registry of RFC 9421 §6.2.2,
// the values of the parameter alg.
var httpAlgorithms = map[Algorithm]string{
	HMACSHA256: "hmac-sha256", Ed25519: "ed25519",
	ECDSAP256SHA256Raw: "ecdsa-p256-sha256", ECDSAP384SHA384Raw: "ecdsa-p384-sha384",
	RSAPKCS1v15SHA256: "rsa-v1_5-sha256", RSAPSSSHA512: "rsa-pss-sha512",
}

// derivedComponents are the derived components of requests (RFC 9421 §2.2).
var derivedComponents = []string{"@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", "@query-param"}

// httpScheme is an HTTPSignature with its defaults filled in.
type httpScheme struct {
	HTTPSignature
	algs       []string       // the registry's names of the scheme's algorithms
	urlBytes   bool           // byte sequences may be in base64url without padding
	items      []httpsfv.Item // the components
	components []string       // the components in serialized form
}

func (v *Rules) compileHTTPSignature(sig *Signature) error {
	h := new(httpScheme)
	if v.scheme.HTTPSignature != nil {
		h.HTTPSignature = *v.scheme.HTTPSignature
	}
	for _, a := range v.algorithms {
		h.algs = append(h.algs, httpAlgorithms[a])
	}
	h.urlBytes = sig.Encoding == encBase64URL
	switch {
	case len(sig.Header) != 1 || sig.Header[0] != headerSignature:
		return wrong("signature", "http_signature reads the headers Signature and Signature-Input, no other")
	case len(sig.Key) > 0 || !h.urlBytes && orDefault(sig.Encoding, encBase64) != encBase64:
		return wrong("signature", "http_signature has its own form: drop key and encoding (base64url: the sender writes byte sequences so, against the RFC)")
	case slices.Contains(h.algs, ""):
		return wrong("algorithm", "%s is not an algorithm of RFC 9421: known are %s", v.algorithms[slices.Index(h.algs, "")], join(slices.Sorted(maps.Keys(httpAlgorithms))))
	case slices.ContainsFunc(v.algorithms, func(a Algorithm) bool { return a.asymmetric() != v.algorithms[0].asymmetric() }):
		return wrong("signature", "accept: secrets and public keys do not mix: a sender must not choose between them")
	case v.scheme.KeyID != nil:
		return wrong("key_id", "a signature of RFC 9421 names its key itself, in keyid: drop the line")
	}
	for name, a := range sig.Accept {
		if httpAlgorithms[a] != name {
			return wrong("signature", "accept %s: RFC 9421 has another name for %s: %s", name, a, httpAlgorithms[a])
		}
	}
	sig.Encoding = encBase64
	for _, step := range []func() error{h.compileComponents, h.compileParams, v.compileCreated} {
		if err := step(); err != nil {
			return err
		}
	}
	v.http = h
	return nil
}

func (h *httpScheme) compileComponents() error {
	h.Components = h.covered()
	if len(h.Components) > maxComponents {
		return wrong("http_signature", "components: at most %d are read", maxComponents)
	}
	for i, text := range h.Components {
		name, params, _ := strings.Cut(text, ";")
		if params != "" {
			params = ";" + params
		}
		item, err := httpsfv.UnmarshalItem([]string{`"` + name + `"` + params})
		if err != nil || !knownComponent(item) {
			return wrong("http_signature", `components: number %d: write a field in lower case, also with ;key="x" for a member of a dictionary, or one of %s; the only other parameter supported is that of @query-param;name="x"`, i+1, join(derivedComponents))
		}
		id, err := httpsfv.Marshal(item)
		if err != nil || slices.Contains(h.components, id) {
			return wrong("http_signature", "components: number %d is listed twice", i+1)
		}
		h.items, h.components = append(h.items, item), append(h.components, id)
	}
	return nil
}

// knownComponent reports whether requests have such a component. The parameters sf,
// bs, req and tr are not supported.
func knownComponent(item httpsfv.Item) bool {
	name, ok := item.Value.(string)
	params := item.Params.Names()
	switch {
	case !ok:
		return false
	case name == "@query-param":
		value, _ := item.Params.Get("name")
		_, text := value.(string)
		return len(params) == 1 && text
	case strings.HasPrefix(name, "@"):
		return len(params) == 0 && slices.Contains(derivedComponents, name)
	}
	if name != strings.ToLower(name) || !httptoken.Valid(name) {
		return false
	}
	if len(params) == 1 && params[0] == "key" {
		value, _ := item.Params.Get("key")
		_, text := value.(string)
		return text
	}
	return len(params) == 0
}

func (h *httpScheme) compileParams() error {
	for _, name := range h.Params {
		if _, err := httpsfv.UnmarshalDictionary([]string{name}); err != nil || strings.ContainsAny(name, "=;, ") || name == "" {
			return wrong("http_signature", "params: write names of parameters: expires, nonce, keyid, alg, tag")
		}
	}
	if _, err := httpsfv.Marshal(httpsfv.NewItem(h.Tag)); err != nil {
		return wrong("http_signature", "tag: write visible ASCII characters")
	}
	if len(h.Digests) == 0 {
		h.Digests = slices.Sorted(maps.Keys(contentDigests))
	}
	for _, name := range h.Digests {
		if contentDigests[name] == nil {
			return unknown("http_signature", "digest", name, slices.Sorted(maps.Keys(contentDigests)))
		}
	}
	return nil
}

// compileCreated makes created the timestamp: every signature covers it. With optional
// it may be absent, as nobody can remove it.
func (v *Rules) compileCreated() error {
	ts := Timestamp{}
	if v.scheme.Timestamp != nil {
		ts = *v.scheme.Timestamp
	}
	if len(ts.Header) > 0 || ts.JSON != "" || ts.Form != "" || ts.Claim != "" || orDefault(ts.KV, "created") != "created" || orDefault(ts.Unit, "s") != "s" {
		return wrong("timestamp", "a signature of RFC 9421 carries its time itself, in unix seconds: write kv created, or drop the line")
	}
	ts.KV = "created"
	v.scheme.Timestamp = &ts
	return nil
}

// compileHTTPMessage replaces compileMessage: the components are the message.
func (v *Rules) compileHTTPMessage() error {
	if len(v.scheme.Message) > 0 {
		return wrong("message", "http_signature signs components, not a message: name them in http_signature")
	}
	if !v.http.covers(contentDigestField) && !v.scheme.BodyUnsigned {
		return wrong("http_signature", "the components do not cover the body: an altered one would pass. Add content-digest, or say body_unsigned in a provider file if the sender signs no body")
	}
	return nil
}

// covers reports whether every signature covers a component without parameters.
func (h *httpScheme) covers(name string) bool { return slices.Contains(h.components, `"`+name+`"`) }

// signsID reports whether every signature covers the delivery's id.
func (h *httpScheme) signsID(at sources) bool {
	if at.are(inJSON | inForm) {
		return h.covers(contentDigestField)
	}
	return len(at) == 1 && h.covers(strings.ToLower(at[0].name))
}

// SignedComponents lists the components that every RFC 9421 signature must cover, as
// the scheme writes them; empty for other syntaxes.
func (s Scheme) SignedComponents() StringList {
	if s.Signature == nil || s.Signature.Syntax != syntaxHTTPSignature {
		return nil
	}
	return s.HTTPSignature.covered()
}

func (h *HTTPSignature) covered() StringList {
	if h == nil || len(h.Components) == 0 {
		return StringList{"@method", "@target-uri", contentDigestField}
	}
	return h.Components
}
