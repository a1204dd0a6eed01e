package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseValue(t *testing.T) {
	for text, want := range map[string]struct {
		kind valueKind
		name string
		err  string // holds this; "" for none
	}{
		"{env.A_B}":             {envValue, "A_B", ""},
		"{file./run/a key}":     {fileValue, "/run/a key", ""},
		"{file.relative}":       {fileValue, "relative", ""},
		`{file.C:\keys\acme}`:   {fileValue, `C:\keys\acme`, ""},
		marker:                  {literalValue, "", ""},
		"{":                     {literalValue, "", ""},
		"a b{}c":                {literalValue, "", ""},
		"":                      {0, "", "empty: "},
		"{env.}":                {0, "", "{env.…} is not resolved here"},
		"{http.request.host}":   {0, "", "{http.…} is not resolved here"},
		"{http.vars.x}":         {0, "", "{http.…} is not resolved here"},
		"{system.hostname}":     {0, "", "{system.…} is not resolved here"},
		"{time.now}":            {0, "", "{time.…} is not resolved here"},
		marker + "{env.A}":      {0, "", "{env.A} is replaced only as a whole value"},
		"{env.A}" + marker:      {0, "", "{env.A} is replaced only as a whole value"},
		"{env.A}{env.B}":        {0, "", "{env.A} is replaced only as a whole value"},
		" {file./a}":            {0, "", "{file./a} is replaced only as a whole value"},
		marker + "{http.a}":     {0, "", "{http.a} is replaced only as a whole value"},
		"{env." + "A}\n":        {0, "", "{env.A} is replaced only as a whole value"},
		"{vars." + "a" + "}":    {0, "", "{vars.…} is not resolved here"},
		"{caddy.version_short}": {0, "", "{caddy.…} is not resolved here"},
	} {
		kind, name, err := parseValue(text)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) || strings.Contains(err.Error(), marker) {
				t.Errorf("%q: got the error %v, want one with %q", text, err, want.err)
			}
			continue
		}
		if err != nil || kind != want.kind || name != want.name {
			t.Errorf("%q: got %d %q %v, want %d %q", text, kind, name, err, want.kind, want.name)
		}
	}
}

// guessable is what people leave where a value belongs: a name or a placeholder
// that nothing replaces. Taken as it is written, it would be a secret that anyone
// can guess.
var guessable = []string{
	// nested, half and joined placeholders
	"{file./run/keys/{tenant}}", "{file./run/keys/{http.request.uri.path.2}}", "{env.{tenant}}", "{{env.X}}", "{{file./x}}",
	"{env.X", "{file./x", "{http.x", "x{env.", "{env.X}{file./x", "env.X}", "file./x}", "{env.X}\n", "${env.X}", "$env.X}",
	"{env.X:default}", "{env.X=default}", "{env.}", "{file.}", "{http.}",
	// unknown ones, and those of other programs
	"{vault.x}", "{vault.secret/data/x#y}", "{tenant}", "{ tenant }", "{$X1}", "{$X1:default}", "x{$X1}", "{op://vault/item}", "{args[0]}", "{args.0}",
	"{system.hostname}", "{time.now}", "{vars.x}", "{caddy.version}", "{path}", "{path.2}", "{env:X}", "{file:/x}", "{env", "{file",
	"{{X1}}", "{{ X1 }}", "{{ .Values.secret }}", "{{.Secret}}", "{{ secrets.X }}", "${{ secrets.X }}", "{{ lookup('env', 'X') | x }}",
	// names
	"env.X", "env:X", "file./x", "file:/x", "file:///x", "vault:x", "$X", "$x_y", "${X}", "${X:-default}", "${X:?unset}", "$(cat /x)", "$env:X", "%X%", "%stripe_secret%",
	"<secret>", "<your webhook secret>", "<nil>",
	// what Caddy leaves of {$X} in JSON, and one letter in the braces of others
	"{$X}", "{$X:default}", "{ $X }", "whsec_{$X}", "x${X}", "whsec_${X}", "whsec_${NAME}", "'${X}'", "#{X}", "@{X}",
}

