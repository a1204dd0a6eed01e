package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSizesOfBuffers: a buffer is at most a sixteenth larger than asked for, and every
// buffer of a size is long enough for whatever has that size.
func TestSizesOfBuffers(t *testing.T) {
	if memory, b := newBuffer(smallBody); b != nil || cap(memory) != smallBody {
		t.Errorf("a small body has a buffer of %d bytes that is kept", cap(memory))
	}
	sizes := make(map[any]int)
	for n := smallBody + 1; n <= 1<<20; n += 1 + n>>6 {
		for _, n := range []int{n, 1 << bits.Len(uint(n)), 1<<bits.Len(uint(n)) + 1} {
			memory, b := newBuffer(int64(n))
			if len(memory) != 0 || cap(memory) != n || len(b.memory) < n || len(b.memory)-n > n/16 {
				t.Fatalf("%d bytes: %d of %d", n, cap(memory), len(b.memory))
			}
			if was, ok := sizes[b.size]; ok && was != len(b.memory) {
				t.Fatalf("%d bytes: a buffer of %d is kept with those of %d", n, len(b.memory), was)
			}
			sizes[b.size] = len(b.memory)
		}
	}
	if memory, b := newBuffer(64<<20 + 1); b != nil || cap(memory) != 64<<20+1 {
		t.Error("a body above 64 MiB has a buffer that is kept")
	}
}

// spoil leaves a buffer of n bytes or a few more, with another delivery's body in it.
func spoil(n int64) {
	_, b := newBuffer(n)
	copy(b.memory, bytes.Repeat([]byte("secret"), len(b.memory)/6+1))
	b.size.Put(b)
}

// TestNothingOfAnotherBody: a body in the buffer of an earlier one shows nothing of that,
// neither to what reads it nor behind its slice.
func TestNothingOfAnotherBody(t *testing.T) {
	for _, n := range []int{smallBody + 1, 60000, 64 << 10, 300000, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			g := mustProvision(t, "", acme(topsecret))
			for room := int64(4 * smallBody); room <= 2<<20; room *= 2 {
				spoil(room)
			}
			spoil(int64(n) + 1)
			r := large(n)
			if chunked {
				sends(r, strings.Repeat("x", n), io.EOF)
			}
			r = caddyhttp.PrepareRequest(r, caddyhttp.NewTestReplacer(r), httptest.NewRecorder(), nil)
			d, _ := g.handlers[0].arrive(httptest.NewRecorder(), r)
			if err := errors.Join(d.admit(), d.open(), d.read()); err != nil {
				t.Fatal(err)
			}
			if d.buffer == nil || len(d.body) != n || bytes.Contains(d.body[:cap(d.body)], []byte("secret")) {
				t.Errorf("%d bytes, chunked %t: behind the slice of %d are %d more", n, chunked, len(d.body), cap(d.body)-len(d.body))
			}
			if whole, err := io.ReadAll(r.Body); err != nil || string(whole) != strings.Repeat("x", n) {
				t.Errorf("%d bytes, chunked %t: %d are read, %v", n, chunked, len(whole), err)
			}
			d.leave()
			g.budgetsAreFree(t)
		}
	}
}

// TestReadAfterTheResponse: whoever still reads a body after the handler has returned,
// as transports and error routes do, gets that body and no later one.
func TestReadAfterTheResponse(t *testing.T) {
	const n = 100000
	for name, app := range map[string]caddyhttp.HandlerFunc{
		"accepted": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(200); return nil },
		"failed":   func(http.ResponseWriter, *http.Request) error { return errors.New("no") },
		"refused":  nil,
	} {
		g := mustProvision(t, "", acme(topsecret))
		first := large(n)
		if app == nil {
			first.Header.Set("X-Signature", sign("wrong", ""))
		}
		first = caddyhttp.PrepareRequest(first, caddyhttp.NewTestReplacer(first), httptest.NewRecorder(), nil)
		var begin [1000]byte
		var late io.Reader
		err := g.handlers[0].ServeHTTP(httptest.NewRecorder(), first, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			late = r.Body
			_, _ = io.ReadFull(late, begin[:])
			return app(w, r)
		}))
		if (name == "accepted") != (err == nil) {
			t.Fatalf("%s: %v", name, err)
		}
		if name != "accepted" { // error routes get all of it
			late = first.Body
		}
		done := make(chan string, 1)
		go func() {
			rest, _ := io.ReadAll(late)
			done <- string(rest)
		}()
		for range 20 {
			text := strings.Repeat("y", n)
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
			if a := serve(t, r, accepting, g.handlers...); a.err != nil || a.body != text {
				t.Fatalf("%s: a later delivery: %v", name, a.err)
			}
		}
		want := n
		if name == "accepted" {
			want -= len(begin)
		}
		if rest := <-done; rest != strings.Repeat("x", want) {
			t.Errorf("%s: the rest has %d bytes, %d of another delivery", name, len(rest), strings.Count(rest, "y"))
		}
		g.budgetsAreFree(t)
	}
}
