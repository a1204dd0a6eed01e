package caddymodule

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// takes are apps for routes: APP and FCGI accept deliveries, BAD answers 503, DIES breaks
// off, FBAD is BAD over FastCGI, FCGIDIES and FCGIHALF break off when they have read all or the half of a request.
type takes struct {
	replacer *strings.Replacer

	mu  sync.Mutex
	got []string
}

func (a *takes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	read, err := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil || r.Header.Get("Content-Length") != "" && r.Header.Get("Content-Length") != strconv.Itoa(len(read)) {
		read = []byte("a broken request")
	}
	a.got = append(a.got, string(read))
	w.WriteHeader(http.StatusNoContent)
}

func newTakes(t *testing.T) *takes {
	a := new(takes)
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	dying := func(read func(net.Conn)) string {
		l := listen()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				read(conn)
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		}()
		return l.Addr().String()
	}
	php, failing := listen(), listen()
	go func() {
		_ = fcgi.Serve(failing, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
	}()
	go func() { _ = fcgi.Serve(php, a) }()
	a.replacer = strings.NewReplacer(
		"FCGIDIES", dying(readRecords),
		"FCGIHALF", dying(func(c net.Conn) { _, _ = io.CopyN(io.Discard, c, 70_000) }),
		"FBAD", failing.Addr().String(),
		"FCGI", php.Addr().String(),
		"APP", serve(a.ServeHTTP),
		"BAD", serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
		}),
		"EARLY", serve(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable) // without reading it
		}),
		"DIES", serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}),
	)
	return a
}

// readRecords reads a request of FastCGI.
func readRecords(c net.Conn) {
	var head [8]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint16(head[4:])
		if head[1] == 5 && n == 0 { // the end of FCGI_STDIN
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(n)+int64(head[6])); err != nil {
			return
		}
	}
}

func init() {
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error{
		"copying": func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error { // as tracing does
			return next.ServeHTTP(w, r.WithContext(r.Context()))
		},
		"reading": func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			_, _ = io.Copy(io.Discard, r.Body)
			return next.ServeHTTP(w, r)
		},
		"recording": func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			rec := caddyhttp.NewResponseRecorder(w, new(bytes.Buffer), func(int, http.Header) bool { return true })
			if err := next.ServeHTTP(rec, r); err != nil {
				return err
			}
			return rec.WriteResponse()
		},
		"answering": func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
			w.WriteHeader(http.StatusNoContent)
			return next.ServeHTTP(w, r)
		},
	} {
		module := between{name, serve}
		caddy.RegisterModule(module)
		httpcaddyfile.RegisterHandlerDirective(name, func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return module, nil })
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "tracing")
	}
}

// A between is a handler of another module.
type between struct {
	name  string
	serve func(http.ResponseWriter, *http.Request, caddyhttp.Handler) error
}

func (b between) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: caddy.ModuleID("http.handlers." + b.name), New: func() caddy.Module { return &between{b.name, b.serve} }}
}

func (b between) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return b.serve(w, r, next)
}

// serverFor returns the server of a site with these routes in a block, or behind a single
// directive.
func serverFor(t *testing.T, block bool, routes, below string) *caddyhttp.Server {
	t.Helper()
	site := "route /hooks/* {\nverify_webhook /hooks/github github a-long-secret-of-a-test {\nmax_body 9MiB\n}\n" + routes + "\n}\n"
	if block {
		site = "verify_webhooks /hooks/* {\nsender github a-long-secret-of-a-test {\nmax_body 9MiB\n}\n" + routes + "\n}\n"
	}
	config, err := adapt("Caddyfile", "{\nadmin off\n}\nhttp://:1234 {\n"+site+below+"}\n")
	if err != nil {
		t.Fatal(err)
	}
	return serverOf(t, config)
}

var serial int

