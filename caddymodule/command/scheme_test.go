package command

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const (
	stripeSecret = "whsec_a_secret_of_the_tests"
	stripeBody   = `{"id":"evt_1","object":"event"}`
	// 2026-11-21T12:00:00Z. The signature is openssl's:
	// printf '1795262400.{"id":"evt_1","object":"event"}' | openssl dgst -sha256 -hmac whsec_a_secret_of_the_tests
	stripeTime      = "1795262400"
	stripeSignature = "c4e46b104699eab10e0be8f298d2bf6953520dcaf437d01d71bf2db3095498b9"
	stripeHTTP      = "POST /hooks/stripe HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\n" +
		"Stripe-Signature: t=" + stripeTime + ",v1=" + stripeSignature + "\r\n\r\n" + stripeBody
)

// The exit statuses of caddy webhook.
const (
	exitOK    = 0
	exitNot   = 1
	exitUsage = 2
)

// webhook runs "caddy webhook" in process. What it is given may be secret, what
// it prints never is.
func webhook(t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	root := new(cobra.Command)
	build(root)
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		code = exitUsage
		if _, ok := errors.AsType[negative](err); ok {
			code = exitNot
		}
	}
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, stripeSecret) {
			t.Errorf("caddy webhook %s prints a secret: %s", args[0], text)
		}
	}
	return out.String(), errs.String(), code
}

// file writes a file of the test's own.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSchemeOfConfiguration(t *testing.T) {
	t.Setenv("TEST_STRIPE", stripeSecret)
	t.Setenv("TEST_TEAM", "blue")
	delivery := file(t, "delivery.http", stripeHTTP)
	config := file(t, "Caddyfile", `{
	admin off
}
http://localhost {
	handle /hooks/* {
		verify_webhook /hooks/stripe stripe {env.TEST_STRIPE}
		verify_webhook /hooks/team stripe {
			name team
			secret {env.TEST_STRIPE} as current
			require_header X-Team {env.TEST_TEAM}
			sign_upstream {env.TEST_NOT_SET_HERE}
		}
		verify_webhook /hooks/long stripe {env.TEST_STRIPE} {
			name long
			tolerance 2000000h
		}
	}
}
`)
	alone := file(t, "my.caddyfile", "http://localhost\nverify_webhook stripe {env.TEST_STRIPE}\n")
	now := []string{"--now", stripeTime}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"by the provider's name":  {append(now, "--config", config, "--name", "stripe"), exitOK, "genuine: key 1"},
		"by a name of its own":    {append(now, "--config", config, "--name", "team", "-H", "X-Team: blue"), exitOK, "genuine: key current"},
		"its required headers":    {append(now, "--config", config, "--name", "team"), exitNot, "missing_header: no header X-Team"},
		"its tolerance":           {[]string{"--config", config, "--name", "long"}, exitOK, "genuine: key 1"},
		"another key":             {append(now, "--config", config, "--name", "team", "-H", "X-Team: blue", "--secret", "another"), exitNot, "signature_mismatch"},
		"the only one":            {append(now, "--config", alone), exitOK, "genuine: key 1"},
		"an adapter":              {append(now, "--config", alone, "--adapter", "caddyfile"), exitOK, "genuine: key 1"},
		"one of several":          {[]string{"--config", config}, exitUsage, "choose one with --name: long, stripe, team"},
		"none of them":            {[]string{"--config", config, "--name", "strip"}, exitUsage, `no handler is called "strip": its handlers are long, stripe, team`},
		"no handler":              {[]string{"--config", file(t, "Caddyfile", "http://localhost\nrespond 200\n")}, exitUsage, "no verify_webhook handler found"},
		"no file":                 {[]string{"--config", "/gone/Caddyfile"}, exitUsage, "--config: open /gone/Caddyfile"},
		"no Caddyfile":            {[]string{"--config", delivery}, exitUsage, "add --adapter caddyfile"},
		"no such adapter":         {[]string{"--config", alone, "--adapter", "yaml"}, exitUsage, `no adapter "yaml"`},
		"a mistake in the file":   {[]string{"--config", file(t, "Caddyfile", "http://localhost\nverify_webhook strip x\n")}, exitUsage, `did you mean "stripe"`},
		"a name without a file":   {[]string{"--name", "team"}, exitUsage, "--name and --adapter require --config"},
		"an unset variable":       {[]string{"--config", file(t, "Caddyfile", "http://localhost\nverify_webhook stripe {env.TEST_UNSET}\n")}, exitUsage, "the environment variable TEST_UNSET is not set"},
		"JSON":                    {append(now, "--config", file(t, "caddy.json", `{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"verify_webhook","provider":"stripe","secret":["{env.TEST_STRIPE}"]}]}]}]}]}}}}}`)), exitOK, "genuine: key 1"},
		"two of one name, alike":  {append(now, "--config", file(t, "Caddyfile", "http://a, http://b {\nverify_webhook stripe {env.TEST_STRIPE}\n}\nhttp://c {\nverify_webhook stripe {env.TEST_STRIPE}\n}\n")), exitOK, "genuine"},
		"two of one name, unlike": {append(now, "--config", file(t, "Caddyfile", "http://a {\nverify_webhook stripe {env.TEST_STRIPE}\n}\nhttp://c {\nverify_webhook stripe b\n}\n")), exitUsage, "2 different handlers are called stripe"},
	} {
		out, errs, code := webhook(t, "", append([]string{"verify", delivery}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", name, code, out, errs, tc.code, tc.want)
		}
	}
}

