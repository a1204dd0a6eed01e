package command

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

func TestVerifyCommand(t *testing.T) {
	delivery := file(t, "delivery.http", stripeHTTP)
	body := file(t, "body.json", stripeBody)
	har := file(t, "recorded.har", `{"log":{"entries":[{"request":{"method":"GET","url":"https://a.example/"}},
		{"startedDateTime":"2026-11-21T12:00:01Z","request":{"method":"POST","url":"https://hooks.example.com/hooks/stripe",
		"headers":[{"name":"stripe-signature","value":"t=`+stripeTime+`,v1=`+stripeSignature+`"}],
		"postData":{"text":"`+base64.StdEncoding.EncodeToString([]byte(stripeBody))+`","encoding":"base64"}}}]}}`)
	old := time.Unix(1795262400+7, 0)
	if err := os.Chtimes(delivery, old, old); err != nil {
		t.Fatal(err)
	}
	const good = "genuine: key 1, timestamp 2026-11-21T12:00:00Z, delivery id evt_1\n"
	header := "Stripe-Signature: t=" + stripeTime + ",v1=" + stripeSignature
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"a file":                  {"", []string{delivery, "--now", stripeTime}, exitOK, good},
		"standard input":          {stripeHTTP, []string{"-", "--now", "2026-11-21T13:04:00+01:00"}, exitOK, good},
		"the file's time":         {"", []string{delivery, "--now", "file"}, exitOK, good},
		"a HAR, at its time":      {"", []string{har, "--entry", "2", "--now", "file"}, exitOK, good},
		"headers and body apart":  {"", []string{"-H", header, "--body-file", body, "--now", stripeTime}, exitOK, good},
		"the body on stdin":       {stripeBody, []string{"-H", header, "--body-file", "-", "--now", stripeTime}, exitOK, good},
		"another body":            {"", []string{delivery, "--body-file", har, "--now", stripeTime}, exitNot, "not genuine: signature_mismatch: "},
		"another header":          {"", []string{delivery, "-H", "stripe-signature: t=1,v1=00", "--now", stripeTime}, exitNot, "not genuine: malformed_signature: "},
		"two headers":             {"", []string{delivery, "-H", header, "-H", header, "--now", stripeTime}, exitNot, "not genuine: malformed_signature: "},
		"an altered byte":         {strings.Replace(stripeHTTP, "evt_1", "evt_2", 1), []string{"-", "--now", stripeTime}, exitNot, "not genuine: signature_mismatch: "},
		"no signature":            {"POST / HTTP/1.1\n\n{}", []string{"-"}, exitNot, "not genuine: missing_signature: no header Stripe-Signature\n"},
		"old":                     {"", []string{delivery, "--now", "2026-11-23T12:00:00Z"}, exitNot, "hint: everything else is valid, but it is 2d old: to verify it at its own time, add --now 2026-11-21T12:00:00Z\n"},
		"early":                   {"", []string{delivery, "--now", "2026-11-21T11:00:00Z"}, exitNot, "hint: everything else is valid, but it is 1h0m0s ahead of now: "},
		"old and altered":         {"", []string{delivery, "--body-file", har, "--now", "2026-11-23T12:00:00Z"}, exitNot, "hint: it is 2d old, and on time (--now 2026-11-21T12:00:00Z) it would be refused for signature_mismatch: "},
		"another method":          {"", []string{delivery, "--method", "PUT", "--now", stripeTime}, exitOK, "note: the gateway still refuses it: method_not_allowed: deliveries come with POST: if the sender uses PUT, write: methods POST PUT\n"},
		"no request":              {"", nil, exitUsage, "no request: name its file, - for standard input, or pass headers and body with -H and --body-file"},
		"two requests":            {"", []string{delivery, delivery}, exitUsage, "one request at a time, not 2"},
		"no file":                 {"", []string{"/gone.http"}, exitUsage, "open /gone.http"},
		"no request in the file":  {"", []string{body}, exitUsage, body + ": JSON without a request"},
		"a directory":             {"", []string{t.TempDir()}, exitUsage, "is a directory"},
		"which entry":             {"", []string{har}, exitUsage, "choose one with --entry, counted from 1; those with a body: 2"},
		"an entry of nothing":     {"", []string{"--entry", "1"}, exitUsage, "--entry requires a HAR"},
		"no time":                 {"", []string{delivery, "--now", "noon"}, exitUsage, "--now: write RFC 3339"},
		"milliseconds":            {"", []string{delivery, "--now", stripeTime + "000"}, exitUsage, "--now: write RFC 3339"},
		"standard input's time":   {stripeHTTP, []string{"-", "--now", "file"}, exitUsage, "standard input has no time"},
		"a header without colon":  {"", []string{"-H", "X"}, exitUsage, "-H: no colon"},
		"a header of two lines":   {"", []string{"-H", "X: 1\r\nY: 2"}, exitUsage, "-H: the header's value holds a control character"},
		"a URL without an origin": {"", []string{delivery, "--url", "/hooks"}, exitUsage, "--url: not a URL"},
		"a method in small":       {"", []string{delivery, "--method", "post"}, exitUsage, "--method: write it in capitals"},
		"no body file":            {"", []string{delivery, "--body-file", "/gone"}, exitUsage, "--body-file: open /gone"},
	} {
		t.Setenv("TEST_STRIPE", stripeSecret)
		out, errs, code := webhook(t, tc.stdin, append([]string{"verify", "stripe", "--secret", "{env.TEST_STRIPE}"}, tc.args...)...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", name, code, out, errs, tc.code, tc.want)
		}
		if strings.Contains(out+errs, stripeSignature) || strings.Contains(out+errs, `"object"`) {
			t.Errorf("%s: prints a signature or a body: %s%s", name, out, errs)
		}
	}
}

