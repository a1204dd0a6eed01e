package integration

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// TestFloodsAreLoggedTenASecond: whatever requests or copies cause, and with any
// status, the log has at most ten lines a second for each handler. Caddy's own log
// has none: it would have one for each request, at ERROR, with all headers.
func TestFloodsAreLoggedTenASecond(t *testing.T) {
	t.Parallel()
	memory := start(t, setup{level: "INFO", site: `
		verify_webhook /forged github {env.GITHUB_KEY} {
			name forged
			max_body 1KiB
		}
		verify_webhook /unavailable github {env.GITHUB_KEY} {
			name unavailable
			reject_status 503
		}
		verify_webhook /keyless github {file./nonexistent/key} {
			name keyless
		}
		verify_webhook /busy github {env.GITHUB_KEY} {
			name busy
			dedupe {
				wait 0s
			}
		}
		verify_webhook /both github {env.GITHUB_KEY} {
			name first
		}
		verify_webhook /both* github {env.GITHUB_KEY} {
			name second
		}
		reverse_proxy APP`})
	down := start(t, setup{level: "INFO", global: "verify_webhook {\nmax_buffered 32KiB\nstore redis {\naddress 127.0.0.1:1\nnamespace flood\ndown reject\n}\n}", site: githubSite})
	forged := func(path, method string, body []byte) message {
		return message{path: path, method: method, body: body, header: http.Header{"X-Hub-Signature-256": {"sha256=" + string(bytes.Repeat([]byte("0"), 64))}}}
	}
	busy := at("/busy").message(t)
	id, finish, arrived := newCase(), make(chan struct{}), make(chan struct{})
	memory.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		memory.app.until(finish)
		_, _ = io.WriteString(w, "taken")
	})
	var c crowd
	c.send(t, memory, id, busy, 1)
	next(t, "the app", arrived)
	for _, tc := range []struct {
		what   string
		g      *gateway
		m      message
		status int
	}{
		{"forged", memory, forged("/forged", "POST", []byte(jsonBody)), 401},
		{"method", memory, forged("/forged", "PUT", []byte(jsonBody)), 405},
		{"too large", memory, forged("/forged", "POST", make([]byte, 2000)), 413},
		{"reject_status", memory, forged("/unavailable", "POST", []byte(jsonBody)), 503},
		{"key_unavailable", memory, forged("/keyless", "POST", []byte(jsonBody)), 503},
		{"two handlers", memory, at("/both").message(t), 500},
		{"in_flight", memory, busy, 503},
		{"overloaded", down, forged("/", "POST", make([]byte, 100<<10)), 503},
		{"store_down", down, at("/").message(t), 503},
	} {
		before, began := len(tc.g.log.all()), time.Now()
		for range 150 {
			if a := tc.g.do(t, tc.g.h1, tc.g.request(t, newCase(), tc.m)); a.status != tc.status || a.body != "" {
				t.Fatalf("%s: answered %d %q, want %d", tc.what, a.status, a.body, tc.status)
			}
		}
		seconds := int(time.Since(began)/time.Second) + 2 // whole ones that it may touch
		lines, most := 0, 10*seconds
		for _, line := range tc.g.log.all()[before:] {
			if logger := line.text("logger"); logger != "" && !line.ours() {
				t.Errorf("%s: %s logged %s", tc.what, logger, line.raw)
			}
			lines++
			if line.text("reason") == "in_flight" {
				t.Errorf("a copy in flight is no refusal: %s", line.raw)
			}
		}
		if lines > most {
			t.Errorf("%s: 150 requests in %s made %d lines, want at most %d", tc.what, time.Since(began), lines, most)
		}
	}
	close(finish)
	wantForwarded(t, "the one in flight", c.wait(t)[0])
}

// TestAFloodWithoutNamesLeavesOthers: whoever captured one delivery can send it under
// other ids, which GitHub does not sign. That takes room from the handler of its site
// and path alone, although the handlers have no names.
func TestAFloodWithoutNamesLeavesOthers(t *testing.T) {
	t.Parallel()
	g := start(t, setup{global: "verify_webhook {\nstore memory {\nmax_entries 64\n}\n}", site: `
		verify_webhook /a github {env.GITHUB_KEY}
		verify_webhook /b github {env.GITHUB_KEY}
		reverse_proxy APP`})
	captured := githubWith(t, githubKey)
	isCopy := func(path, id string) bool {
		m := captured.to("", path)
		m.header.Set("X-Github-Delivery", id)
		a := g.once(t, m)
		if a.status != http.StatusOK {
			t.Fatalf("%s: answered %d", path, a.status)
		}
		return a.header.Get("Webhook-Duplicate") != ""
	}
	isCopy("/b", "genuine")
	for i := range 100 {
		isCopy("/a", strconv.Itoa(i))
	}
	if !isCopy("/b", "genuine") {
		t.Error("a copy is forwarded after a flood of another handler")
	}
	if isCopy("/a", "0") {
		t.Error("the flood fits: nothing was shown")
	}
}
