package verifier

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// The two forms of a JSON Web Signature in a delivery.
const (
	syntaxJWT      = "jwt"          // compact: header.claims.signature (RFC 7519)
	syntaxDetached = "jws_detached" // header..signature over the message (RFC 7515 appendix F)
)

// joseAlgorithms maps names of RFC 7518 §3.1 and RFC 8037 to algorithms. "none" is
// excluded.
var joseAlgorithms = map[string]Algorithm{
	"HS256": HMACSHA256, "HS384": HMACSHA384, "HS512": HMACSHA512,
	"RS256": RSAPKCS1v15SHA256, "RS512": RSAPKCS1v15SHA512,
	"PS256": RSAPSSSHA256, "PS512": RSAPSSSHA512,
	"ES256": ECDSAP256SHA256Raw, "ES384": ECDSAP384SHA384Raw, "ES512": ECDSAP521SHA512Raw,
	"EdDSA": Ed25519, "Ed25519": Ed25519,
}

// joseNames returns the names for a: one or none, except that RFC 8037 first called
// Ed25519 EdDSA.
func joseNames(a Algorithm) map[string]Algorithm {
	names := maps.Clone(joseAlgorithms)
	maps.DeleteFunc(names, func(_ string, other Algorithm) bool { return other != a })
	return names
}

// isJWS reports whether the signature carries what it signs, or its header.
func (s *Signature) isJWS() bool { return s.Syntax == syntaxJWT || s.Syntax == syntaxDetached }

// compileJWS sets the algorithms that a JWS may name. All are of one family: if a
// scheme accepted both a secret and a public key, the sender could choose how its
// signature is checked (RFC 8725 §2.1).
func (v *Rules) compileJWS(sig *Signature) error {
	if len(sig.Header) > 1 {
		return wrong("signature", "a JWS is in one place: name one header")
	}
	if sig.Encoding != "" {
		return wrong("signature", "encoding: a JWS is base64url by itself (RFC 7515): drop it")
	}
	sig.Encoding = encBase64URL
	if len(sig.Accept) == 0 {
		sig.Accept = joseNames(v.algorithms[0])
		if len(sig.Accept) == 0 {
			return wrong("algorithm", "%s has no name in JOSE (RFC 7518): use the raw form, ecdsa-p256-sha256:raw", v.algorithms[0])
		}
	}
	for name, a := range sig.Accept {
		if sig.Body && strings.HasPrefix(string(a), "ecdsa-") {
			return wrong("signature", "body: anyone can derive a second valid ECDSA signature, and so a copy of the body that passes as new: no known sender does this")
		}
		if joseAlgorithms[name] != a {
			return wrong("signature", "accept %s: that JOSE name does not mean %s", name, a)
		}
		if a.asymmetric() != v.algorithms[0].asymmetric() {
			return wrong("signature", "accept: secrets and public keys do not mix: a sender must not choose between them")
		}
	}
	return nil
}

// jws is a received JSON Web Signature, not yet verified.
type jws struct {
	header  []byte // JSON
	claims  []byte // JSON; only in a compact JWS
	signed  string // header and claims as sent
	encoded bool   // a detached message is signed in base64url, RFC 7515's default
	built   []byte // the content, if it is the same for all keys

	members  map[string]json.RawMessage // of the header
	chain    []*x509.Certificate        // with x5c
	distrust error                      // why no root trusts the chain
}

// Limits of the header of a JWS and of a JWS outside the body, which are read before
// anything is verified. Real ones have a few hundred bytes.
const (
	maxJWSHeader = 8 << 10
	maxJWS       = 64 << 10
)

// addJWS reads a JWS as the only candidate.
func (c *Check) addJWS(place uint8, text string) *Rejection {
	s := &c.v.signature
	where := c.v.signatureAt[place]
	header, rest, ok := strings.Cut(text, ".")
	claims, signature, two := strings.Cut(rest, ".")
	if !ok || !two || strings.Contains(signature, ".") || len(header) > maxJWSHeader || len(text) > maxJWS && !s.Body {
		return reject(MalformedSignature, "%s is not three parts separated by dots, header.claims.signature", where)
	}
	if strings.Contains(text, "=") { // RFC 7515 §2; also, a token that is the body has only one form
		return reject(MalformedSignature, "%s has padding, which a JWS must not have", where)
	}
	if detached := claims == ""; detached != (s.Syntax == syntaxDetached) {
		return reject(MalformedSignature, "%s: the middle part of a JWS must be empty if and only if it is detached", where)
	}
	if where.kind == inJSON { // the app might read another JWS in the same body
		if rej := c.checkJSONType(template.JSON); rej != nil {
			return rej
		}
	}
	j := &jws{signed: text[:len(text)-len(signature)-1]}
	var err error
	if j.header, err = decodeString(header, encBase64URL); err == nil {
		j.claims, err = decodeString(claims, encBase64URL)
	}
	if err != nil {
		return reject(MalformedSignature, "%s is not base64url", where)
	}
	alg, err := jsonpath.Top("alg").Lookup(j.header)
	if err != nil {
		return reject(MalformedSignature, "the header of the JWS in %s names no algorithm: %v", where, err)
	}
	a, ok := s.Accept[alg]
	if !ok {
		return reject(MalformedSignature, "the JWS in %s is not made with %s", where, join(slices.Sorted(maps.Keys(s.Accept))))
	}
	if json.Unmarshal(j.header, &j.members) != nil {
		return reject(MalformedSignature, "the header of the JWS in %s is not JSON", where)
	}
	if j.encoded, ok = j.critical(s); !ok {
		return reject(MalformedSignature, "the header of the JWS in %s requires an unknown extension (crit), or its content is not encoded as the scheme expects (b64)", where)
	}
	for name, want := range s.JWSHeader {
		if got, err := jsonpath.Top(name).Lookup(j.header); err != nil || got != want {
			return reject(MalformedSignature, "%s of the header of the JWS in %s is not %s", name, where, want)
		}
	}
	if c.v.x5c != nil {
		if err := j.readChain(); err != nil {
			return reject(MalformedSignature, "the header of the JWS in %s: %v", where, err)
		}
	}
	if c.keyID == "" && c.v.scheme.KeyID == nil {
		c.keyID, _ = jsonpath.Top("kid").Lookup(j.header) // without it, every key is tried
	}
	c.jws = j
	return c.add(place, uint8(slices.Index(c.v.algorithms, a)), signature)
}

