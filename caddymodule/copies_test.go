package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A copy was sent and has not been answered yet.
type copies struct {
	g    *gateway
	wait sync.WaitGroup
	mu   sync.Mutex
	back []outcome
}

func (c *copies) send(r *http.Request, next caddyhttp.HandlerFunc) {
	c.wait.Go(func() {
		o := c.g.send(r, next)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.back = append(c.back, o)
	})
}

// settled returns the copies answered when nothing changes any more.
func (c *copies) settled() []outcome {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	back := c.back
	c.back = nil
	return back
}

// inFlight provisions a gateway, and runs test while the app has a delivery. finish
// sets the app's answer.
func inFlight(t *testing.T, more string, test func(t *testing.T, c *copies, finish func(status int))) {
	t.Helper()
	g := mustProvision(t, "", once(more))
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		c := &copies{g: g}
		answer := make(chan int, 1)
		c.send(post(), func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(<-answer)
			return nil
		})
		if back := c.settled(); len(back) != 0 {
			t.Fatal("the app does not have the delivery")
		}
		test(t, c, func(status int) { answer <- status })
		c.wait.Wait()
	})
}

// TestCopiesWait: copies of a delivery in flight share its outcome; the ninth is
// asked to retry.
func TestCopiesWait(t *testing.T) {
	inFlight(t, `"dedupe":{}`, func(t *testing.T, c *copies, finish func(int)) {
		for range 8 {
			c.send(post(), answering(500))
		}
		if back := c.settled(); len(back) != 0 {
			t.Fatal("a copy does not wait")
		}
		if n := buffered.used.Load(); n < 9*int64(len(body)) {
			t.Errorf("the waiting bodies are not charged: %d", n)
		}
		rejected := c.g.count(t, "rejected", "in_flight")
		c.send(post(), answering(500))
		if back := c.settled(); len(back) != 1 {
			t.Fatal("the ninth copy waits")
		} else {
			back[0].isRefused(t, "in_flight", "3")
		}
		if n := c.g.count(t, "rejected", "in_flight") - rejected; n != 1 {
			t.Errorf("counted %v times", n)
		}
		finish(200)
		back := c.settled()
		if len(back) != 9 {
			t.Fatalf("%d of 9 came back", len(back))
		}
		forwarded := 0
		for _, o := range back {
			if o.forward != nil {
				forwarded++
				continue
			}
			o.isDuplicate(t)
		}
		if forwarded != 1 {
			t.Errorf("%d were forwarded", forwarded)
		}
	})
}

// TestCopyTakesOver: if the app does not accept it, the first waiting copy is next.
func TestCopyTakesOver(t *testing.T) {
	inFlight(t, `"dedupe":{}`, func(t *testing.T, c *copies, finish func(int)) {
		order := make(chan int, 2)
		for i := range 2 {
			c.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
				order <- i
				w.WriteHeader(201)
				return nil
			})
			c.settled()
		}
		finish(500)
		if back := c.settled(); len(back) != 3 {
			t.Fatalf("%d of 3 came back", len(back))
		} else {
			back[slices.IndexFunc(back, func(o outcome) bool { return o.forward == nil })].isDuplicate(t)
		}
		if got := <-order; got != 0 || len(order) != 0 {
			t.Errorf("copy %d took over, and %d more", got, len(order))
		}
	})
}

func TestWaitEnds(t *testing.T) {
	inFlight(t, `"dedupe":{"wait":"3s","lease":"12s"}`, func(t *testing.T, c *copies, finish func(int)) {
		began := time.Now()
		c.send(post(), answering(200))
		time.Sleep(3 * time.Second)
		if back := c.settled(); len(back) != 1 || time.Since(began) != 3*time.Second {
			t.Fatalf("%d came back", len(back))
		} else {
			back[0].isRefused(t, "in_flight", "4")
		}
		finish(200)
	})
}

func TestNoWait(t *testing.T) {
	inFlight(t, `"dedupe":{"wait":"0s"}`, func(t *testing.T, c *copies, finish func(int)) {
		c.send(post(), answering(200))
		if back := c.settled(); len(back) != 1 {
			t.Fatal("it waits")
		} else {
			back[0].isRefused(t, "in_flight", "3")
		}
		finish(200)
	})
}

