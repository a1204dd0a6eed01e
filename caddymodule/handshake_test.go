package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// greeters is a provider with one handshake of each kind.
func greeters(more ...string) string {
	return "{" + strings.Join(append([]string{`"name":"acme"`, topsecret, `"param":{"token":"open sesame"}`, `"provider":{
		"id": "acme_inc", "name": "Acme", "scheme": {"signature": {"header": "X-Signature"}}, "bodies_differ": true,
		"params": [{"name": "token", "description": "any word"}],
		"handshake": [
			{"when": {"method": "GET", "query": {"challenge": "*"}}, "require": {"query": {"token": "{param:token}"}}, "respond": {"text": "{query:challenge}"}},
			{"when": {"method": "HEAD"}, "respond": {}},
			{"when": {"header": {"X-Echo": "*"}}, "respond": {"status": 204, "header": {"X-Echo": "{header:X-Echo}"}}},
			{"when": {"json": {"kind": "ask"}}, "respond": {"json": {"challenge": "{json:challenge}"}}},
			{"when": {"json": {"kind": "prove"}}, "signed": true, "respond": {"json": {"proof": "{hmac:json:challenge|hex}"}}}
		]}`}, more...), ",") + "}"
}

func request(method, target, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "http://hooks.example.com"+target, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func signed(body string) *http.Request {
	return request("POST", "/", body, "X-Signature", sign("n9Wd4kTq2", body))
}

// greet sends a request through one handler and returns the answer; forwarded
// says whether the app got it.
func (g *gateway) greet(t testing.TB, r *http.Request) (w *httptest.ResponseRecorder, forwarded bool, repl *caddy.Replacer) {
	t.Helper()
	w, repl = httptest.NewRecorder(), caddy.NewReplacer()
	h := g.handlers[0]
	h.now = func() time.Time { return clock }
	err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, repl, w, nil), caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		forwarded = true
		w.WriteHeader(http.StatusAccepted)
		return nil
	}))
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		w.Code = e.StatusCode
	}
	g.budgetsAreFree(t)
	return w, forwarded, repl
}