// deliver sends a delivery with this body, and returns the status.
func deliver(server *caddyhttp.Server, text string) int {
	r := httptest.NewRequest(http.MethodPost, "/hooks/github", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	serial++ // the store outlives a test
	r.Header.Set("X-GitHub-Delivery", strconv.Itoa(serial))
	r.Header.Set("X-Hub-Signature-256", "sha256="+sign("a-long-secret-of-a-test", text))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	return w.Code
}

const (
	php     = "transport fastcgi {\nread_timeout 9s\nwrite_timeout 9s\n}\n"
	retries = "lb_policy first\nlb_try_duration 5s\nfail_duration 9s\nlb_retry_match {\nmethod POST\n}\n"
)

// TestEachProxyGetsTheWholeBody: whatever has read the body of a delivery before, an app
// that accepts it got what was signed.
func TestEachProxyGetsTheWholeBody(t *testing.T) {
	for name, routes := range map[string]string{
		"handle_response":                "reverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy APP\n}\n}",
		"handle_response, early answer":  "reverse_proxy EARLY {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy FCGI {\n" + php + "}\n}\n}",
		"handle_response, no transport":  "reverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy APP {\ntransport verify_webhook\n}\n}\n}",
		"handle_response, whole buffers": "reverse_proxy BAD {\nrequest_buffers 9MiB\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy APP {\nrequest_buffers 9MiB\n}\n}\n}",
		"handle_response, FastCGI":       "reverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy FCGI {\n" + php + "}\n}\n}",
		"handle_response, the next":      "route {\nreverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\n}\n}\nreverse_proxy FCGI {\n" + php + "}\n}",
		"three":                          "reverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy BAD {\nhandle_response @bad {\nreverse_proxy FCGI {\n" + php + "}\n}\n@bad status 5xx\n}\n}\n}",
		"nested":                         "handle {\nroute {\nreverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nhandle {\nreverse_proxy FCGI {\n" + php + "}\n}\n}\n}\n}\n}",
		"intercept":                      "intercept {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy FCGI {\n" + php + "}\n}\n}\nreverse_proxy BAD",
		"intercept, status alone":        "intercept {\nreplace_status 204\n}\nreverse_proxy APP",
		"forward_auth":                   "forward_auth APP {\nuri /auth\n}\nreverse_proxy FCGI {\n" + php + "}",
		"retry":                          "reverse_proxy DIES APP {\n" + retries + "}",
		"retry, small requests":          "reverse_proxy DIES APP {\ntransport verify_webhook\n" + retries + "}",
		"retry, FastCGI":                 "reverse_proxy FCGIDIES FCGI {\n" + php + retries + "}",
		"retry, FastCGI, half":           "reverse_proxy FCGIHALF FCGI {\n" + php + retries + "}",
		"retry, FastCGI, then down":      "reverse_proxy FCGIDIES 127.0.0.1:1 FCGI {\n" + php + retries + "}",
		"retry after a response":         "reverse_proxy BAD APP {\nrequest_buffers 9MiB\nlb_policy first\nlb_retries 1\nlb_retry_match `{rp.status_code} == 503`\nfail_duration 9s\nunhealthy_status 503\n}",
		"placeholder":                    "@x expression {http.request.body}.contains('x')\nreverse_proxy @x APP",
		"placeholder, FastCGI":           "@x expression {http.request.body}.contains('x')\nreverse_proxy @x FCGI {\n" + php + "}",
		"placeholder, its header":        "reverse_proxy APP {\nheader_up X-Body {http.request.body_base64}\n}",
		"placeholder, log":               "log_append body {http.request.body}\nreverse_proxy APP",
	} {
		for _, block := range []bool{true, false} {
			apps := newTakes(t)
			var server *caddyhttp.Server
			for _, size := range []int{20, 5000, 300_000} {
				if name == "placeholder, its header" && size > 5000 || name == "retry, FastCGI, half" && size < 300_000 {
					continue // no server takes such a header; it is not half of a request
				}
				if server == nil || strings.HasPrefix(name, "retry") { // the proxy avoids an app that died
					server = serverFor(t, block, apps.replacer.Replace(routes), "")
				}
				text := `{"a":"` + strings.Repeat("x", size) + `"}`
				apps.got = nil
				status := deliver(server, text)
				got := apps.got
				if name == "forward_auth" && len(got) > 1 {
					got = got[1:]
				}
				if status != http.StatusNoContent || len(got) != 1 || got[0] != text {
					t.Errorf("%s, block %t, %d bytes: status %d, %d apps accepted", name, block, len(text), status, len(got))
				}
			}
		}
	}
}

// TestAttemptsGiveEachProxyTheWholeBody: so do attempts from the inbox.
func TestAttemptsGiveEachProxyTheWholeBody(t *testing.T) {
	for name, routes := range map[string]string{
		"handle_response": "reverse_proxy BAD {\n@bad status 5xx\nhandle_response @bad {\nreverse_proxy FCGI {\n" + php + "}\n}\n}",
		"retry":           "reverse_proxy FCGIHALF FCGI {\n" + php + retries + "}",
		"placeholder":     "@x expression {http.request.body}.contains('x')\nreverse_proxy @x FCGI {\n" + php + "}",
	} {
		apps := newTakes(t)
		server := serverFor(t, true, apps.replacer.Replace(routes), "")
		text := `{"a":"` + strings.Repeat("x", 300_000) + `"}`
		d := attempt.Record(httptest.NewRequest(http.MethodPost, "/hooks/github", nil), http.MethodPost, "/hooks/github", []byte(text))
		d.Key, d.ID, d.Queue = inbox.Key(theKey), "one", inbox.Queue{Handler: "github"}
		got := attempt.Send(t.Context(), server, &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue, Replayed: true}})
		if got.Status != http.StatusNoContent || len(apps.got) != 1 || apps.got[0] != text {
			t.Errorf("%s: %+v, %d apps accepted", name, got, len(apps.got))
		}
	}
}

