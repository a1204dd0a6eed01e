package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// outcomes are all refusals, each with a request that causes it.
var outcomes = map[string]struct {
	alter  func(r *http.Request)
	config string // more of it
	next   caddyhttp.Handler
	status int
	header map[string]string // in addition to WWW-Authenticate of a 401
}{
	"missing_signature":   {alter: func(r *http.Request) { r.Header.Del("X-Signature") }, status: 401, header: map[string]string{"Connection": "close"}},
	"malformed_signature": {alter: func(r *http.Request) { r.Header.Set("X-Signature", "not-a-signature") }, status: 401, header: map[string]string{"Connection": "close"}},
	"signature_mismatch":  {alter: func(r *http.Request) { r.Header.Set("X-Signature", sign("other", body)) }, status: 401},
	"missing_timestamp":   {alter: func(r *http.Request) { r.Header.Del("X-Time") }, status: 401, header: map[string]string{"Connection": "close"}},
	"malformed_timestamp": {alter: func(r *http.Request) { r.Header.Set("X-Time", "noon") }, status: 401, header: map[string]string{"Connection": "close"}},
	"stale_timestamp":     {alter: func(r *http.Request) { r.Header.Set("X-Time", "1699999699") }, status: 401, header: map[string]string{"Connection": "close"}},
	"future_timestamp":    {alter: func(r *http.Request) { r.Header.Set("X-Time", "1700000301") }, status: 401, header: map[string]string{"Connection": "close"}},
	"missing_header":      {alter: func(r *http.Request) { r.Header.Del("X-Team") }, status: 401},
	"header_mismatch":     {alter: func(r *http.Request) { r.Header.Set("X-Team", "red") }, status: 401},

	"method_not_allowed": {alter: func(r *http.Request) { r.Method = "GET" }, config: `"methods":["POST","PUT"]`, status: 405,
		header: map[string]string{"Allow": "POST, PUT", "Connection": "close"}},
	"unclean_path":    {alter: func(r *http.Request) { r.URL.Path = "/hooks//acme" }, status: 400, header: map[string]string{"Connection": "close"}},
	"method_in_query": {alter: func(r *http.Request) { r.RequestURI = "/hooks/acme?a=b&%5Fmethod=OPTIONS" }, status: 400, header: map[string]string{"Connection": "close"}},
	"field_in_query": {alter: func(r *http.Request) {
		sends(r, "a=1", io.EOF)
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000.a=1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RequestURI = "/hooks/acme?b=2&a=2"
	}, status: 400},
	"body_too_large": {config: `"max_body":13`, status: 413, header: map[string]string{"Connection": "close"}},
	"body_incomplete": {alter: func(r *http.Request) { sends(r, body[:5], io.ErrUnexpectedEOF) }, status: 400,
		header: map[string]string{"Connection": "close"}},
	"body_timeout": {alter: func(r *http.Request) { sends(r, body[:5], fmt.Errorf("read tcp: %w", os.ErrDeadlineExceeded)) }, status: 408,
		header: map[string]string{"Connection": "close"}},
	"overloaded": {alter: func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", 9000))), 9000
	}, status: 503, header: map[string]string{"Retry-After": "2", "Connection": "close"}},
	"key_unavailable": {config: `"secret":["{file./nonexistent/key}"]`, status: 503,
		header: map[string]string{"Retry-After": "10", "Connection": "close"}},
	"no_upstream": {next: caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }), status: 502, header: map[string]string{"Webhook-Verified": "acme"}},
}

