package check

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestCatalogue holds every provider to what contributors are asked for: its
// vectors, which come from vendors' documents, their SDKs or openssl, have their
// verdicts, and no genuine one passes when anything that counts is altered.
func TestCatalogue(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the catalogue is empty")
	}
	for _, p := range all {
		t.Run(p.ID, func(t *testing.T) {
			t.Parallel()
			r := Run(p)
			for _, problem := range r.Problems {
				if !problem.Advice {
					t.Errorf("%s.json: %s", p.ID, problem)
				}
			}
			if r.Alterations == 0 {
				t.Errorf("%s.json: nothing was altered", p.ID)
			}
		})
	}
}

// TestCoversBody: what a page says to cover the body has alterations of the body,
// which TestCatalogue has seen refused.
func TestCoversBody(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		body := alterer{Scheme: p.Scheme, p: p, vec: new(providers.Vector)}
		if p.CoversBody() != (len(body.ofBody()) > 0) {
			t.Errorf("%s: covers its body: %v, but alterations: %d", p.ID, p.CoversBody(), len(body.ofBody()))
		}
	}
}

// TestOtherSecret: each example secret has another beside it, a key of the scheme
// too.
func TestOtherSecret(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		secret := p.ExampleSecret()
		if secret == "" {
			continue
		}
		other := otherSecret.Replace(secret)
		if other == secret {
			t.Errorf("%s: no other secret than %s", p.ID, secret)
		}
		vec := &providers.Vector{Params: p.ExampleParams()}
		if _, err := compile(p, vec, verifier.Key{Text: other}); err != nil {
			t.Errorf("%s: the other secret: %v", p.ID, err)
		}
	}
}

// FuzzRun: no file makes it panic.
func FuzzRun(f *testing.F) {
	names, _ := filepath.Glob("../*.json")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := providers.Parse("fuzz.json", data); err == nil {
			Run(p)
		}
	})
}
