package caddymodule

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"203.0.113.9:1234": "203.0.113.9/32", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:2": "2001:db8:1:2::/64",
		"[::ffff:203.0.113.9]:1": "203.0.113.9/32", "[fe80::1%eth0]:1": "fe80::/64", "@": "invalid Prefix", "": "invalid Prefix",
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = remote
		if got := clientOf(r).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
	// The client address set by trusted_proxies from X-Forwarded-For.
	r := httptest.NewRequest("POST", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "198.51.100.7"}))
	if got := clientOf(r).String(); got != "198.51.100.7/32" {
		t.Errorf("behind a trusted proxy: %s", got)
	}
	if got := remoteOf(r); got != "198.51.100.7" {
		t.Errorf("the client behind a trusted proxy is %s", got)
	}
	direct := httptest.NewRequest("POST", "/", nil)
	direct.RemoteAddr = "198.51.100.7:99"
	direct = direct.WithContext(r.Context())
	if got := remoteOf(direct); got != "198.51.100.7:99" {
		t.Errorf("a client without a proxy is %s", got)
	}
}

// from sets the client of a request.
func from(client string, r *http.Request) *http.Request {
	r.RemoteAddr = client + ":1234"
	return r
}

// TestRotationAfterForgeries: whatever strangers have made the gateway fetch just
// before the sender changes its keys, the first delivery with a new one is verified,
// and never refused as a forgery.
func TestRotationAfterForgeries(t *testing.T) {
	_, stranger := newKey(t)
	publicA, a := newKey(t)
	publicB, b := newKey(t)
	for _, id := range []string{"b", "a"} { // a new key under a new id, and under the old one
		for name, tc := range map[string]struct {
			forgeries, clients int
			sender             string // its client; "": a stranger's
			before             bool   // it has delivered before
			want               int
		}{
			"one forgery":                             {forgeries: 1, clients: 1, sender: "203.0.113.9", want: 202},
			"one client":                              {forgeries: 1000, clients: 1, sender: "203.0.113.9", want: 202},
			"as many clients as use up all fetches":   {forgeries: 200, clients: 200, sender: "203.0.113.9", before: true, want: 202},
			"the same, and the sender's is a new one": {forgeries: 200, clients: 200, sender: "203.0.113.9", want: 503},
			"behind a proxy that is not trusted":      {forgeries: 1000, clients: 1, before: true, want: 503},
		} {
			t.Run(name+", "+id, func(t *testing.T) {
				s := &sender{pages: map[string]string{setAddress: setOf("a", publicA)}, now: clock}
				h := s.handler(t, fromSet)
				client := func(i int) string { return fmt.Sprintf("198.18.0.%d", i%tc.clients) }
				if tc.sender == "" {
					tc.sender = client(0)
				}
				if tc.before {
					s.step(t, h, "before", from(tc.sender, signedBy(a, "a")), 202, 1)
				}
				for i := range tc.forgeries {
					s.now = s.now.Add(time.Millisecond)
					r := from(client(i), signedBy(stranger, "junk"))
					if a := serve(t, r, accepting, h); a.status != 401 && a.status != 503 {
						t.Fatalf("a forgery: %d", a.status)
					}
				}
				if n := len(s.asked); n > 62 {
					t.Errorf("the sender is asked %d times", n)
				}
				s.step(t, h, "a delivery with the old key", from("203.0.113.8", signedBy(a, "a")), 202, 0)
				s.pages[setAddress] = setOf(id, publicB)
				answered := serve(t, from(tc.sender, signedBy(b, id)), accepting, h)
				if answered.status != tc.want {
					t.Fatalf("the first delivery with the new key: %d, want %d", answered.status, tc.want)
				}
				if tc.want == 202 {
					return
				}
				seconds, err := strconv.Atoi(answered.header.Get("Retry-After"))
				if err != nil || seconds < 1 || seconds > 60 {
					t.Fatalf("Retry-After: %q", answered.header.Get("Retry-After"))
				}
				s.now = s.now.Add(time.Duration(seconds) * time.Second)
				s.step(t, h, "when it may retry", from(tc.sender, signedBy(b, id)), 202, 1)
			})
		}
	}
}