// TestGuessableValues: none of them becomes a value, in whatever option, written
// in a Caddyfile, as JSON or as a flag of a command, which CheckValue checks.
func TestGuessableValues(t *testing.T) {
	quoted := func(text string) string { return "`" + text + "`" }
	for _, text := range guessable {
		for _, line := range []string{
			"secret %s", "secret x %s as old", "public_key %s", "param hook %s", "require_header X-Team %s", "require_header X-Team x %s", "sign_upstream %s",
		} {
			config := ":80 {\nverify_webhook standard_webhooks whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw {\n" + strings.Replace(line, "%s", quoted(text), 1) + "\n}\n}"
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
		if _, err := Resolve(text); err == nil {
			t.Errorf("the password of a store, %s: taken as it is", text)
		}
		if err := CheckValue(text); err == nil {
			t.Errorf("a flag, %s: taken as it is", text)
		}
	}
}

// TestGuessableSecrets: what may be the value of a header, but is no secret.
func TestGuessableSecrets(t *testing.T) {
	path := write(t, "the secret itself", t.TempDir(), "stripe.key")
	references := []string{
		"op://vault/item/field", "sm://project/secret", "ref+vault://secret/x#y", "doppler://x", "arn:aws:secretsmanager:eu-west-1:1:secret:stripe",
		"ssm:/prod/stripe", "aws-sm:stripe", "awssm:x", "keyvault:stripe", "secretRef:stripe", "projects/p/secrets/stripe/versions/latest", "ENC[AES256_GCM,data:x]",
		"((stripe-secret))", "[[secret]]", "<%= ENV['X'] %>", "@STRIPE_SECRET@", "__STRIPE_SECRET__", "%(secret)s", "$$X1", "$X}",
		"process.env.STRIPE", "ENV['X']", "ENV.X", "env(X)", "os.environ['X']", "getenv(X)", "!Ref Stripe", "!secret stripe",
		"/run/secrets/stripe", "./keys/stripe", "~/keys/stripe", "your-webhook-secret", "YOUR-SECRET",
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x)", "[your-webhook-secret]", "[GITHUB_SECRET]", "!env GITHUB_SECRET", "$__file{/run/secrets/x}",
		"System.getenv(\"X\")", "import.meta.env.SECRET", "var.github_secret", "data.aws_secret.x", "GITHUB_SECRET=abcdefgh", "changeme", "change-me", "Replace me",
		"secretKeyRef:stripe", "secretKeyRef: stripe", "configMapKeyRef:stripe", "valueFrom: x", "`cat /run/secrets/stripe`", "$PREFIX$SECRET", "$A-$B", "%!s(int=1)",
		"[object Object]", "undefined", "null", "None", "(hidden)", "redacted", "TODO", "placeholder",
		// what a sender's secrets begin with, and one of these
		"whsec_$NAME", "whsec_$(cat x)", "whsec_%NAME%", "whsec_<secret>", "whsec_{{X}}", "whsec_STRIPE_SECRET", "whsec_YOUR_SECRET", "whsec_changeme", "whsec_env.X",
		"sk_live_$KEY", "key-$KEY", "Bearer $TOKEN", `"$X1"`, "'$X'", "whsec_undefined",
	}
	for _, text := range append(references, "STRIPE_SECRET", "X_1", filepath.ToSlash(path)) {
		asJSON, _ := json.Marshal(text)
		for _, config := range []string{acme(`"secret":[` + string(asJSON) + `]`), acme(topsecret, `"sign_upstream":`+string(asJSON))} {
			if _, err := provision(t, "", config); err == nil || !strings.Contains(err.Error(), "write {") {
				t.Errorf("%s: got %v, want an error with the remedy", text, err)
			}
		}
		if _, err := provision(t, "", acme(topsecret, `"require_header":[{"name":"X-Team","values":[`+string(asJSON)+`]}]`)); err != nil {
			t.Errorf("%s as the value of a header: %v", text, err)
		}
		if _, err := Resolve(text); err == nil {
			t.Errorf("%s is taken for a password", text)
		}
	}
}

