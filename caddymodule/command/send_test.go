package command

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// receiver is a gateway of a few lines: it verifies with the scheme and knows
// bodies that it has seen.
func receiver(t *testing.T, provider string) *httptest.Server {
	t.Helper()
	f := schemeFlags{secrets: []string{stripeSecret}}
	s, _, err := f.resolve([]string{provider})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := s.verifier.Judge(&verifier.Request{Method: r.Method, Header: r.Header, Host: r.Host, Target: r.RequestURI}, body, time.Now()); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Webhook-Delivery", "abc")
		if seen[string(body)] {
			w.Header().Set("Webhook-Duplicate", "true")
		}
		seen[string(body)] = true
	}))
	t.Cleanup(server.Close)
	return server
}

func TestSendCommand(t *testing.T) {
	for _, provider := range []string{"stripe", "github", "linear", "trello"} {
		to := receiver(t, provider).URL + "/hooks?a=%2F"
		for args, want := range map[string]string{
			"":                   "1: 200 OK in T: accepted by the app\n   Webhook-Delivery: abc\n",
			"--tamper body":      "1: 401 Unauthorized in T: refused, as expected\n",
			"--tamper signature": "1: 401 Unauthorized in T: refused, as expected\n",
			"--tamper secret":    "1: 401 Unauthorized in T: refused, as expected\n",
			"--times 2 --id x-1": "1: 200 OK in T: accepted by the app\n   Webhook-Delivery: abc\n2: 200 OK in T: duplicate: already accepted by the app\n   Webhook-Delivery: abc\n   Webhook-Duplicate: true\n",
		} {
			if provider == "linear" && strings.HasPrefix(args, "--times") {
				continue // its body holds the time of the attempt
			}
			out, errs, code := webhook(t, "", append([]string{"send", provider, "--secret", stripeSecret, "--to", to}, strings.Fields(args)...)...)
			if got := regexp.MustCompile(`in [0-9.]+m?s:`).ReplaceAllString(out, "in T:"); code != exitOK || got != want {
				t.Errorf("%s %s: exit %d, %s%s; want %s", provider, args, code, got, errs, want)
			}
		}
	}
}

func TestSendAge(t *testing.T) {
	server := receiver(t, "stripe")
	for age, want := range map[string]string{"1m": ": 200 OK", "10m": ": 401 Unauthorized", "-10m": ": 401 Unauthorized"} {
		out, errs, code := webhook(t, "", "send", "stripe", "--secret", stripeSecret, "--to", server.URL, "--age", age)
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, %s%s, want %q", age, code, out, errs, want)
		}
	}
}

// TestSendVerdict: the exit status says whether the deployment does what it should.
func TestSendVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		answer int
		tamper string
		code   int
		want   string
	}{
		"taken":                {204, "", exitOK, "2xx without a Webhook-Delivery header: no verify_webhook on this host and path"},
		"refused":              {401, "", exitNot, "refused as not genuine"},
		"no path":              {404, "", exitNot, "or the matcher of verify_webhook"},
		"redirected":           {302, "", exitNot, "a redirect, which senders do not follow"},
		"no app":               {502, "", exitNot, "the app did not respond"},
		"an app that fails":    {500, "", exitNot, "the sender would retry"},
		"a forgery that goes":  {200, "body", exitNot, "ACCEPTED, but should have been refused: an altered body passed"},
		"a forgery refused":    {401, "secret", exitOK, "refused, as expected"},
		"refused by a route":   {403, "secret", exitOK, "refused, as expected"},
		"a status of its own":  {422, "secret", exitOK, "refused, as expected"},
		"a forgery nowhere":    {404, "secret", exitNot, "or the matcher of verify_webhook"},
		"nothing behind it":    {502, "secret", exitNot, "the app did not respond"},
		"a forgery that kills": {500, "secret", exitNot, "the sender would retry"},
		"a forgery that ends":  {302, "signature", exitNot, "a redirect"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tc.answer)
		}))
		args := []string{"send", "stripe", "--secret", stripeSecret, "--to", server.URL}
		if tc.tamper != "" {
			args = append(args, "--tamper", tc.tamper)
		}
		out, errs, code := webhook(t, "", args...)
		server.Close()
		if code != tc.code || !strings.Contains(out, fmt.Sprintf("1: %d", tc.answer)) || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", name, code, out, errs, tc.code, tc.want)
		}
	}
}