func TestOutcomes(t *testing.T) {
	for reason, tc := range outcomes {
		t.Run(reason, func(t *testing.T) {
			config := timed(tc.config)
			if tc.config == "" {
				config = timed()
			}
			if reason == "key_unavailable" {
				config = strings.Replace(config, topsecret+",", "", 1)
			}
			g := mustProvision(t, `{"max_buffered":8192}`, config)
			g.start(t)
			before, accepted := g.count(t, "rejected", reason), g.count(t, "delivered", "")
			g.logs.TakeAll()
			r := post()
			if tc.alter != nil {
				tc.alter(r)
			}
			next := tc.next
			if next == nil {
				next = accepting
			}
			a := serve(t, r, next, g.handlers...)
			if a.err == nil || a.status != tc.status {
				t.Errorf("got %d (%v), want %d", a.status, a.err, tc.status)
			}
			if forwarded := a.forward != nil; forwarded != (reason == "no_upstream") {
				t.Errorf("forwarded: %t", forwarded)
			}
			want := http.Header{}
			for k, v := range tc.header {
				want.Set(k, v)
			}
			if tc.status == 401 {
				want.Set("WWW-Authenticate", "Webhook")
			}
			if fmt.Sprint(a.header) != fmt.Sprint(want) {
				t.Errorf("got headers %v, want %v", a.header, want)
			}
			if got := a.placeholder("reason"); got != reason {
				t.Errorf("placeholder reason: %q", got)
			}
			if got := a.placeholder("verified"); got != fmt.Sprint(reason == "no_upstream") {
				t.Errorf("placeholder verified: %q", got)
			}
			if a.placeholder("name") != "acme" || a.placeholder("provider") != "" {
				t.Errorf("placeholders name %q, provider %q", a.placeholder("name"), a.placeholder("provider"))
			}
			if n := g.count(t, "rejected", reason) - before; n != 1 {
				t.Errorf("counted %v times", n)
			}
			if n := g.count(t, "delivered", "") - accepted; n != 0 && reason != "no_upstream" {
				t.Errorf("counted as accepted")
			}
			logged := g.logs.TakeAll()
			if len(logged) != 1 || logged[0].Level != zapcore.WarnLevel || logged[0].Message != "delivery refused" {
				t.Fatalf("logged %v, want one refusal", logged)
			}
			fields := logged[0].ContextMap()
			if fields["name"] != "acme" || fields["reason"] != reason || fields["status"] != int64(tc.status) || fields["error_id"] == "" {
				t.Errorf("logged %v", fields)
			}
			if detail, _ := fields["detail"].(string); detail == "" || strings.HasPrefix(detail, reason) {
				t.Errorf("the detail %q repeats the reason, or says nothing", detail)
			}
			if s := fmt.Sprint(fields, a.err); strings.Contains(s, "n9Wd4kTq2") || strings.Contains(s, r.Header.Get("X-Signature")) && r.Header.Get("X-Signature") != "" || strings.Contains(s, "evt_1") {
				t.Errorf("log or error hold a secret, a signature or a piece of the body: %s", s)
			}
			g.budgetsAreFree(t)
		})
	}
}

func TestRejectStatus(t *testing.T) {
	g := mustProvision(t, "", timed(`"reject_status":422`))
	r := post()
	r.Header.Del("X-Signature")
	if a := serve(t, r, accepting, g.handlers...); a.status != 422 || a.header.Get("WWW-Authenticate") != "Webhook" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	r = post()
	r.Method = "GET"
	if a := serve(t, r, accepting, g.handlers...); a.status != 405 {
		t.Errorf("a limit got the status of a failed verification: %d", a.status)
	}
}

// TestConnectionStays: on HTTP/2 and 3 Connection: close would also end other
// streams; after a complete body it is useless.
func TestConnectionStays(t *testing.T) {
	g := mustProvision(t, "", timed())
	r := post()
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.Header.Del("X-Signature")
	if a := serve(t, r, accepting, g.handlers...); a.status != 401 || a.header.Get("Connection") != "" {
		t.Errorf("HTTP/2: got %d %v", a.status, a.header)
	}
	r = post()
	sends(r, body+" ", io.EOF)
	if a := serve(t, r, accepting, g.handlers...); a.placeholder("reason") != "signature_mismatch" || a.header.Get("Connection") != "" {
		t.Errorf("a chunked body read whole: got %s %v", a.placeholder("reason"), a.header)
	}
}

func TestLimiter(t *testing.T) {
	g := mustProvision(t, "", timed())
	h := g.handlers[0]
	g.logs.TakeAll()
	refuse := func(n int) {
		for range n {
			r := post()
			r.Header.Del("X-Signature")
			serve(t, r, accepting, h)
		}
	}
	at := clock
	defer func() { clock = at }()
	refuse(25)
	if n := g.logs.Len(); n != 10 {
		t.Errorf("%d refusals logged in one second, want 10", n)
	}
	for _, e := range g.logs.TakeAll() {
		if _, ok := e.ContextMap()["suppressed"]; ok {
			t.Error("suppressed before anything was")
		}
	}
	clock = clock.Add(time.Second)
	refuse(2)
	logged := g.logs.TakeAll()
	if len(logged) != 2 || logged[0].ContextMap()["suppressed"] != int64(15) {
		t.Fatalf("logged %v, want the 15 that were not", logged)
	}
	if _, ok := logged[1].ContextMap()["suppressed"]; ok {
		t.Error("suppressed ones are told twice")
	}
}

