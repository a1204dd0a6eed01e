package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guessable is what people leave where a value belongs, and what is no secret:
// see the tests of package keys.
func guessable(t *testing.T) (texts struct{ Values, Secrets []string }) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("keys", "testdata", "guessable.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestGuessableValues: none of them becomes a value, in whatever option, written
// in a Caddyfile or as JSON.
func TestGuessableValues(t *testing.T) {
	quoted := func(text string) string { return "`" + text + "`" }
	for _, text := range guessable(t).Values {
		for _, line := range []string{
			"secret %s", "secret x %s as old", "public_key %s", "param hook %s", "require_header X-Team %s", "require_header X-Team x %s", "sign_upstream %s",
		} {
			config := ":80 {\nverify_webhook standard_webhooks whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo {\n" + strings.Replace(line, "%s", quoted(text), 1) + "\n}\n}"
			option, _, _ := strings.Cut(line, " ")
			if strings.Contains(text, "{$") { // Caddy replaces it before we see it
				continue
			}
			if _, err := adapt("Caddyfile", config); err == nil || !strings.Contains(err.Error(), option+": ") {
				t.Errorf("Caddyfile, %s, %s: got %v, want an error with the option's name", line, text, err)
			}
		}
		asJSON, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		value := string(asJSON)
		for option, config := range map[string]string{
			"secret":         acme(`"secret":[` + value + `]`),
			"public_key":     acme(`"algorithm":"ed25519","public_key":[` + value + `]`),
			"param":          acme(topsecret, `"message":"{param:hook}{body}","param":{"hook":`+value+`}`),
			"require_header": acme(topsecret, `"require_header":[{"name":"X-Team","values":[`+value+`]}]`),
			"sign_upstream":  acme(topsecret, `"sign_upstream":`+value),
		} {
			if _, err := provision(t, "", config); err == nil || !strings.Contains(err.Error(), option) {
				t.Errorf("JSON, %s, %s: got %v, want an error with the option's name", option, text, err)
			}
		}
	}
}

// TestGuessableSecrets: what may be the value of a header, but is no secret.
func TestGuessableSecrets(t *testing.T) {
	path := write(t, "the secret itself", t.TempDir(), "stripe.key")
	for _, text := range append(guessable(t).Secrets, filepath.ToSlash(path)) {
		asJSON, _ := json.Marshal(text)
		for _, config := range []string{acme(`"secret":[` + string(asJSON) + `]`), acme(topsecret, `"sign_upstream":`+string(asJSON))} {
			if _, err := provision(t, "", config); err == nil || !strings.Contains(err.Error(), "write {") {
				t.Errorf("%s: got %v, want an error with the remedy", text, err)
			}
		}
		if _, err := provision(t, "", acme(topsecret, `"require_header":[{"name":"X-Team","values":[`+string(asJSON)+`]}]`)); err != nil {
			t.Errorf("%s as the value of a header: %v", text, err)
		}
	}
}

// TestGuessableVariables: a variable holds a reference where the program that
// should have resolved it (op run, envsubst, a chart) did not run.
func TestGuessableVariables(t *testing.T) {
	config := func(option string) string {
		return map[string]string{
			"secret":         acme(`"secret":["{env.VALUES_TEST}"]`),
			"require_header": acme(topsecret, `"require_header":[{"name":"X-Team","values":["{env.VALUES_TEST}"]}]`),
			"sign_upstream":  acme(topsecret, `"sign_upstream":"{env.VALUES_TEST}"`),
		}[option]
	}
	for text, options := range map[string][]string{
		"${STRIPE_SECRET}":      {"secret", "require_header", "sign_upstream"},
		"{file./run/x}":         {"secret", "require_header", "sign_upstream"},
		"{{ .Values.secret }}":  {"secret", "require_header", "sign_upstream"},
		"op://vault/item/field": {"secret", "sign_upstream"},
		"STRIPE_SECRET":         {"secret", "sign_upstream"},
	} {
		t.Setenv("VALUES_TEST", text)
		for _, option := range options {
			if _, err := provision(t, "", config(option)); err == nil || !strings.Contains(err.Error(), "VALUES_TEST") || strings.Contains(err.Error(), text) {
				t.Errorf("%s, the variable holds %s: got %v, want an error with its name", option, text, err)
			}
		}
	}
	t.Setenv("VALUES_TEST", "ORDER_CREATED") // no secret: the value of a header may be a word
	if _, err := provision(t, "", config("require_header")); err != nil {
		t.Error(err)
	}
}

// TestAPIKeyOfAPreset: the start warns of an API key in place of the preset's webhook
// secret, by handler and label.
func TestAPIKeyOfAPreset(t *testing.T) {
	const secret, apiKey = "whsec_9f31c0a2d47be58690f1c3", "sk_live_9f31c0a2d47be58690f1"
	g := mustProvision(t, "", `{"name":"shop","provider":"stripe","secret":["`+secret+`",{"value":"`+apiKey+`","label":"new"}]}`)
	g.start(t)
	warned := g.logs.FilterMessageSnippet("does not look like the sender's webhook secrets").All()
	if len(warned) != 1 || !strings.Contains(fmt.Sprint(warned[0].ContextMap()), "expected:whsec_… keys:[new] name:shop") {
		t.Errorf("warned %v", warned)
	}
	for _, entry := range g.logs.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "9f31c0a2") || strings.Contains(text, "sk_live") {
			t.Errorf("a secret is logged: %s", text)
		}
	}
}
