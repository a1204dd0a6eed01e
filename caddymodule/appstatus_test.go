package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// cgi answers as Caddy passes on a FastCGI response, whose status line stays in the
// header.
func cgi(status int, more ...int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Status", fmt.Sprint(status, " Oops"))
		for _, status := range append([]int{status}, more...) {
			w.WriteHeader(status)
		}
		writeAll(w, "failed")
		return nil
	}
}

// says answers with these status lines, and a body.
func says(statuses ...int) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		for _, status := range statuses {
			w.WriteHeader(status)
		}
		writeAll(w, "failed")
		return nil
	}
}

// unfit are apps whose answer has no status of a final response.
var unfit = map[string]struct {
	app   caddyhttp.HandlerFunc
	hints []string // that a sender gets before the 502
}{
	"-1":                         {app: says(-1)},
	"0":                          {app: says(0)},
	"1":                          {app: says(1)},
	"42":                         {app: says(42)},
	"99":                         {app: says(99)},
	"1000":                       {app: says(1000)},
	"1045":                       {app: says(1045)},
	"an informational one alone": {app: says(150), hints: []string{"150"}},
	"hints, then none":           {app: says(100, 103), hints: []string{"100", "103"}},
	"hints, then 0":              {app: says(103, 0), hints: []string{"103"}},
	"0, then 200":                {app: says(0, 200)},
	"FastCGI 0":                  {app: cgi(0)},
	"FastCGI 42":                 {app: cgi(42)},
	"FastCGI 100":                {app: cgi(100)},
	"FastCGI 190":                {app: cgi(190)},
	"FastCGI 190 in an intercept, which takes it for informational": {app: cgi(190, 200)},
	"FastCGI 190 in an encode, which repeats it":                    {app: cgi(190, 190)},
	"FastCGI 0 in an encode, which drops it": {app: func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Status", "0")
		writeAll(w, "failed")
		return nil
	}},
}

// TestUnfitStatus: an answer without a status of a final response is no success, and
// the sender gets a 502.
func TestUnfitStatus(t *testing.T) {
	for name, c := range unfit {
		t.Run(name, func(t *testing.T) {
			h, w := held()
			_ = c.app(h, nil)
			h.finish()
			if want := append(slices.Clone(c.hints), "settle 502", "502", "6 bytes"); !slices.Equal(w.events, want) || h.status != 502 {
				t.Errorf("held: %q, status %d, want %q", w.events, h.status, want)
			}
			w = newWire()
			h = &heldResponse{ResponseWriter: w, passing: true}
			_ = c.app(h, nil)
			if want := append(slices.Clone(c.hints), "502", "6 bytes"); !slices.Equal(w.events, want) || h.status != 502 {
				t.Errorf("passing: %q, status %d, want %q", w.events, h.status, want)
			}

			g := running(t, "", once())
			g.logs.TakeAll()
			failed := g.count(t, "failed", "status_5xx")
			if o := g.send(post(), c.app); o.panic != nil || o.err != nil || !slices.Contains(o.wire.events, "502") || g.state(t) != "absent" {
				t.Errorf("the sender gets %q, panic %v, error %v, and the delivery is %s", o.wire.events, o.panic, o.err, g.state(t))
			}
			if n := g.count(t, "failed", "status_5xx") - failed; n != 1 {
				t.Errorf("counted %v times", n)
			}
			if n := g.logs.FilterMessageSnippet("the app answered with an invalid status").Len(); n != 1 {
				t.Errorf("%d lines in the log", n)
			}
			g.send(post(), answering(200)).isForwarded(t)
		})
	}
}

// TestUnfitStatusIsStored: and an inbox stores the delivery.
func TestUnfitStatusIsStored(t *testing.T) {
	for name, c := range unfit {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), "{}")
				stored := g.count(t, "stored", "status_5xx")
				o := g.send(postOver(proto), c.app)
				if o.header.Get("Webhook-Stored") != "true" || o.header.Get("Status") != "" || g.entry(t).State == inbox.Delivered || g.count(t, "stored", "status_5xx") != stored+1 {
					t.Errorf("not stored: %q, header %v", o.wire.events, o.header)
				}
				g.send(postOver(proto), c.app).isDuplicate(t)
			})
			t.Run(name+" over "+proto+", and no inbox", func(t *testing.T) {
				g := boxed(t, t.TempDir(), "{}") // which cannot be opened
				if o := g.send(postOver(proto), c.app); !slices.Equal(o.wire.events, []string{"502", "6 bytes"}) || o.panic != nil {
					t.Errorf("the sender gets %q, panic %v", o.wire.events, o.panic)
				}
			})
		}
	}
}

// TestUnfitStatusOfAnAttempt: an attempt from the inbox is none that the app accepted.
func TestUnfitStatusOfAnAttempt(t *testing.T) {
	g := boxed(t, filepath.Join(t.TempDir(), "inbox.db"), `{"first":true}`)
	for name, c := range unfit {
		r := post()
		d := attempt.Record(r, r.Method, "/hooks/acme", []byte(body))
		d.Key, d.ID, d.Queue = inbox.Key(theKey), "evt_1", inbox.Queue{Handler: "acme"}
		failed := g.count(t, "failed", "status_5xx")
		got := attempt.Send(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
			if err := g.handlers[0].ServeHTTP(w, r, c.app); err != nil {
				t.Error(err)
			}
		}), &inbox.Attempt{Delivery: &d, Entry: inbox.Entry{Queue: d.Queue}})
		if got.Status != 502 || g.count(t, "failed", "status_5xx") != failed+1 {
			t.Errorf("%s: the inbox is told %+v", name, got)
		}
	}
}

// TestErrorsWithUnfitStatus: an error of the app is none of a 2xx, whatever status it
// names, nor one at which net/http panics.
func TestErrorsWithUnfitStatus(t *testing.T) {
	for status, want := range map[int]int{-1: 500, 0: 500, 42: 500, 150: 500, 200: 500, 299: 500, 302: 302, 422: 422, 503: 503, 999: 999, 1045: 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			err := caddyhttp.HandlerError{StatusCode: status, Err: errors.New("broken")}
			if got := errorStatus(err); got != want {
				t.Errorf("the status %d, want %d", got, want)
			}
			g := running(t, "", once())
			if o := g.send(post(), func(http.ResponseWriter, *http.Request) error { return err }); o.status != want {
				t.Errorf("the sender gets %d, want %d", o.status, want)
			}
		})
	}
}