// TestSetFetchedWhileADeliveryArrives: it needs no fetch of its own.
func TestSetFetchedWhileADeliveryArrives(t *testing.T) {
	publicA, a := newKey(t)
	publicB, b := newKey(t)
	s := &sender{pages: map[string]string{setAddress: setOf("a", publicA)}, now: clock}
	h := s.handler(t, fromSet)
	s.step(t, h, "before", signedBy(a, "a"), 202, 1)
	slow := signedBy(b, "b")
	slow.Body = io.NopCloser(io.MultiReader(readerFunc(func([]byte) (int, error) {
		s.now = s.now.Add(time.Second)
		s.pages[setAddress] = setOf("b", publicB)
		s.step(t, h, "another, meanwhile", signedBy(b, "b"), 202, 1)
		return 0, io.EOF
	}), slow.Body))
	s.step(t, h, "the slow one", slow, 202, 1)
	if len(s.asked) != 2 {
		t.Errorf("%d fetches", len(s.asked))
	}
}

// TestObserveWithoutKeys: under observe, a delivery whose key cannot be fetched passes
// like one that fails verification.
func TestObserveWithoutKeys(t *testing.T) {
	publicA, _ := newKey(t)
	_, b := newKey(t)
	s := &sender{pages: map[string]string{}, now: clock}
	h := s.handler(t, fromSet, `"observe":true`)
	s.step(t, h, "no set", signedBy(b, "b"), 202, 1)
	s.now = s.now.Add(10 * time.Second)
	s.pages[setAddress] = setOf("a", publicA)
	s.step(t, h, "a set without the key", signedBy(b, "b"), 202, 1)
	for range 10 {
		serve(t, signedBy(b, "b"), accepting, h)
	}
	s.step(t, h, "no fetch left", signedBy(b, "b"), 202, 0)
}

// TestWaitingLeavesRoom: deliveries waiting for a key leave memory for those whose
// key is known.
func TestWaitingLeavesRoom(t *testing.T) {
	_, key := newKey(t)
	g := mustProvision(t, `{"max_buffered":65536}`, acme(`"algorithm":"ed25519","max_body":10000`, fromHosts))
	g.start(t)
	h := g.handlers[0]
	asked, release := make(chan struct{}), make(chan struct{})
	h.fetcher.Get = func(context.Context, string) (keys.Page, error) {
		close(asked)
		<-release
		return keys.Page{Text: certificateOf(t, key, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))}, nil
	}
	large := strings.Repeat("x", 10000)
	deliver := func() outcome {
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", strings.NewReader(large))
		r.Header.Set("X-Signature", fmt.Sprintf("%x", ed25519.Sign(key, []byte(large))))
		r.Header.Set("X-Key", "https://certs.acme.example/one.pem")
		return g.send(r, answering(202))
	}
	first, second := make(chan outcome, 1), make(chan outcome, 1)
	go func() { first <- deliver() }()
	<-asked
	go func() { second <- deliver() }()
	select {
	case o := <-second:
		if o.status != 503 || o.forward != nil {
			t.Errorf("the second: %d", o.status)
		}
	case <-time.After(5 * time.Second):
		t.Error("the second waits, too")
	}
	close(release)
	if o := <-first; o.forward == nil {
		t.Errorf("the first is not forwarded: %d", o.status)
	}
	g.budgetsAreFree(t)
	if n := awaiting.Load(); n != 0 {
		t.Errorf("%d bytes still wait", n)
	}
}

// TestAddressInLog: an address from the environment may contain a token.
func TestAddressInLog(t *testing.T) {
	t.Setenv("TEST_SET", setAddress+"?token=SHOWN-TOKEN")
	_, key := newKey(t)
	g := mustProvision(t, "", acme(`"algorithm":"ed25519","public_key":["{env.TEST_SET}"]`))
	h := g.handlers[0]
	h.fetcher.Get = func(context.Context, string) (keys.Page, error) { return keys.Page{}, errors.New("down") }
	g.logs.TakeAll()
	a := serve(t, signedBy(key, "a"), accepting, h)
	logged := g.logs.TakeAll()
	if a.status != 503 || len(logged) != 2 || logged[0].ContextMap()["address"] != setAddress {
		t.Errorf("answered %d, logged %v", a.status, logged)
	}
	if text := fmt.Sprint(a.err, logged); strings.Contains(text, "SHOWN-TOKEN") {
		t.Error(text)
	}
}