func TestSendUsage(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	plain, secure := httptest.NewServer(nil), httptest.NewTLSServer(nil)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	key := file(t, "key.pem", testPrivateKey(t))
	for name, tc := range map[string]struct{ args, want string }{
		"no address":        {"stripe --secret a", "no address: add --to"},
		"a path":            {"stripe --secret a --to /hooks", "--to: write the whole URL"},
		"no scheme":         {"stripe --secret a --to localhost:8080/hooks", "--to: write the whole URL"},
		"no TLS there":      {"stripe --secret a --to https://" + plain.Listener.Addr().String(), "the server does not speak TLS: write http://"},
		"an unknown CA":     {"stripe --secret a --to " + secure.URL, "a sender would not deliver there either"},
		"nobody there":      {"stripe --secret a --to " + closed.URL, closed.URL + ": dial tcp"},
		"no times":          {"stripe --secret a --to http://a --times 0", "--times: write 1 or more"},
		"what to tamper":    {"stripe --secret a --to http://a --tamper all", "--tamper all: write body, signature or secret"},
		"an unsigned body":  {"telegram --secret a --to http://a --tamper body", "does not cover the body"},
		"no secret":         {"discord --private-key {file." + key + "} --to http://a --tamper secret", "try --tamper signature"},
		"no timestamp":      {"github --secret a --to http://a --age 10m", "checks no timestamp"},
		"theirs in a body":  {"linear --secret a --to http://a --age 10m --body-file -", "is in the body"},
		"no body that fits": {"mailgun --secret a --to http://a", "cannot be signed"},
		"an argument":       {"stripe body.json --secret a --to http://a", "file with --body-file"},
	} {
		out, errs, code := webhook(t, "{}", append([]string{"send"}, strings.Fields(tc.args)...)...)
		if code != exitUsage || !strings.Contains(errs, tc.want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: exit %d, %q, %q; want 2 and %q", name, code, out, errs, tc.want)
		}
	}
}

// TestSpoil: what is spoilt differs, and is as well-formed as before.
func TestSpoil(t *testing.T) {
	for text, want := range map[string]string{
		"t=1492774577,v1=5257a869e7ec": "t=1492774577,v1=5257a819e7ec",
		"v1,g0hM9SsE+OTPJTGt/tmIKtSy":  "v1,g0hM9SsE+OTP1TGt/tmIKtSy",
		"sha256=1111":                  "sha156=1111",
		"sha256=11111111":              "sha256=11112111",
		"":                             "x",
		"é":                            "éx",
	} {
		if got := spoil(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestExampleBody(t *testing.T) {
	at := time.Unix(1795262400, 0)
	s := &subject{Sender: &caddymodule.Sender{Scheme: verifier.Scheme{
		DeliveryID: &verifier.DeliveryID{JSON: "event.id"}, Timestamp: &verifier.Timestamp{JSON: "event.at.time", Unit: "ms"},
	}}}
	var got map[string]map[string]any
	_ = json.Unmarshal(s.exampleBody("x", at), &got)
	if got["event"]["id"] != "x" || got["event"]["at"].(map[string]any)["time"] != 1795262400000.0 {
		t.Errorf("%v", got)
	}
	s.Scheme.BodyForm = "payload"
	form, err := url.ParseQuery(string(s.exampleBody("x", at)))
	if err != nil || !strings.Contains(form.Get("payload"), `"time":1795262400000`) {
		t.Errorf("%v, %v", form, err)
	}
}
