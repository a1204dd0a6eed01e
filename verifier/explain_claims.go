package verifier

import (
	"fmt"
	"math"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// claimClause finds a JWT that is signed with one of the keys and whose claims are not
// those of this delivery.
func (s *search) claimClause() string {
	if len(s.v.claims) == 0 || s.rej.Reason != SignatureMismatch {
		return ""
	}
	v := s.v.copy()
	v.claims, v.required, v.tolerance = nil, nil, math.MaxInt64
	c := Check{v: v, req: s.c.Request, now: s.c.Now}
	rej := c.open()
	if rej == nil {
		_, rej = c.verify(s.c.Body)
	}
	if rej != nil && rej.Reason != StaleTimestamp && rej.Reason != FutureTimestamp { // exp and nbf are checked after the signature
		return ""
	}
	for i := range s.v.claims {
		claim := &s.v.claims[i]
		if c.checkClaim(claim, s.c.Body) == nil {
			continue
		}
		return "the token is signed with this key, but " + s.claimFault(claim, c.jws.claims)
	}
	return ""
}

// claimFault says what is wrong with a claim, and what to do.
func (s *search) claimFault(claim *claim, claims []byte) string {
	covers := claim.want.CoversBody()
	_, err := claim.texts(claims)
	written, _ := template.Parse(s.v.scheme.Claims[claim.name]) // with the names of params
	param := slices.IndexFunc(written, func(p template.Part) bool { return p.Slot == template.Param })
	switch {
	case err == jsonpath.ErrNoValue && covers:
		return fmt.Sprintf("has no claim %s, so it does not cover the body: it is not the token of a delivery (an access token is signed with the same key): make the sender's webhook sign the request, and nothing in front replace its token", claim.name)
	case err == jsonpath.ErrNoValue:
		return fmt.Sprintf("has no claim %s: it is not the token of such a delivery (an access token is signed with the same key)", claim.name)
	case covers:
		return fmt.Sprintf("its claim %s is that of another body: something altered the body, or the token belongs to another delivery; %s", claim.name, rawBytes)
	case param >= 0:
		return fmt.Sprintf("its claim %s is not param %s: compare the param with the sender's value", claim.name, written[param].Arg)
	}
	return fmt.Sprintf("its claim %s is that of another delivery or sender: compare what arrives here with what was sent", claim.name)
}

// chainClause says what to do about certificates that are not trusted.
func (s *search) chainClause() string {
	if s.v.x5c == nil || s.rej.Reason != SignatureMismatch {
		return ""
	}
	c := Check{v: s.v, req: s.c.Request, now: s.c.Now}
	if c.open() != nil {
		return ""
	}
	if _, rej := c.verify(s.c.Body); rej == nil || c.jws == nil {
		return ""
	}
	switch {
	case c.jws.distrust == errOtherRoot && len(s.c.Keys) > 0 && len(s.v.x5c.pins) > 0:
		return "the delivery's certificates lead to another root than that of public_key: remove the line to trust the sender's own root; if they lead elsewhere too, the delivery is not this sender's"
	case c.jws.distrust == errOtherRoot:
		return "the delivery's certificates lead to a root that is not the sender's: test tools and simulators sign with a root of their own, which public_key can name on a test site"
	case c.jws.distrust == errExpired:
		return "a certificate of the delivery was not valid when it was signed: check the clock of this machine if the delivery is new"
	}
	return ""
}