// TestDeliveryCalledLikeASender: with --config, a word is a sender's name only if it is
// not that of a file.
func TestDeliveryCalledLikeASender(t *testing.T) {
	config := file(t, "Caddyfile", "http://localhost\nverify_webhook stripe "+stripeSecret+"\n")
	t.Chdir(filepath.Dir(file(t, "stripe", stripeHTTP)))
	if out, errs, code := webhook(t, "", "verify", "stripe", "--config", config, "--now", stripeTime); code != exitOK {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

func TestSchemeNamesTheFileOnce(t *testing.T) {
	config := file(t, "Caddyfile", "http://localhost {\nverify_webhoo\n}\n")
	_, errs, code := webhook(t, "", "verify", "--config", config)
	if code != exitUsage || strings.Count(errs, config) != 1 {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestSchemeUsage(t *testing.T) {
	secret := file(t, "secret", stripeSecret+"\n")
	delivery := file(t, "delivery.http", stripeHTTP)
	pem := file(t, "key.pem", testPrivateKey(t))
	for name, tc := range map[string]struct {
		args string
		want string // "" for genuine
	}{
		"a key file":            {"stripe DELIVERY --now " + stripeTime + " --secret {file." + secret + "}", ""},
		"one key of several":    {"stripe DELIVERY --now " + stripeTime + " --secret a --secret {file." + secret + "}", ""},
		"an alias":              {"github_app DELIVERY", "unknown provider"},
		"no scheme":             {"", "no SCHEME: name a provider"},
		"mistyped":              {"strpe DELIVERY", `unknown provider "strpe": did you mean "stripe"?`},
		"the file first":        {"DELIVERY stripe", "provider files end in .json"},
		"no provider file":      {"./gone.json DELIVERY", "provider file: open ./gone.json"},
		"no key":                {"stripe DELIVERY", "no key: add --secret '{env.STRIPE_SECRET}'"},
		"no public key":         {"discord DELIVERY", "add --public-key '{file./path/key.pem}'"},
		"an unset variable":     {"stripe DELIVERY --secret {env.TEST_UNSET}", "the environment variable TEST_UNSET is not set or empty"},
		"no key file":           {"stripe DELIVERY --secret {file./gone}", "secret {file./gone}: stat /gone"},
		"a placeholder in text": {"stripe DELIVERY --secret a{env.X}", "must be the whole value"},
		"the wrong kind":        {"discord DELIVERY --secret a", "takes a public key, not a secret: give one with --public-key"},
		"a private key":         {"discord DELIVERY --public-key {file." + pem + "}", "not a public key"},
		"a public key instead":  {"stripe DELIVERY --public-key {file." + secret + "}", "not a public or private key: give one with --secret"},
		"a PEM for a secret":    {"stripe DELIVERY --secret {file." + pem + "}", "a sender's public key is given with --public-key"},
		"an unset shell's name": {"stripe DELIVERY --secret $STRIPE_SECRET", "--secret: this is a name or placeholder that nothing replaces: write {env.NAME}"},
		"a Caddyfile's name":    {"stripe DELIVERY --secret {$STRIPE_SECRET}", "--secret: this is a name"},
		"a brace that is open":  {"stripe DELIVERY --secret {env.STRIPE_SECRET", "--secret: {env.…} must be the whole value"},
		"a colon for the dot":   {"discord DELIVERY --public-key {file:./key.pem}", "--public-key: this is a name"},
		"a provider too":        {"stripe DELIVERY --config Caddyfile --name billing", `--config replaces SCHEME: omit "stripe"`},
		"a provider alone":      {"stripe --config Caddyfile", `--config replaces SCHEME: omit "stripe"`},
		"unlike any":            {"qqqq DELIVERY", "for your own file, write its path, ./qqqq.json"},
		"no param":              {"meta DELIVERY --secret a", "add --param verify_token=…"},
		"a param of no sender":  {"stripe DELIVERY --secret a --param hook=x", "param: this sender has none"},
		"a param without value": {"meta DELIVERY --secret a --param verify_token", "--param: write name=value"},
		"an unknown flag":       {"stripe --sekret a", "unknown flag: --sekret: see webhook verify --help"},
	} {
		out, errs, code := webhook(t, "", append([]string{"verify"}, strings.Fields(strings.ReplaceAll(tc.args, "DELIVERY", delivery))...)...)
		switch {
		case tc.want == "" && code != exitOK:
			t.Errorf("%s: exit %d, %s%s", name, code, out, errs)
		case tc.want != "" && (code != exitUsage || !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 || out != ""):
			t.Errorf("%s: exit %d, %q, %q; want 2 and one line with %q", name, code, out, errs, tc.want)
		}
	}
}

// testPrivateKey is an Ed25519 key as openssl writes it.
func testPrivateKey(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// testPublicKey is its other half.
func testPublicKey(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"verify\x00strip":                "stripe\tStripe",
		"sign\x00x\x00--format\x00":      "curl",
		"send\x00x\x00--tamper\x00sig":   "signature",
		"verify\x00x\x00y\x00--now\x00f": "file",

		"verify\x00apple_app_store\x00--param\x00":      "bundle_id=\tbundle id of your app",
		"send\x00apple_app_store\x00--param\x00":        "\nenvironment=Sandbox\n:6\n",
		"send\x00stripe\x00--param\x00":                 ":6\n",
		"verify\x00--config\x00/no-such\x00--param\x00": ":6\n",
	} {
		out, _, _ := webhook(t, "", append([]string{cobra.ShellCompRequestCmd}, strings.Split(args, "\x00")...)...)
		if !strings.Contains(out, want) {
			t.Errorf("%q: %q, want %q", args, out, want)
		}
	}
}
