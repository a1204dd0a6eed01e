package caddymodule

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// forged is post's delivery with another body.
func forged(text string) *http.Request {
	r := post()
	sent := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
	r.Body, r.ContentLength = sent.Body, sent.ContentLength
	r.RemoteAddr = "203.0.113.9:4321"
	return r
}

// get queries the admin endpoint, which must answer 200.
func get[T any](t testing.TB, path string) (v T) {
	t.Helper()
	w, err := ask(http.MethodGet, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s: answered with %v", path, w.Header())
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	return v
}

// watched starts a gateway with nothing kept yet.
func watched(t testing.TB, appConfig string, handlers ...string) *gateway {
	t.Helper()
	nothingKept()
	g := mustProvision(t, appConfig, handlers...)
	g.start(t)
	t.Cleanup(nothingKept)
	return g
}

func nothingKept() {
	kept.Restrict(nil, 0)
	recent.Restrict(nil, 0)
}

// newestID is the id of the newest kept rejection.
func newestID() string { return shown(kept.List("")[0]).ID }

// shown is a rejection as a list shows it.
func shown(r *rejected.Request) adminapi.Rejection {
	return rejected.Show([]*rejected.Request{r}, nil)[0]
}

// TestKept: the operator finds everything about a refused request, except its body.
func TestKept(t *testing.T) {
	g := watched(t, "", timed())
	g.logs.TakeAll()
	r := forged(`{"id":"evt_2"}`)
	r.Header.Set("Content-Type", "application/json")
	r.RequestURI = "/hooks/acme?event=7"
	serve(t, r, accepting, g.handlers...)
	logged := g.logs.TakeAll()
	if len(logged) != 1 {
		t.Fatalf("logged %v", logged)
	}
	id, _ := logged[0].ContextMap()["rejection"].(string)
	list := get[[]adminapi.Rejection](t, adminapi.RejectionsPath)
	if len(list) != 1 || list[0].ID != id || id == "" {
		t.Fatalf("listed %+v, logged %q", list, id)
	}
	got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+id)
	want := adminapi.Rejection{
		ID: id, Time: clock.UTC(), Name: "acme", Reason: string(verifier.SignatureMismatch), Detail: "no key matches the signature", Keys: []string{"1"},
		Remote: "203.0.113.9:4321", Method: "POST", Host: "hooks.example.com", URL: "/hooks/acme?event=7",
	}
	if fmt.Sprint(got.Rejection) != fmt.Sprint(want) || fmt.Sprint(list[0]) != fmt.Sprint(want) {
		t.Errorf("got\n%+v and\n%+v, want\n%+v", got.Rejection, list[0], want)
	}
	sum := fmt.Sprintf("%x", digest(`{"id":"evt_2"}`))
	if want := (adminapi.Body{Read: true, Bytes: 14, SHA256: sum, ContentType: "application/json"}); got.Body != want {
		t.Errorf("got the body %+v, want %+v", got.Body, want)
	}
	if got.Headers["X-Signature"][0] != sign("n9Wd4kTq2", "1700000000."+body) {
		t.Errorf("the sender's signature is not shown: %v", got.Headers)
	}
	w, _ := ask(http.MethodGet, adminapi.RejectionsPath+"/"+id)
	if strings.Contains(w.Body.String(), "evt_2") {
		t.Errorf("the body is shown: %s", w.Body)
	}
}

// TestKeptReasons: failed verifications are kept, observed or refused, and refusals
// of limits; temporary failures of the gateway are not.
func TestKeptReasons(t *testing.T) {
	for _, observe := range []bool{false, true} {
		for reason, tc := range outcomes {
			if tc.config != "" || reason == "overloaded" || observe && tc.next != nil {
				continue
			}
			g := watched(t, `{"max_buffered":8192}`, timed(fmt.Sprintf(`"observe":%t`, observe)))
			r := post()
			if tc.alter != nil {
				tc.alter(r)
			}
			next := tc.next
			if next == nil {
				next = accepting
			}
			serve(t, r, next, g.handlers...)
			list := kept.List("")
			if want := tc.status < 500; want != (len(list) == 1) {
				t.Errorf("%s, observe %t: %d kept", reason, observe, len(list))
				continue
			}
			if len(list) == 1 && (string(list[0].Reason) != reason || list[0].Observed != (observe && !list[0].Limit)) {
				t.Errorf("%s, observe %t: kept as %s, %t", reason, observe, list[0].Reason, list[0].Observed)
			}
			if len(list) == 1 && strings.Contains(reason, "stale") && list[0].Skew != 301*time.Second {
				t.Errorf("skew %s", list[0].Skew)
			}
		}
	}
}

