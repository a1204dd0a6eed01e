package verifier

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// A claim of a JWT must equal the text of a template, usually a digest: this is how a
// JWT covers the body.
type claim struct {
	name     string          // as the scheme writes it
	paths    []jsonpath.Path // its places
	optional bool            // may be absent if the body is empty
	want     template.Template
	hex      bool // either case
	padding  bool // may be there or not: base64url
}

// clockLeeway is the tolerance for exp and nbf, for clocks that differ (RFC 7519
// §4.1.4 suggests a few minutes at most).
const clockLeeway = time.Minute

func (v *Rules) compileClaims() error {
	s := &v.scheme
	if v.signature.Syntax != syntaxJWT {
		if len(s.Claims) > 0 {
			return wrong("claims", "only a jwt has claims, not a signature of syntax %s", v.signature.Syntax)
		}
		return nil
	}
	if len(s.Message) > 0 {
		return wrong("message", "a jwt signs its own claims: drop the message, and say in claims what they must hold")
	}
	v.messages = []template.Template{nil}
	for _, name := range slices.Sorted(maps.Keys(s.Claims)) {
		t, err := template.Parse(s.Claims[name])
		if slices.ContainsFunc(t, func(p template.Part) bool { return p.Slot == template.Param && p.Optional && s.Params[p.Arg] == "" }) {
			continue
		}
		if err == nil {
			t, err = t.With(s.Params)
		}
		if err == nil {
			err = t.Guard("")
		}
		if err != nil {
			return wrong("claims", "%s: %v", name, err)
		}
		v.bodySigned = v.bodySigned || t.CoversBody()
		bare, optional := strings.CutSuffix(name, "?")
		if optional && !t.CoversBody() {
			return wrong("claims", "%s: only a digest of the body may be absent, where there is no body", name)
		}
		paths, err := claimPaths(bare)
		if err != nil {
			return wrong("claims", "%v", err)
		}
		v.claims = append(v.claims, claim{
			name: bare, paths: paths, optional: optional, want: t,
			hex: len(t) > 0 && t[len(t)-1].Ends("hex"), padding: len(t) > 0 && t[len(t)-1].Ends("base64url"),
		})
	}
	v.bodySigned = v.bodySigned || v.signature.Body
	if !v.bodySigned && !s.BodyUnsigned {
		return wrong("claims", "none covers the body: an altered body would pass. Name the claim that digests it (\"payload_hash\": \"{body|sha256|hex}\"), or say body_unsigned in a provider file if the sender signs no body")
	}
	return nil
}

