package verifier

import (
	"crypto"
	"hash"
	"maps"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// A Cost is what a delivery costs before it is known to be genuine, in bytes that
// go through hashes and parsers and in checks by public keys. Clocks measure the
// machine too.
type Cost struct{ Hashed, Read, Public int }

// CountCosts counts the costs of verifiers that are made after it, until the test
// ends.
func CountCosts(tb testing.TB) *Cost {
	cost := new(Cost)
	oldFacts, oldDigests := maps.Clone(facts), maps.Clone(contentDigests)
	tb.Cleanup(func() {
		facts, contentDigests = oldFacts, oldDigests
		formdata.OnRead, jsonpath.OnRead, template.OnFilter = nil, nil, nil
	})
	counting := func(make func() hash.Hash) func() hash.Hash {
		return func() hash.Hash { return &countingHash{make(), cost} }
	}
	for a, f := range facts {
		if f.hash != nil {
			f.hash = counting(f.hash)
		}
		if f.public != nil {
			f.public = countingPublic{f.public, cost}
		}
		facts[a] = f
	}
	for name, make := range contentDigests {
		contentDigests[name] = counting(make)
	}
	formdata.OnRead = func(n int) { cost.Read += n }
	jsonpath.OnRead = formdata.OnRead
	template.OnFilter = func(n int) { cost.Hashed += n }
	return cost
}

type countingHash struct {
	hash.Hash
	cost *Cost
}

func (h *countingHash) Write(p []byte) (int, error) {
	h.cost.Hashed += len(p)
	return h.Hash.Write(p)
}

type countingPublic struct {
	publicAlgorithm
	cost *Cost
}

func (p countingPublic) verify(key crypto.PublicKey, content, signature []byte) bool {
	p.cost.Public++
	return p.publicAlgorithm.verify(key, content, signature)
}

const (
	MaxPublic, MaxDetail = maxPublic, maxDetail
	RaceDetector         = raceDetector
)

// Arrive takes a delivery the way that a gateway takes it.
func Arrive(v *Verifier, req *Request, now time.Time, body []byte) error {
	if answer, err := v.Handshake(req); answer != nil || err != nil {
		return err
	}
	if err := v.Required(req.Header); err != nil {
		return err
	}
	check, err := v.Open(req, now)
	if err == nil {
		_, err = check.Verify(body)
	}
	if err != nil {
		if v.MayGreet(req, err) {
			_, err := v.HandshakeBody(req, body, err)
			return err
		}
		return err
	}
	_, err = check.Handshake(body)
	check.DeliveryID(body)
	check.Content(body)
	return err
}
