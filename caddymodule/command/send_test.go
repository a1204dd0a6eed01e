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
	"sync"
	"testing"
	"time"
	"unicode/utf8"

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
	var mu sync.Mutex
	seen := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := s.verifier.Judge(&verifier.Request{Method: r.Method, Header: r.Header, Host: r.Host, Target: r.RequestURI}, body, time.Now()); err != nil {
			w.Header().Set("WWW-Authenticate", "Webhook")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Webhook-Delivery", "abc")
		mu.Lock()
		defer mu.Unlock()
		if seen[string(body)] {
			w.Header().Set("Webhook-Duplicate", "true")
			return
		}
		seen[string(body)] = true
		fmt.Fprint(w, "taken\x1b[2J\n\tby the app")
	}))
	t.Cleanup(server.Close)
	return server
}

func TestSendCommand(t *testing.T) {
	const taken = "1: 200 OK in T: accepted by the app\n   Webhook-Delivery: abc\n   | taken\uFFFD[2J\n   |     by the app\n"
	again := func(n string) string {
		return n + ": 200 OK in T: duplicate: already accepted by the app\n   Webhook-Delivery: abc\n   Webhook-Duplicate: true\n"
	}
	for _, provider := range []string{"stripe", "github", "linear", "trello"} {
		to := receiver(t, provider).URL + "/hooks?a=%2F"
		for args, want := range map[string]string{
			"":                   taken,
			"--tamper body":      "1: 401 Unauthorized in T: refused by the gateway, as expected\n",
			"--tamper signature": "1: 401 Unauthorized in T: refused by the gateway, as expected\n",
			"--tamper secret":    "1: 401 Unauthorized in T: refused by the gateway, as expected\n",
			"--times 2 --id x-1": taken + again("2"),
		} {
			out, errs, code := webhook(t, "", append([]string{"send", provider, "--secret", stripeSecret, "--to", to}, strings.Fields(args)...)...)
			if got := regexp.MustCompile(`in [0-9.]+m?s:`).ReplaceAllString(out, "in T:"); code != exitOK || got != want {
				t.Errorf("%s %s: exit %d, %s%s; want %s", provider, args, code, got, errs, want)
			}
		}
	}
}