// TestNoAppGetsPartOfABody: where a body cannot be given again, the delivery fails.
func TestNoAppGetsPartOfABody(t *testing.T) {
	for name, routes := range map[string]string{
		"retry after a response":        "reverse_proxy FBAD FCGI {\n" + php + "lb_policy first\nlb_retries 1\nlb_retry_match `{rp.status_code} == 503`\nfail_duration 9s\nunhealthy_status 503\n}",
		"another body, retried":         "request_body {\nset " + strings.Repeat("y", 4097) + "\n}\nreverse_proxy FCGIDIES FCGI {\n" + php + retries + "}",
		"a handler that reads the body": "reading\nreverse_proxy FCGI {\n" + php + "}",
		"it reads the body, buffers":    "reading\nreverse_proxy APP",
	} {
		for _, size := range []int{20, 5000, 300_000} {
			apps := newTakes(t)
			text := `{"a":"` + strings.Repeat("x", size) + `"}`
			status := deliver(serverFor(t, true, apps.replacer.Replace(routes), ""), text)
			if status < 500 && (len(apps.got) != 1 || apps.got[0] != text) {
				t.Errorf("%s, %d bytes: status %d, %d apps accepted", name, size, status, len(apps.got))
			}
		}
	}
}

// TestErrorRoutesGetTheWholeBody: also where their request is not the handler's.
func TestErrorRoutesGetTheWholeBody(t *testing.T) {
	for _, block := range []bool{true, false} {
		apps := newTakes(t)
		text := `{"a":"` + strings.Repeat("x", 5000) + `"}`
		server := serverFor(t, block, apps.replacer.Replace("reverse_proxy DIES"), apps.replacer.Replace("copying\nhandle_errors {\nreverse_proxy FCGIDIES FCGI {\n"+php+retries+"}\n}\n"))
		if status := deliver(server, text); status != http.StatusNoContent || len(apps.got) != 1 || apps.got[0] != text {
			t.Errorf("block %t: status %d, %d apps accepted", block, status, len(apps.got))
		}
	}
	const handlers = `{"handler":"verify_webhook","provider":"github","secret":["a-long-secret-of-a-test"]}]},{"handle":[
		{"handler":"subroute","routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"DIES"}]}]}],
		"errors":{"routes":[{"handle":[{"handler":"reverse_proxy","transport":{"protocol":"fastcgi"},"upstreams":[{"dial":"FCGI"}]}]}]}}]`
	apps := newTakes(t)
	server := serverOf(t, apps.replacer.Replace(`{"apps":{"http":{"servers":{"hooks":{"automatic_https":{"disable":true},"listen":["127.0.0.1:0"],"routes":[{"handle":[`+handlers+`}]}}}}}`))
	text := `{"a":"` + strings.Repeat("x", 5000) + `"}`
	if status := deliver(server, text); status != http.StatusNoContent || len(apps.got) != 1 || apps.got[0] != text {
		t.Errorf("error routes of a subroute: status %d, %d apps accepted", status, len(apps.got))
	}
}

