package verifier_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// tokenSecrets are tokens of several lengths, of characters that no sentence holds in
// this order, and one with separators in it.
var tokenSecrets = []string{"q7Zx", "kW3q-8Zx", "s3cr3t-7Hq9abX", strings.Repeat("pQ9-", 10), "a7, Zq; 9|x & 3"}

// tokenMutations are headers as proxies, forms and copies by hand alter them: the
// values of one header.
var tokenMutations = map[string]func(value string) []string{
	"two lines":              func(v string) []string { return []string{v, v} },
	"doubled":                func(v string) []string { return []string{v + v} },
	"joined by comma, space": func(v string) []string { return []string{v + ", " + v} },
	"joined by comma":        func(v string) []string { return []string{v + "," + v} },
	"joined by semicolon":    func(v string) []string { return []string{v + ";" + v} },
	"joined by space":        func(v string) []string { return []string{v + " " + v} },
	"three copies":           func(v string) []string { return []string{v + ", " + v + ", " + v} },
	"another token before":   func(v string) []string { return []string{"old-" + v + ", " + v} },
	"half of it before":      func(v string) []string { return []string{v[:len(v)/2] + " " + v} },
	"text before":            func(v string) []string { return []string{"Acme " + v} },
	"a label before":         func(v string) []string { return []string{"token=" + v} },
	"Bearer before":          func(v string) []string { return []string{"Bearer " + v} },
	"text after":             func(v string) []string { return []string{v + " end"} },
	"itself as a label":      func(v string) []string { return []string{v + "=" + v, v + ":" + v, v + "." + v} },
	"double quotes":          func(v string) []string { return []string{`"` + v + `"`} },
	"single quotes":          func(v string) []string { return []string{"'" + v + "'"} },
	"base64":                 func(v string) []string { return []string{base64.StdEncoding.EncodeToString([]byte(v))} },
	"as it is":               func(v string) []string { return []string{v} },
}

// tokenDeliveries yields, for every provider with a token, deliveries with a mutation
// of its header, in its place and in another one.
func tokenDeliveries(t *testing.T, yield func(id, mutation, secret string, c verifier.Case)) {
	t.Helper()
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Scheme.Signature == nil || !p.Scheme.UsesToken() || len(p.Scheme.Signature.Header) == 0 {
			continue
		}
		header := http.CanonicalHeaderKey(p.Scheme.Signature.Header[0])
		for _, secret := range tokenSecrets {
			c := verifier.Case{Scheme: p.Scheme, Keys: []verifier.Key{{Text: secret}}, Body: []byte(`{"id":1}`), Now: time.Unix(1760000000, 0)}
			if len(p.Vectors) > 0 {
				c.Scheme.Params = p.Vectors[0].Params
			}
			value := p.Scheme.Signature.Prefix + secret
			if p.Scheme.Signature.Encoding == "base64" {
				value = p.Scheme.Signature.Prefix + base64.StdEncoding.EncodeToString([]byte(secret))
			}
			for _, mutation := range slices.Sorted(maps.Keys(tokenMutations)) {
				for _, name := range []string{header, "X-Acme-Token", "X-" + secret, secret} {
					c.Request = &verifier.Request{Method: "POST", Target: "/hooks?" + secret + "=" + secret, Host: "hooks.example.com", Header: map[string][]string{
						http.CanonicalHeaderKey(name): tokenMutations[mutation](value), "X-Forwarded-Host": {secret},
					}}
					yield(p.ID, mutation, secret, c)
				}
			}
		}
	}
}