// TestVerifyPinnedRoot: a sender whose root the catalogue pins needs no key.
func TestVerifyPinnedRoot(t *testing.T) {
	p, err := providers.Get("apple_app_store")
	if err != nil {
		t.Fatal(err)
	}
	vec := p.Vectors[0]
	delivery := file(t, "delivery.http", "POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"+vec.Body)
	args := []string{"verify", "apple_app_store", delivery, "--param", "bundle_id=com.example", "--now", fmt.Sprint(vec.Now)}
	if out, errs, code := webhook(t, "", append(args, "--public-key", "{file."+file(t, "root.pem", vec.PublicKey)+"}")...); code != exitOK {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if out, errs, code := webhook(t, "", args...); code != exitNot || !strings.Contains(out+errs, "a root that is not the sender's") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if out, errs, code := webhook(t, "{}", "sign", "apple_app_store", "--body-file", "-", "--param", "bundle_id=com.example"); code != exitUsage {
		t.Errorf("signs: exit %d, %s%s", code, out, errs)
	}
}

// TestVerifyURL: a sender that signs the URL is judged by the one that it called.
func TestVerifyURL(t *testing.T) {
	body := file(t, "body", "a=1")
	signed, errs, code := webhook(t, "", "sign", "trello", "--secret", stripeSecret, "--body-file", body, "--url", "https://hooks.example.com/trello?a=%2f")
	if code != exitOK {
		t.Fatal(errs)
	}
	for url, want := range map[string]int{
		"":                                       exitOK,
		"https://hooks.example.com/trello?a=%2f": exitOK,
		"http://hooks.example.com/trello?a=%2f":  exitNot,
		"https://hooks.example.com/trello?a=/":   exitNot,
	} {
		args := []string{"verify", "trello", "-", "--secret", stripeSecret}
		if url != "" {
			args = append(args, "--url", url)
		}
		if out, errs, code := webhook(t, signed, args...); code != want {
			t.Errorf("%q: exit %d, %s%s", url, code, out, errs)
		}
	}
}

// TestVerifyCurl: what sign prints for a shell is verified without one, and so is a
// delivery as JSON with its body as text.
func TestVerifyCurl(t *testing.T) {
	body := file(t, "it's a body.json", stripeBody)
	for _, name := range []string{body, "-"} {
		made, errs, code := webhook(t, stripeBody, "sign", "stripe", "--secret", stripeSecret, "--body-file", name, "--format", "curl")
		if code != exitOK {
			t.Fatal(errs)
		}
		for text, want := range map[string]int{made: exitOK, strings.Replace(made, "v1=", "v1=00", 1): exitNot, strings.Replace(made, "--data-binary", "--unknown", 1): exitUsage} {
			args := []string{"verify", "stripe", "-", "--secret", stripeSecret}
			if name != "-" { // the file is not read because the text names it
				if out, errs, code := webhook(t, text, args...); code != exitUsage || want != exitUsage && !strings.Contains(errs, "pass it with --body-file") {
					t.Errorf("%s: exit %d, %s%s", text, code, out, errs)
				}
				args = append(args, "--body-file", name)
			}
			if out, errs, code := webhook(t, text, args...); code != want {
				t.Errorf("%s: exit %d, want %d, %s%s", text, code, want, out, errs)
			}
		}
	}
	for member, want := range map[string]string{"body": "genuine: ", "Body": "did you mean body?", "payload": "known are method, url, headers, body, body_base64"} {
		text, _ := json.Marshal(map[string]any{
			"method": "POST", "url": "https://a.example/", "headers": map[string]string{"Stripe-Signature": signatureOf(t, time.Now())}, member: stripeBody,
		})
		if out, errs, _ := webhook(t, string(text), "verify", "stripe", "-", "--secret", stripeSecret); !strings.Contains(out+errs, want) {
			t.Errorf("%s: %s%s", member, out, errs)
		}
	}
}

func TestVerifyJSON(t *testing.T) {
	for now, want := range map[string]map[string]any{
		stripeTime:             {"genuine": true, "key": "1", "timestamp": "2026-11-21T12:00:00Z", "delivery_id": "evt_1"},
		"2026-11-21T13:00:00Z": {"genuine": false, "reason": "stale_timestamp", "detail": "the delivery is 1h0m0s old, tolerance 5m0s", "hint": "everything else is valid, but it is 1h0m0s old: to verify it at its own time, add --now 2026-11-21T12:00:00Z"},
	} {
		out, _, _ := webhook(t, stripeHTTP, "verify", "stripe", "-", "--secret", stripeSecret, "--now", now, "--json")
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("%v in %q", err, out)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", now, got, want)
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v", now, name, got[name], value)
			}
		}
	}
}