// TestNoAnswerIsNot200: where nothing answers a delivery, a handler that records answers
// makes no 200 of it.
func TestNoAnswerIsNot200(t *testing.T) {
	for name, tc := range map[string]struct {
		routes string
		status int
	}{
		"templates":               {"templates\nhandle /other {\nrespond 200\n}", 502},
		"nested templates":        {"handle {\ntemplates\nheader X-A b\n}", 502},
		"templates, an answer":    {"templates\nrespond 204", 204},
		"another recorder":        {"recording\nheader X-A b", 502},
		"another, an answer":      {"recording\nrespond 204", 204},
		"an answer, then nothing": {"route {\nrecording\nanswering\n}", 204},
	} {
		for _, block := range []bool{true, false} {
			if strings.Contains(tc.routes, "recording\nheader") && !block {
				continue // what follows the routes of a single directive is Caddy's
			}
			if got := deliver(serverFor(t, block, tc.routes, ""), "{}"); got != tc.status {
				t.Errorf("%s, block %t: status %d, want %d", name, block, got, tc.status)
			}
		}
	}
}

// TestPreparedOnce: handlers are prepared once, however many modules prepare them, and
// everything else in them stays as it is.
func TestPreparedOnce(t *testing.T) {
	for _, raw := range []string{
		`{"handler":"templates","mime_types":["text/html"]}`,
		`{"handler":"intercept","handle_response":[{"match":{"status_code":[5]},"routes":[{"handle":[{"handler":"error"}]}]}]}`,
		`{"handler":"subroute","routes":[{"handle":[{"handler":"reverse_proxy","load_balancing":{"retries":1}}]}],"errors":{"routes":[]}}`,
		`{"handler":"reverse_proxy","handle_response":[{"routes":null}],"load_balancing":{"try_duration":9007199254740993,"retry_match":[{"method":["POST"]},{"path":["/a"]}]}}`,
	} {
		once := prepared([]byte(raw))
		if twice := prepared(once); string(twice) != string(once) || string(once) == raw {
			t.Errorf("%s\nis first  %s\nthen      %s", raw, once, twice)
		}
		if strings.Contains(raw, "9007199254740993") && !strings.Contains(string(once), "9007199254740993") {
			t.Errorf("a number is rounded: %s", once)
		}
	}
	for _, raw := range []string{
		`{"handler":"reverse_proxy","rewrite":{"method":"GET"},"handle_response":[{"routes":[{"handle":[{"handler":"vars"}]}]}]}`,
		`{"handler":"reverse_proxy","handle_response":[{"status_code":204}], "upstreams":[{"dial":"<a>"}]}`,
		`{"handler":"intercept","handle_response":[{"status_code":204}]}`,
		`{"handler":"subroute","routes":[{"handle":[{"handler":"encode"}]}]}`,
		`{not JSON`,
	} {
		if got := prepared([]byte(raw)); string(got) != raw {
			t.Errorf("%s becomes %s", raw, got)
		}
	}
}
