package keys

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// weakSecrets are what people type in place of a random secret. Strangers guess them.
var weakSecrets = []string{
	"1234567890123456", "0123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz", "ZYXWVUTSRQPONM", "12345678-1234-1234-1234-123456789012",
	"0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF", "fedcba9876543210fedcba9876543210", "1111222233334444",
	"abababababababababab", "xyzxyzxyzxyz", "k3xk3xk3x", "deadbeefdeadbeefdeadbeefdeadbeef", "q7q7q7q7", "ab12cdab12cd",
	"qwertyuiop", "qwerty12345", "asdfghjkl;", "1q2w3e4r5t6y", "1qaz2wsx3edc", "zxcvbnm,.",
	"password12345678", "mysecretmysecret", "supersecretsupersecret", "P@ssw0rd123!", "s3cr3t", "letmein", "test", "testing123", "helloworld", "hello world",
	"topsecret", "Top Secret!", "webhook", "webhooksecret", "githubwebhooksecret", "github", "stripe2024", "my-password-1234", "admin:password", "foobar", "foobarbaz",
	"secret-1234", "change this", "ThisIsMySecret", "correct horse battery staple", "deadbeefcafebabe",
	"whsec_mysecretmysecret", "sk_test_1234567890123456", "key-abcdefghijklmnop", "'mysecretmysecret'", "\"1234567890123456\"",
	"this is a test", "This-is-a-test!", "my_secret_is_a_password", "dGhpcyBpcyBhIHNlY3JldA==", "746869732069732061207365637265740a",
	"Password1!", "pass@123", "admin@123", "Secret*2024!",
	// The MD5, SHA-1, SHA-256 and SHA-512 of nothing, and of a line break.
	"d41d8cd98f00b204e9800998ecf8427e", "1B2M2Y8AsgTpgAmY7PhCfg==", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
	"01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
	// As sha256sum, openssl dgst and others print them.
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  -", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 *-", "d41d8cd98f00b204e9800998ecf8427e  -",
	"SHA2-256(stdin)= e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "SHA256 (-) = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "(stdin)= da39a3ee5e6b4b0d3255bfef95601890afd80709",
	"38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b  -", "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f  -",
	// base64 and hex of such a text.
	"dW5kZWZpbmVkCg==", "Y2hhbmdlbWUK", "756e646566696e65640a", "eyJlcnJvcnMiOltdfQ==", "JHtTVFJJUEVfU0VDUkVUfQ==", "UGVybWlzc2lvbiBkZW5pZWQK", "PG5vIHZhbHVlPg==", "PEVycm9yPng8L0Vycm9yPg==",
	"c2VjcmV0", "dGVzdA==", "Y2hhbmdlbWU=", "736563726574",
	"whsec_bXlzZWNyZXRteXNlY3JldG15c2VjcmV0", "MTIzNDU2Nzg5MDEyMzQ1Ng==", "MTIzNDU2Nzg5MDEyMzQ1Ng", "cGFzc3dvcmQxMjM0NTY3OA==", "6d797365637265746d79736563726574",
	"000102030405060708090a0b0c0d0e0f", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAECAwQFBgcICQoLDA0ODw==", "3q2+796tvu/erb7v3q2+7w==",
}

// TestWeakSecrets: none of them starts a gateway, for senders or the app, and no error
// repeats it.
func TestWeakSecrets(t *testing.T) {
	scheme := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	for _, text := range weakSecrets {
		t.Setenv("WEAK_TEST", text)
		for _, value := range []string{text, "{env.WEAK_TEST}"} {
			_, err := Open(Config{Rules: mustCompile(scheme), Secret: []Value{{Value: "9f31c0a2d47be586"}, {Value: value}}})
			if err == nil || !strings.HasPrefix(err.Error(), "secret") || strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "openssl rand") && !strings.Contains(err.Error(), "copy all of it") && !strings.Contains(err.Error(), "write {") {
				t.Errorf("%s, written %s: %v", text, value, err)
			}
		}
	}
	for _, text := range []string{"password12345678", "It's a Secret to Everybody"} {
		if _, err := Open(Config{Rules: mustCompile(scheme), Secret: []Value{{Value: "9f31c0a2d47be586"}}, SignUpstream: text}); err == nil || !strings.HasPrefix(err.Error(), "sign_upstream") {
			t.Errorf("sign_upstream %s: %v", text, err)
		}
	}
}

