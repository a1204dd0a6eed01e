package command

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestSignCommand: the signature is the one that openssl makes.
func TestSignCommand(t *testing.T) {
	body := file(t, "it's a body.json", stripeBody)
	sign := func(args ...string) (string, string, int) {
		return webhook(t, stripeBody, append([]string{"sign", "stripe", "--secret", stripeSecret, "--now", stripeTime, "--url", "https://hooks.example.com/hooks/stripe?a=[b]"}, args...)...)
	}
	const header = "Stripe-Signature: t=" + stripeTime + ",v1=" + stripeSignature
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"http": {[]string{"--body-file", body}, "POST /hooks/stripe?a=[b] HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 31\r\nContent-Type: application/json\r\n" + header + "\r\n\r\n" + stripeBody},
		"curl": {[]string{"--body-file", body, "--format", "curl", "-H", "X: it's"}, "curl --silent --show-error --include --path-as-is --globoff \\\n\t--request 'POST' \\\n\t--header 'Content-Type: application/json' \\\n\t--header '" + header + "' \\\n\t--header 'X: it'\\''s' \\\n" +
			"\t--data-binary '@" + strings.ReplaceAll(body, "'", `'\''`) + "' \\\n\t'https://hooks.example.com/hooks/stripe?a=[b]'\n"},
		"curl of standard input": {[]string{"--body-file", "-", "--format", "curl"}, "printf %s '" + base64.StdEncoding.EncodeToString([]byte(stripeBody)) + "' | base64 -d |\ncurl --silent --show-error --include --path-as-is --globoff \\\n\t--request 'POST' \\\n\t--header 'Content-Type: application/json' \\\n\t--header '" + header + "' \\\n\t--data-binary '@-' \\\n\t'https://hooks.example.com/hooks/stripe?a=[b]'\n"},
		"json":                   {[]string{"--body-file", body, "--format", "json"}, `{"method":"POST","url":"https://hooks.example.com/hooks/stripe?a=[b]","headers":{"Content-Type":"application/json","Stripe-Signature":"t=` + stripeTime + ",v1=" + stripeSignature + `"},"body_base64":"` + base64.StdEncoding.EncodeToString([]byte(stripeBody)) + "\"}\n"},
	} {
		if out, errs, code := sign(tc.args...); code != exitOK || out != tc.want {
			t.Errorf("%s: exit %d, %s\n%q, want\n%q", name, code, errs, out, tc.want)
		}
	}
}

func TestSignID(t *testing.T) {
	ids := make(map[string]bool)
	for range 2 {
		out, errs, code := webhook(t, "{}", "sign", "github", "--secret", stripeSecret, "--body-file", "-", "--format", "json")
		var one struct{ Headers map[string]string }
		if err := json.Unmarshal([]byte(out), &one); err != nil || code != exitOK {
			t.Fatalf("exit %d, %v, %s", code, err, errs)
		}
		id := one.Headers[http.CanonicalHeaderKey("X-GitHub-Delivery")]
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || ids[id] {
			t.Errorf("%q is no new UUID", id)
		}
		ids[id] = true
	}
	out, _, _ := webhook(t, "{}", "sign", "github", "--secret", stripeSecret, "--body-file", "-", "--id", "mine")
	if !strings.Contains(out, "\r\nX-Github-Delivery: mine\r\n") {
		t.Errorf("no id of the caller's in %s", out)
	}
	if _, errs, code := webhook(t, "{}", "sign", "stripe", "--secret", stripeSecret, "--body-file", "-", "--id", "mine"); code != exitOK || !strings.Contains(errs, "note: --id is ignored") {
		t.Errorf("an id that nothing carries: exit %d, %s", code, errs)
	}
}

// TestSignWithNonce: a sender whose signature has a nonce gets a new one each time.
func TestSignWithNonce(t *testing.T) {
	key := file(t, "key.pem", testPrivateKey(t))
	args := []string{"sign", "adcp", "--private-key", "{file." + key + "}", "--body-file", "-", "--url", "https://buyer.example.com/x"}
	first, errs, code := webhook(t, "{}", args...)
	second, _, _ := webhook(t, "{}", args...)
	nonce := regexp.MustCompile(`nonce="[0-9a-f-]{36}"`)
	if a, b := nonce.FindString(first), nonce.FindString(second); code != exitOK || a == "" || a == b {
		t.Errorf("exit %d, %s: %s and %s", code, errs, a, b)
	}
	own, errs, _ := webhook(t, "{}", append(args, "--id", "mine")...)
	if !strings.Contains(own, `nonce="mine"`) || errs != "" {
		t.Errorf("%s%s", own, errs)
	}
}