// TestVerifyHandshake: what the gateway answers itself is no forgery.
func TestVerifyHandshake(t *testing.T) {
	const challenge = "GET /hooks/meta?hub.mode=subscribe&hub.challenge=12345&hub.verify_token=word HTTP/1.1\r\nHost: a.example\r\n\r\n"
	for token, tc := range map[string]struct {
		code int
		want string
	}{
		"word":  {exitOK, "handshake: the gateway answers it itself, with 200\n"},
		"other": {exitNot, "not genuine: handshake_mismatch: "},
	} {
		out, errs, code := webhook(t, challenge, "verify", "meta", "-", "--secret", "s", "--param", "verify_token="+token)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", token, code, out, errs, tc.code, tc.want)
		}
	}
}

// TestVerifyHint: the usual mistakes are told, and what a sender wrote does not
// act on the terminal.
func TestVerifyHint(t *testing.T) {
	out, _, code := webhook(t, stripeHTTP, "verify", "stripe", "-", "--secret", `"`+stripeSecret+`"`, "--now", stripeTime)
	if code != exitNot || !strings.Contains(out, "\nhint: ") || !strings.Contains(out, "quotes") {
		t.Errorf("a secret in quotes: exit %d, %s", code, out)
	}
	for secret, want := range map[string]bool{"another": true, stripeSecret: false} {
		out, _, _ = webhook(t, stripeHTTP, "verify", "stripe", "-", "--secret", secret, "--now", stripeTime)
		if strings.Contains(out, "\nhint: no common mistake explains it: most likely the secret belongs to another endpoint") != want {
			t.Errorf("%q: %s", secret, out)
		}
	}
	if got := printable("evt\x1b[2J"); got != `"evt\x1b[2J"` {
		t.Errorf("an escape sequence is printed as %s", got)
	}
}

// TestVerifyHintHoldsNoToken: the header that a proxy joined with its copy holds the
// secret twice, the output not once.
func TestVerifyHintHoldsNoToken(t *testing.T) {
	for _, secret := range []string{"q7Zx", "kW3q-8Zx", "s3cr3t-7Hq9abX", strings.Repeat("pQ9-", 10)} {
		for _, join := range []string{"", " ", ",", ", ", ";", " end, "} {
			for _, header := range []string{"X-Gitlab-Token", "X-Acme-Token", "X-" + secret} {
				for _, flag := range []string{"", "--json"} {
					args := []string{"verify", "gitlab_token", "-", "--secret", secret, flag}
					out, errs, code := webhook(t, "POST / HTTP/1.1\r\nHost: a\r\n"+header+": "+secret+join+secret+"\r\n\r\n{}", slices.DeleteFunc(args, func(a string) bool { return a == "" })...)
					if code != exitNot || strings.Contains(strings.ToLower(out+errs), strings.ToLower(secret)) {
						t.Errorf("joined by %q in %s: exit %d, %s%s", join, header, code, out, errs)
					}
				}
			}
		}
	}
}

