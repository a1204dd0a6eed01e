package verifier

import (
	"crypto/hmac"
	"math"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// exhausted reports that no more may be tried.
func (s *search) exhausted() bool {
	return s.trials >= maxTrials || s.cost >= s.limit || s.ctx.Err() != nil
}

// charge counts one trial over n bytes and reports whether the limits allow it.
func (s *search) charge(n int) bool {
	if s.exhausted() || s.cost+n > s.limit {
		s.refused = true
		return false
	}
	s.trials++
	s.cost += n
	return true
}

// reading is how a valid signature was read.
type reading struct {
	presented *presented // nil: as the scheme reads it
	algorithm Algorithm
	key       *compiledKey
	cut       bool // only the first bytes are present
}

// matches reports whether a signing produces any of the presented signatures.
func (s *search) matches(g signing) (reading, bool) {
	if s.v.statesMessage() {
		return s.passes(&g)
	}
	for i := range g.keys {
		k := &g.keys[i]
		if k.algorithm == Token {
			if r, ok := s.matchesToken(&g, k); ok {
				return r, true
			}
			continue
		}
		for _, m := range g.messages {
			if g.check.statesDigest() && !m.template.HasArg(template.BodyDigest, g.check.v.bodyDigest) {
				continue
			}
			if k.algorithm.asymmetric() {
				if r, ok := s.matchesPublic(&g, k, m.template); ok {
					s.found, s.foundMessage = &g, m.template
					return r, true
				}
				continue
			}
			for _, a := range s.algorithms(k, m) {
				if r, ok := s.matchesMAC(&g, k, m.template, a); ok {
					s.found, s.foundMessage = &g, m.template
					return r, true
				}
			}
		}
	}
	return reading{}, false
}

// statesMessage reports whether the signature itself names the signed content, which
// no template describes: a JWS or RFC 9421.
func (v *Verifier) statesMessage() bool { return v.http != nil || v.signature.isJWS() }

// copy returns a verifier that can be altered independently.
func (v *Verifier) copy() *Verifier {
	r := *v.rules
	return &Verifier{rules: &r, keys: v.keys}
}

// passes checks a signing as a delivery, except for freshness.
func (s *search) passes(g *signing) (reading, bool) {
	cost := 0
	for i := range g.keys {
		if a := g.keys[i].algorithm; a.asymmetric() {
			cost += publicCost(a, len(g.body))
		} else {
			cost += 2 * hashCost(a, g.body) // plus a digest of the body
		}
	}
	v := g.check.v.copy()
	v.keys, v.required, v.tolerance = g.keys, nil, math.MaxInt64
	if len(g.keys) == 0 || !s.charge(cost) || v.check(g.check.req, s.c.Now, g.body) != nil {
		return reading{}, false
	}
	return reading{algorithm: g.keys[0].algorithm, key: &g.keys[0]}, true
}

// algorithms lists those to try with a shared secret: its own, and those whose
// signatures have the length of a presented one.
func (s *search) algorithms(k *compiledKey, m message) []Algorithm {
	if m.algorithm != "" {
		return []Algorithm{m.algorithm}
	}
	out := []Algorithm{k.algorithm}
	for _, a := range []Algorithm{HMACSHA256, HMACSHA1, HMACSHA512, HMACSHA384, HMACMD5} {
		if !facts[k.algorithm].plain && a != k.algorithm && slices.ContainsFunc(s.presented, func(p presented) bool {
			return p.likely && len(p.bytes) == facts[a].size
		}) {
			out = append(out, a)
		}
	}
	return out
}

func (s *search) matchesMAC(g *signing, k *compiledKey, t template.Template, a Algorithm) (reading, bool) {
	f := facts[a]
	if f.plain && !t.Has(template.Secret) || !s.charge(hashCost(a, g.body)) {
		return reading{}, false
	}
	h := hmac.New(f.hash, k.secret)
	if f.plain {
		h = f.hash()
	}
	c := g.check
	if _, rej := c.write(h, nil, t, k.secret, g.body); rej != nil {
		return reading{}, false
	}
	sum := h.Sum(nil)
	for i := range c.count {
		if cand := c.candidate(i); s.v.algorithms[cand.algorithm] == a && hmac.Equal(cand.bytes(), sum) {
			return reading{algorithm: a, key: k}, true
		}
	}
	for i := range s.presented {
		p := &s.presented[i]
		if n := len(p.bytes); n <= len(sum) && hmac.Equal(p.bytes, sum[:n]) {
			return reading{presented: p, algorithm: a, key: k, cut: n < len(sum)}, true
		}
	}
	return reading{}, false
}

// hashCost is the cost of one MAC over a body.
func hashCost(a Algorithm, body []byte) int {
	switch n := len(body) + 512; a {
	case HMACSHA256, HMACSHA1, SHA256, SHA1:
		return n
	default:
		return 3 * n // as measured
	}
}

func (s *search) matchesPublic(g *signing, k *compiledKey, t template.Template) (reading, bool) {
	var content strings.Builder
	c := g.check
	if _, rej := c.write(&content, nil, t, nil, g.body); rej != nil {
		return reading{}, false
	}
	verify := func(signature []byte) bool {
		size := facts[k.algorithm].size
		return (size == 0 || size == len(signature)) && s.charge(publicCost(k.algorithm, content.Len())) &&
			facts[k.algorithm].public.verify(k.public, []byte(content.String()), signature)
	}
	for i := range c.count {
		if cand := c.candidate(i); verify(cand.bytes()) {
			return reading{algorithm: k.algorithm, key: k}, true
		}
	}
	for i := range s.presented {
		if p := &s.presented[i]; p.likely && len(p.bytes) >= 64 && verify(p.bytes) {
			return reading{presented: p, algorithm: k.algorithm, key: k}, true
		}
	}
	return reading{}, false
}

// publicCost is the cost of one verification: P-384 has no assembly.
func publicCost(a Algorithm, content int) int {
	if a == ECDSAP384SHA384 || a == ECDSAP384SHA384Raw {
		return 1<<20 + 3*content
	}
	return 160<<10 + 3*content
}

func (s *search) matchesToken(g *signing, k *compiledKey) (reading, bool) {
	if !s.charge(len(k.secret) + 512) {
		return reading{}, false
	}
	for i := range g.check.count {
		if hmac.Equal(g.check.candidate(i).bytes(), k.token[:]) {
			return reading{algorithm: Token, key: k}, true
		}
	}
	for i := range s.presented {
		if p := &s.presented[i]; hmac.Equal(p.bytes, k.secret) {
			return reading{presented: p, algorithm: Token, key: k}, true
		}
	}
	return reading{}, false
}