// TestExplanationsHoldNoToken: whatever becomes of a token's header, no explanation
// repeats the token, or a half of it.
func TestExplanationsHoldNoToken(t *testing.T) {
	explained, hinted := 0, 0
	tokenDeliveries(t, func(id, mutation, secret string, c verifier.Case) {
		e, err := verifier.Explain(t.Context(), c)
		if err != nil || e.Genuine {
			return
		}
		if explained++; e.Hint != "" {
			hinted++
		}
		for _, text := range []string{secret, secret[:(len(secret)+1)/2], base64.StdEncoding.EncodeToString([]byte(secret))} {
			if len(text) > 3 && strings.Contains(strings.ToLower(e.Hint+e.Detail), strings.ToLower(text)) {
				t.Errorf("%s, %s: %q in %s; %s", id, mutation, text, e.Detail, e.Hint)
			}
		}
	})
	t.Log(hinted, "of", explained, "have a hint")
	if explained < 1000 || hinted < 500 {
		t.Errorf("%d explained, %d with a hint", explained, hinted)
	}
}

// TestExplainTokenTwice: of a header that arrives twice, or joined with its copy, the
// hint says just that.
func TestExplainTokenTwice(t *testing.T) {
	for mutation, want := range map[string]string{
		"two lines": "appears on 2 lines", "doubled": "holds the token 2 times, joined into one line", "joined by comma, space": "holds the token 2 times", "joined by comma": "holds the token 2 times",
		"joined by semicolon": "holds the token 2 times", "joined by space": "holds the token 2 times", "three copies": "holds the token 3 times",
		"another token before": "holds more than the token", "text before": "holds more than the token", "text after": "holds more than the token",
		"Bearer before": `write: prefix "Bearer "`, "double quotes": "is in quotes",
	} {
		secret := "s3cr3t-7Hq9ab"
		e, err := verifier.Explain(t.Context(), verifier.Case{
			Scheme: verifier.Scheme{Algorithm: verifier.Token, BodyUnsigned: true, Signature: &verifier.Signature{Header: verifier.StringList{"X-Token"}}},
			Keys:   []verifier.Key{{Text: secret}}, Body: []byte("{}"), Now: time.Unix(1760000000, 0),
			Request: &verifier.Request{Method: "POST", Header: map[string][]string{"X-Token": tokenMutations[mutation](secret)}},
		})
		if err != nil || !strings.Contains(e.Hint, want) || strings.Contains(e.Hint, "write: ") != strings.Contains(want, "write: ") {
			t.Errorf("%s: got %q, %v, want %q", mutation, e.Hint, err, want)
		}
	}
}

// TestExplanationsHoldNoLabelWithSecret: nor is the secret, or a part of it, repeated
// as the label of a signature or of a timestamp.
func TestExplanationsHoldNoLabelWithSecret(t *testing.T) {
	for _, secret := range []string{"q7Zx", "kW3q-8Zx", "s3cr3t.7Hq9abX", "s3cr3t,7Hq9abX"} {
		sign := func(content string) string {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(content))
			return hex.EncodeToString(mac.Sum(nil))
		}
		for mutation, header := range map[string]map[string][]string{
			"label":       {"X-Signature": {secret + ":" + sign("{}")}},
			"key":         {"X-Signature": {"v1=0," + secret + "=" + sign("{}")}},
			"version":     {"X-Signature": {secret[:4] + "," + sign("{}")}},
			"header":      {"X-" + secret: {sign("{}")}},
			"timestamp":   {"X-Signature": {sign("1760000000.{}")}, "X-Time": {secret + "=1760000000"}},
			"time header": {"X-Signature": {sign("1760000000.{}")}, "X-" + secret: {"1760000000"}},
		} {
			e, err := verifier.Explain(t.Context(), verifier.Case{
				Scheme: verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}, Keys: []verifier.Key{{Text: secret}},
				Body: []byte("{}"), Now: time.Unix(1760000000, 0), Request: &verifier.Request{Method: "POST", Target: "/?" + secret + "=" + sign("{}"), Header: header},
			})
			text := strings.ToLower(e.Hint + e.Detail)
			if err != nil || strings.Contains(text, strings.ToLower(secret)) || strings.Contains(text, "s3cr3t") || strings.Contains(text, "7hq9abx") {
				t.Errorf("%s, %s: %s; %s, %v", secret, mutation, e.Detail, e.Hint, err)
			}
		}
	}
}