// TestVerifyDetailHoldsNoSecret: a sender that lists its secret or signature among the
// signed headers, or sends one as its id.
func TestVerifyDetailHoldsNoSecret(t *testing.T) {
	const secret, body = "kV7xQ2mZp9Lr4TnW8cYd3HsB6jFgE1uA", `{"a":1}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	sum := hex.EncodeToString(mac.Sum(nil))
	for _, hidden := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), sum} {
		for _, c := range []struct{ scheme, headers, word string }{
			{"contentful", "X-Contentful-Signature: " + sum + "\r\nX-Contentful-Timestamp: 1700000000000\r\nX-Contentful-Signed-Headers: " + strings.TrimRight(hidden, "=") + ",x-contentful-signed-headers,x-contentful-timestamp\r\n", "would repeat"},
			{"rfc9421", "Signature-Input: sig1=(\"" + hidden + "\");created=1700000000\r\nSignature: sig1=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":\r\n", "would repeat"},
			{"github", "X-Hub-Signature-256: sha256=" + sum + "\r\nX-GitHub-Delivery: " + hidden + "\r\n", verifier.Redacted},
		} {
			for _, args := range [][]string{{"verify", c.scheme, "-", "--secret", secret, "--now", "1700000000"}, {"verify", c.scheme, "-", "--secret", secret, "--now", "1700000000", "--json"}} {
				out, errs, _ := webhook(t, "POST / HTTP/1.1\r\nHost: a\r\n"+c.headers+"\r\n"+body, args...)
				if !strings.Contains(out, c.word) {
					t.Errorf("%s: %s%s", c.scheme, out, errs)
				}
				if strings.Contains(strings.ToLower(out+errs), strings.ToLower(strings.TrimRight(hidden, "="))) {
					t.Errorf("%s shows %s: %s%s", c.scheme, hidden, out, errs)
				}
			}
		}
	}
}

// TestVerifyNamesWhatTheGatewayRefuses: a genuine delivery that the gateway refuses for
// its path or query is genuine, with a note.
func TestVerifyNamesWhatTheGatewayRefuses(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("q7Xv2Lr9Tz4Wb8Nk3Yp6"))
	mac.Write([]byte("payload=1"))
	t.Setenv("TEST_GITHUB", "q7Xv2Lr9Tz4Wb8Nk3Yp6")
	for query, want := range map[string]string{
		"?a=1":             "",
		"/../github":       "note: the gateway still refuses it: unclean_path: the path has a dot or empty segment",
		"%2F?a=1":          "note: the gateway still refuses it: unclean_path: ",
		";x":               "note: the gateway still refuses it: unclean_path: ",
		"/":                "",
		"?a=/../b":         "",
		"?a=1&Payload[]=1": "note: the gateway still refuses it: field_in_query: ",
		"?_method=PUT":     "note: the gateway still refuses it: method_in_query: ",
	} {
		request := "POST /hooks/github" + query + " HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nX-Hub-Signature-256: sha256=" + hex.EncodeToString(mac.Sum(nil)) + "\r\n\r\npayload=1"
		out, errs, code := webhook(t, request, "verify", "github", "-", "--secret", "{env.TEST_GITHUB}")
		if code != exitOK || !strings.HasPrefix(out, "genuine: ") || !strings.Contains(out, want) || strings.Contains(out, "note: ") != (want != "") {
			t.Errorf("%s: exit %d, %s%s", query, code, out, errs)
		}
	}
}

// TestVerifyNamesTheUnitOfATime rather than an age of fifty years, at which the delivery
// would be genuine.
func TestVerifyNamesTheUnitOfATime(t *testing.T) {
	t.Setenv("TEST_LINEAR", "q7Xv2Lr9Tz4Wb8Nk3Yp6")
	body := `{"webhookTimestamp":1796000000}`
	mac := hmac.New(sha256.New, []byte("q7Xv2Lr9Tz4Wb8Nk3Yp6"))
	mac.Write([]byte(body))
	request := "POST /hooks/linear HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nLinear-Signature: " + hex.EncodeToString(mac.Sum(nil)) + "\r\n\r\n" + body
	out, errs, code := webhook(t, request, "verify", "linear", "-", "--secret", "{env.TEST_LINEAR}", "--now", "2026-11-30T00:00:00Z")
	if code != exitNot || !strings.Contains(out, "is in seconds, but the scheme says milliseconds") || strings.Contains(out, "--now") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}
