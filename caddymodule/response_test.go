package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A wire is a connection to a sender that records its traffic.
type wire struct {
	header http.Header
	events []string
	before func(event string) // called before each event
	broken bool
}

func newWire() *wire { return &wire{header: http.Header{}} }

func (w *wire) note(event string) {
	if w.before != nil {
		w.before(event)
	}
	w.events = append(w.events, event)
}

func (w *wire) Header() http.Header    { return w.header }
func (w *wire) WriteHeader(status int) { w.note(fmt.Sprint(status)) }
func (w *wire) FlushError() error      { w.note("flush"); return nil }

func (w *wire) SetWriteDeadline(time.Time) error { w.note("deadline"); return nil }

func (w *wire) Write(p []byte) (int, error) {
	if w.broken {
		return 0, errors.New("connection reset")
	}
	w.note(fmt.Sprint(len(p), " bytes"))
	return len(p), nil
}

// held is a heldResponse that records its settling among the events of its wire.
func held() (*heldResponse, *wire) {
	w := newWire()
	return &heldResponse{ResponseWriter: w, settle: func(status int) { w.note(fmt.Sprint("settle ", status)) }}, w
}

func TestHeldResponse(t *testing.T) {
	full := strings.Repeat("x", maxHeld)
	for name, tc := range map[string]struct {
		app  func(w http.ResponseWriter)
		want []string // before finish
		then []string // of finish
	}{
		"nothing written": {func(w http.ResponseWriter) { w.WriteHeader(204) }, nil, []string{"settle 204", "204", "0 bytes"}},
		"status and body": {func(w http.ResponseWriter) {
			w.WriteHeader(201)
			writeAll(w, "ab", "c")
		}, nil, []string{"settle 201", "201", "3 bytes"}},
		"body alone is 200":   {func(w http.ResponseWriter) { writeAll(w, "abc") }, nil, []string{"settle 200", "200", "3 bytes"}},
		"first status counts": {func(w http.ResponseWriter) { w.WriteHeader(500); w.WriteHeader(200) }, nil, []string{"settle 500", "500", "0 bytes"}},
		"flush": {func(w http.ResponseWriter) {
			w.WriteHeader(200)
			writeAll(w, "abc")
			flush(w)
		}, nil, []string{"settle 200", "200", "3 bytes"}},
		"early hints": {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(100); w.WriteHeader(200) },
			[]string{"103", "100"}, []string{"settle 200", "200", "0 bytes"}},
		"switching protocols":   {func(w http.ResponseWriter) { w.WriteHeader(101) }, nil, []string{"settle 101", "101", "0 bytes"}},
		"64 KiB":                {func(w http.ResponseWriter) { writeAll(w, full) }, nil, []string{"settle 200", "200", "65536 bytes"}},
		"a byte more, at once":  {func(w http.ResponseWriter) { writeAll(w, full+"y") }, []string{"settle 200", "200", "0 bytes", "65537 bytes"}, nil},
		"a byte more, later":    {func(w http.ResponseWriter) { writeAll(w, full, "y") }, []string{"settle 200", "200", "65536 bytes", "1 bytes"}, nil},
		"a longer failure":      {func(w http.ResponseWriter) { w.WriteHeader(502); writeAll(w, full, "y") }, []string{"settle 502", "502", "65536 bytes", "1 bytes"}, nil},
		"flush when it passes":  {func(w http.ResponseWriter) { writeAll(w, full, "y"); flush(w); writeAll(w, "z") }, []string{"settle 200", "200", "65536 bytes", "1 bytes", "flush", "1 bytes"}, nil},
		"status when it passes": {func(w http.ResponseWriter) { writeAll(w, full, "y"); w.WriteHeader(500) }, []string{"settle 200", "200", "65536 bytes", "1 bytes"}, nil},
		"the connection": {func(w http.ResponseWriter) {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
				panic(err)
			}
			w.WriteHeader(200)
		}, []string{"deadline"}, []string{"settle 200", "200", "0 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, w := held()
			tc.app(h)
			if !slices.Equal(w.events, tc.want) {
				t.Errorf("while held: %q, want %q", w.events, tc.want)
			}
			w.events = nil
			h.finish()
			h.finish()
			if !slices.Equal(w.events, tc.then) {
				t.Errorf("at the end: %q, want %q", w.events, tc.then)
			}
		})
	}
}

func writeAll(w http.ResponseWriter, texts ...string) {
	for _, text := range texts {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			panic(fmt.Sprint(n, err))
		}
	}
}

func flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
}

// TestPassing: without a claim the response is not held.
func TestPassing(t *testing.T) {
	w := newWire()
	h := &heldResponse{ResponseWriter: w, passing: true}
	flush(h)
	if h.status != 200 {
		t.Error("a flush answers 200")
	}
	w.events = nil
	h = &heldResponse{ResponseWriter: w, passing: true}
	h.WriteHeader(103)
	flush(h) // promises nothing either
	h.WriteHeader(201)
	h.WriteHeader(500)
	writeAll(h, "ab", "c")
	flush(h)
	h.finish()
	if want := []string{"103", "201", "2 bytes", "1 bytes", "flush"}; !slices.Equal(w.events, want) || h.status != 201 {
		t.Errorf("got %q, status %d", w.events, h.status)
	}
}

// TestSenderIsGone: a sender that does not read its response does not change how the
// delivery was settled, and the app learns of it when the response passes.
func TestSenderIsGone(t *testing.T) {
	h, w := held()
	w.broken = true
	writeAll(h, "abc")
	h.finish()
	if want := []string{"settle 200", "200"}; !slices.Equal(w.events, want) {
		t.Errorf("got %q", w.events)
	}
	if _, err := h.Write([]byte("more")); err == nil {
		t.Error("the app does not learn that the sender is gone")
	}
}

// The app may reuse its buffer after a write.
func TestHeldBytesAreCopied(t *testing.T) {
	h, _ := held()
	p := []byte("abc")
	if _, err := h.Write(p); err != nil {
		t.Fatal(err)
	}
	copy(p, "xyz")
	if string(h.body) != "abc" {
		t.Errorf("held %q", h.body)
	}
}
