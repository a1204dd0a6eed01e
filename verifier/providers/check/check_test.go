package check

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// good is a complete provider, whose signature openssl made.
const good = `{
	"id": "acme", "name": "Acme", "category": "payments",
	"scheme": {
		"signature": {"header": "Acme-Signature", "syntax": "kv", "key": "v1"},
		"message": "{timestamp}.{body}",
		"timestamp": {"kv": "t"},
		"delivery_id": {"json": "id"}
	},
	"unique_id": true,
	"retry": {"schedule": "5 times over a day", "span": "24h"},
	"sources": [{"url": "https://acme.example/docs", "proves": "everything"}],
	"confidence": "official-doc",
	"vectors": [{
		"source": "openssl dgst -sha256 -hmac KEY over the documented t.body",
		"proof": "openssl",
		"headers": {"Acme-Signature": "t=1700000000,v1=d1c050a9d8456c5985d5fab8c7fd06bd06e9665d4c2377f798677b321ada905b"},
		"body": "{\"id\":\"evt_1\",\"type\":\"order.paid\"}",
		"secret": "acme-example-secret",
		"now": 1700000000,
		"expect": "genuine"
	}, {
		"source": "edited: the body's type; made from: openssl dgst -sha256 -hmac KEY over the documented t.body",
		"proof": "openssl",
		"headers": {"Acme-Signature": "t=1700000000,v1=d1c050a9d8456c5985d5fab8c7fd06bd06e9665d4c2377f798677b321ada905b"},
		"body": "{\"id\":\"evt_1\",\"type\":\"order.void\"}",
		"secret": "acme-example-secret",
		"now": 1700000000,
		"expect": "signature_mismatch"
	}]
}`

