package check

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// pastedForms are the ways in which a key's text arrives from dashboards, env
// files, YAML, JSON and secret managers, by what happened to it.
func pastedForms(t *testing.T, text string) map[string]string {
	t.Helper()
	asJSON, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{
		"as it is":            text,
		"blanks around":       "\n  " + text + " \t\r\n",
		"byte order mark":     "\ufeff" + text,
		"double quotes":       `"` + text + `"`,
		"single quotes":       "'" + text + "'\n",
		"quotes and a break":  "\"" + text + "\n\"",
		"a JSON string":       string(asJSON),
		"JSON without quotes": strings.Trim(string(asJSON), `"`),
		"CRLF":                strings.ReplaceAll(text, "\n", "\r\n"),
		"indented":            "  " + strings.ReplaceAll(text, "\n", "\n  "),
		"literal \\n":         strings.ReplaceAll(text, "\n", `\n`),
		"literal \\r\\n":      strings.ReplaceAll(text, "\n", `\r\n`),
		"literal \\\\n":       strings.ReplaceAll(text, "\n", `\\n`),
		"one line":            strings.ReplaceAll(text, "\n", ""),
		"one line, blanks":    strings.ReplaceAll(text, "\n", " "),
		"empty lines between": strings.ReplaceAll(text, "\n", "\n\n"),
	}
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "-----") {
		wrapped := base64.StdEncoding.EncodeToString([]byte(text))
		forms["base64"] = wrapped
		forms["base64, quoted"] = `"` + wrapped + `"`
		forms["base64 in lines"] = inLines(wrapped, "\n")
		forms["base64 of quotes"] = base64.StdEncoding.EncodeToString([]byte(`"` + text + `"`))
		forms["base64url"] = base64.RawURLEncoding.EncodeToString([]byte(text))
		return forms
	}
	forms["in lines"] = inLines(text, "\n")
	forms["in lines, CRLF"] = inLines(text, "\r\n")
	forms["in lines, literal \\n"] = inLines(text, `\n`)
	return forms
}

func inLines(text, end string) string {
	var lines []string
	for len(text) > 64 {
		lines, text = append(lines, text[:64]), text[64:]
	}
	return strings.Join(append(lines, text), end)
}

// TestPastedPublicKeys: every preset with a public key verifies its vectors with
// each form of the key.
func TestPastedPublicKeys(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	presets := 0
	for _, p := range all {
		tried := false
		for _, vec := range p.Vectors {
			if vec.PublicKey == "" || tried {
				continue
			}
			tried = true
			presets++
			for form, text := range pastedForms(t, vec.PublicKey) {
				pasted := vec
				pasted.PublicKey = text
				trial, err := newTrial(p, &pasted)
				if err != nil {
					t.Errorf("%s, %s: %v", p.ID, form, err)
					continue
				}
				original, err := newTrial(p, &vec)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := trial.run(), original.run(); got != want {
					t.Errorf("%s, %s: %s, want %s", p.ID, form, got, want)
				}
			}
		}
	}
	if presets < 20 {
		t.Errorf("only %d presets have a vector with a public key", presets)
	}
}
