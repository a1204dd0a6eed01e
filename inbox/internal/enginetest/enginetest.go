// Package enginetest is what the tests of inbox engines share besides the suite of
// package inboxtest: a clock, a log, deliveries, and figures.
package enginetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// A Clock moves only when the test moves it.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows some time.
func NewClock() *Clock { return &Clock{now: time.Unix(1_800_000_000, 0)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A Log collects log lines: reporting problems is part of the contract.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns what was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Until waits for something that another goroutine or process does and does not signal.
// It fails the test after a minute.
func Until(tb inboxtest.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s", what)
		}
	}
}

// Close closes e, which has a minute for it.
func Close(tb inboxtest.TB, e inbox.Engine) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		tb.Fatalf("close: %v", err)
	}
}

// FastDir returns a directory of the test, in memory if possible: the suite syncs often.
func FastDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "inbox")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Shop is the queue of all deliveries here.
var Shop = inbox.Queue{Handler: "shop"}

// Key returns the key of delivery n.
func Key(n int) (k inbox.Key) {
	binary.LittleEndian.PutUint64(k[:], uint64(n)*0x9E3779B97F4A7C15)
	k[15] = 1
	return k
}

// Delivery returns delivery n, received n nanoseconds after a certain time.
func Delivery(n int) *inbox.Delivery {
	return &inbox.Delivery{
		Key: Key(n), Queue: Shop, Label: "current", Received: time.Unix(1_800_000_000, int64(n)),
		Header: map[string][]string{"Content-Type": {"application/json"}}, Body: fmt.Appendf(nil, `{"secret body":%d}`, n),
	}
}

// Large returns delivery n as senders make them: 1 KiB of body, 0.65 KiB of headers.
func Large(n int) *inbox.Delivery {
	d := Delivery(n)
	d.Method, d.Target, d.Host, d.Proto = "POST", "/hooks/shop", "hooks.example.com", "HTTP/2.0"
	d.Header = map[string][]string{
		"Content-Type": {"application/json"}, "User-Agent": {"Shop/1.0 (+https://shop.example/docs/webhooks)"},
		"Shop-Signature": {"t=1800000000,v1=" + fmt.Sprintf("%064x", n)}, "X-Padding": {string(bytes.Repeat([]byte("x"), 400))},
	}
	d.Body = bytes.Repeat([]byte("."), 1024)
	return d
}
