package keys

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// TestForeignSecrets: a secret that lacks the sender's prefix or is too short, such as an
// API key, causes one warning with its label and what is expected, never a part of it.
func TestForeignSecrets(t *testing.T) {
	plain := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	base64 := plain
	base64.SecretEncoding, base64.SecretPrefix = "base64", "whsec_"
	const apiKey, endpoint, bare = "sk_live_9f31c0a2d47be58690f1", "whsec_9f31c0a2d47be58690f1c3", "n0AIxuT4Hwq2fE1yT8sVdw=="
	stripe := providers.Key{Where: "Dashboard > Webhooks", Prefix: verifier.StringList{"whsec_"}}
	path := write(t, apiKey, t.TempDir(), "key")
	for name, tc := range map[string]struct {
		scheme   verifier.Scheme
		sender   providers.Key
		secrets  []Value
		labels   []any
		expected string
	}{
		"an API key":          {plain, stripe, []Value{{Value: endpoint}, {Value: apiKey}}, []any{"2"}, "whsec_…"},
		"in a file":           {plain, stripe, []Value{{Value: "{file." + path + "}", Label: "new"}}, []any{"new"}, "whsec_…"},
		"too short":           {plain, providers.Key{MinLength: 64}, []Value{{Value: endpoint}}, []any{"1"}, "at least 64 characters"},
		"one of two prefixes": {plain, providers.Key{Prefix: verifier.StringList{"a_", "b_"}, MinLength: 9}, []Value{{Value: "b_9f31c0a2d47b"}, {Value: apiKey}}, []any{"2"}, "a_… or b_…, at least 9 characters"},
		"optional prefix":     {base64, providers.Key{Prefix: stripe.Prefix, MinLength: 30}, []Value{{Value: bare}, {Value: "whsec_" + bare}}, nil, ""},
		"too short without":   {base64, providers.Key{Prefix: stripe.Prefix, MinLength: 31}, []Value{{Value: bare}}, []any{"1"}, "whsec_…, at least 31 characters"},
		"any":                 {plain, providers.Key{}, []Value{{Value: apiKey}}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.WarnLevel)
			k, err := Open(Config{Rules: mustCompile(tc.scheme), Secret: tc.secrets, Sender: tc.sender, Logger: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // at each read
				k.warnOfDoubtful()
			}
			warned := slices.DeleteFunc(logs.All(), func(e observer.LoggedEntry) bool {
				return !strings.HasPrefix(e.Message, "a secret does not look like the sender's")
			})
			if len(warned) == 0 && tc.labels == nil {
				return
			}
			if len(warned) != 1 {
				t.Fatalf("%d warnings, want one: %v", len(warned), warned)
			}
			fields := warned[0].ContextMap()
			if got := fields["keys"].([]any); !slices.Equal(got, tc.labels) || fields["expected"] != tc.expected {
				t.Errorf("keys %v, expected %v; want %v, %s", got, fields["expected"], tc.labels, tc.expected)
			}
			if where, _ := fields["where"].(string); where != tc.sender.Where {
				t.Errorf("where: %q, want %q", where, tc.sender.Where)
			}
			for _, secret := range []string{apiKey, endpoint, bare, "sk_"} {
				if strings.Contains(fmt.Sprint(warned), secret) {
					t.Errorf("a secret is logged: %v", warned)
				}
			}
		})
	}
}

// TestForeignSecretsOfATenant: as for those of a handler, with labels and never a part of
// the secret.
func TestForeignSecretsOfATenant(t *testing.T) {
	const apiKey, endpoint = "sk_live_9f31c0a2d47be58690f1", "whsec_9f31c0a2d47be58690f1c3"
	plain := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	stripe := providers.Key{Where: "Dashboard > Webhooks", Prefix: verifier.StringList{"whsec_"}}
	for _, tc := range []struct {
		sender providers.Key
		text   string
		want   string
	}{
		{stripe, endpoint, ""},
		{providers.Key{}, apiKey, ""},
		{stripe, apiKey, "map[expected:whsec_… keys:[old] where:Dashboard > Webhooks]"},
		{stripe, endpoint + "\n" + apiKey, "map[expected:whsec_… keys:[old/2] where:Dashboard > Webhooks]"},
	} {
		k, err := Open(Config{Rules: mustCompile(plain), Tenants: true, Sender: tc.sender})
		if err != nil {
			t.Fatal(err)
		}
		s, err := k.Snapshot().With([]verifier.Key{{Label: "old", Text: tc.text}}, true)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if s.Foreign() != nil {
			fields := zapcore.NewMapObjectEncoder()
			for _, f := range s.Foreign() {
				f.AddTo(fields)
			}
			got = fmt.Sprint(fields.Fields)
		}
		if got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}
