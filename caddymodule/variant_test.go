package caddymodule

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// variant is post's delivery, replayed with another unsigned header.
func variant() *http.Request {
	r := post()
	r.Header.Set("Content-Type", "text/plain")
	return r
}

// entry is what the inbox knows of post's delivery; the zero value if it does not have it.
func (g *gateway) entry(t *testing.T) inbox.Entry {
	t.Helper()
	e, found := g.box().Find(t.Context(), inbox.Key(theKey))
	if !found {
		return inbox.Entry{}
	}
	return e
}

// storeVariant has the inbox keep what a replayer sent. No attempt of it reaches a
// handler: there is no server.
func (g *gateway) storeVariant(t *testing.T) inbox.Entry {
	t.Helper()
	if o := g.send(variant(), answering(503)); o.header.Get("Webhook-Stored") != "true" {
		t.Fatalf("not stored: %q, %v", o.wire.events, o.header)
	}
	for g.entry(t).State != inbox.Pending {
		<-closedAfterYield()
	}
	return g.entry(t)
}

// TestAReplayDoesNotTakeTheSendersPlace: whatever request of a delivery the inbox has, the
// sender's own reaches the app, and the app's 2xx settles both. Until then the sender is
// not told that its delivery is stored.
func TestAReplayDoesNotTakeTheSendersPlace(t *testing.T) {
	for name, mode := range map[string]string{"inbox": `{}`, "inbox first": `{"first":true}`} {
		t.Run(name, func(t *testing.T) {
			g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), mode)
			stored := g.storeVariant(t)
			g.send(variant(), answering(500)).isDuplicate(t) // this one is stored
			for _, status := range []int{503, 415, 410} {
				o := g.send(post(), answering(status))
				if o.forward == nil || o.wire.events[0] != strconv.Itoa(status) || o.header.Get("Webhook-Stored") != "" {
					t.Errorf("the app answers %d: %q, %v", status, o.wire.events, o.header)
				}
				if e := g.entry(t); e.State != inbox.Pending || e.Attempts != stored.Attempts || e.Status != stored.Status {
					t.Errorf("the app answers %d: the inbox has %+v, had %+v", status, e, stored)
				}
				fat := variant()
				fat.Header.Set("X-Pad", strings.Repeat("a", 1000))
				if o := g.send(fat, answering(431)); o.wire.events[0] != "431" {
					t.Errorf("another replay: %q, %v", o.wire.events, o.header)
				}
			}
			if o := g.send(post(), answering(204)); o.forward == nil || o.wire.events[0] != "204" || o.header.Get("Webhook-Stored") != "" {
				t.Errorf("the app accepts it: %q, %v", o.wire.events, o.header)
			}
			if e := g.entry(t); e.State != 0 {
				t.Errorf("the inbox still has it: %+v", e)
			}
			for _, copied := range []*http.Request{post(), variant()} {
				o := g.send(copied, answering(500))
				o.isDuplicate(t)
				if o.header.Get("Webhook-Stored") != "" {
					t.Errorf("a copy of what the app has: %v", o.header)
				}
			}
		})
	}
}

// TestAVariantIsAnyOtherRequest: also one to another path or host, with another query or
// another method, or over a connection that the route to the app may treat otherwise.
func TestAVariantIsAnyOtherRequest(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"header":   func(r *http.Request) { r.Header.Set("Content-Encoding", "x") },
		"line":     func(r *http.Request) { r.Header.Add("Accept", "a") },
		"query":    func(r *http.Request) { r.URL.RawQuery, r.RequestURI = "a=1", r.URL.Path+"?a=1" },
		"host":     func(r *http.Request) { r.Host = "other.example.com" },
		"client":   func(r *http.Request) { r.RemoteAddr = "198.51.100.7:1234" },
		"scheme":   func(r *http.Request) { r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13} },
		"protocol": func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 },
		"port": func(r *http.Request) {
			*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
			g.storeVariant(t)
			r := variant()
			change(r)
			if o := g.send(r, answering(204)); o.forward == nil || o.wire.events[0] != "204" {
				t.Errorf("%q, %v", o.wire.events, o.header)
			}
		})
	}
}

// TestACopyFromAnotherPortOfItsClient is no variant: every connection has another one.
func TestACopyFromAnotherPortOfItsClient(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	g.storeVariant(t)
	for _, remote := range []string{"192.0.2.1:4321", "[::ffff:192.0.2.1]:1234"} { // httptest's client
		r := variant()
		r.RemoteAddr = remote
		g.send(r, answering(500)).isDuplicate(t)
	}
}

// TestAVariantOfADeadLetter goes to the app too. Until the app accepts one, the dead
// letter is pending again, as with any copy: an equal one may have been answered as stored
// while the app had the variant.
func TestAVariantOfADeadLetter(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	g.storeVariant(t)
	got, err := g.box().Accept(t.Context(), &inbox.Delivery{Key: inbox.Key(theKey), Queue: inbox.Queue{Handler: "acme"}}, true)
	if err != nil || got.Attempt == nil {
		t.Fatal(got, err)
	}
	g.box().Engine().Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 415})
	if o := g.send(post(), answering(503)); o.wire.events[0] != "503" || g.entry(t).State != inbox.Pending || g.entry(t).Attempts != 0 {
		t.Errorf("%q; the inbox has %+v", o.wire.events, g.entry(t))
	}
	if o := g.send(post(), answering(200)); o.forward == nil || g.entry(t).State != 0 {
		t.Errorf("%q; the inbox has %+v", o.wire.events, g.entry(t))
	}
}

// TestAVariantWhileTheHandlerIsPaused: the app is not called, and the sender keeps its
// delivery.
func TestAVariantWhileTheHandlerIsPaused(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	g.storeVariant(t)
	g.box().Pause("acme")
	defer g.box().Resume("acme")
	if o := g.send(post(), answering(200)); o.forward != nil || o.wire.events[0] != "503" || o.header.Get("Retry-After") == "" {
		t.Errorf("%q, forwarded %t, %v", o.wire.events, o.forward != nil, o.header)
	}
}

// TestAVariantWaitsForTheAttempt: the app gets one request of a delivery at a time, and
// what it then accepts is not sent again.
func TestAVariantWaitsForTheAttempt(t *testing.T) {
	for _, status := range []int{200, 415} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"after":"1ms"}`)
			finish, answered := make(chan struct{}), make(chan outcome)
			r := variant()
			r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
			g.send(r, func(w http.ResponseWriter, _ *http.Request) error {
				<-finish
				w.WriteHeader(status)
				return nil
			})
			go func() { answered <- g.send(post(), answering(204)) }()
			for len(waiting) == 0 {
				<-closedAfterYield()
			}
			close(finish)
			if o := <-answered; (o.forward == nil) != (status == 200) || o.header.Get("Webhook-Stored") != "" {
				t.Errorf("the app answers %d: forwarded %t, %q, %v", status, o.forward != nil, o.wire.events, o.header)
			}
			if e := g.entry(t); e.State != 0 {
				t.Errorf("the inbox still has it: %+v", e)
			}
		})
	}
}