// TestWhoAnswersAnError: handle_errors gets every refusal. If the server has none, the
// gateway answers as Caddy would, because Caddy would encode the whole request for its
// log, and log a 5xx without a limit. If the place of the handler is unknown, something
// around it may act on a 4xx.
func TestWhoAnswersAnError(t *testing.T) {
	routes := &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
	around := func(watches bool) *placement.Places { return &placement.Places{Count: 1, Watched: watches} }
	for name, tc := range map[string]struct {
		server   *caddyhttp.Server
		status   string
		places   *placement.Places // nil: unknown
		answered bool
	}{
		"4xx, no handle_errors":     {new(caddyhttp.Server), "422", around(false), true},
		"4xx, none that counts":     {&caddyhttp.Server{Errors: new(caddyhttp.HTTPErrorConfig)}, "422", around(false), true},
		"4xx, handle_errors":        {&caddyhttp.Server{Errors: routes}, "422", around(false), false},
		"4xx, something around it":  {new(caddyhttp.Server), "422", around(true), false},
		"4xx, the place is unknown": {new(caddyhttp.Server), "422", nil, false},
		"5xx, no handle_errors":     {new(caddyhttp.Server), "503", around(false), true},
		"5xx, none that counts":     {&caddyhttp.Server{Errors: new(caddyhttp.HTTPErrorConfig)}, "503", around(false), true},
		"5xx, handle_errors":        {&caddyhttp.Server{Errors: routes}, "503", around(false), false},
		"5xx, something around it":  {new(caddyhttp.Server), "503", around(true), false},
		"5xx, the place is unknown": {new(caddyhttp.Server), "503", nil, true},
	} {
		g := mustProvision(t, "", timed(`"reject_status":`+tc.status))
		h := g.handlers[0]
		if tc.places != nil {
			g.app.locate()
			g.app.placesOf = map[*placement.Handler]placement.Places{&h.placed: *tc.places}
		}
		w := httptest.NewRecorder()
		r := post()
		r.Header.Set("X-Signature", sign("other", body))
		err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, tc.server), accepting)
		if answered := err == nil; answered != tc.answered || answered && (fmt.Sprint(w.Code) != tc.status || w.Body.Len() > 0) {
			t.Errorf("%s: %v, answered %d %q", name, err, w.Code, w.Body)
		}
	}
}

// TestTheAppIsDown: anyone with one captured delivery can repeat it while the app fails,
// so each handler logs it ten times a second, whatever strangers do meanwhile.
func TestTheAppIsDown(t *testing.T) {
	routes := &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}
	for name, tc := range map[string]struct {
		server   *caddyhttp.Server
		status   int
		answered bool
		logged   int
	}{
		"no handle_errors":      {new(caddyhttp.Server), 502, true, 10},
		"handle_errors":         {&caddyhttp.Server{Errors: routes}, 502, false, 10},
		"an error of the block": {new(caddyhttp.Server), 403, false, 0},
	} {
		g := mustProvision(t, "", timed(`"dedupe":{"off":true}`))
		h := g.handlers[0]
		h.confides = false
		g.app.locate()
		g.app.placesOf = map[*placement.Handler]placement.Places{&h.placed: {Count: 1}}
		g.logs.TakeAll()
		down := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(tc.status, errors.New("dial tcp: refused"))
		})
		for range 25 {
			forged := post()
			forged.Header.Set("X-Signature", sign("other", body))
			for _, r := range []*http.Request{forged, post()} {
				w := httptest.NewRecorder()
				err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, tc.server), down)
				if answered := err == nil; r != forged && (answered != tc.answered || answered && w.Code != tc.status) {
					t.Errorf("%s: %v, answered %d", name, err, w.Code)
				}
			}
		}
		logged := g.logs.FilterMessage("the app did not answer").All()
		if len(logged) != tc.logged {
			t.Errorf("%s: logged %d times, want %d", name, len(logged), tc.logged)
		}
		for _, l := range logged {
			fields := l.ContextMap()
			if l.Level != zapcore.ErrorLevel || fields["reason"] != "unreachable" || fields["status"] != int64(502) || fields["error_id"] == "" ||
				!strings.Contains(fmt.Sprint(fields["detail"]), "dial tcp") || strings.Contains(fmt.Sprint(fields), sign("n9Wd4kTq2", "1700000000."+body)) {
				t.Errorf("%s: logged at %s %v", name, l.Level, fields)
			}
		}
	}
}