// TestMaskedSecrets: what a dashboard shows in the place of a secret, and how a
// page shortens one, is the same for everybody.
func TestMaskedSecrets(t *testing.T) {
	for _, text := range []string{"********", "whsec_****", "whsec_1a2b••••••••", "●●●●●●●●9f3c", "whsec_...", "whsec_…", "sk_live_4eC3…",
		"xxxxxxxx", "XXXX", "xxxx-xxxx-xxxx", "whsec_xxxx", "sk_live_xxxxxxxxxxxx", "1a2bxxxxxxxx9f3c", "aaaaaaaa", "whsec_00000000", "xxx", "whsec_1a2b...9f3c", "1a2b…9f3c",
	} {
		if err := checkLiteral(text); err == nil || !strings.Contains(err.Error(), "copy it whole") {
			t.Errorf("%s: got %v, want an error with the remedy", text, err)
		}
	}
	for _, text := range []string{
		"a*b**c", "...a", "pa$$w0rd-9f31c0", "pa$word", "$1", "Xx1xxX2xxx", "a_b$c", "$ecret$auce", "%!x9f31c0", "aab", "whsec_aab", "None-of-your-9-tails", "`half", "9f$AB", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		if err := checkLiteral(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLiteralsWithBraces: a secret that a generator made may hold any character,
// and a file or variable takes what looks like a name.
func TestLiteralsWithBraces(t *testing.T) {
	for _, text := range []string{"a{b}c", "{}", "}{", "pa$word", "100%", "a{1}b", "x<y", "$1", `{"kty":"OKP"}`, "k{;:q.}", "a}b{c", "envelope.x", "profile./x", "50% off%", "%!x9f31c0", "$", "${", "pa$$w0rd-9f31c0", "whsec_abc", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"} {
		if kind, _, err := parseValue(text); err != nil || kind != literalValue {
			t.Errorf("%s: %d, %v", text, kind, err)
		}
	}
	path := write(t, "{vault.x}", t.TempDir(), "key")
	if got, err := Resolve("{file." + path + "}"); err != nil || got != "{vault.x}" {
		t.Errorf("in a file: got %q, %v", got, err)
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
		if _, err := Resolve("{env.VALUES_TEST}"); err == nil {
			t.Errorf("the password of a store: the variable holds %s, and it is taken", text)
		}
	}
	t.Setenv("VALUES_TEST", "ORDER_CREATED") // no secret: the value of a header may be a word
	if _, err := provision(t, "", config("require_header")); err != nil {
		t.Error(err)
	}
}

// TestPlaceholderDefault: what follows the name may be the secret itself.
func TestPlaceholderDefault(t *testing.T) {
	for _, text := range []string{"{env.X:" + marker + "}", "{env.X=" + marker + "}", "{env.X:-" + marker + "}", "{env." + marker + "@{x}}", "{file./" + marker + "!{x}"} {
		_, _, err := parseValue(text)
		if err == nil || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range []string{"{env.A}", "{file./a}", "a{env.B}c", "{http.x}", "", "{env.}", "\n{file.}", marker} {
		f.Add(text)
	}
	for _, text := range guessable {
		f.Add(text)
		f.Add(marker + text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kind, name, err := parseValue(text)
		switch {
		case err != nil:
			if kind != 0 || name != "" {
				t.Errorf("%q: an error and %d %q", text, kind, name)
			}
		case kind == literalValue:
			for _, begins := range []string{"{env.", "{file.", "{http."} {
				if text == "" || strings.Contains(text, begins) || placeholder.MatchString(text) {
					t.Errorf("%q is taken as it is", text)
				}
			}
			for _, wrapped := range []string{"{" + text + "}", "{file./" + text + "}}", "{" + text + "{env.A}"} {
				if kind, name, err := parseValue(wrapped); err == nil && kind == envValue || kind == fileValue && strings.ContainsAny(name, "{}") {
					t.Errorf("%q is read as %d %q", wrapped, kind, name)
				}
			}
		case text != "{env."+name+"}" && text != "{file."+name+"}" || name == "" || strings.ContainsAny(name, "{}"):
			t.Errorf("%q: read as %d %q, which is something else", text, kind, name)
		}
	})
}

func TestReadEnv(t *testing.T) {
	for value, want := range map[string]string{
		"text": "text", "text\n": "text", "text\r\n": "text", " te xt ": " te xt ", "a\nb\n": "a\nb", `{"kty":"OKP"}`: `{"kty":"OKP"}`,
	} {
		t.Setenv("VALUES_TEST", value)
		if got, err := readEnv("VALUES_TEST"); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{"", "\n", "\r\n\n"} {
		t.Setenv("VALUES_TEST", value)
		if _, err := readEnv("VALUES_TEST"); err == nil || !strings.Contains(err.Error(), "VALUES_TEST") {
			t.Errorf("%q: got %v, want an error with the variable's name", value, err)
		}
	}
	if _, err := readEnv("VALUES_TEST_UNSET"); err == nil || !strings.Contains(err.Error(), "VALUES_TEST_UNSET") {
		t.Errorf("unset: got %v", err)
	}
}

func write(t testing.TB, text string, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain": "text", "newline": "text\n", "crlf": "text\r\n", "lines": "a\r\nb\n", "spaces": " text ",
		"empty": "", "only-newlines": "\r\n\n",
		"largest": strings.Repeat("x", maxKeyFile), "too-large": strings.Repeat("x", maxKeyFile+1),
		"keys/b": "two\n", "keys/a": "one", "keys/.hidden": marker, "keys/..data/a": marker,
		"dots/.only": marker, "nested/sub/key": marker, "partly/a": "one", "partly/b": "",
	} {
		write(t, text, dir, name)
	}
	if err := os.Symlink("plain", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]labelled{
		"plain": {{"", "text"}}, "newline": {{"", "text"}}, "crlf": {{"", "text"}}, "lines": {{"", "a\r\nb"}},
		"spaces": {{"", " text "}}, "link": {{"", "text"}}, "largest": {{"", strings.Repeat("x", maxKeyFile)}},
		"keys": {{"a", "one"}, {"b", "two"}},
	} {
		if got, err := readFiles(filepath.Join(dir, name)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %.60q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"missing": "missing", "empty": "the file is empty", "only-newlines": "the file is empty", "too-large": "65537 bytes",
		"dots": "no key file", "none": "no key file", "nested": "not a regular file", "partly": "the file is empty",
	} {
		got, err := readFiles(filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) || got != nil {
			t.Errorf("%s: got %q, %v, want an error with the path and %q", name, got, err, want)
		}
	}
}