// TestTokensOfJSONAreTaken: such are base64 of an object with a random value, as Grafana and
// Cloudflare make them.
func TestTokensOfJSONAreTaken(t *testing.T) {
	scheme := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}}
	for _, text := range []string{`{"k":"Nq7dV2xLw9RtYb5KsZc8HmPf","n":"hook","id":1}`, `{"a":"4f1c09ab7d2e8835","t":"x","s":"Wk3vQ9/sLpX+Tz71"}`} {
		t.Setenv("TOKEN_TEST", base64.StdEncoding.EncodeToString([]byte(text)))
		if _, err := Open(Config{Rules: mustCompile(scheme), Secret: []Value{{Value: "{env.TOKEN_TEST}"}}}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestPasswords: with Basic authentication the user is no secret, so the password is
// judged like a whole secret: in a literal, a variable, a file and a tenant's keys.
func TestPasswords(t *testing.T) {
	basic := mustCompile(verifier.Scheme{Algorithm: verifier.Token, BodyUnsigned: true, Signature: &verifier.Signature{Header: verifier.StringList{"Authorization"}, Prefix: "Basic ", Encoding: "base64"}})
	token := mustCompile(verifier.Scheme{Algorithm: verifier.Token, BodyUnsigned: true, Signature: &verifier.Signature{Header: verifier.StringList{"Authorization"}}})
	tenants, err := Open(Config{Rules: basic, Tenants: true})
	if err != nil {
		t.Fatal(err)
	}
	const (
		right   = iota
		warned  // everywhere
		known   // an error, a warning in a file
		nothing // an error in a file too
	)
	for password, want := range map[string]int{
		"9f31c0a2d47be586": right, ":9f31c0a2d47be586": right, "$9f31c0a2d47be586": right, "a${!#}9f31c0a2d47": right,
		"my-own-secret": warned, "9f31": warned,
		"": known, " ": known, `""`: known, "changeme": known, "“changeme”": known, "$PASSWORD": known, "STRIPE_SECRET": known, "xxxxxxxx": known, "`": known, "1234567890123456": known, "hunter2!": known,
		"It's a Secret to Everybody": known, "dW5kZWZpbmVkCg==": known, "vault:secret/data/x#y": known, "as": known,
		"undefined": nothing, "null\t": nothing, "${PASSWORD}": nothing, "<no value>": nothing, "***": nothing, `{"message":"Unauthorized"}`: nothing, "ResourceNotFoundException": nothing,
	} {
		secret := "chargebee-prod:" + password
		t.Setenv("PASSWORD_TEST", secret)
		path := write(t, secret, t.TempDir(), "key")
		for _, written := range []struct {
			rules *verifier.Rules
			value string
		}{{basic, secret}, {basic, "{env.PASSWORD_TEST}"}, {basic, "Basic " + base64.StdEncoding.EncodeToString([]byte(secret))}, {token, "basic " + base64.StdEncoding.EncodeToString([]byte(secret))}} {
			if _, err := Open(Config{Rules: written.rules, Secret: []Value{{Value: written.value}}}); (err != nil) != (want >= known) || err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%q, written %s: %v", secret, written.value, err)
			}
		}
		core, logs := observer.New(zap.WarnLevel)
		k, err := Open(Config{Rules: basic, Secret: []Value{{Value: "{file." + path + "}"}}, Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		k.warnOfDoubtful()
		k.warnOfShort()
		if used := k.Current() != nil; used != (want < nothing) || (logs.Len() > 0) != (want != right) {
			t.Errorf("%q in a file: used %t, %v", secret, used, logs.All())
		}
		key := []verifier.Key{{Text: secret}}
		if s, err := tenants.Current().With(key, true); (err != nil) != (want == nothing) || err == nil && len(password) > 4 && (len(s.Guessable()) > 0) != (want != right) {
			t.Errorf("%q in a tenant's file: %v", secret, err)
		}
		if s, err := tenants.Current().With(key, false); err == nil && want == nothing || err != nil && want < known || err == nil && want == known && len(s.Guessable()) == 0 {
			t.Errorf("%q in a tenant's answer: %v", secret, err)
		}
	}
	for _, user := range []string{"chargebee-prod", "9f31c0a2d47be586:90f1c3a5d7e9b826"} { // no password, and another scheme
		rules := basic
		if strings.Contains(user, ":") {
			rules = token
		}
		if _, err := Open(Config{Rules: rules, Secret: []Value{{Value: user}}}); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// TestPublishedSecrets: the secrets of vectors and of documentation start no gateway.
// A command accepts them: they are in the examples to try.
func TestPublishedSecrets(t *testing.T) {
	if n := len(publishedSecrets()); n < 350 {
		t.Fatalf("%d published secrets", n)
	}
	rules := mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}})
	for _, text := range []string{
		"It's a Secret to Everybody", "\"It's a Secret to Everybody\"", "ExampleSecretNotForProductionUse", "8f742231b10e8888abcd99yyyzzz85a5",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "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",
		"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	} {
		c := Config{Rules: rules, Secret: []Value{{Value: text}}}
		if _, err := Open(c); !errors.Is(err, errPublished) || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
		if _, keys, err := Read(c); err != nil || len(keys) != 1 {
			t.Errorf("%s in a command: %v", text, err)
		}
	}
}

// TestGuessableFiles: a file may hold any text, and one that strangers know or guess
// causes one warning.
func TestGuessableFiles(t *testing.T) {
	const warning = "the secret in a key file is a placeholder"
	rules := mustCompile(verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}})
	dir := t.TempDir()
	for name, text := range map[string]string{"published": "It's a Secret to Everybody", "weak": "mysecretmysecret", "placeholder": "changeme", "printed": "whsec_stripe-secret", "random": "9f31c0a2d47be586"} {
		write(t, text, dir, name)
	}
	upstream := write(t, "cGFzc3dvcmQxMjM0NTY3OA==", t.TempDir(), "upstream")
	core, logs := observer.New(zap.DebugLevel)
	k, err := Open(Config{Rules: rules, Secret: []Value{{Value: "{file." + dir + "}"}}, SignUpstream: "{file." + upstream + "}", Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // at each read
		k.warnOfDoubtful()
	}
	logged := logs.Filter(func(e observer.LoggedEntry) bool { return strings.HasPrefix(e.Message, warning) }).All()
	if len(logged) != 1 {
		t.Fatalf("%d warnings", len(logged))
	}
	var got []string
	for _, label := range logged[0].ContextMap()["keys"].([]any) {
		got = append(got, label.(string))
	}
	if strings.Join(got, " ") != "placeholder printed published weak sign_upstream" {
		t.Errorf("warned of %q", got)
	}
}