// claimPaths returns the places of a claim: a member of any name, or paths.
func claimPaths(name string) (paths []jsonpath.Path, err error) {
	if !strings.HasPrefix(name, "$.") {
		return []jsonpath.Path{jsonpath.Top(name)}, nil
	}
	for text := range strings.SplitSeq(name, "|") {
		text, ok := strings.CutPrefix(text, "$.")
		p, err := jsonpath.Parse(text)
		if !ok || err != nil || strings.ContainsAny(text, "[]") {
			return nil, errors.New("write paths of members, separated by |: $.data.id|$.summary.id")
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// texts returns the values of the claim in a set of claims, one for each of its places
// that has one. ErrNoValue: none has.
func (cl *claim) texts(claims []byte) (texts []string, err error) {
	for _, p := range cl.paths {
		text, err := p.Lookup(claims)
		if err == nil {
			texts = append(texts, text)
		} else if err != jsonpath.ErrNoValue {
			return nil, err
		}
	}
	if len(texts) == 0 {
		return nil, jsonpath.ErrNoValue
	}
	return texts, nil
}

// checkClaims compares the claims of a verified JWT with the delivery.
func (c *Check) checkClaims(body []byte) *Rejection {
	for i := range c.v.claims {
		if rej := c.checkClaim(&c.v.claims[i], body); rej != nil {
			return rej
		}
	}
	if exp, ok, rej := c.numericDate("exp"); rej != nil {
		return rej
	} else if skew := c.now.Sub(exp); ok && skew > clockLeeway {
		return &Rejection{Reason: StaleTimestamp, Detail: "the JWT expired " + skew.Round(time.Second).String() + " ago", Skew: skew}
	}
	if nbf, ok, rej := c.numericDate("nbf"); rej != nil {
		return rej
	} else if skew := c.now.Sub(nbf); ok && skew < -clockLeeway {
		return &Rejection{Reason: FutureTimestamp, Detail: "the JWT is not valid before " + (-max(skew, -math.MaxInt64)).Round(time.Second).String() + " from now", Skew: skew}
	}
	return nil
}

func (c *Check) checkClaim(want *claim, body []byte) *Rejection {
	all, err := want.texts(c.jws.claims)
	if err == jsonpath.ErrNoValue {
		if want.optional && len(body) == 0 {
			return nil
		}
		return reject(SignatureMismatch, "the JWT has no claim %s, which the scheme requires", want.name)
	}
	if err != nil {
		return reject(MalformedSignature, "claim %s of the JWT: %v", want.name, err)
	}
	var text bytes.Buffer
	if _, rej := c.write(&text, nil, want.want, nil, body); rej != nil {
		return rej
	}
	for _, got := range all {
		if want.hex {
			got = strings.ToLower(got)
		}
		if want.padding {
			got = strings.TrimRight(got, "=")
		}
		if subtle.ConstantTimeCompare(text.Bytes(), []byte(got)) != 1 {
			return reject(SignatureMismatch, "claim %s of the JWT does not match this delivery: the JWT belongs to another one, or something was altered", want.name)
		}
	}
	return nil
}

// numericDate reads a time of RFC 7519 §2: seconds, perhaps with a fraction.
func (c *Check) numericDate(name string) (at time.Time, ok bool, rej *Rejection) {
	text, err := jsonpath.Top(name).Lookup(c.jws.claims)
	if err == jsonpath.ErrNoValue {
		return time.Time{}, false, nil
	}
	if err == nil {
		whole, _, _ := strings.Cut(text, ".")
		at, err = parseTimestamp(whole, "s")
	}
	if err != nil {
		return time.Time{}, false, reject(MalformedTimestamp, "claim %s of the JWT is not a time in seconds", name)
	}
	return at, true, nil
}

// signJWS writes a JWS, compact or detached.
func (c *Check) signJWS(k *compiledKey, id string, body []byte) (string, error) {
	header := make(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(c.v.signature.Accept)) {
		if c.v.signature.Accept[name] == k.algorithm {
			header["alg"] = name // the last: EdDSA is better known than Ed25519
		}
	}
	if k.id != "" {
		header["kid"] = k.id
	}
	if c.v.signature.Syntax == syntaxJWT {
		header["typ"] = "JWT"
	}
	for _, t := range c.v.messages {
		for _, p := range t {
			if p.Slot == template.ListedHeaders {
				header[p.Arg] = strings.Join(slices.Concat(c.v.timestampAt.headers(), c.v.idAt.headers()), ",")
			}
		}
	}
	for name, value := range c.v.signature.JWSHeader {
		header[name] = value
	}
	if c.v.signature.Unencoded {
		header["b64"], header["crit"] = false, []string{"b64"}
	}
	j := &jws{encoded: !c.v.signature.Unencoded}
	c.jws = j
	var err error
	if j.header, err = json.Marshal(header); err != nil {
		return "", err
	}
	j.signed = encode(j.header, encBase64URL) + "."
	var message bytes.Buffer
	if c.v.signature.Syntax == syntaxJWT {
		if j.claims, err = c.claimSet(id, body); err != nil {
			return "", err
		}
		j.signed += encode(j.claims, encBase64URL)
	} else if _, rej := c.write(&message, nil, c.v.messages[0], nil, body); rej != nil {
		return "", rej
	}
	sum, err := k.sum(j.content(message.Bytes()))
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(j.signed, ".") + c.v.signature.separator() + encode(sum, encBase64URL), nil
}

// separator separates the content shown in a JWS from its signature.
func (s *Signature) separator() string {
	if s.Syntax == syntaxDetached {
		return ".."
	}
	return "."
}

// setMember sets a claim at the first of its places.
func setMember(set map[string]any, name, text string) {
	names := []string{name}
	if path, ok := strings.CutPrefix(name, "$."); ok {
		path, _, _ = strings.Cut(path, "|")
		names = strings.Split(path, ".")
	}
	for _, name := range names[:len(names)-1] {
		inner, ok := set[name].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			set[name] = inner
		}
		set = inner
	}
	set[names[len(names)-1]] = text
}

// claimSet returns the claims that a sender of this scheme would sign.
func (c *Check) claimSet(id string, body []byte) ([]byte, error) {
	set := make(map[string]any)
	for _, want := range c.v.claims {
		var text bytes.Buffer
		if _, rej := c.write(&text, nil, want.want, nil, body); rej != nil {
			return nil, rej
		}
		setMember(set, want.name, text.String())
	}
	if ts := &c.v.timestamp; ts.Claim != "" {
		set[ts.Claim] = json.Number(formatTimestamp(c.now, ts.Unit))
		set["exp"] = c.now.Add(c.v.tolerance).Unix()
	}
	if c.v.idAt.are(inClaim) && id != "" {
		set[c.v.idAt[0].name] = id
	}
	return json.Marshal(set)
}