// TestObservedAsItCame: headers that the gateway removes for the app are kept.
func TestObservedAsItCame(t *testing.T) {
	g := watched(t, "", timed(`"observe":true`, `"sign_upstream":"whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo"`))
	r := forged("{}")
	r.Header.Set("Webhook-Signature", "v1,sent")
	serve(t, r, accepting, g.handlers...)
	if list := kept.List(""); len(list) != 1 || fmt.Sprint(list[0].Header["Webhook-Signature"]) != "[v1,sent]" {
		t.Errorf("kept %+v", list)
	}
}

func TestKeptNewest(t *testing.T) {
	g := watched(t, `{"keep_rejected":3}`, timed(), strings.Replace(timed(), `"acme"`, `"bravo"`, 1))
	for i := range 5 {
		for _, h := range g.handlers {
			r := forged("{}")
			r.RequestURI = fmt.Sprintf("/%s/%d", h.Name, i)
			serve(t, r, accepting, h)
		}
	}
	urls := func(path string) (urls []string) {
		for _, r := range get[[]adminapi.Rejection](t, path) {
			urls = append(urls, r.URL)
		}
		return urls
	}
	if got := urls(adminapi.RejectionsPath); fmt.Sprint(got) != "[/bravo/4 /acme/4 /bravo/3 /acme/3 /bravo/2 /acme/2]" {
		t.Errorf("kept %v", got)
	}
	if got := urls(adminapi.RejectionsPath + "?name=acme"); fmt.Sprint(got) != "[/acme/4 /acme/3 /acme/2]" {
		t.Errorf("of acme: %v", got)
	}
	// A configuration that keeps fewer, of fewer handlers.
	smaller := mustProvision(t, `{"keep_rejected":1}`, timed())
	if n, _ := kept.Totals(); n != 6 {
		t.Errorf("provisioning leaves %d, want 6", n)
	}
	smaller.start(t)
	if got := urls(adminapi.RejectionsPath); fmt.Sprint(got) != "[/acme/4]" {
		t.Errorf("after the reload: %v", got)
	}
}

func TestKeptOff(t *testing.T) {
	g := watched(t, `{"keep_rejected":0}`, timed())
	g.logs.TakeAll()
	serve(t, forged("{}"), accepting, g.handlers...)
	if n, bytes := kept.Totals(); n != 0 || bytes != 0 {
		t.Errorf("%d kept, %d bytes", n, bytes)
	}
	if logged := g.logs.FilterMessage("delivery refused").TakeAll(); len(logged) != 1 || logged[0].ContextMap()["rejection"] != nil {
		t.Errorf("logged %v", logged)
	}
	if w, err := ask(http.MethodGet, adminapi.RejectionsPath); err != nil || strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("listed %v, %v", w, err)
	}
}

func TestKeepRejectedNegative(t *testing.T) {
	if _, err := provision(t, `{"keep_rejected":-1}`, timed()); err == nil || !strings.Contains(err.Error(), "keep_rejected: -1") {
		t.Errorf("got %v", err)
	}
}

