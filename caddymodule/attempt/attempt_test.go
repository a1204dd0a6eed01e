package attempt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// arrived is a request as Caddy's server hands it on, over mutual TLS.
func arrived(t *testing.T) *http.Request {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "https://hooks.example.com/hooks/a%20b?x=1", strings.NewReader("body"))
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.RequestURI, r.RemoteAddr = "/hooks/a%20b?x=1", "192.0.2.7:4711"
	r.Header.Set("X-Signature", "s")
	r.TLS = &tls.ConnectionState{
		HandshakeComplete: true, Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256,
		ServerName: "hooks.example.com", NegotiatedProtocol: "h2", PeerCertificates: []*x509.Certificate{client},
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}))
}

func sendTo(t *testing.T, r *http.Request, server http.HandlerFunc) inbox.Result {
	t.Helper()
	d := Record(r, r.Method, r.RequestURI, []byte("body"))
	return Send(t.Context(), server, &inbox.Attempt{Delivery: &d})
}

// TestARequestComesBack: what the handlers and Caddy's placeholders read of a request
// is the same when it is handed back.
func TestARequestComesBack(t *testing.T) {
	t.Parallel()
	was := arrived(t)
	var calls int
	sendTo(t, was, func(_ http.ResponseWriter, r *http.Request) {
		calls++
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "body" || r.ContentLength != 4 || r.Header.Get("Content-Length") != "4" {
			t.Errorf("the body is %q (%v), of %d bytes, %v", body, err, r.ContentLength, r.Header)
		}
		if r.Method != was.Method || r.RequestURI != was.RequestURI || r.URL.RequestURI() != was.RequestURI || r.Host != was.Host ||
			r.Proto != was.Proto || r.ProtoMajor != 2 || r.RemoteAddr != was.RemoteAddr || r.Header.Get("X-Signature") != "s" {
			t.Errorf("the request is %+v, was %+v", r, was)
		}
		if !reflect.DeepEqual(r.TLS, was.TLS) {
			t.Errorf("the connection is %+v, was %+v", r.TLS, was.TLS)
		}
		if local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); local == nil || local.String() != "192.0.2.1:443" {
			t.Errorf("the local address is %v", local)
		}
		r.Header.Set("X-Signature", "changed")
	})
	if calls != 1 || was.Header.Get("X-Signature") != "s" {
		t.Errorf("%d calls; what is stored has the header %v", calls, was.Header)
	}
}

// TestTheHandlerSaysWhatTheAppAnswered: the response does not, and a delivery that no
// handler takes has not reached one.
func TestTheHandlerSaysWhatTheAppAnswered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server http.HandlerFunc
		want   inbox.Result
	}{
		"no handler takes it": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, inbox.Result{Unreached: true}},
		"the app fails, and an error page says 200": {func(w http.ResponseWriter, r *http.Request) {
			Take(r.Context()).Ends(inbox.Result{Status: 502})
			w.WriteHeader(200)
		}, inbox.Result{Status: 502}},
		"the proxy aborts": {func(_ http.ResponseWriter, r *http.Request) {
			Take(r.Context()).Ends(inbox.Result{})
			panic(http.ErrAbortHandler)
		}, inbox.Result{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := sendTo(t, arrived(t), c.server); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic that is no abort is swallowed")
		}
	}()
	sendTo(t, arrived(t), func(http.ResponseWriter, *http.Request) { panic("a fault") })
}

// TestItIsTakenOnce: a request that a handler makes of a stored delivery's context is
// an ordinary one, and so is every request from outside.
func TestItIsTakenOnce(t *testing.T) {
	t.Parallel()
	if Take(arrived(t).Context()) != nil {
		t.Error("a request from outside is taken for a stored delivery")
	}
	sendTo(t, arrived(t), func(_ http.ResponseWriter, r *http.Request) {
		if Take(r.Context()) == nil || Take(r.Context()) != nil {
			t.Error("it is not taken once")
		}
	})
}

// TestApartSharesNothing: what handlers change of the request does not show in the one
// that was received until it joins, and what was set before shows in both.
func TestApartSharesNothing(t *testing.T) {
	t.Parallel()
	w, repl := httptest.NewRecorder(), caddy.NewReplacer()
	received := caddyhttp.PrepareRequest(arrived(t), repl, w, nil)
	groups := received.Context().Value(routeGroups).(map[string]struct{})
	groups["group0"] = struct{}{}
	caddyhttp.SetVar(received.Context(), "before", 1)
	repl.Set("placed.before", "yes")
	received.URL.Path = "/rewritten"

	a := Apart(context.WithoutCancel(received.Context()), received, httptest.NewRecorder())
	own, _ := a.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if text := own.ReplaceAll("{placed.before} {http.vars.before} {http.request.orig_uri} {http.request.uri.path}", ""); text != "yes 1 /hooks/a%20b?x=1 /rewritten" {
		t.Errorf("what was set before reads %q", text)
	}
	if _, ok := a.Context().Value(routeGroups).(map[string]struct{})["group0"]; !ok {
		t.Error("the group of routes that matched is forgotten: the next one of it would run")
	}
	a.Header.Set("X-Signature", "changed")
	a.URL.Path = "/changed"
	caddyhttp.SetVar(a.Context(), "after", 2)
	a.Context().Value(routeGroups).(map[string]struct{})["group1"] = struct{}{}
	own.Set("placed.after", "yes")
	if received.Header.Get("X-Signature") != "s" || received.URL.Path != "/rewritten" || caddyhttp.GetVar(received.Context(), "after") != nil || len(groups) != 1 {
		t.Errorf("the received request has changed: %+v", received)
	}
	if _, known := repl.Get("placed.after"); known {
		t.Error("a placeholder shows before Join")
	}
	a.Join()
	if text := repl.ReplaceAll("{placed.after} {http.vars.after} {placed.never}", ""); text != "yes 2 " {
		t.Errorf("after Join it reads %q", text)
	}
}

// TestADamagedRecordIsNotSent: what is no request has not reached its handler.
func TestADamagedRecordIsNotSent(t *testing.T) {
	t.Parallel()
	for _, d := range []inbox.Delivery{
		{Method: "POST", Target: "no path", Proto: "HTTP/1.1"},
		{Method: "POST", Target: "/", Proto: "HTTP"},
		{Method: "POST", Target: "/", Proto: "HTTP/1.1", TLS: &inbox.TLS{Peers: [][]byte{{1}}}},
	} {
		server := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%+v is sent", d) })
		if got := Send(t.Context(), server, &inbox.Attempt{Delivery: &d}); !got.Unreached {
			t.Errorf("%+v: %+v", d, got)
		}
	}
}

// TestTheSinkCanDoWhatAConnectionCan, or Caddy logs that it cannot.
func TestTheSinkCanDoWhatAConnectionCan(t *testing.T) {
	t.Parallel()
	sendTo(t, arrived(t), func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.Flush(), c.EnableFullDuplex()); err != nil {
			t.Error(err)
		}
		if n, err := io.WriteString(w, "text"); n != 4 || err != nil || w.Header() == nil {
			t.Errorf("writes %d, %v", n, err)
		}
	})
}