// TestSendParallel: of copies that are in flight at once, the app gets one.
func TestSendParallel(t *testing.T) {
	out, errs, code := webhook(t, "", "send", "stripe", "--secret", stripeSecret, "--to", receiver(t, "stripe").URL, "--parallel", "3", "--times", "2")
	if code != exitOK || strings.Count(out, "accepted by the app\n   Webhook-Delivery: abc\n   |") != 1 || strings.Count(out, "Webhook-Duplicate: true") != 5 || !strings.Contains(out, "\n6: 200 OK") {
		t.Errorf("exit %d, %s%s", code, out, errs)
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

// TestSendVerdict: the exit status says whether the deployment does what it should. What
// any server can answer proves nothing.
func TestSendVerdict(t *testing.T) {
	const verified, refused = "Webhook-Delivery: abc", "WWW-Authenticate: Webhook"
	for name, tc := range map[string]struct {
		status  int
		headers string
		args    string
		code    int
		want    string
	}{
		"taken":                          {204, verified, "", exitOK, "accepted by the app"},
		"taken, with no identity":        {204, "Webhook-Verified: zoom", "", exitOK, "accepted by the app"},
		"a copy, with no identity":       {204, "Webhook-Verified: zoom", "--times 2", exitNot, "A COPY WENT TO THE APP"},
		"swallowed":                      {200, "", "", exitNot, "NOT FROM A GATEWAY"},
		"swallowed, by status":           {200, "", "--unmarked", exitOK, "nothing shows"},
		"stored":                         {200, verified + "\nWebhook-Stored: true", "", exitOK, "stored in the inbox"},
		"stored before":                  {200, verified + "\nWebhook-Stored: true\nWebhook-Duplicate: true", "", exitOK, "duplicate: already in the inbox"},
		"refused":                        {401, refused, "", exitNot, "refused as not genuine"},
		"refused, 503":                   {503, refused, "", exitNot, "refused as not genuine"},
		"refused, but 200":               {200, refused, "", exitNot, "but with a 2xx"},
		"refused by the app":             {401, "", "", exitNot, "not as verify_webhook refuses"},
		"a challenge of the app":         {401, "WWW-Authenticate: Basic realm=Webhook", "", exitNot, "not as verify_webhook refuses"},
		"the app knows no such path":     {404, verified, "", exitNot, "the gateway verified it, and the app answered 404"},
		"too large for the app":          {413, verified, "", exitNot, "the gateway verified it, and the app answered 413"},
		"the app fails":                  {500, verified, "", exitNot, "the app answered 500"},
		"the app redirects":              {302, verified, "", exitNot, "which senders do not follow"},
		"no app":                         {502, verified, "", exitNot, "the app did not respond"},
		"a slow app":                     {504, verified, "", exitNot, "longer than upstream_timeout"},
		"no path":                        {404, "", "", exitNot, "or the matcher of verify_webhook"},
		"redirected":                     {302, "", "", exitNot, "a redirect, which senders do not follow"},
		"something fails":                {500, "", "", exitNot, "the sender would retry"},
		"a second copy":                  {200, verified, "--times 2", exitNot, "A COPY WENT TO THE APP"},
		"a second copy at once":          {200, verified, "--parallel 2", exitNot, "A COPY WENT TO THE APP"},
		"a forgery refused":              {401, refused, "--tamper secret", exitOK, "refused by the gateway, as expected"},
		"a forgery refused, 503":         {503, refused, "--tamper secret", exitOK, "refused by the gateway, as expected"},
		"a forgery passes":               {200, "", "--tamper body", exitNot, "ACCEPTED, but should have been refused: an altered body passed"},
		"a forgery is verified":          {500, verified, "--tamper body", exitNot, "VERIFIED, but should have been refused"},
		"a forgery that the app refuses": {401, "", "--tamper secret", exitNot, "REFUSED, BUT NOT BY THE GATEWAY"},
		"the same by a route":            {403, "", "--tamper secret", exitNot, "REFUSED, BUT NOT BY THE GATEWAY"},
		"the same, by status":            {403, "", "--tamper secret --unmarked", exitOK, "refused, as expected"},
		"a forgery nowhere":              {404, "", "--tamper secret --unmarked", exitNot, "or the matcher of verify_webhook"},
		"nothing behind it":              {502, "", "--tamper secret", exitNot, "nothing shows that the delivery was verified"},
		"a forgery that kills":           {500, "", "--tamper secret", exitNot, "the sender would retry"},
		"a forgery that ends":            {302, "", "--tamper signature", exitNot, "a redirect"},
		"an old one that passes":         {200, verified, "--age 2d", exitNot, "a timestamp 2d old passed"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			for line := range strings.Lines(tc.headers) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				w.Header().Set(key, value)
			}
			w.WriteHeader(tc.status)
		}))
		args := append([]string{"send", "stripe", "--secret", stripeSecret, "--to", server.URL}, strings.Fields(tc.args)...)
		out, errs, code := webhook(t, "", args...)
		if code != tc.code || !strings.Contains(out, fmt.Sprintf(": %d", tc.status)) || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit %d, %s%s; want %d, %q", name, code, out, errs, tc.code, tc.want)
		}
		out, errs, code = webhook(t, "", append(args, "--json")...)
		server.Close()
		for line := range strings.Lines(out) {
			var f finding
			if err := json.Unmarshal([]byte(line), &f); err != nil || f.Status != tc.status || f.Outcome == "" || code != tc.code {
				t.Errorf("%s: exit %d, %v, %s%s", name, code, err, line, errs)
			}
		}
	}
}