// TestLimitsLeaveATrace: the newest refusal of each limit is kept with a remedy,
// separately from failed verifications.
func TestLimitsLeaveATrace(t *testing.T) {
	g := watched(t, "", timed(`"max_body":1000`, `"methods":["POST","PUT"]`))
	serve(t, forged("{}"), accepting, g.handlers...)
	for range 20 {
		r := post()
		r.ContentLength = 1500000
		serve(t, r, accepting, g.handlers...)
		r = post()
		r.Method = http.MethodGet
		serve(t, r, accepting, g.handlers...)
		r = post()
		r.Method = "x'y"
		serve(t, r, accepting, g.handlers...)
	}
	r := post()
	sends(r, body[:5], io.ErrUnexpectedEOF)
	serve(t, r, accepting, g.handlers...)
	want := map[verifier.Reason]string{
		"body_too_large":     "if the sender's page says that this is normal, write: max_body 2MiB",
		"method_not_allowed": "",
		"body_incomplete":    "the sender was cut off or gave up, and will retry; if it is always the same one, look at its proxy",
		"signature_mismatch": "",
	}
	list := kept.List("")
	if len(list) != len(want) {
		t.Fatalf("%d are kept, want one of each of %v", len(list), want)
	}
	for _, r := range list {
		got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+shown(r).ID)
		hint, ok := want[r.Reason]
		if !ok || got.Hint != hint || r.Limit != strings.HasPrefix(got.Note, "a limit refused it") {
			t.Errorf("%s: hint %q, note %q", r.Reason, got.Hint, got.Note)
		}
		if r.Reason == "body_too_large" && (got.Body.Declared == nil || *got.Body.Declared != 1500000) {
			t.Errorf("the body is shown as %+v", got.Body)
		}
	}
}

// TestAnotherAddress: the body of a delivery without the signature that is expected is
// not read, but its headers name the sender.
func TestAnotherAddress(t *testing.T) {
	g := watched(t, "", `{"provider":"stripe","secret":["n9Wd4kTq2"]}`)
	r := forged("{}")
	r.Header = http.Header{"X-Hub-Signature-256": {"sha256=" + sign("another", "{}")}, "X-Github-Delivery": {"72d3162e"}, "X-Github-Event": {"push"}}
	serve(t, r, accepting, g.handlers...)
	got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newestID())
	if !strings.Contains(got.Hint, "but the headers of github:") {
		t.Errorf("hint %q, note %q", got.Hint, got.Note)
	}
}

// TestRemedies name the line that allows the request.
func TestRemedies(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{bodyTooLarge(1<<20, -1).remedy, "max_body 2MiB"},
		{bodyTooLarge(1<<20, 25<<20).remedy, "max_body 25MiB"},
		{bodyTooLarge(1<<20, 25<<20+1).remedy, "max_body 26MiB"},
		{bodyTooLarge(1<<20, 1<<60).remedy, "max_body 2MiB"},
		{bodyTooLarge(1<<10, 1500).remedy, "max_body 2KiB"},
		{methodNotAllowed([]string{"POST"}, "GET").remedy, "methods POST GET"},
		{methodNotAllowed([]string{"POST", "PUT"}, "PATCH").remedy, "methods POST PUT PATCH"},
	} {
		if !strings.HasSuffix(tc.got, "write: "+tc.want) {
			t.Errorf("%q, want it to end in %q", tc.got, tc.want)
		}
	}
	if got := methodNotAllowed([]string{"POST"}, "}\n").remedy; got != "" {
		t.Errorf("a stranger's text is offered: %q", got)
	}
}

// TestUnreadBody: most refusals come before the body is read.
func TestUnreadBody(t *testing.T) {
	g := watched(t, "", timed())
	r := post()
	r.Header.Set("X-Time", "1699990000")
	r.Header.Set("Content-Length", "14") // the body was not lost
	serve(t, r, accepting, g.handlers...)
	got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newestID())
	if got.Body.Read || got.Body.SHA256 != "" || !strings.Contains(got.Note, "before its body was read") || strings.Contains(got.Hint, "empty") {
		t.Errorf("got %+v, %q, hint %q", got.Body, got.Note, got.Hint)
	}
}

// TestUnreadBodyIsNotLost: a request refused before its body was read is not
// explained as one that lost its body, once its time is no longer too old.
func TestUnreadBodyIsNotLost(t *testing.T) {
	g := watched(t, "", timed(`"tolerance":"1s"`))
	r := post()
	r.Header.Set("X-Time", "1699999900")
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1699999900."+body))
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	serve(t, r, accepting, g.handlers...)
	mustProvision(t, "", acme(topsecret, signedTime)).start(t)
	if got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newestID()); got.Hint != "" || !strings.Contains(got.Note, "before its body was read") {
		t.Errorf("hint %q, note %q", got.Hint, got.Note)
	}
}