func TestHandshake(t *testing.T) {
	prove := `{"kind":"prove","challenge":"abc"}`
	for name, tc := range map[string]struct {
		r           *http.Request
		status      int
		body        string
		contentType string
		reason      string // "": answered
	}{
		"query":             {request("GET", "/?challenge=abc&token=open+sesame", ""), 200, "abc", "text/plain; charset=utf-8", ""},
		"wrong token":       {request("GET", "/?challenge=abc&token=open", ""), 401, "", "", "handshake_mismatch"},
		"markup":            {request("GET", "/?challenge=%3Cscript%3E&token=open+sesame", ""), 401, "", "", "handshake_mismatch"},
		"line break":        {request("GET", "/?challenge=a%0d%0aX:%20b&token=open+sesame", ""), 401, "", "", "handshake_mismatch"},
		"10 KiB":            {request("GET", "/?challenge="+strings.Repeat("a", 10<<10)+"&token=open+sesame", ""), 401, "", "", "handshake_mismatch"},
		"GET, none":         {request("GET", "/", ""), 405, "", "", "method_not_allowed"},
		"GET, signed":       {request("GET", "/", "", "X-Signature", sign("n9Wd4kTq2", "")), 405, "", "", "method_not_allowed"},
		"PUT":               {request("PUT", "/?challenge=abc&token=open+sesame", ""), 405, "", "", "method_not_allowed"},
		"HEAD":              {request("HEAD", "/", ""), 200, "", "", ""},
		"header":            {request("POST", "/", "", "X-Echo", "abc"), 204, "", "", ""},
		"header, bad":       {request("POST", "/", "", "X-Echo", "a b"), 401, "", "", "handshake_mismatch"},
		"body":              {request("POST", "/", `{"kind":"ask","challenge":"abc"}`), 200, `{"challenge":"abc"}`, "application/json", ""},
		"body, bad":         {request("POST", "/", `{"kind":"ask","challenge":"\""}`), 401, "", "", "handshake_mismatch"},
		"body, signed too":  {signed(`{"kind":"ask","challenge":"abc"}`), 200, `{"challenge":"abc"}`, "application/json", ""},
		"body, none":        {request("POST", "/", `{"kind":"event","challenge":"abc"}`), 401, "", "", "missing_signature"},
		"body, too large":   {request("POST", "/", strings.Repeat("a", 2<<20)), 413, "", "", "body_too_large"},
		"signed":            {signed(prove), 200, `{"proof":"` + sign("n9Wd4kTq2", "abc") + `"}`, "application/json", ""},
		"signed, not":       {request("POST", "/", prove), 401, "", "", "missing_signature"},
		"signed, by others": {request("POST", "/", prove, "X-Signature", sign("other", prove)), 401, "", "", "signature_mismatch"},
		"signed, bad":       {signed(`{"kind":"prove","challenge":"<"}`), 401, "", "", "handshake_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			g := mustProvision(t, "", greeters())
			answered, rejected := g.count(t, "handshake", ""), g.count(t, "rejected", tc.reason)
			w, forwarded, repl := g.greet(t, tc.r)
			if w.Code != tc.status || w.Body.String() != tc.body || forwarded {
				t.Errorf("got %d %q, forwarded: %t; want %d %q", w.Code, w.Body, forwarded, tc.status, tc.body)
			}
			placeholder := func(name string) string { s, _ := repl.GetString(prefix + name); return s }
			if placeholder("reason") != tc.reason || placeholder("name") != "acme" || placeholder("provider") != "acme_inc" || placeholder("delivery") != "" {
				t.Errorf("placeholders: reason %q, name %q, delivery %q", placeholder("reason"), placeholder("name"), placeholder("delivery"))
			}
			if tc.reason != "" {
				if n := g.count(t, "rejected", tc.reason) - rejected; n != 1 || placeholder("handshake") != "" || len(w.Header()["Content-Type"]) != 0 {
					t.Errorf("counted %v, header %v", n, w.Header())
				}
				return
			}
			if n := g.count(t, "handshake", "") - answered; n != 1 || placeholder("handshake") != "true" {
				t.Errorf("counted %v, placeholder %q", n, placeholder("handshake"))
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") != tc.contentType || w.Header().Get("Webhook-Delivery") != "" {
				t.Errorf("header %v", w.Header())
			}
			if name == "header" && w.Header().Get("X-Echo") != "abc" {
				t.Errorf("header %v", w.Header())
			}
			if want := name == "signed" || name == "body, signed too"; (placeholder("verified") == "true") != want {
				t.Errorf("verified: %s", placeholder("verified"))
			}
			// Never claimed: a repeated handshake is answered again.
			if body := tc.body; body != "" && tc.r.Method == http.MethodPost {
				again := signed(prove)
				again.Header.Del("X-Echo")
				if w, forwarded, _ := g.greet(t, again); w.Code != 200 || forwarded || w.Header().Get("Webhook-Duplicate") != "" {
					t.Errorf("a second time: %d, %v", w.Code, w.Header())
				}
			}
		})
	}
	t.Run("deliveries", func(t *testing.T) {
		g := mustProvision(t, "", greeters())
		if w, forwarded, _ := g.greet(t, signed(body)); w.Code != http.StatusAccepted || !forwarded {
			t.Errorf("got %d", w.Code)
		}
	})
}

// TestHandshakeOff: as if the provider had no handshakes.
func TestHandshakeOff(t *testing.T) {
	g := mustProvision(t, "", strings.Replace(greeters(`"handshake":{"off":true}`), `"param":{"token":"open sesame"},`, "", 1))
	for name, tc := range map[string]struct {
		r         *http.Request
		status    int
		forwarded bool
	}{
		"query":    {request("GET", "/?challenge=abc&token=open+sesame", ""), 405, false},
		"HEAD":     {request("HEAD", "/", ""), 405, false},
		"header":   {request("POST", "/", "", "X-Echo", "abc"), 401, false},
		"body":     {request("POST", "/", `{"kind":"ask","challenge":"abc"}`), 401, false},
		"signed":   {signed(`{"kind":"prove","challenge":"abc"}`), 202, true},
		"delivery": {signed(body), 202, true},
	} {
		if w, forwarded, _ := g.greet(t, tc.r); w.Code != tc.status || forwarded != tc.forwarded {
			t.Errorf("%s: got %d, forwarded: %t", name, w.Code, forwarded)
		}
	}
}