func parse(t *testing.T, file string) *providers.Provider {
	t.Helper()
	p, err := providers.Parse("acme.json", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRunGood(t *testing.T) {
	r := Run(parse(t, good))
	if len(r.Problems) > 0 || r.Vectors != 2 || r.Genuine != 1 || r.Alterations < 15 {
		t.Errorf("a complete file: %+v", r)
	}
}

// TestRunBroken spoils one thing at a time, and looks whether Run says so.
func TestRunBroken(t *testing.T) {
	for _, tc := range []struct{ old, new, want string }{
		{`"name": "Acme", `, ``, "name: missing"},
		{`"category": "payments",`, ``, "category: missing"},
		{`"confidence": "official-doc",`, ``, "confidence: missing: write one of official-doc"},
		{`"official-doc"`, `"low"`, "notes: missing: confidence is low"},
		{`"official-doc"`, `"dunno"`, `confidence: "dunno" is unusual`},
		{`[{"url": "https://acme.example/docs", "proves": "everything"}]`, `[]`, "sources: missing"},
		{`"https://acme.example/docs"`, `""`, "sources[0]: url is missing"},
		{`"everything"`, `""`, "sources[0]: proves is missing"},
		{`"retry": {"schedule": "5 times over a day", "span": "24h"},`, ``, "retry: no schedule"},
		{`"timestamp": {"kv": "t"},
		"delivery_id": {"json": "id"}
	},
	"unique_id": true`, `"timestamp": {"kv": "t"}
	},
	"unique_id": false`, "delivery_id: copies cannot be recognised"},
		{`"delivery_id": {"json": "id"}`, `"delivery_id": {"json": "id", "off": true}`, "unique_id: there is no delivery_id"},
		{`"source": "openssl dgst -sha256 -hmac KEY over the documented t.body",`, ``, "vectors[0]: source is missing"},
		{`"openssl dgst -sha256 -hmac KEY over the documented t.body"`, `"caddy webhook sign"`, "vectors[0]: source is this project's own signer"},
		{`"expect": "genuine"`, `"expect": "genuin"`, `vectors[0]: expect "genuin" is not a verdict: did you mean "genuine"?`},
		{`"proof": "openssl",`, ``, "vectors[0]: proof is missing: say what made or accepted the signature: one of vendor-doc, "},
		{`"proof": "openssl"`, `"proof": "me"`, `vectors[0]: proof "me": write one of vendor-doc, `},
		{`"expect": "genuine"`, `"expect": "stale_timestamp"`, "vectors[0]: got genuine, want stale_timestamp"},
		{`"expect": "signature_mismatch"`, `"expect": "genuine"`, "vectors[1]: got signature_mismatch, want genuine"},
		{`"secret": "acme-example-secret"`, `"secret": "acme-wrong-secret"`, "vectors[0]: got signature_mismatch, want genuine: the scheme does not say"},
		{`"secret": "acme-example-secret"`, `"secret": ""`, "vectors[0]: cannot be run: key 1: the secret is empty"},
		{`"now": 1700000000`, `"now": 1700009999`, "vectors[0]: got stale_timestamp, want genuine"},
		{`"unique_id": true,`, `"handshake": [{"when": {"json": {"type": "*"}}, "signed": true, "respond": {}}],`, "vectors[0]: is answered as a handshake"},
		{`"unique_id": true,`, `"params": [{"name": "confirm", "description": "on", "optional": true}],
	"handshake": [{"when": {"json": {"id": "*"}}, "opt_in": "confirm", "signed": true, "respond": {}}],`, "vectors[0]: is answered as a handshake"},
	} {
		if strings.Count(good, tc.old) == 0 {
			t.Fatalf("the file has no %q to spoil", tc.old)
		}
		r := Run(parse(t, strings.Replace(good, tc.old, tc.new, 1)))
		found := false
		for _, problem := range r.Problems {
			found = found || strings.HasPrefix(problem.String(), tc.want)
		}
		if !found {
			t.Errorf("%s: no problem begins with %q:\n%v", tc.new, tc.want, r.Problems)
		}
		if advice := strings.HasPrefix(tc.want, "retry") || strings.HasPrefix(tc.want, "delivery_id") || strings.Contains(tc.want, "unusual"); r.Complete() != advice {
			t.Errorf("%s: complete: %v", tc.new, r.Complete())
		}
	}
	empty := Run(parse(t, `{"id":"a","scheme":{"signature":{"header":"X"}}}`))
	if s := strings.Join(strs(empty.Problems), "\n"); !strings.Contains(s, "vectors: missing") {
		t.Errorf("an empty file: %s", s)
	}
}

func strs(problems []Problem) (all []string) {
	for _, p := range problems {
		all = append(all, p.String())
	}
	return all
}

// TestAlterationsBite tries what a scheme must notice on schemes that each read
// less of the same delivery. What they let pass is what the alteration shows;
// one that nothing lets pass would be a negative in name only.
func TestAlterationsBite(t *testing.T) {
	clock := []string{"a clock that is far ahead", "a clock that is far behind"}
	body := []string{"a byte added to the body", "a bit of the body flipped", "an empty body"}
	for name, tc := range map[string]struct {
		reads func(*verifier.Scheme)
		pass  []string
	}{
		"a token":         {func(s *verifier.Scheme) { *s = token("Acme-Signature") }, slices.Concat(body, clock)},
		"a header alone":  {func(s *verifier.Scheme) { *s = token("Other") }, slices.Concat(body, clock, []string{"no signature", "an empty signature", "garbage for a signature", "a signature that is not in its encoding", "a signature cut short", "another signature", "a second line of the signature", "the timestamp's key twice", "a timestamp of a second later"})},
		"no clock":        {func(s *verifier.Scheme) { s.Timestamp = &verifier.Timestamp{KV: "t", Off: true} }, clock},
		"a long patience": {func(s *verifier.Scheme) { s.Tolerance = new(verifier.Duration(365 * 24 * time.Hour)) }, clock},
	} {
		p := parse(t, good)
		vec := p.Vectors[0]
		vec.Headers = map[string]string{"Acme-Signature": vec.Headers["Acme-Signature"], "Other": "secret"}
		weak := *p
		tc.reads(&weak.Scheme)
		judged := vec
		if weak.Scheme.Algorithm == verifier.Token {
			judged.Secret = vec.Headers[weak.Scheme.Signature.Header[0]]
		}
		judge, err := newTrial(&weak, &judged)
		if err != nil {
			t.Fatal(err)
		}
		var passed []string
		for _, a := range alterations(p, &vec) {
			altered := judge.clone()
			if a.apply(altered) && altered.run() == providers.Genuine {
				passed = append(passed, a.name)
			}
		}
		slices.Sort(passed)
		slices.Sort(tc.pass)
		if !slices.Equal(passed, tc.pass) {
			t.Errorf("%s: passed %q, want %q", name, passed, tc.pass)
		}
	}
}

func token(header string) verifier.Scheme {
	return verifier.Scheme{Algorithm: verifier.Token, BodyUnsigned: true, Signature: &verifier.Signature{Header: verifier.StringList{header}}}
}

// TestTemplate: what contributors copy is a provider file, not one of the
// catalogue, and Run asks for what is to be filled in.
func TestTemplate(t *testing.T) {
	data, err := os.ReadFile("../_template.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := providers.Parse("_template.json", data)
	if err != nil {
		t.Fatal(err)
	}
	r := Run(p)
	got := strings.Join(strs(r.Problems), "\n")
	for _, want := range []string{"name: missing", "category: missing", "confidence: missing", "sources[0]: url is missing", "sources[0]: proves is missing", "vectors[0]: source is missing", "vectors[0]: proof is missing"} {
		if !strings.Contains(got, want) {
			t.Errorf("the template: no problem %q in\n%s", want, got)
		}
	}
	if _, err := providers.Get("_template"); err == nil {
		t.Error("the template is in the catalogue")
	}
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.ID == p.ID {
			t.Errorf("the template is in the catalogue as %s", q.ID)
		}
	}
}
