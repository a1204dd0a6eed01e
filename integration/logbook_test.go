package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// A logbook is what a gateway has logged so far.
type logbook struct {
	mu      sync.Mutex
	lines   []logLine
	changed chan struct{} // closed and replaced at every line
	ended   bool
}

// logLine is one line, decoded if it is JSON (a panic is not).
type logLine struct {
	raw    string
	fields map[string]any
}

// text returns a field that is a string, "" if there is none.
func (l logLine) text(field string) string {
	s, _ := l.fields[field].(string)
	return s
}

// ours reports whether the line is verify_webhook's, not Caddy's.
func (l logLine) ours() bool { return strings.Contains(l.text("logger"), "verify_webhook") }

func newLogbook() *logbook { return &logbook{changed: make(chan struct{})} }

// keep collects lines until r ends, which the process does.
func (b *logbook) keep(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		line := logLine{raw: in.Text()}
		_ = json.Unmarshal(in.Bytes(), &line.fields) // not JSON: no fields
		b.add(&line)
	}
	b.add(nil)
}

func (b *logbook) add(line *logLine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if line == nil {
		b.ended = true
	} else {
		b.lines = append(b.lines, *line)
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// all returns the lines so far.
func (b *logbook) all() []logLine {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[:len(b.lines):len(b.lines)]
}

func (b *logbook) String() string {
	var s strings.Builder
	for _, l := range b.all() {
		s.WriteString(l.raw + "\n")
	}
	return s.String()
}

// await returns the first line, from the log's beginning, that matches.
func (b *logbook) await(t testing.TB, what string, match func(logLine) bool) logLine {
	t.Helper()
	line, err := b.wait(match)
	if err != nil {
		t.Fatalf("no log line %q: %v; the log:\n%s", what, err, b)
	}
	return line
}

func (b *logbook) wait(match func(logLine) bool) (logLine, error) {
	bound := time.NewTimer(patience)
	defer bound.Stop()
	for next := 0; ; {
		b.mu.Lock()
		fresh, changed, ended := b.lines[next:], b.changed, b.ended
		next = len(b.lines)
		b.mu.Unlock()
		for _, l := range fresh {
			if match(l) {
				return l, nil
			}
		}
		if ended {
			return logLine{}, fmt.Errorf("the process has ended")
		}
		select {
		case <-changed:
		case <-bound.C:
			return logLine{}, fmt.Errorf("not within %s", patience)
		}
	}
}

// refused waits for the refusal of a handler's delivery for a reason.
func (b *logbook) refused(t testing.TB, name, reason string) logLine {
	t.Helper()
	return b.await(t, name+": "+reason, func(l logLine) bool {
		return l.ours() && l.text("name") == name && l.text("reason") == reason
	})
}

// confidential is what no log may hold. Keys and bodies: in no line of any
// logger. What senders send in headers: in none of ours, and in none of
// Caddy's beside the request's and response's headers, which Caddy's own loggers
// write and the operator's log filter deletes (see TestLogFilter).
var confidential struct {
	sync.Mutex
	anywhere, headers map[string]bool
}

// bodyMark is part of every body that the tests send.
const bodyMark = "kept-out-of-every-log"

// confide notes a key.
func confide(keys ...string) {
	confidential.Lock()
	defer confidential.Unlock()
	if confidential.anywhere == nil {
		confidential.anywhere = map[string]bool{bodyMark: true}
	}
	for _, k := range keys {
		confidential.anywhere[k] = true
	}
}

// confideHeader notes a signature or a required header's value.
func confideHeader(values ...string) {
	confidential.Lock()
	defer confidential.Unlock()
	if confidential.headers == nil {
		confidential.headers = make(map[string]bool)
	}
	for _, v := range values {
		confidential.headers[v] = true
	}
}

// check looks for what must be in no log: secrets, panics, data races.
func (b *logbook) check() error {
	confidential.Lock()
	defer confidential.Unlock()
	for _, l := range b.all() {
		if strings.Contains(l.raw, "panic") || strings.Contains(l.raw, "DATA RACE") {
			return fmt.Errorf("the gateway panicked or raced:\n%s", b)
		}
		for secret := range confidential.anywhere {
			if strings.Contains(l.raw, secret) {
				return fmt.Errorf("the log holds %q:\n%s", secret, l.raw)
			}
		}
		rest := l.raw
		if !l.ours() && l.fields != nil {
			kept := make(map[string]any)
			for k, v := range l.fields {
				if k != "request" && k != "headers" && k != "resp_headers" {
					kept[k] = v
				}
			}
			text, _ := json.Marshal(kept)
			rest = string(text)
		}
		for value := range confidential.headers {
			if strings.Contains(rest, value) {
				return fmt.Errorf("the log holds the header value %q:\n%s", value, l.raw)
			}
		}
	}
	return nil
}
