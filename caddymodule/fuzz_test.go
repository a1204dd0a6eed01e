package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
)

// FuzzCaddyfile: no text makes the parser panic, no error repeats a secret, and
// accepted text becomes JSON that provisions or fails with an error.
func FuzzCaddyfile(f *testing.F) {
	files, _ := filepath.Glob("testdata/adapt/*.caddyfiletest")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(data), "----------\n")
		if i := strings.Index(input, "verify_webhook"); i >= 0 {
			f.Add(input[i:])
		}
	}
	f.Add("")
	f.Add("verify_webhook")
	f.Add("verify_webhook {")
	f.Add("verify_webhook github " + marker + " {\n\tsecret }")
	f.Add("verify_webhook github " + marker + " {\n\tobserve {\n\t}\n}")
	f.Fuzz(func(t *testing.T, text string) {
		// Some words are file names: use only those that do not exist.
		if len(text) > 4096 || strings.Contains(text, "json") && strings.ContainsAny(text, "/\\") {
			return
		}
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		whole := true // in longer text the marker may be a name: {param:…}
		for _, token := range tokens {
			whole = whole && (token.Text == marker || !strings.Contains(token.Text, marker))
		}
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if whole && strings.Contains(err.Error(), marker) {
				t.Errorf("the error repeats a secret: %v", err)
			}
			return
		}
		config, err := json.Marshal(h)
		if err != nil {
			t.Fatalf("accepted, and no JSON: %v", err)
		}
		if strings.Contains(string(config), "{file.") { // whatever they name
			return
		}
		again := new(Handler)
		if err := json.Unmarshal(config, again); err != nil {
			t.Fatalf("its own JSON is not read: %v\n%s", err, config)
		}
		if err := again.setDefaults(); err != nil {
			return
		}
		again.metrics = metrics.Of("fuzz")
		again.logger = zap.NewNop()
		if err := again.openKeys(); err != nil && whole && strings.Contains(err.Error(), marker) &&
			!strings.Contains(text, "require_header") && !strings.Contains(text, "param") { // which may have such a name
			t.Errorf("the error repeats a secret: %v", err)
		}
	})
}