// critical reads the header members that change the signed content: b64 of RFC 7797,
// only in a detached JWS, and without crit only if the scheme says so. Any other
// critical extension is refused (RFC 7515 §4.1.11). Names are compared
// case-sensitively and must be unique (§4).
func (j *jws) critical(s *Signature) (encoded, ok bool) {
	for _, name := range []string{"crit", "b64"} {
		if _, err := jsonpath.Top(name).Lookup(j.header); err == jsonpath.ErrDuplicate || err == jsonpath.ErrNotJSON {
			return false, false
		}
	}
	b64, given := j.members["b64"]
	encoded = string(b64) != "false"
	if given && encoded && string(b64) != "true" {
		return false, false
	}
	crit, marked := j.members["crit"]
	if marked {
		var names []string
		if json.Unmarshal(crit, &names) != nil || !slices.Equal(names, []string{"b64"}) || !given {
			return false, false
		}
	}
	if s.Unencoded {
		return encoded, !encoded
	}
	return encoded, encoded || marked && s.Syntax == syntaxDetached
}

// content returns the signed content: the JWS itself, or its header and the message.
func (j *jws) content(message []byte) []byte {
	if len(j.claims) > 0 {
		return []byte(j.signed)
	}
	content := []byte(j.signed) // ends with the dot before the empty part
	if j.encoded {
		return base64.RawURLEncoding.AppendEncode(content, message)
	}
	return append(content, message...)
}

// signedJWS builds the content, once for all keys if possible: it may be several MiB,
// and a JWS that names no key is tried with each.
func (c *Check) signedJWS(k *compiledKey, t template.Template, body []byte) ([]byte, *Rejection) {
	if c.jws.built != nil {
		return c.jws.built, nil
	}
	var message bytes.Buffer
	if _, rej := c.write(&message, nil, t, k.secret, body); rej != nil {
		return nil, rej
	}
	content := c.jws.content(message.Bytes())
	if len(c.v.messages) == 1 && !t.Has(template.Secret) {
		c.jws.built = content
	}
	return content, nil
}

func (c *Check) matchJWS(k *compiledKey, t template.Template, body []byte) (hits uint32, rej *Rejection) {
	content, rej := c.signedJWS(k, t, body)
	if rej != nil {
		return 0, rej
	}
	candidate := c.candidate(0)
	var match bool
	if k.macs != nil {
		m := k.begin()
		defer k.macs.Put(m)
		m.hash.Write(content)
		k.end(m)
		match = equal(&candidate.sum, &m.sum, int(candidate.size))
	} else {
		algorithm, public := facts[k.algorithm].public, k.public
		if k.root != nil {
			public = c.jws.chain[0].PublicKey
		}
		// The chain last: it costs most, and anyone may have a genuine one.
		match = (k.root == nil || c.mayEnd(k.root)) && algorithm.accepts(public) && c.affords(public) && algorithm.verify(public, content, bytes.Clone(candidate.bytes())) && (k.root == nil || c.certifies(k.root))
	}
	if match {
		hits = 1 << candidate.header
	}
	return hits, nil
}

// listedHeaders writes the headers listed in a member of the JWS header, one per
// line: "Name: value\n". The list is signed, so lines cannot be moved.
func (c *Check) listedHeaders(name string) (string, *Rejection) {
	list, err := jsonpath.Top(name).Lookup(c.jws.header)
	if err != nil {
		return "", reject(MalformedSignature, "the header of the JWS does not list the signed headers (%s)", name)
	}
	if strings.Count(list, ",") >= maxListed {
		return "", reject(MalformedSignature, "the JWS signs more than %d headers", maxListed)
	}
	var b strings.Builder
	var listed []string
	for header := range strings.SplitSeq(list, ",") {
		header = strings.TrimSpace(header)
		name := canonicalHeader(header)
		if !httptoken.Valid(header) || len(header) > maxHeaderName || slices.Contains(listed, name) {
			return "", reject(MalformedSignature, "the JWS lists an invalid header name, or one header twice")
		}
		value, rej := c.headerText(name)
		if rej != nil {
			return "", rej
		}
		if strings.ContainsAny(value, "\r\n") { // RFC 9110 §5.5; a line break would also end the line here
			return "", reject(MalformedSignature, "header %s, which the JWS signs, holds a line break", name)
		}
		listed = append(listed, name)
		b.WriteString(header + ": " + value + "\n")
	}
	for _, must := range slices.Concat(c.v.timestampAt.headers(), c.v.idAt.headers()) {
		if !slices.Contains(listed, must) {
			return "", reject(MalformedSignature, "the JWS does not sign header %s", must)
		}
	}
	return b.String(), nil
}
