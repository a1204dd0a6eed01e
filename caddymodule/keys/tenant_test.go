package keys

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// tenantsOf opens the keys of a handler with tenants.
func tenantsOf(t *testing.T, provider, signs string) *Set {
	t.Helper()
	p, err := providers.Get(provider)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := p.Rules()
	if err != nil {
		t.Fatal(err)
	}
	k, err := Open(Config{Rules: rules, Tenants: true, SignUpstream: signs})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeysOfATenant: of a file each line is a key, of another source each text. The
// handler's own snapshot has stand-ins, which no log names.
func TestKeysOfATenant(t *testing.T) {
	k := tenantsOf(t, "github", "whsec_c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ==")
	base := k.Snapshot()
	if base == nil || len(base.Keys) != 1 || len(base.Labels()) != 0 || !slices.Equal(k.Labels(), []string{"tenant"}) {
		t.Fatalf("the handler's: %+v, %q", base, k.Labels())
	}
	wrapped := strings.Repeat("4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue", 2)
	for name, tc := range map[string]struct {
		keys   []verifier.Key
		texts  bool
		labels string // "": an error
	}{
		"one":                     {[]verifier.Key{{Text: "secret-of-acme"}}, true, "1"},
		"lines":                   {[]verifier.Key{{Text: "secret-of-acme\nanother-secret"}}, true, "1 1/2"},
		"files of a folder":       {[]verifier.Key{{Label: "2024", Text: "secret-of-acme"}, {Label: "2025", Text: "another-secret"}}, true, "2024 2025"},
		"texts":                   {[]verifier.Key{{Text: "secret-of-acme"}, {Text: "other-of-acme-9f31"}}, false, "1 2"},
		"a text of two lines":     {[]verifier.Key{{Text: "secret-of-acme\nmore"}, {Text: "another-secret"}}, false, ""},
		"a short line":            {[]verifier.Key{{Text: "secret-of-acme\nab"}}, true, ""},
		"openssl rand -base64 49": {[]verifier.Key{{Text: wrapped + "\nZQ=="}}, true, ""},
		"openssl rand -base64 64": {[]verifier.Key{{Text: wrapped + "\nm7Wd2KfXr9TqLz4Vy0HbNg=="}}, true, ""},
		"a comment":               {[]verifier.Key{{Text: "secret-of-acme\n# old"}}, true, ""},
		"one byte":                {[]verifier.Key{{Text: "x"}}, true, ""},
		"a public key":            {[]verifier.Key{{Text: "x", Kind: verifier.PublicKey}}, false, ""},
		"the secret for the app":  {[]verifier.Key{{Text: "signs-for-the-app-7419"}}, false, ""},
		"its text, undecoded":     {[]verifier.Key{{Text: "whsec_c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ=="}}, true, ""},
		"its text alone":          {[]verifier.Key{{Text: "c2lnbnMtZm9yLXRoZS1hcHAtNzQxOQ"}}, true, ""},
		"none":                    {nil, false, ""},
	} {
		s, err := base.With(tc.keys, tc.texts)
		if (err == nil) != (tc.labels != "") || err == nil && strings.Join(s.Labels(), " ") != tc.labels {
			t.Errorf("%s: %q, %v", name, s.Labels(), err)
		}
		if err != nil && strings.Contains(err.Error(), "secret-of-acme") {
			t.Errorf("%s: the error holds a key: %v", name, err)
		}
		if err == nil && s.Signer != base.Signer {
			t.Errorf("%s: another signer", name)
		}
	}
	if label := k.NoteUse(verifier.Verdict{Key: "2024"}, netip.Prefix{}); label != "tenant" {
		t.Errorf("in metrics: %s", label)
	}
}

// TestSecretsThatStrangersKnow: what a program answers without a value, or copies from
// documentation, is no secret of a tenant. No error repeats it.
func TestSecretsThatStrangersKnow(t *testing.T) {
	base := tenantsOf(t, "github", "").Snapshot()
	for _, text := range []string{
		"None", "undefined", "null", "<no value>", "changeme", "YOUR_SECRET_HERE", "{env.X}", "${SECRET}", "{{ .secret }}", "GITHUB_SECRET", "# rotated 2026-11-01",
		"whsec_••••••••", "It's a Secret to Everybody", " ", "x", "first-of-two\rsecond-of-two",
	} {
		s, err := base.With([]verifier.Key{{Text: "secret-of-acme"}, {Text: text}}, false)
		if err == nil || s != nil || text != " " && len(text) > 1 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"9f31c0a2d47be58690f1c3a5d7e9b826", "a passphrase of bravo, chosen by hand", "Bravo2026!"} {
		if _, err := base.With([]verifier.Key{{Text: text}}, false); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestGuessableSecretsOfATenant: those of files, which are used as they are, weak ones and
// those of documentation are named for a warning, and so are messages of a program.
func TestGuessableSecretsOfATenant(t *testing.T) {
	base := tenantsOf(t, "github", "").Snapshot()
	for _, c := range []struct {
		text  string
		texts bool
		want  string
	}{
		{"9f31c0a2d47be58690f1c3a5d7e9b826", true, ""},
		{"changeme", true, "1"},
		{"undefined", true, "1"},
		{"GITHUB_SECRET", true, "1"},
		{"It's a Secret to Everybody", true, "1"},
		{"webhook-secret", true, "1"},
		{"password2026", false, "1"},
		{"no value", false, "1"},
		{"a passphrase of bravo, chosen by hand", false, "1"},
		{"whsec_the-secret-of-bravo", true, "1"},
		{"hP7wM3xD9qS5tK1v", false, "1"},
		{"9f31c0a2d47be58690f1c3a5d7e9b826\npassword2026", true, "1/2"},
	} {
		s, err := base.With([]verifier.Key{{Text: c.text}}, c.texts)
		if err != nil || strings.Join(s.Guessable(), " ") != c.want {
			t.Errorf("%q: %v, want %q, %v", c.text, s.Guessable(), c.want, err)
		}
	}
}

// TestShortSecretsOfATenant: as those of a handler, they are named for a warning.
func TestShortSecretsOfATenant(t *testing.T) {
	for _, c := range []struct{ provider, text, want string }{
		{"github", "ab", "1"},
		{"github", "13-bytes-long", "1"},
		{"github", "14-bytes-long.", ""},
		{"github", "14-bytes-long.\n13-bytes-long", "1/2"},
		{"standard_webhooks", "whsec_c2hvcnQ=", "1"},
		{"postmark", "the-user-of-acme:short", "1"},
		{"postmark", "the-user-of-acme:14-bytes-long.", ""},
	} {
		s, err := tenantsOf(t, c.provider, "").Snapshot().With([]verifier.Key{{Text: c.text}}, true)
		if err != nil {
			t.Errorf("%s %q: %v", c.provider, c.text, err)
			continue
		}
		if got := strings.Join(s.Short(), " "); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.provider, c.text, got, c.want)
		}
	}
}

// TestKeysOfATenantAreLimited: a forged delivery is compared with each of them.
func TestKeysOfATenantAreLimited(t *testing.T) {
	base := tenantsOf(t, "github", "").Snapshot()
	var all []verifier.Key
	for range MaxTenantKeys {
		all = append(all, verifier.Key{Text: lineOne})
	}
	if _, err := base.With(all, true); err != nil {
		t.Error(err)
	}
	for _, texts := range []bool{true, false} {
		if _, err := base.With(append(all, verifier.Key{Text: lineTwo}), texts); !errors.Is(err, errManyKeys) {
			t.Errorf("one more: %v", err)
		}
	}
	all[0].Text = lineOne + "\n" + lineTwo
	if _, err := base.With(all, true); !errors.Is(err, errManyKeys) {
		t.Errorf("one more line: %v", err)
	}
}

// TestSendersThatNeedNoTenants: they publish their keys, or a configuration has others.
func TestSendersThatNeedNoTenants(t *testing.T) {
	for id, c := range map[string]Config{
		"aws_sns": {Tenants: true}, "github": {Tenants: true, Secret: []Value{{Value: "a-secret-of-all"}}},
	} {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if c.Rules, err = p.Rules(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), "tenant: ") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestApart: what keeps a snapshot does not keep its Set, and sees the same.
func TestApart(t *testing.T) {
	k, err := Open(Config{Rules: mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}), Tenants: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Current().With([]verifier.Key{{Text: "9f31c0a2d47be58690f1", Label: "1"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []*Snapshot{k.Current(), s} {
		apart := of.Apart()
		if apart.of != nil || apart.Verifier != of.Verifier || !slices.Equal(apart.Keys, of.Keys) || !slices.Equal(apart.Labels(), of.Labels()) {
			t.Errorf("%+v of %+v", apart, of)
		}
		if of.of != nil && len(of.Keys) > 0 && &apart.Keys[0] == &of.Keys[0] {
			t.Error("its keys lie in the other")
		}
	}
	if (*Snapshot)(nil).Apart() != nil {
		t.Error("nil has something")
	}
}
