package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestBodyErrors(t *testing.T) {
	limit := &http.MaxBytesError{Limit: 5}
	for name, tc := range map[string]struct {
		err    error
		reason string
		status int
	}{
		"request_body":    {caddyhttp.Error(http.StatusRequestEntityTooLarge, limit), "body_too_large", 413},
		"other handler":   {caddyhttp.Error(http.StatusBadRequest, errors.New("no")), "body_incomplete", 400},
		"reset":           {errors.New("connection reset"), "body_incomplete", 400},
		"closed too soon": {io.ErrUnexpectedEOF, "body_incomplete", 400},
	} {
		g := mustProvision(t, "", timed())
		r := post()
		sends(r, body, tc.err)
		a := serve(t, r, accepting, g.handlers...)
		if a.status != tc.status || a.placeholder("reason") != tc.reason || a.forward != nil {
			t.Errorf("%s: got %d %s", name, a.status, a.placeholder("reason"))
		}
		g.budgetsAreFree(t)
	}
}

// TestBodyLimit: a body of exactly the limit is accepted, one byte more is refused,
// announced or not.
func TestBodyLimit(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{0, 1, firstRead - 1, firstRead, firstRead + 1, 4*firstRead + 1, 49999, 50000, 50001, 70000} {
			g := mustProvision(t, "", acme(topsecret, `"max_body":50000`))
			text := strings.Repeat("x", size)
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			if chunked {
				sends(r, text, io.EOF)
			}
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
			a := serve(t, r, accepting, g.handlers...)
			if fits := size <= 50000; fits != (a.err == nil) || fits && a.body != text || !fits && a.status != 413 {
				t.Errorf("%d bytes, chunked %t: %v", size, chunked, a.err)
			}
			g.budgetsAreFree(t)
		}
	}
}

// TestGrowth: the charge follows the received bytes, never the announced length.
func TestGrowth(t *testing.T) {
	for _, announced := range []int64{1 << 20, -1} {
		g := mustProvision(t, "", acme(topsecret))
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		received := 0
		r.ContentLength = announced
		r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			most := int64(max(4*received, firstRead))
			if received > 64<<10 {
				most = int64(2 * received)
			}
			if n := buffered.used.Load(); n > most || n != g.handlers[0].buffered.used.Load() {
				t.Errorf("%d bytes charged after %d arrived, want at most %d", n, received, most)
			}
			if received > 200000 {
				return 0, io.ErrUnexpectedEOF
			}
			n := min(len(p), 777)
			received += n
			return n, nil
		}))
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", ""))
		if a := serve(t, r, accepting, g.handlers...); a.placeholder("reason") != "body_incomplete" {
			t.Errorf("got %v", a.err)
		}
		g.budgetsAreFree(t)
	}
}

// large is a genuine delivery of n bytes.
func large(n int) *http.Request {
	text := strings.Repeat("x", n)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
	return r
}

// TestShares: with several handlers one holds at most half of the budget, a single
// one all of it.
func TestShares(t *testing.T) {
	const whole = 100000
	bravo := strings.Replace(acme(topsecret), "acme", "bravo", 1)
	for _, tc := range []struct {
		handlers []string
		fits     int
	}{
		{[]string{acme(topsecret)}, whole - 1},
		{[]string{acme(topsecret), bravo}, whole/2 - 1},
	} {
		g := mustProvision(t, `{"max_buffered":100000}`, tc.handlers...)
		g.start(t)
		for _, h := range g.handlers {
			if a := serve(t, large(tc.fits), accepting, h); a.err != nil {
				t.Errorf("%d handlers: %d bytes: %v", len(g.handlers), tc.fits, a.err)
			}
			if a := serve(t, large(tc.fits+1), accepting, h); a.status != 503 || a.placeholder("reason") != "overloaded" {
				t.Errorf("%d handlers: %d bytes: %v", len(g.handlers), tc.fits+1, a.err)
			}
		}
		g.budgetsAreFree(t)
	}
	// One handler's bytes count for the other in the total budget.
	g := mustProvision(t, `{"max_buffered":100000}`, acme(topsecret), bravo)
	g.start(t)
	a := serve(t, large(49000), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		if n := buffered.used.Load(); n < 49000 {
			t.Errorf("%d bytes charged while the app works", n)
		}
		if a := serve(t, large(10), accepting, g.handlers[1]); a.err != nil {
			t.Errorf("the other handler: %v", a.err)
		}
		if a := serve(t, large(10000), accepting, g.handlers[0]); a.status != 503 {
			t.Errorf("the same handler, beyond its half: %v", a.err)
		}
		buffered.limit.Store(50000)
		if a := serve(t, large(10000), accepting, g.handlers[1]); a.status != 503 {
			t.Errorf("the other handler, beyond the whole: %v", a.err)
		}
		w.WriteHeader(200)
		return nil
	}), g.handlers[0])
	if a.err != nil {
		t.Error(a.err)
	}
	g.budgetsAreFree(t)
}

