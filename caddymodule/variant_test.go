package caddymodule

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
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
	for { // its first attempt is over, and the next one far
		if e := g.entry(t); e.State == inbox.Pending && (e.Attempts > 0 || e.Due.After(e.Since)) {
			return e
		}
		<-closedAfterYield()
	}
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
			for turns.Stats().InFlight == 0 {
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

// An overtaken engine is one in which something happens just before a delivery is accepted.
type overtaken struct {
	inbox.Engine
	before func()
}

func (o *overtaken) Accept(ctx context.Context, d *inbox.Delivery, running bool) (inbox.Accepted, error) {
	if before := o.before; before != nil {
		o.before = nil
		before()
	}
	return o.Engine.Accept(ctx, d, running)
}

// TestAVariantOvertakenByAnAttempt: the app takes the stored delivery just before the
// variant takes over its attempt. The app does not get the variant.
func TestAVariantOvertakenByAnAttempt(t *testing.T) {
	for name, keep := range map[string]time.Duration{"removed": 0, "kept": time.Hour} {
		t.Run(name, func(t *testing.T) {
			e := &overtaken{Engine: inboxtest.NewMemory(time.Now, 0)}
			g := mustProvision(t, "", once(keepingInbox))
			g.app.inbox.Module = &memoryInbox{e}
			g.run(t)
			g.storeVariant(t)
			e.before = func() {
				got, err := e.Engine.Accept(t.Context(), &inbox.Delivery{Key: inbox.Key(theKey)}, true)
				if err != nil || got.Attempt == nil {
					t.Errorf("no attempt: %+v, %v", got, err)
					return
				}
				e.Settle(got.Attempt, inbox.Settlement{To: inbox.Delivered, Status: 200, Keep: keep})
			}
			if o := g.send(post(), answering(204)); o.forward != nil || o.wire.events[0] != "503" || o.header.Get("Retry-After") == "" {
				t.Errorf("forwarded %t, %q, %v", o.forward != nil, o.wire.events, o.header)
			}
		})
	}
}

// A settling engine calls a function just before an attempt is settled.
type settling struct {
	inbox.Engine
	before func(inbox.Settlement)
}

func (e *settling) Settle(a *inbox.Attempt, s inbox.Settlement) {
	e.before(s)
	e.Engine.Settle(a, s)
}

// TestWhatTheAppTakesIsMarkedBeforeItLeavesTheInbox: a copy that comes in between finds the
// delivery in one of them.
func TestWhatTheAppTakesIsMarkedBeforeItLeavesTheInbox(t *testing.T) {
	for _, major := range []int{1, 2} { // of 2, the sender is answered before
		t.Run(fmt.Sprint("HTTP/", major), func(t *testing.T) {
			e := &settling{Engine: inboxtest.NewMemory(time.Now, 0)}
			g := mustProvision(t, "", once(`"inbox":{"after":"1ms"}`))
			g.app.inbox.Module = &memoryInbox{e}
			g.run(t)
			settled := make(chan dedupe.Decision, 1)
			e.before = func(inbox.Settlement) {
				gate, err := g.app.gate()
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = release(g.app.store) }()
				settled <- gate.Claim(context.Background(), theKey, dedupe.Terms{})
			}
			finish, answered := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(answered)
				r := post()
				r.ProtoMajor = major
				g.send(r, func(w http.ResponseWriter, _ *http.Request) error {
					<-finish
					w.WriteHeader(200)
					return nil
				})
			}()
			if major == 2 {
				<-answered
			}
			for g.entry(t).State != inbox.InAttempt { // stored: its sender has waited long enough
				<-closedAfterYield()
			}
			close(finish)
			if d := <-settled; d.Outcome != dedupe.Duplicate || d.Status != 200 {
				t.Errorf("settled while the store has %v, %d", d.Outcome, d.Status)
			}
			<-answered
		})
	}
}

