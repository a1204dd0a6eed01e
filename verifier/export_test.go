package verifier

import (
	"crypto"
	"encoding"
	"hash"
	"maps"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// A Cost is the work for a delivery before it is authenticated: bytes through hashes
// and parsers, and checks with public keys. Unlike time, it does not depend on the
// machine.
type Cost struct{ Hashed, Read, Public int }

// CountCosts counts the costs of verifiers made after it until the test ends.
func CountCosts(tb testing.TB) *Cost {
	cost := new(Cost)
	oldFacts, oldPools, oldDigests := maps.Clone(facts), maps.Clone(macPools), maps.Clone(contentDigests)
	tb.Cleanup(func() {
		facts, macPools, contentDigests = oldFacts, oldPools, oldDigests
		formdata.OnRead, jsonpath.OnRead, template.OnFilter = nil, nil, nil
	})
	counting := func(make func() hash.Hash) func() hash.Hash {
		return func() hash.Hash { return &countingHash{make().(savedHash), cost} }
	}
	for a, f := range facts {
		if f.hash != nil {
			f.hash = counting(f.hash)
			macPools[a] = newMACPool(f.hash)
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

type savedHash interface {
	hash.Hash
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}

type countingHash struct {
	savedHash
	cost *Cost
}

func (h *countingHash) Write(p []byte) (int, error) {
	h.cost.Hashed += len(p)
	return h.savedHash.Write(p)
}

type countingPublic struct {
	publicAlgorithm
	cost *Cost
}

func (p countingPublic) verify(key crypto.PublicKey, content, signature []byte) bool {
	p.cost.Public++
	return p.publicAlgorithm.verify(key, content, signature)
}

// MessageAdvice lists the clauses of all guesses of another message, with a timestamp
// and an id found in headers if the scheme has none.
func MessageAdvice(tb testing.TB, c Case) (clauses []string) {
	v, err := New(c.Scheme, c.Keys)
	if err != nil {
		tb.Fatal(err)
	}
	s := newSearch(tb.Context(), v, &c, &Rejection{Reason: SignatureMismatch})
	for _, guesses := range []func(*search, func(guess) bool){messages, exchangedSlots} {
		guesses(s, func(g guess) bool { clauses = append(clauses, g.describe()); return true })
	}
	return clauses
}

const (
	MaxPublic, MaxDetail = maxPublic, maxDetail
	RaceDetector         = raceDetector
)