// TestImpatientSender: the copy of a sender that disconnects ends at once, but not
// the one in flight.
func TestImpatientSender(t *testing.T) {
	inFlight(t, `"dedupe":{}`, func(t *testing.T, c *copies, finish func(int)) {
		ctx, leave := context.WithCancel(context.Background())
		c.send(post().WithContext(ctx), answering(200))
		if back := c.settled(); len(back) != 0 {
			t.Fatal("it does not wait")
		}
		leave()
		if back := c.settled(); len(back) != 1 {
			t.Fatal("it waits on")
		} else {
			back[0].isRefused(t, "in_flight", "3")
		}
		if n := buffered.used.Load(); n > atTheApp+int64(len(body))+1 {
			t.Errorf("its body is still charged: %d", n)
		}
		finish(200)
		c.settled()
		c.g.send(post(), answering(500)).isDuplicate(t)
	})

	g := mustProvision(t, "", once())
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		ctx, leave := context.WithCancel(context.Background())
		o := g.send(post().WithContext(ctx), func(w http.ResponseWriter, r *http.Request) error {
			leave()
			if r.Context().Err() != nil {
				t.Error("the app's work ends with the sender's patience")
			}
			w.WriteHeader(200)
			return nil
		})
		o.isForwarded(t)
		g.send(post(), answering(500)).isDuplicate(t)
	})
}

// TestReplaysLeaveThePlaces: replays of a delivery that the app has not accepted take
// all places, and are refused by the app. The sender's own copy gets one, and the next
// turn.
func TestReplaysLeaveThePlaces(t *testing.T) {
	for name, replay := range map[string]func(r *http.Request, n int){
		"from another address":        func(r *http.Request, _ int) { r.RemoteAddr = "203.0.113.9:1234" },
		"and under any header":        func(r *http.Request, n int) { r.RemoteAddr = "203.0.113.9:1234"; r.Header.Set("X-N", strconv.Itoa(n)) },
		"from addresses of a network": func(r *http.Request, n int) { r.RemoteAddr = fmt.Sprintf("[2001:db8::%d]:1234", n+1) },
		"with another header":         func(r *http.Request, _ int) { r.Header.Set("Origin", "https://example.com") },
		"with another query":          func(r *http.Request, _ int) { r.RequestURI += "?x" },
		"with another host":           func(r *http.Request, _ int) { r.Host = "HOOKS.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			inFlight(t, `"dedupe":{}`, func(t *testing.T, c *copies, finish func(int)) {
				for n := range 8 {
					r := post()
					replay(r, n)
					c.send(r, answering(415))
				}
				if back := c.settled(); len(back) != 0 {
					t.Fatal("a copy does not wait")
				}
				c.send(post(), answering(200))
				if back := c.settled(); len(back) != 1 {
					t.Fatalf("%d copies have left, want 1", len(back))
				} else {
					back[0].isRefused(t, "in_flight", "3")
				}
				finish(500)
				delivered, refused := 0, 0
				for _, o := range c.settled() {
					switch {
					case o.forward == nil:
					case slices.Contains(o.wire.events, "200"):
						delivered++
					case slices.Contains(o.wire.events, "415"):
						refused++
					}
				}
				if delivered != 1 || refused > 1 { // one turn, where the first copy was the same client's
					t.Errorf("%d delivered, after %d replays", delivered, refused)
				}
			})
		})
	}
}

// TestLongAttempt: a claim is renewed while the app may work.
func TestLongAttempt(t *testing.T) {
	inFlight(t, `"dedupe":{"wait":"0s"},"upstream_timeout":"10m"`, func(t *testing.T, c *copies, finish func(int)) {
		time.Sleep(10 * time.Minute)
		c.send(post(), answering(200))
		if back := c.settled(); len(back) != 1 {
			t.Fatal("it waits")
		} else {
			back[0].isRefused(t, "in_flight", "3")
		}
		finish(200)
	})
}