// TestSmallDeliveriesPassBesideLargeBodies: an attacker who occupies the share of
// large bodies, without a key, does not keep a small genuine delivery out.
func TestSmallDeliveriesPassBesideLargeBodies(t *testing.T) {
	const whole = 4 << 20
	g := mustProvision(t, `{"max_buffered":4194304}`, acme(topsecret))
	g.start(t)
	var hold func(refused int)
	hold = func(held int) {
		r := large(100)
		r.ContentLength = 1 << 20
		part := make([]byte, 300<<10)
		r.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			if len(part) > 0 {
				n := copy(p, part)
				part = part[n:]
				return n, nil
			}
			hold(held + 1)
			return 0, io.ErrUnexpectedEOF
		}))
		if a := serve(t, r, accepting, g.handlers...); a.placeholder("reason") != "overloaded" {
			return
		}
		if used := buffered.used.Load(); used < whole/2 {
			t.Errorf("refused although only %d bytes are held, by %d", used, held)
		}
		for _, n := range []int{7, 10000} {
			if a := serve(t, large(n), accepting, g.handlers...); a.err != nil {
				t.Errorf("%d bytes beside %d large bodies: %v", n, held, a.err)
			}
		}
	}
	hold(0)
	g.budgetsAreFree(t)
}

// TestDeliveriesAtTheAppAreCharged: the same budget limits what a delivery costs
// besides its body; a single delivery always passes.
func TestDeliveriesAtTheAppAreCharged(t *testing.T) {
	const fits = 32
	g := mustProvision(t, fmt.Sprintf(`{"max_buffered":%d}`, fits*(atTheApp+100)), acme(topsecret))
	g.start(t)
	var at, refused int
	var app caddyhttp.HandlerFunc
	app = func(w http.ResponseWriter, _ *http.Request) error {
		if at++; at <= fits {
			if a := serve(t, large(10), app, g.handlers...); a.err != nil {
				refused++
				if a.status != 503 || a.placeholder("reason") != "overloaded" || a.header.Get("Retry-After") == "" {
					t.Errorf("the one too many: %d %v %v", a.status, a.header, a.err)
				}
			}
		}
		w.WriteHeader(200)
		return nil
	}
	if a := serve(t, large(10), app, g.handlers...); a.err != nil {
		t.Error(a.err)
	}
	if at < fits*15/16 || at > fits || refused != 1 { // bodies leave a sixteenth
		t.Errorf("%d reached the app, %d refused; want at most %d and 1", at, refused, fits)
	}
	g.budgetsAreFree(t)
	tiny := mustProvision(t, `{"max_buffered":1000}`, acme(topsecret))
	tiny.start(t)
	if a := serve(t, large(999), accepting, tiny.handlers...); a.err != nil {
		t.Errorf("alone: %v", a.err)
	}
	if n := len(tiny.logs.FilterMessageSnippet("max_body exceeds").TakeAll()); n != 1 {
		t.Errorf("max_body of 1 MiB against max_buffered of 1000 bytes is warned of %d times", n)
	}
	tiny.budgetsAreFree(t)
}

// deadlines is a writer that records its read deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// TestDeadline: a body has body_timeout in total, and the connection has no deadline
// afterwards.
func TestDeadline(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret, `"body_timeout":"30s"`))
	for name, r := range map[string]*http.Request{"whole": large(100), "broken": large(100)} {
		if name == "broken" {
			sends(r, "x", io.ErrUnexpectedEOF)
		}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		r = caddyhttp.PrepareRequest(r, caddyhttp.NewTestReplacer(r), w, nil)
		_ = g.handlers[0].ServeHTTP(w, r, accepting)
		if len(w.set) != 2 || !w.set[1].IsZero() || w.set[0].Before(before.Add(30*time.Second)) || w.set[0].After(time.Now().Add(30*time.Second)) {
			t.Errorf("%s: deadlines %v", name, w.set)
		}
	}
}
