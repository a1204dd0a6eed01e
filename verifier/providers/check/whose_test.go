package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestPagesSayWhosePublicKeyItIs: with a key that signs for all customers of a
// sender, any of them can have a delivery signed that verifies everywhere. Each
// file with public keys says whose they are, or asks for what ties a delivery to
// the customer; without its notes or params Run complains.
func TestPagesSayWhosePublicKeyItIs(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	var shared []string
	for _, p := range all {
		if p.UsesSecret() {
			continue
		}
		if asks := slices.ContainsFunc(strs(Run(p).Problems), isAboutKeys); asks {
			t.Errorf("%s.json does not say whose its public key is", p.ID)
		}
		for _, note := range p.Notes {
			if strings.Contains(strings.ToLower(note), "the same key signs for every customer") {
				shared = append(shared, p.ID)
			}
			if p.Scheme.KeySource != nil && strings.Contains(note, "signs for one") {
				t.Errorf("%s.json: keys that the sender publishes at one address are not one customer's: %s", p.ID, note)
			}
		}
		bare := *p
		bare.Notes, bare.Params = nil, nil
		if !slices.ContainsFunc(strs(Run(&bare).Problems), isAboutKeys) {
			t.Errorf("%s.json without notes and params: Run does not ask whose its public key is", p.ID)
		}
	}
	for _, id := range []string{"constant_contact", "dyte", "fal", "freshchat", "integrated_finance", "kick", "plaid", "travis", "truelayer", "wise"} {
		if !slices.Contains(shared, id) {
			t.Errorf("%s.json does not say that its key serves all customers", id)
		}
	}
}

func isAboutKeys(problem string) bool { return strings.Contains(problem, "whose the public key is") }

func TestWhoseKeyIsSaidByNotesAndParams(t *testing.T) {
	file := func(rest string) string {
		return `{"id":"acme","scheme":{"algorithm":"ed25519","signature":{"header":"X"},"message":"{body}` + rest + `}`
	}
	for name, tc := range map[string]struct {
		file string
		says bool
	}{
		"nothing":             {file(`"}`), false},
		"another note":        {file(`"},"notes":["Give the public key in PEM."]`), false},
		"shared":              {file(`"},"notes":["The same key signs for every customer: let the app check the account."]`), true},
		"shared, perhaps":     {file(`"},"notes":["Whether the same key signs for every customer was not confirmed."]`), true},
		"own":                 {file(`"},"notes":["Give it in PEM. The key signs for one account only."]`), true},
		"signed param":        {file(`{param:hook}"},"params":[{"name":"hook","description":"id"}]`), true},
		"optional param":      {file(`{param:hook}"},"params":[{"name":"hook","description":"id","optional":true}]`), false},
		"longer param":        {file(`{param:hook_id}"},"params":[{"name":"hook","description":"id"},{"name":"hook_id","description":"id","optional":true}]`), false},
		"param beside":        {file(`"},"params":[{"name":"hook","description":"id"}]`), false},
		"secret of your own":  {`{"id":"acme","scheme":{"signature":{"header":"X"}}}`, true},
		"token, your own too": {`{"id":"acme","scheme":{"algorithm":"token","body_unsigned":true,"signature":{"header":"X"}}}`, true},
	} {
		if got := saysWhoseKey(parse(t, tc.file)); got != tc.says {
			t.Errorf("%s: says whose key it is: %v", name, got)
		}
	}
}