// TestKeysAreNotShownInAnyEncoding: a sender with the key in the wrong place may have
// encoded it, in a header that is shown.
func TestKeysAreNotShownInAnyEncoding(t *testing.T) {
	const key, decoded = "violet-anchor-maple-17", "\x01\xfe binary key \xff\x80"
	g := watched(t, "", acme(`"secret":["`+key+`"]`), strings.Replace(acme(`"secret_encoding":"base64"`, `"secret":["`+base64.StdEncoding.EncodeToString([]byte(decoded))+`"]`), "acme", "bravo", 1))
	percent := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		return b.String()
	}
	for name, value := range map[string]string{
		"as it is":           "it is " + key,
		"capitals":           strings.ToUpper(key),
		"hex":                hex.EncodeToString([]byte(key)),
		"HEX":                strings.ToUpper(hex.EncodeToString([]byte(key))),
		"hex after a digit":  "0" + hex.EncodeToString([]byte(key)),
		"base64":             base64.StdEncoding.EncodeToString([]byte(key)),
		"base64url":          base64.RawURLEncoding.EncodeToString([]byte(key)),
		"Basic":              "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+key)),
		"Basic, other side":  "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":u")),
		"percent":            percent(key),
		"base64 of hex":      base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString([]byte(key)))),
		"percent of base64":  percent(base64.StdEncoding.EncodeToString([]byte(key))),
		"after no escape":    "100%, " + percent(key),
		"before no escape":   percent(key) + "%zz",
		"the decoded key":    hex.EncodeToString([]byte(decoded)),
		"the key, base64url": base64.URLEncoding.EncodeToString([]byte(decoded)),
	} {
		r := forged("{}")
		r.Header.Set("User-Agent", value)
		r.RequestURI = "/?event=" + url.QueryEscape(value)
		serve(t, r, accepting, g.handlers[0])
		got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newestID())
		if got.Headers["User-Agent"][0] != "(redacted)" || got.URL != "/?event=(redacted)" {
			t.Errorf("%s: shown are %q and %s", name, got.Headers["User-Agent"], got.URL)
		}
	}
	r := forged("{}")
	r.Header.Set("User-Agent", "Sender/1.0 (+https://sender.example/hooks; deadbeefdeadbeef c2VuZGVyLWlkLTEyMzQ=)")
	serve(t, r, accepting, g.handlers[0])
	if got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+newestID()); got.Headers["User-Agent"][0] != r.UserAgent() {
		t.Errorf("what holds no key is shown as %q", got.Headers["User-Agent"])
	}
}