// TestHandshakeObserved: handshakes are answered as usual, other requests pass like
// deliveries, and a method is still a limit.
func TestHandshakeObserved(t *testing.T) {
	g := mustProvision(t, "", greeters(`"observe":true`))
	strict := mustProvision(t, "", greeters(`"observe":true`, `"require_header":[{"name":"X-Team","values":"blue"}]`))
	for name, tc := range map[string]struct {
		g         *gateway
		r         *http.Request
		status    int
		forwarded bool
	}{
		"answered":             {g, request("GET", "/?challenge=abc&token=open+sesame", ""), 200, false},
		"wrong token":          {g, request("GET", "/?challenge=abc&token=x", ""), 401, false},
		"none":                 {g, request("GET", "/", ""), 405, false},
		"header, bad":          {g, request("POST", "/", "", "X-Echo", "<"), 202, true},
		"body, bad":            {g, request("POST", "/", `{"kind":"ask","challenge":"\""}`), 202, true},
		"body, none":           {g, request("POST", "/", `{}`), 202, true},
		"signed, not":          {g, request("POST", "/", `{"kind":"prove","challenge":"abc"}`), 202, true},
		"GET without header":   {strict, request("GET", "/?challenge=abc&token=open+sesame", ""), 401, false},
		"POST without header":  {strict, request("POST", "/", "", "X-Echo", "abc"), 202, true},
		"GET with that header": {strict, request("GET", "/?challenge=abc&token=open+sesame", "", "X-Team", "blue"), 200, false},
	} {
		if w, forwarded, _ := tc.g.greet(t, tc.r); w.Code != tc.status || forwarded != tc.forwarded {
			t.Errorf("%s: got %d, forwarded: %t", name, w.Code, forwarded)
		}
	}
}

// TestHandshakeUnread: an answer before the body is read ends an HTTP/1 connection,
// which would otherwise be read to its end first.
func TestHandshakeUnread(t *testing.T) {
	g := mustProvision(t, "", greeters())
	r := request("POST", "/", "rest", "X-Echo", "abc")
	r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { t.Error("read"); return 0, io.EOF }))
	if w, _, _ := g.greet(t, r); w.Code != 204 || w.Header().Get("Connection") != "close" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	r = request("POST", "/", "rest", "X-Echo", "abc")
	r.ProtoMajor = 2
	if w, _, _ := g.greet(t, r); w.Header().Get("Connection") != "" {
		t.Errorf("HTTP/2: %v", w.Header())
	}
}

// TestHandshakeBesideSignature: if the signature is in the body, an unsigned request
// may still be a handshake.
func TestHandshakeBesideSignature(t *testing.T) {
	config := strings.Replace(greeters(), `{"signature": {"header": "X-Signature"}}`, `{"algorithm": "token", "body_unsigned": true, "signature": {"json": "token"}}`, 1)
	config = strings.Replace(config, `{"when": {"json": {"kind": "prove"}}, "signed": true, "respond": {"json": {"proof": "{hmac:json:challenge|hex}"}}}`, `{"when": {"json": {"kind": "prove"}}, "signed": true, "respond": {}}`, 1)
	g := mustProvision(t, "", config)
	for body, want := range map[string]int{
		`{"kind":"ask","challenge":"abc"}`:                   200,
		`{"kind":"ask","challenge":"abc","token":"x"}`:       401,
		`{"kind":"event"}`:                                   401,
		`{"kind":"event","token":"n9Wd4kTq2"}`:               202,
		`{"kind":"prove","token":"n9Wd4kTq2"}`:               200,
		`{"kind":"prove"}`:                                   401,
		`{"kind":"ask","challenge":"<","token":"n9Wd4kTq2"}`: 401,
	} {
		if w, _, _ := g.greet(t, request("POST", "/", body)); w.Code != want {
			t.Errorf("%s: got %d, want %d", body, w.Code, want)
		}
	}
}

// TestHandshakeParam: an error names the param that a handshake requires.
func TestHandshakeParam(t *testing.T) {
	_, err := provision(t, "", strings.Replace(greeters(), `"param":{"token":"open sesame"},`, "", 1))
	if err == nil || !strings.Contains(err.Error(), "give it with: param token <value>") || !strings.Contains(err.Error(), "handshake off") {
		t.Errorf("got %v", err)
	}
}