// TestSendEvent: an event has the sender's header and an example of the catalogue's, made
// new, so that the gateway has not seen it.
func TestSendEvent(t *testing.T) {
	var got *http.Request
	var body map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		_ = json.NewDecoder(r.Body).Decode(&body)
		w.Header().Set("Webhook-Delivery", "abc")
	}))
	defer server.Close()
	for args, check := range map[string]func() bool{
		"stripe --event invoice.paid --id evt_9": func() bool {
			return body["type"] == "invoice.paid" && body["id"] == "evt_9" && body["data"].(map[string]any)["object"].(map[string]any)["amount_paid"] == 2500.0
		},
		"github --event push --id a-guid": func() bool {
			return got.Header.Get("X-GitHub-Event") == "push" && body["ref"] != nil && body["caddy_webhook_send"] == "a-guid"
		},
		"github --event of_ours": func() bool {
			return got.Header.Get("X-GitHub-Event") == "of_ours" && body["type"] == "caddy.webhook.send"
		},
		"github --event push --body-file -": func() bool {
			return got.Header.Get("X-GitHub-Event") == "push" && len(body) == 1 && body["mine"] == true
		},
	} {
		args := strings.Fields(args)
		out, errs, code := webhook(t, `{"mine":true}`, append([]string{"send", args[0], "--secret", stripeSecret, "--to", server.URL}, args[1:]...)...)
		if code != exitOK || !check() {
			t.Errorf("%s: exit %d, %s%s; got %v %v", args, code, out, errs, got.Header, body)
		}
	}
}

// TestSendRequest: a saved request is signed again, with its body, id and headers, and
// without what belonged to its connection.
func TestSendRequest(t *testing.T) {
	server := receiver(t, "github")
	const saved = "POST /elsewhere HTTP/1.1\r\nHost: other.example\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: guid-1\r\nX-Hub-Signature-256: sha256=00\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n{\"a\" : 1}\n"
	var got *http.Request
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		inner.ServeHTTP(w, r)
	})
	delivery := file(t, "delivery.http", saved)
	for args, id := range map[string]string{"": "guid-1", "--id guid-2": "guid-2"} {
		out, errs, code := webhook(t, "", append([]string{"send", "github", "--secret", stripeSecret, "--to", server.URL + "/hooks", "--request", delivery}, strings.Fields(args)...)...)
		if code != exitOK || got.Header.Get("X-GitHub-Event") != "push" || got.Header.Get("X-GitHub-Delivery") != id || got.URL.Path != "/hooks" ||
			got.Host != server.Listener.Addr().String() || got.Close || got.ContentLength != int64(len("{\"a\" : 1}\n")) {
			t.Errorf("%q: exit %d, %s%s; got %+v", args, code, out, errs, got)
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
		"a provider too":    {"github --config Caddyfile --to http://a", `--config replaces SCHEME: omit "github"`},
		"the address":       {"stripe http://a --secret a", "pass the address with --to"},
		"an age in words":   {"stripe --secret a --to http://a --age old", "--age: write a duration"},
		"too many":          {"stripe --secret a --to http://a --parallel 101", "--parallel: write 1 to 100"},
		"unknown copies":    {"stripe --secret a --to http://a --unmarked --times 2", "omit --times and --parallel"},
		"a signature":       {"github --secret a --to http://a -H X-Hub-Signature-256:1", "-H X-Hub-Signature-256: the signer sets this header"},
		"no such event":     {"stripe --secret a --to http://a --event invoice.pay", "the catalogue has customer.created, "},
		"theirs of a body":  {"stripe --secret a --to http://a --event invoice.paid --body-file -", "yours stays as it is"},
		"no such request":   {"stripe --secret a --to http://a --request gone.http", "--request: open gone.http"},
		"not a request":     {"stripe --secret a --to http://a --request -", "--request: -: JSON without a request"},
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
	_ = json.Unmarshal(s.exampleBody(nil, "x", at), &got)
	if got["event"]["id"] != "x" || got["event"]["at"].(map[string]any)["time"] != 1795262400000.0 {
		t.Errorf("%v", got)
	}
	s.Scheme.BodyForm = "payload"
	form, err := url.ParseQuery(string(s.exampleBody(nil, "x", at)))
	if err != nil || !strings.Contains(form.Get("payload"), `"time":1795262400000`) {
		t.Errorf("%v, %v", form, err)
	}
}

// TestHelpFits: the help of each command fits a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	for _, command := range []string{"verify", "sign", "send", "listen", "deliveries", "forget"} {
		out, _, code := webhook(t, "", command, "--help")
		if code != exitOK || !strings.Contains(out, "Exit status") && command != "sign" && command != "listen" {
			t.Errorf("%s: exit %d, %s", command, code, out)
		}
		for line := range strings.Lines(out) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: over 80 columns: %s", command, line)
			}
		}
	}
}
