package providers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue holds every provider to what contributors are asked for: its
// vectors, which come from vendors' documents, their SDKs or openssl, have their
// verdicts, and no genuine one passes when anything that counts is altered.
func TestCatalogue(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the catalogue is empty")
	}
	for _, p := range all {
		t.Run(p.ID, func(t *testing.T) {
			t.Parallel()
			r := Check(p)
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

// TestEveryVectorSaysItsProof: nobody guesses it from the words of the source.
func TestEveryVectorSaysItsProof(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for i := range p.Vectors {
			if proof := p.Vectors[i].Proof; !slices.Contains(Proofs, proof) {
				t.Errorf("%s.json: vectors[%d]: proof %q is none of %q", p.ID, i, string(proof), Proofs)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"unknown field":      {"{\"id\": \"a\",\n\"colour\": 1}", `provider file acme.json: line 2: unknown field "colour"`},
		"near a field":       {"{\"id\": \"a\",\n\"scheme\": {\n\"signatur\": 1}}", `line 3: unknown field "signatur": did you mean "signature"?`},
		"not JSON":           {"{\n\"id\": }", "line 2: invalid character"},
		"wrong type":         {`{"id": 1}`, "line 1: json: cannot unmarshal number"},
		"two objects":        {`{"id":"a","scheme":{"signature":{"header":"X"}}}{}`, "more text after"},
		"bad id":             {`{"id":"A b"}`, `id "A b": give it an id of lower-case letters`},
		"no signature":       {`{"id":"a"}`, "scheme: signature: missing"},
		"status 410":         {`{"id":"a","reject_status":410,"scheme":{"signature":{"header":"X"}}}`, "reject_status 410"},
		"event no header":    {`{"id":"a","event_header":["X-A","X B"],"scheme":{"signature":{"header":"X"}}}`, `event_header "X B": write a header's name`},
		"event empty":        {`{"id":"a","event_header":"","scheme":{"signature":{"header":"X"}}}`, `event_header "": write`},
		"event misspelt":     {"{\"id\":\"a\",\n\"event_heder\":\"X\"}", `did you mean "event_header"?`},
		"varies is no path":  {`{"id":"a","scheme":{"signature":{"header":"X"},"varies":"a..b"}}`, "scheme: varies: write a JSON path"},
		"slot without param": {`{"id":"a","scheme":{"signature":{"header":"X"},"message":"{param:hook}{body}"}}`, "{param:hook} has no value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("acme.json", []byte(tc.file))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	if p, err := Get("stripe"); err != nil || p.Name != "Stripe" {
		t.Errorf("Get(stripe) = %v, %v", p, err)
	}
	if _, err := Get("strpe"); err == nil || !strings.Contains(err.Error(), `did you mean "stripe"?`) {
		t.Errorf("Get(strpe): %v", err)
	}
	if _, err := Get("acme"); err == nil || !strings.Contains(err.Error(), "./acme.json") {
		t.Errorf("Get(acme): %v", err)
	}
}

func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("*.json")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("fuzz.json", data)
		if err != nil {
			return
		}
		Check(p) // must not panic, whatever the file says
	})
}