// TestWindow: an accepted delivery is remembered for exactly the window.
func TestWindow(t *testing.T) {
	g := mustProvision(t, "", once(`"dedupe":{"window":"1h"}`))
	synctest.Test(t, func(t *testing.T) {
		g.run(t)
		g.send(post(), answering(200)).isForwarded(t)
		time.Sleep(time.Hour - time.Second)
		g.send(post(), answering(500)).isDuplicate(t)
		time.Sleep(time.Second)
		g.send(post(), answering(200)).isForwarded(t)
	})
}

// TestObserveNeverClaims: an unverified request is not looked up or marked; a genuine
// one is handled as usual.
func TestObserveNeverClaims(t *testing.T) {
	g := running(t, "", once(`"observe":true`))
	forged := func() *http.Request {
		r := post()
		r.Header.Set("X-Signature", sign("other", body))
		return r
	}
	for range 2 {
		o := g.send(forged(), answering(200))
		o.isForwarded(t)
		o.has(t, "false", "", "signature_mismatch")
		if o.header.Get("Webhook-Delivery")+o.forward.Header.Get("Webhook-Delivery") != "" {
			t.Error("it was stamped")
		}
		if _, ok := o.forward.Context().Deadline(); !ok {
			t.Error("without a deadline")
		}
	}
	if got := g.state(t); got != "absent" {
		t.Errorf("the delivery is %s", got)
	}
	g.send(post(), answering(200)).isForwarded(t)
	g.send(post(), answering(500)).isDuplicate(t)
	g.send(forged(), answering(200)).isForwarded(t)
}

// TestWithoutDedupe: with dedupe off, or without an identity, every copy is
// forwarded; with dedupe off only as long as its sender waits. The app can still
// recognise copies then.
func TestWithoutDedupe(t *testing.T) {
	for name, tc := range map[string]struct {
		config, key string
		detached    bool
	}{
		"off":     {once(`"dedupe":{"off":true}`), theKey.String(), false},
		"keyless": {timed(), "", false},
		"no id":   {timed(`"delivery_id":{"json":"missing"}`), "", true}, // the handler dedupes, but not this delivery
	} {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", tc.config)
			accepted := g.count(t, "delivered", "")
			for range 2 {
				ctx, leave := context.WithCancel(context.Background())
				w := newWire()
				o := g.sendOver(w, post().WithContext(ctx), func(rw http.ResponseWriter, r *http.Request) error {
					if r.Context().Err() != nil {
						t.Error("ended already")
					}
					if _, ok := r.Context().Deadline(); !ok {
						t.Error("without upstream_timeout")
					}
					leave()
					if got := r.Context().Err() == nil; got != tc.detached {
						t.Errorf("detached from its sender: %t, want %t", got, tc.detached)
					}
					rw.WriteHeader(200)
					writeAll(rw, "ab")
					if !slices.Equal(w.events, []string{"200", "2 bytes"}) {
						t.Errorf("held back: %q", w.events)
					}
					return nil
				})
				o.isForwarded(t)
				o.has(t, "false", tc.key, "")
				if o.forward.Header.Get("Webhook-Delivery") != tc.key || o.header.Get("Webhook-Delivery") != tc.key {
					t.Errorf("stamped %v for the app, %v for the sender", o.forward.Header, o.header)
				}
				if got := o.header.Get("Webhook-Verified"); (got == "acme") != (tc.key == "") {
					t.Errorf("the answer has Webhook-Verified %q and the key %q, want one of them", got, tc.key)
				}
			}
			if n := g.count(t, "delivered", "") - accepted; n != 2 {
				t.Errorf("%v counted", n)
			}
		})
	}
}

// TestPlaceholdersWithoutDelivery: every outcome sets duplicate.
func TestPlaceholdersWithoutDelivery(t *testing.T) {
	g := running(t, "", once())
	r := post()
	r.Method = http.MethodGet
	g.send(r, answering(200)).has(t, "false", "", "method_not_allowed")
	r = post()
	sends(r, body[:5], io.ErrUnexpectedEOF)
	g.send(r, answering(200)).has(t, "false", "", "body_incomplete")
}
