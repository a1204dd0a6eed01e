package caddymodule

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// forgedMarks sets every mark and its equivalents, in several spellings.
func forgedMarks(h http.Header) {
	for _, mark := range marks {
		for _, name := range []string{
			mark, strings.ReplaceAll(mark, "-", "_"), strings.ReplaceAll(mark, "-", "."), strings.ToLower(mark), strings.ToUpper(strings.ReplaceAll(mark, "-", "_")),
		} {
			h[name] = []string{"forged", "twice"}
		}
	}
}

// wantNoMarks fails if a header is, or may be read as, one of the gateway's.
func wantNoMarks(t *testing.T, h http.Header) {
	t.Helper()
	for name, values := range h {
		if strings.HasPrefix(strings.ToLower(name), "webhook") {
			t.Errorf("%s: %q is left", name, values)
		}
	}
}

// TestForgedMarksNeverReachErrorRoutes: whatever refuses a request, handle_errors
// never passes on a sender's mark.
func TestForgedMarksNeverReachErrorRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"method":        {func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"length":        {func(r *http.Request) { r.ContentLength = 1 << 30 }, 413},
		"no signature":  {func(r *http.Request) { r.Header.Del("X-Signature") }, 401},
		"forged":        {func(r *http.Request) { r.Header.Set("X-Signature", sign("other", body)) }, 401},
		"body cut":      {func(r *http.Request) { sends(r, "{", http.ErrBodyReadAfterClose) }, 400},
		"header":        {func(r *http.Request) { r.Header.Set("X-Team", "red") }, 401},
		"genuine, down": {func(*http.Request) {}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			silent := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
			r := post()
			forgedMarks(r.Header)
			r.Trailer = http.Header{"Webhook-Verified": nil}
			tc.change(r)
			g := mustProvision(t, "", timed())
			a := serve(t, r, silent, g.handlers...)
			if a.status != tc.status {
				t.Fatalf("status %d: %v", a.status, a.err)
			}
			if tc.status == 502 {
				if got := r.Header["Webhook-Verified"]; len(got) != 1 || got[0] != "acme" {
					t.Errorf("the delivery that the app did not answer is marked %q", got)
				}
				r.Header.Del("Webhook-Verified")
				r.Header.Del("Webhook-Delivery")
			}
			wantNoMarks(t, r.Header)
			if a.request.Trailer != nil {
				t.Errorf("trailers: %v", a.request.Trailer)
			}
		})
	}
}

// TestForgedMarksWhereTwoHandlersMeet: a request that reaches two handlers is an
// error like any other.
func TestForgedMarksWhereTwoHandlersMeet(t *testing.T) {
	g := mustProvision(t, "", timed(), acme(topsecret, `"name":"other"`))
	r := post()
	forgedMarks(r.Header)
	a := serve(t, r, accepting, g.handlers...)
	if a.status != 500 || a.forward != nil {
		t.Fatalf("status %d: %v", a.status, a.err)
	}
	wantNoMarks(t, r.Header)
}

// TestMarksAreNoSendersHeaders: a scheme that reads a mark would refuse every
// delivery, so it does not load.
func TestMarksAreNoSendersHeaders(t *testing.T) {
	for _, scheme := range []string{
		`"delivery_id":{"header":["webhook-delivery"]}`,
		`"require_header":[{"name":"Webhook_Tenant","values":"blue"}]`,
		`"message":["{header:Webhook-Attempt}.{body}"]`,
	} {
		_, err := provision(t, "", acme(topsecret, scheme))
		if err == nil || !strings.Contains(err.Error(), "the gateway deletes it from every request") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// TestStrangersDoNotFillTheLog: Caddy does not log, with all its headers, each request
// that the app fails, also an unverified one under observe; our own line is limited.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret, `"observe":true`))
	down := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(http.StatusBadGateway, errors.New("connection refused"))
	})
	h := g.handlers[0]
	h.now = func() time.Time { return clock }
	for name, change := range map[string]func(http.Header){
		"genuine": func(h http.Header) { h.Set("X-Signature", sign("n9Wd4kTq2", body)) },
		"forged":  func(h http.Header) { h.Set("X-Signature", sign("other", body)) },
	} {
		r, w := post(), httptest.NewRecorder()
		change(r.Header)
		err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server)), down)
		if err != nil || w.Code != http.StatusBadGateway {
			t.Errorf("%s: Caddy logs %v, status %d", name, err, w.Code)
		}
	}
}