// TestRedaction: no credential is shown, wherever a sender has put it.
func TestRedaction(t *testing.T) {
	token := strings.Replace(acme(`"secret":["token-of-bravo"]`, `"algorithm":"token","body_unsigned":true`), `"acme"`, `"bravo"`, 1)
	query := strings.Replace(strings.Replace(acme(`"secret":["token-of-charlie"]`, `"algorithm":"token","body_unsigned":true`), `"acme"`, `"charlie"`, 1), `"header":"X-Signature"`, `"query":"sig"`, 1)
	g := watched(t, "", timed(`"param":{}`), strings.Replace(token, "X-Signature", "X-Proof", 1), query)
	r := forged("{}")
	target := "/hooks/n9Wd4kTq2?" + url.Values{
		"sig": {"SHOWN-TOKEN"}, "hub.verify_token": {"SHOWN-TOKEN"}, "event": {"7"}, "shop": {"SHOWN-TOKEN"}, "x": {"token-of-bravo"}, "api_key": {"SHOWN-TOKEN"},
	}.Encode()
	r.RequestURI, r.Host = target, "n9Wd4kTq2.example.com"
	for name, value := range map[string]string{
		"Authorization": "Bearer SHOWN-TOKEN", "Proxy-Authorization": "SHOWN-TOKEN", "Cookie": "a=SHOWN-TOKEN",
		"X-Team": "blue", "X-Proof": "SHOWN-TOKEN", "X-Gitlab-Token": "SHOWN-TOKEN", "Cf-Webhook-Auth": "SHOWN-TOKEN",
		"X-Api-Key": "SHOWN-TOKEN", "X-Mistake": "it is n9Wd4kTq2", "X-Other": "SHOWN-TOKEN", "X-Hook-Secret": "SHOWN-TOKEN", "X-GitHub-Event": "push",
		"Ocp-Apim-Subscription-Key": "SHOWN-TOKEN", "X-Functions-Key": "SHOWN-TOKEN", "X-Goog-Iap-Jwt-Assertion": "SHOWN-TOKEN", "X-Passphrase": "SHOWN-TOKEN",
		"X-Capitals": "TOPSECRET", "Topsecret": "is a name", "Content-Type": "text/plain; n9Wd4kTq2",
	} {
		r.Header.Set(name, value)
	}
	serve(t, r, accepting, g.handlers[0])
	id := newestID()
	for _, path := range []string{adminapi.RejectionsPath, adminapi.RejectionsPath + "/" + id} {
		w, err := ask(http.MethodGet, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"shown-token", "n9Wd4kTq2", "token-of-", "blue"} {
			if strings.Contains(strings.ToLower(w.Body.String()), secret) {
				t.Errorf("%s shows %q: %s", path, secret, w.Body)
			}
		}
	}
	got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+id)
	if got.Headers["X-Other"][0] != "(redacted)" || got.Headers["X-Github-Event"][0] != "push" || got.Headers["X-Team"][0] != "(redacted)" || got.Headers["X-Time"][0] != "1700000000" {
		t.Errorf("headers %v", got.Headers)
	}
	if !strings.Contains(got.URL, "event=7") || !strings.Contains(got.URL, "sig=(redacted)") {
		t.Errorf("url %s", got.URL)
	}
	// A removed key, a header that is no longer required.
	mustProvision(t, "", acme(`"secret":["next-key-9f31c0"]`)).start(t)
	w, err := ask(http.MethodGet, adminapi.RejectionsPath+"/"+id)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"n9Wd4kTq2", "blue", "token-of-bravo"} {
		if strings.Contains(strings.ToLower(w.Body.String()), secret) {
			t.Errorf("after a change of the configuration: %s is in %s", secret, w.Body)
		}
	}
}

// TestHint: the cause is determined with the configuration in force.
func TestHint(t *testing.T) {
	g := watched(t, "", timed())
	r := forged(body[:len(body)-1])
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000."+body[:len(body)-1]+"\n"))
	serve(t, r, accepting, g.handlers...)
	id := newestID()
	hinted := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+id)
	if !strings.Contains(hinted.Hint, "line break") {
		t.Errorf("hint %q", hinted.Hint)
	}
	if again := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+id); again.Hint != hinted.Hint {
		t.Errorf("asked again: %q", again.Hint)
	}

	serve(t, forged("{}"), accepting, g.handlers...)
	r = forged(body)
	r.Header.Set("X-Signature", sign("successor", "1700000000."+body))
	serve(t, r, accepting, g.handlers...)
	list := kept.List("")
	if got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+shown(list[0]).ID); got.Note != "" {
		t.Errorf("with the keys that refused it: %q", got.Note)
	}
	mustProvision(t, "", strings.Replace(timed(), "n9Wd4kTq2", "successor", 1)).start(t)
	if got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+shown(list[0]).ID); !strings.Contains(got.Note, "is genuine") {
		t.Errorf("with the key put right: %q", got.Note)
	}
}

// TestHandlerGone: a rejection of a stopped configuration is not explained.
func TestHandlerGone(t *testing.T) {
	kept.Restrict(nil, 0)
	defer kept.Restrict(nil, 0)
	g := mustProvision(t, "", timed())
	serve(t, forged("{}"), accepting, g.handlers...)
	id := newestID()
	if got := get[adminapi.RejectionDetail](t, adminapi.RejectionsPath+"/"+id); !strings.Contains(got.Note, "no longer part of the configuration") || got.Hint != "" {
		t.Errorf("got %q, %q", got.Note, got.Hint)
	}
}