// TestAnswersLookLikeErrors: from outside nobody sees whether the gateway answers or
// Caddy, which does with handle_errors for another status, and an intercept around the
// handler does not see a refusal.
func TestAnswersLookLikeErrors(t *testing.T) {
	for what, change := range map[string]func(*http.Request){
		"forged": func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", "sha256="+sign("other", body)) },
		"forged, 503": func(r *http.Request) {
			r.URL.Path, r.RequestURI = "/hooks/busy", "/hooks/busy"
			r.Header.Set("X-Hub-Signature-256", "sha256="+sign("other", body))
		},
		"unsigned":  func(*http.Request) {},
		"method":    func(r *http.Request) { r.Method = http.MethodPut },
		"too large": func(r *http.Request) { r.ContentLength = 30 << 20 },
		"unclean":   func(r *http.Request) { r.URL.Path, r.RequestURI = "/hooks//github", "/hooks//github" },
	} {
		var want string
		for _, handling := range []string{"", "handle_errors 599 {\nrespond 500\n}\n", "intercept {\n@e status 4xx 5xx\nhandle_response @e {\nrespond 200\n}\n}\n"} {
			busy := "verify_webhook /hooks/busy github a-long-secret-of-a-test {\nreject_status 503\n}\n"
			site := "http://:1234 {\n" + handling + "handle {\n" + hooksLine + busy + "respond 200\n}\n}\n"
			config, err := adapt("Caddyfile", "{\nadmin off\n}\n"+site)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(body))
			change(r)
			w := httptest.NewRecorder()
			serverOf(t, config).ServeHTTP(w, r)
			got := fmt.Sprint(w.Code, w.Header(), w.Body)
			if want == "" {
				want = got
			}
			if got != want || w.Code < 400 {
				t.Errorf("%s, with %q: %s, without %s", what, handling, got, want)
			}
		}
	}
}

// TestRequiredHeaderIsNoOracle: without a signature nobody learns whether the value
// of a required header is right, neither from the response nor from how much of the
// body is read before it.
func TestRequiredHeaderIsNoOracle(t *testing.T) {
	for name, alter := range map[string]func(*http.Request){
		"wrong signature":     func(r *http.Request) { r.Header.Set("X-Signature", sign("other", body)) },
		"malformed signature": func(r *http.Request) { r.Header.Set("X-Signature", "x") },
		"no signature":        func(r *http.Request) { r.Header.Del("X-Signature") },
		"stale":               func(r *http.Request) { r.Header.Set("X-Time", "1600000000") },
		"method":              func(r *http.Request) { r.Method = http.MethodPut },
		"too large":           func(r *http.Request) { r.ContentLength = 1 << 30 },
		"half a body":         func(r *http.Request) { sends(r, body[:5], io.ErrUnexpectedEOF) },
	} {
		var want string
		for _, team := range []string{"blue", "red", ""} {
			g := mustProvision(t, "", timed())
			r := post()
			alter(r)
			if r.Header.Set("X-Team", team); team == "" {
				r.Header.Del("X-Team")
			}
			read, below := 0, r.Body
			r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
				n, err := below.Read(p)
				read += n
				return n, err
			}))
			a := serve(t, r, accepting, g.handlers...)
			got := fmt.Sprint(a.status, a.header, " after ", read, " bytes")
			if want == "" { // with the right value
				want = got
			}
			if got != want || a.forward != nil {
				t.Errorf("%s, value %q: %s, while the right one gets %s", name, team, got, want)
			}
		}
	}
}

// TestRequiredHeaderAndHandshake: the same if a request may be a handshake; an
// answered handshake also needs the header.
func TestRequiredHeaderAndHandshake(t *testing.T) {
	g := mustProvision(t, "", greeters(`"require_header":[{"name":"X-Team","values":"blue"}]`))
	for name, tc := range map[string]struct {
		method, target, body string
		right, wrong         int
	}{
		"GET, none":      {"GET", "/", "", 405, 405},
		"GET, bad token": {"GET", "/?challenge=abc&token=x", "", 401, 401},
		"GET, answered":  {"GET", "/?challenge=abc&token=open+sesame", "", 200, 401},
		"POST, none":     {"POST", "/", "{}", 401, 401},
		"POST, asks":     {"POST", "/", `{"kind":"ask","challenge":"abc"}`, 200, 401},
	} {
		for team, want := range map[string]int{"blue": tc.right, "red": tc.wrong} {
			if w, forwarded, _ := g.greet(t, request(tc.method, tc.target, tc.body, "X-Team", team)); w.Code != want || forwarded {
				t.Errorf("%s, %s: got %d, want %d", name, team, w.Code, want)
			}
		}
	}
}