// TestVariantsShareThePlaces: variants that wait for one at the app have eight places,
// which their clients and requests share, and so are the turns. Those of another delivery
// have their own.
func TestVariantsShareThePlaces(t *testing.T) {
	for name, replay := range map[string]func(r *http.Request, n int){
		"from another address": func(r *http.Request, n int) { r.RemoteAddr = "203.0.113.9:1234"; r.Header.Set("X-N", strconv.Itoa(n)) },
		"with another header":  func(r *http.Request, _ int) { r.Header.Set("Origin", "https://example.com") },
	} {
		t.Run(name, func(t *testing.T) {
			g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
			g.storeVariant(t)
			other := nth("evt_2")
			other.Header.Set("Content-Type", "text/plain")
			g.send(other, answering(500))

			var replays, own sync.WaitGroup
			var refused atomic.Int32
			finish, begun := make(chan struct{}), make(chan struct{})
			send := func(n int, next caddyhttp.HandlerFunc) {
				replays.Go(func() {
					r := post()
					replay(r, n)
					if o := g.send(r, next); slices.Contains(o.wire.events, "503") {
						refused.Add(1)
					}
				})
			}
			send(0, func(w http.ResponseWriter, _ *http.Request) error {
				close(begun)
				<-finish
				w.WriteHeader(415)
				return nil
			})
			<-begun
			for n := range 8 {
				send(n+1, answering(415))
			}
			for turns.Stats().Waiting < 8 {
				<-closedAfterYield()
			}
			if o := g.send(nth("evt_2"), answering(204)); o.wire.events[0] != "204" {
				t.Errorf("a variant of another delivery: %q", o.wire.events)
			}
			own.Go(func() {
				if o := g.send(post(), answering(200)); o.wire.events[0] != "200" {
					t.Errorf("the sender's own: %q", o.wire.events)
				}
			})
			for refused.Load() == 0 { // one has given up its place
				<-closedAfterYield()
			}
			close(finish)
			own.Wait()
			replays.Wait()
			if n := refused.Load(); n != 1 || g.entry(t).State != 0 {
				t.Errorf("%d replays are refused; the inbox has %+v", n, g.entry(t))
			}
		})
	}
}

// TestAVariantHoldsNothingWhileItsClientReads: a client that does not read the app's answer
// would keep the stored delivery from every attempt.
func TestAVariantHoldsNothingWhileItsClientReads(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	g.storeVariant(t)
	w := newWire()
	w.before = func(event string) {
		if e := g.entry(t); e.State != inbox.Pending || turns.Stats().InFlight != 0 {
			t.Errorf("at %q: %+v, %d at the app", event, e, turns.Stats().InFlight)
		}
	}
	if o := g.sendOver(w, post(), answering(415)); o.wire.events[0] != "415" {
		t.Errorf("%q", o.wire.events)
	}
}

// TestAVariantOfAHandlerWithoutAnInbox: what its inbox had stored, before a configuration
// without, takes the sender's place as little.
func TestAVariantOfAHandlerWithoutAnInbox(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	g.storeVariant(t)
	g.handlers[0].Inbox = nil
	if o := g.send(variant(), answering(500)); o.forward != nil || o.header.Get("Webhook-Stored") != "true" {
		t.Errorf("a copy: %q, %v", o.wire.events, o.header)
	}
	if o := g.send(post(), answering(415)); o.wire.events[0] != "415" || g.entry(t).State != inbox.Pending {
		t.Errorf("the sender's own: %q; the inbox has %+v", o.wire.events, g.entry(t))
	}
	if o := g.send(post(), answering(200)); o.wire.events[0] != "200" || g.entry(t).State != 0 {
		t.Errorf("the sender's own: %q; the inbox has %+v", o.wire.events, g.entry(t))
	}
	g.send(post(), answering(500)).isDuplicate(t)
}

// TestComparingIsCharged: a copy is compared with the stored delivery only if there is
// memory for that.
func TestComparingIsCharged(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{}`)
	stored := g.storeVariant(t)
	h := g.handlers[0]
	limit := h.buffered.limit.Load()
	h.buffered.limit.Store(int64(2*stored.Size) - 1)
	h.buffered.used.Add(1) // of another delivery
	if o := g.send(variant(), answering(200)); o.forward != nil || o.status != 503 || o.header.Get("Retry-After") == "" {
		t.Errorf("%d, %v", o.status, o.header)
	}
	h.buffered.used.Add(-1)
	h.buffered.limit.Store(limit)
	g.send(variant(), answering(500)).isDuplicate(t)
}
