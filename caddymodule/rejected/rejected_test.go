package rejected

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

var clock = time.Unix(1_700_000_000, 0)

// handler has a secret and signs the body in X-Signature, with HMAC-SHA256 in hex.
func handler(t testing.TB, name string, place int, secret string) Handler {
	t.Helper()
	rules, err := verifier.Compile(verifier.Scheme{Signature: &verifier.Signature{Header: []string{"X-Signature"}}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.Open(keys.Config{Name: name, Rules: rules, Secret: []keys.Value{{Value: secret}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return Handler{Name: name, Place: place, Keys: set.Current()}
}

// refused is a delivery of 2 bytes with a wrong signature.
func refused(h Handler) Request {
	return Request{
		Request: verifier.Request{Method: "POST", Target: "/hooks/acme", Host: "hooks.example.com", Header: map[string][]string{"X-Signature": {strings.Repeat("00", 32)}}},
		Handler: h, Tried: []*keys.Snapshot{h.Keys}, Time: clock, Remote: "203.0.113.9:4321", Declared: 2,
		Reason: verifier.SignatureMismatch, Detail: "no key matches the signature", Body: []byte("{}"), Read: true,
	}
}

// TestKeptRequestsKeepNoConfiguration: a reload makes new snapshots of the same keys, and
// neither they nor what leads to the tenants of a configuration outlive it here.
func TestKeptRequestsKeepNoConfiguration(t *testing.T) {
	var s Store
	for _, secret := range []string{"n9Wd4kTq2", "n9Wd4kTq2", "n9Wd4kTq2", "p3Xz7vRm8"} { // one after each reload
		h := handler(t, "acme", 0, secret)
		h.Tenant = func(string) *keys.Snapshot { return nil }
		h.Cached = h.Tenant
		s.Add(refused(h), 16)
	}
	lists := make(map[**keys.Snapshot]int)
	for _, r := range s.List("") {
		if r.Handler.Tenant != nil || r.Handler.Cached != nil || !r.covert(nil) {
			t.Errorf("it keeps its handler's functions, or has forgotten that it had some: %+v", r.Handler)
		}
		lists[&r.Tried[0]]++
	}
	if len(lists) != 2 {
		t.Errorf("%d lists of keys, want one for each that differs: 2", len(lists))
	}
}

// TestBounds: for any request, one uses at most 64 KiB and all use at most 4 MiB, and
// no cut is negative.
func TestBounds(t *testing.T) {
	h := handler(t, "acme", 0, "n9Wd4kTq2")
	long := strings.Repeat("a", 2*maxSize)
	for name, alter := range map[string]func(*Request){
		"body":   func(r *Request) { r.Body = []byte(long) },
		"target": func(r *Request) { r.Target = "/?" + long },
		"host":   func(r *Request) { r.Host = long },
		"header": func(r *Request) { r.Header["X-Long"] = []string{long} },
		"name":   func(r *Request) { r.Header[long] = []string{"x"} },
		"detail": func(r *Request) { r.Detail = long + "é" },
		"many headers": func(r *Request) {
			for i := range 100 {
				r.Header[fmt.Sprint("X-Large-", i)] = []string{long[:1000]}
			}
		},
		"empty lines": func(r *Request) { r.Header["A"] = make([]string, 40<<10) }, // 16 bytes each, besides the text
	} {
		var s Store
		r := refused(h)
		alter(&r)
		s.Add(r, 16)
		got := s.List("")[0]
		if got.size > maxSize || len(got.Detail) > maxDetail+len("…") || got.whole() == (name == "body") {
			t.Errorf("%s: kept %d bytes, a detail of %d, %d of the body", name, got.size, len(got.Detail), len(got.Body))
		}
		if len(got.Header["A"]) > 0 {
			t.Errorf("empty lines are kept as %d bytes", got.size)
		}
	}
}

func TestNewestThatFit(t *testing.T) {
	var s Store
	h := handler(t, "acme", 0, "n9Wd4kTq2")
	for i := range 100 {
		r := refused(h)
		r.Body, r.Target = make([]byte, 2*maxSize), fmt.Sprint("/", i)
		s.Add(r, 1000)
	}
	n, bytes := s.Totals()
	list := s.List("acme")
	if bytes > maxBytes || bytes < maxBytes-maxSize || n != len(list) || list[0].Target != "/99" || list[n-1].Target != fmt.Sprint("/", 100-n) {
		t.Errorf("%d kept, %d bytes, from %s to %s", n, bytes, list[n-1].Target, list[0].Target)
	}
	limit := refused(h)
	limit.Limit, limit.Reason = true, "body_too_large"
	for range 20 {
		s.Add(limit, 1000)
	}
	sum, limits := int64(0), 0
	for _, r := range s.List("") {
		sum += r.size
		if r.Limit {
			limits++
		}
	}
	if _, bytes := s.Totals(); bytes != sum || limits != 1 {
		t.Errorf("%d bytes are counted, %d are kept; %d of one limit", bytes, sum, limits)
	}
	s.Restrict(nil, 16)
	if n, bytes := s.Totals(); n != 0 || bytes != 0 {
		t.Errorf("of no name: %d kept, %d bytes", n, bytes)
	}
}

// TestOnlyAPartOfAFloodIsCopied: a flood neither costs a copy of each request nor keeps
// those of other handlers, of limits, or of the next second from being kept.
func TestOnlyAPartOfAFloodIsCopied(t *testing.T) {
	var s Store
	acme, other := refused(handler(t, "acme", 0, "n9Wd4kTq2")), refused(handler(t, "other", 1, "n9Wd4kTq2"))
	flood := func(r Request) (stored int) {
		for range 1000 {
			if s.Add(r, 16) != "" {
				stored++
			}
		}
		return stored
	}
	if got := flood(acme); got != 160 {
		t.Errorf("%d of a flood are stored, want 160", got)
	}
	limit, later := acme, acme
	limit.Limit, later.Time = true, clock.Add(time.Second)
	for name, r := range map[string]Request{"another handler's": other, "a limit's": limit, "a later one": later} {
		if s.Add(r, 16) == "" {
			t.Errorf("%s is not stored", name)
		}
	}
	s.Add(acme, 16)
	s.Restrict(map[string]bool{"other": true}, 16)
	if len(s.rates) != 1 {
		t.Errorf("rates of %d streams are kept, want 1", len(s.rates))
	}
}

// TestCutBody: the digest of the entire body is shown, and nothing is explained.
func TestCutBody(t *testing.T) {
	var s Store
	r := refused(handler(t, "acme", 0, "n9Wd4kTq2"))
	r.Body = make([]byte, 100<<10)
	s.Add(r, 16)
	d, err := s.List("")[0].ShowAll(t.Context(), []Handler{r.Handler})
	if want := fmt.Sprintf("%x", sha256.Sum256(r.Body)); err != nil || d.Body.SHA256 != want || d.Body.Bytes != 100<<10 || !d.Body.Truncated || d.Note != noteTruncated {
		t.Errorf("%+v, %q, %v", d.Body, d.Note, err)
	}
}

// TestDigestsOfAFlood: of a flood of large bodies only ten a second are hashed for the
// operator, whole ones when they are shown.
func TestDigestsOfAFlood(t *testing.T) {
	var s Store
	h := handler(t, "acme", 0, "n9Wd4kTq2")
	add := func(now time.Time, size int) (digests int) {
		r := refused(h)
		r.Body, r.Time = make([]byte, size), now
		for range maxSums + 2 {
			s.Add(r, 64)
		}
		for _, kept := range s.List("")[:maxSums+2] {
			d, err := kept.ShowAll(t.Context(), []Handler{h})
			if err != nil {
				t.Fatal(err)
			}
			if d.Body.SHA256 != "" {
				digests++
			}
		}
		return digests
	}
	if got := add(clock, maxSize); got != maxSums {
		t.Errorf("%d digests of cut bodies in one second, want %d", got, maxSums)
	}
	if got := add(clock, 1); got != maxSums+2 {
		t.Errorf("%d digests of whole bodies, want all", got)
	}
	if got := add(clock.Add(time.Second), maxSize); got != maxSums {
		t.Errorf("%d digests in the next second, want %d", got, maxSums)
	}
}

// TestOneExplanationAtATime: a flood of requests uses at most one processor, and a
// client that is gone gets no answer.
func TestOneExplanationAtATime(t *testing.T) {
	var s Store
	h := handler(t, "acme", 0, "n9Wd4kTq2")
	s.Add(refused(h), 16)
	r := s.List("")[0]
	explaining <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.ShowAll(ctx, []Handler{h}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside another: %v", err)
	}
	<-explaining
	if _, err := r.ShowAll(t.Context(), []Handler{h}); err != nil || r.hint.of != h.Keys {
		t.Errorf("the next: %v", err)
	}
	r.hint.text = "worked out before"
	if d, _ := r.ShowAll(t.Context(), []Handler{h}); d.Hint != "worked out before" {
		t.Errorf("worked out twice: %q", d.Hint)
	}
	if d, _ := r.ShowAll(t.Context(), []Handler{handler(t, "acme", 0, "next-9f31")}); d.Hint == "worked out before" {
		t.Error("not worked out again with other keys")
	}
}

// TestHandlerOfNow: two handlers may have one name and different keys.
func TestHandlerOfNow(t *testing.T) {
	first, second, other := handler(t, "acme", 1, "first-9f31"), handler(t, "acme", 2, "second-9f31"), handler(t, "bravo", 0, "third")
	for _, tc := range []struct {
		of   Handler
		now  []Handler
		want *keys.Snapshot
	}{
		{first, []Handler{other, first, second}, first.Keys},
		{second, []Handler{other, first, second}, second.Keys},
		{Handler{Name: "acme", Place: 7}, []Handler{other, first, second}, first.Keys},
		{first, []Handler{other}, nil},
	} {
		r := refused(tc.of)
		var got *keys.Snapshot
		if h := r.handlerOf(tc.now); h != nil {
			got = h.Keys
		}
		if got != tc.want {
			t.Errorf("of %s at %d: the keys of another", tc.of.Name, tc.of.Place)
		}
	}
}

// TestOthers: a request with another sender's header may be from that sender.
func TestOthers(t *testing.T) {
	now := []Handler{handler(t, "acme", 0, "first-9f31"), handler(t, "bravo", 1, "second-9f31"), {Name: "charlie"}}
	r := refused(now[0])
	r.Header["Stripe-Signature"] = []string{"t=1,v1=00"}
	var names []string
	for _, o := range r.others(&now[0], now) {
		names = append(names, o.Name)
		if (len(o.Keys) > 0) != (o.Name == "bravo") {
			t.Errorf("%s comes with %d keys", o.Name, len(o.Keys))
		}
	}
	if !slices.Contains(names, "bravo") || !slices.Contains(names, "stripe") || slices.Contains(names, "github") || slices.Contains(names, "acme") || slices.Contains(names, "charlie") {
		t.Errorf("others: %v", names)
	}
}