// TestSignAsymmetric signs with a private key, and verifies with the public one.
func TestSignAsymmetric(t *testing.T) {
	key := file(t, "key.pem", testPrivateKey(t))
	out, errs, code := webhook(t, `{"type":2}`, "sign", "discord", "--private-key", "{file."+key+"}", "--body-file", "-")
	if code != exitOK {
		t.Fatal(errs)
	}
	out, errs, code = webhook(t, out, "verify", "discord", "-", "--public-key", testPublicKey(t))
	if code != exitOK || !strings.HasPrefix(out, "genuine: key 1") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}

// TestSignPairs runs the help's two examples of pairs that only the caller knows.
func TestSignPairs(t *testing.T) {
	for provider, tc := range map[string]struct {
		args []string
		want string
	}{
		"mercadopago": {[]string{"-H", "X-Signature: ts=1742505700", "-H", "X-Request-Id: r1", "--url", "https://a.example/?data.id=12"}, "X-Signature: ts=1742505700,v1="},
		"hygraph":     {[]string{"-H", "gcms-signature: sign=, env=main, t="}, ", env=main, t="},
	} {
		out, errs, code := webhook(t, "{}", append([]string{"sign", provider, "--secret", "0123456789abcdef", "--body-file", "-"}, tc.args...)...)
		if code != exitOK || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit %d, %q, %q; want %q", provider, code, out, errs, tc.want)
		}
	}
}

func TestSignUsage(t *testing.T) {
	key := file(t, "key.pem", testPrivateKey(t))
	for name, tc := range map[string]struct{ args, want string }{
		"no body":                 {"stripe --secret a", "no body: add --body-file body.json"},
		"a body as argument":      {"stripe body.json --secret a", "file with --body-file"},
		"no key":                  {"stripe --body-file -", "add --secret '{env.STRIPE_SECRET}'"},
		"no private key":          {"discord --body-file -", "add --private-key '{file./path/key.pem}'"},
		"a secret for a key":      {"discord --secret a --body-file -", "takes a private key, not a secret: give one with --private-key"},
		"a key for a secret":      {"stripe --private-key {file." + key + "} --body-file -", "--private-key: "},
		"no key in the file":      {"discord --private-key nonsense --body-file -", "--private-key: not a private key"},
		"no such file":            {"discord --private-key {file./gone} --body-file -", "--private-key: stat /gone"},
		"another format":          {"stripe --secret a --body-file - --format xml", "--format xml: write http, curl or json"},
		"signed in the body":      {"mailgun --secret a --body-file -", "cannot be signed"},
		"no timestamp in it":      {"linear --secret a --body-file -", "cannot be signed: missing_timestamp: no webhookTimestamp of the body"},
		"a time that is none":     {"stripe --secret a --body-file - --now x", "--now: write RFC 3339"},
		"a file that is not here": {"stripe --secret a --body-file /gone", "--body-file: open /gone"},
	} {
		out, errs, code := webhook(t, "{}", append([]string{"sign"}, strings.Fields(tc.args)...)...)
		if code != exitUsage || !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: exit %d, %q, %q; want 2 and %q", name, code, out, errs, tc.want)
		}
	}
}

// TestSignMakesClaims: what is signed holds what the sender's own library asks
// for: an id, the issuer that a param names, a version in the header.
func TestSignMakesClaims(t *testing.T) {
	part := func(jws string, i int) map[string]any {
		t.Helper()
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[i])
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		return members
	}
	signed := func(args ...string) map[string]string {
		t.Helper()
		out, errs, code := webhook(t, "{}", append([]string{"sign"}, append(args, "--body-file", "-", "--format", "json")...)...)
		var r struct{ Headers map[string]string }
		if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil || errs != "" {
			t.Fatalf("%v: %d %s %v", args, code, errs, err)
		}
		return r.Headers
	}
	bird := signed("messagebird_jwt", "--secret", stripeSecret)["Messagebird-Signature-Jwt"]
	if id, _ := part(bird, 1)["jti"].(string); len(id) != 36 {
		t.Errorf("messagebird_jwt: jti %q", id)
	}
	bird = signed("messagebird_jwt", "--secret", stripeSecret, "--id", "mine")["Messagebird-Signature-Jwt"]
	if id := part(bird, 1)["jti"]; id != "mine" {
		t.Errorf("messagebird_jwt: jti %q", id)
	}
	if iss := part(signed("livekit", "--secret", stripeSecret, "--param", "api_key=APIabc")["Authorization"], 1)["iss"]; iss != "APIabc" {
		t.Errorf("livekit: iss %q", iss)
	}
}
