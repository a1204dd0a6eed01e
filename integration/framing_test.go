package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const mebibyte = 1 << 20

// TestBodies: the signature covers the bytes as sent, and the app gets those bytes
// with a new framing.
func TestBodies(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = io.WriteString(z, jsonBody)
		_ = z.Close()
		bodies := map[string]string{
			"empty":             "",
			"one byte":          "\n",
			"not UTF-8":         "\xff\xfe\x00" + bodyMark + "\xe9",
			"line breaks":       "\r\n\r\n" + bodyMark + "\r\n",
			"gzip":              zipped.String(),
			"a mebibyte":        strings.Repeat("x", mebibyte),
			"odd beyond a page": strings.Repeat("ab3", 4097),
		}
		bodiesArrive(t, g, bodies)
	})
}

// TestBodiesThroughABlock: the proxy in a block buffers small bodies.
func TestBodiesThroughABlock(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{"empty": "", "a mebibyte": strings.Repeat("x", mebibyte)}
	for _, n := range []int{1, 1 << 10, 4095, 4096, 4097, 8192, 15 << 10, 16<<10 - 1, 16 << 10, 16<<10 + 1} {
		bodies[fmt.Sprint(n, " bytes")] = strings.Repeat("z", n)
	}
	const site = "verify_webhooks /hooks/* {\nsender github {env.GITHUB_KEY}\nreverse_proxy APP\n}"
	for _, site := range []string{site, throughDirect(site)} {
		bodiesArrive(t, start(t, setup{site: site}), bodies)
	}
}

// bodiesArrive sends each body to github's handler in every framing, and checks what the
// app gets.
func bodiesArrive(t *testing.T, g *gateway, bodies map[string]string) {
	t.Helper()
	for what, body := range bodies {
		for _, chunked := range []bool{false, true} {
			for _, protocol := range protocols {
				m := github.deliver(t, githubKey, time.Now(), []byte(body))
				m.chunked = chunked
				m.header.Set("X-Github-Delivery", newCase()) // else a copy of the one before
				if what == "gzip" {
					m.header.Set("Content-Encoding", "gzip")
				}
				a, got := g.send(t, protocol, m)
				what := fmt.Sprintf("%s, %s, chunked %v", what, protocol, chunked)
				wantTaken(t, what, a, got)
				wantArrival(t, got, "github", m)
				if m.header.Get("Content-Encoding") != got[0].Header.Get("Content-Encoding") {
					t.Errorf("%s: Content-Encoding %q, sent %q", what, got[0].Header.Get("Content-Encoding"), m.header.Get("Content-Encoding"))
				}
			}
		}
	}
}

// TestBodyTooLarge: one byte more than max_body is refused, never truncated. The
// sender documents no size, so the default applies.
func TestBodyTooLarge(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		a, got := g.send(t, "HTTP/1.1", aryeo.deliver(t, aryeoKey, time.Now(), bytes.Repeat([]byte("y"), mebibyte)))
		wantTaken(t, "exactly max_body", a, got)
		m := aryeo.deliver(t, aryeoKey, time.Now(), bytes.Repeat([]byte("x"), mebibyte+1))
		for _, chunked := range []bool{false, true} {
			for _, protocol := range protocols {
				if protocol == "HTTP/1.1" && !chunked {
					continue // below: a client that keeps sending may see a reset before the response
				}
				m.chunked = chunked
				a, got := g.send(t, protocol, m)
				wantRefused(t, fmt.Sprintf("%s, chunked %v", protocol, chunked), http.StatusRequestEntityTooLarge, a, got)
			}
		}
		t.Run("declared, before it is sent", func(t *testing.T) {
			id := newCase()
			s := g.dial(t)
			s.head("POST", aryeo.path+"?case="+id, append(lines(m.header), length(mebibyte+1))...)
			a := s.answer()
			wantRefused(t, "HTTP/1.1", http.StatusRequestEntityTooLarge, a, g.app.got(id))
			if a.header.Get("Connection") != "close" {
				t.Errorf("Connection: %q, want close", a.header.Get("Connection"))
			}
		})
	})
}

// TestExpectContinue: a client that asks first may go on only if the headers pass.
func TestExpectContinue(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		m := github.message(t)
		ask := func(t *testing.T, header http.Header, n int) *socket {
			s := g.dial(t)
			s.head("POST", github.path, append(lines(header), length(n), "Expect: 100-continue")...)
			return s
		}
		t.Run("genuine", func(t *testing.T) {
			s := ask(t, m.header, len(m.body))
			line, err := s.in.ReadString('\n')
			if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
				t.Fatalf("got %q, %v; want 100 Continue", line, err)
			}
			s.write(string(m.body))
			if _, err := s.in.ReadString('\n'); err != nil { // the empty line after 100
				t.Fatal(err)
			}
			if a := s.answer(); a.status != http.StatusOK || a.body != "taken" {
				t.Errorf("answered %d %q, want 200", a.status, a.body)
			}
		})
		for what, header := range map[string]http.Header{"unsigned": nil, "malformed": {"X-Hub-Signature-256": {"sha256=00"}}} {
			t.Run(what, func(t *testing.T) {
				s := ask(t, header, len(m.body))
				line, err := s.in.ReadString('\n')
				if err != nil || line != "HTTP/1.1 401 Unauthorized\r\n" {
					t.Fatalf("got %q, %v; want 401 before the body is asked for", line, err)
				}
			})
		}
	})
}

// TestRefusedBeforeTheBody: without Expect too, a refusal that needs no body does not
// wait for one that does not arrive.
func TestRefusedBeforeTheBody(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		for what, framing := range map[string]string{"declared": length(1000), "chunked": "Transfer-Encoding: chunked"} {
			s := g.dial(t)
			s.head("POST", github.path, framing)
			if a := s.answer(); a.status != http.StatusUnauthorized || a.header.Get("Connection") != "close" {
				t.Errorf("%s: answered %d, Connection %q; want 401 and close", what, a.status, a.header.Get("Connection"))
			}
		}
	})
}

// TestTrailers: no signature covers them, so the app gets none.
func TestTrailers(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		for _, protocol := range protocols {
			m := github.message(t)
			m.trailer = http.Header{"X-Late": {"after the signature"}, "Webhook-Verified": {"forged"}}
			a, got := g.send(t, protocol, m)
			wantTaken(t, protocol, a, got)
			wantArrival(t, got, "github", m)
			if got[0].Header.Get("X-Late") != "" {
				t.Errorf("%s: the trailer became a header", protocol)
			}
		}
	})
}

// TestHalfABody: half a body is no delivery.
func TestHalfABody(t *testing.T) {
	eachTransport(t, func(t *testing.T, g *gateway) {
		m := at(halfPath).message(t)
		half := string(m.body[:len(m.body)/2])
		for what, send := range map[string]func(s *socket, target string){
			"declared": func(s *socket, target string) {
				s.head("POST", target, append(lines(m.header), length(len(m.body)))...)
				s.write(half)
			},
			"chunked": func(s *socket, target string) {
				s.head("POST", target, append(lines(m.header), "Transfer-Encoding: chunked")...)
				s.write(fmt.Sprintf("%x\r\n%s", len(m.body), half))
			},
			"chunked, without the last chunk": func(s *socket, target string) {
				s.head("POST", target, append(lines(m.header), "Transfer-Encoding: chunked")...)
				s.write(fmt.Sprintf("%x\r\n%s\r\n", len(m.body), m.body))
			},
		} {
			id := newCase()
			s := g.dial(t)
			send(s, halfPath+"?case="+id)
			if err := s.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if a := s.answer(); a.status != http.StatusBadRequest || len(g.app.got(id)) != 0 {
				t.Errorf("%s: answered %d, app called %d times; want 400 and never", what, a.status, len(g.app.got(id)))
			}
		}
	})
}

// TestResetBody is TestHalfABody on HTTP/2, where a sender cancels its request. The
// gateway is separate: it buffers only this body.
func TestResetBody(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy APP"})
	m := github.message(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body, in := io.Pipe()
	id := newCase()
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+g.address+"/?case="+id, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header, r.ContentLength = m.header.Clone(), int64(len(m.body))
	failed := make(chan error, 1)
	go func() {
		resp, err := g.h2.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	if _, err := in.Write(m.body[:len(m.body)/2]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "half a body has arrived", func() bool { return g.metric(t, "caddy_verify_webhook_buffered_bytes") > 0 })
	cancel()
	if err := <-failed; err == nil {
		t.Error("the sender got an answer to a request that it took back")
	}
	g.log.refused(t, "github", "body_incomplete")
	if n := len(g.app.got(id)); n != 0 {
		t.Errorf("app called %d times, want never", n)
	}
}

// TestBodyTimeout: the time for a body is absolute; sending a byte now and then does
// not extend it.
func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	g := shared(t)
	const limit, generous = time.Second, 6 * time.Second // body_timeout, and what a busy machine may add
	m := at(slowPath).message(t)
	within := func(t *testing.T, began time.Time, status int) {
		t.Helper()
		if took := time.Since(began); status != http.StatusRequestTimeout || took < limit*9/10 || took > generous {
			t.Errorf("answered %d after %s; want 408 after %s", status, took, limit)
		}
	}
	// trickle sends a byte every 50 ms until the connection fails.
	trickle := func(w io.Writer, stop <-chan struct{}) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := 0; i < len(m.body)-1; i++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if _, err := w.Write(m.body[i : i+1]); err != nil {
				return
			}
		}
	}
	for what, bytes := range map[string]bool{"silent": false, "one byte at a time": true} {
		t.Run("HTTP/1.1, "+what, func(t *testing.T) {
			t.Parallel()
			s := g.dial(t)
			began := time.Now()
			s.head("POST", slowPath, append(lines(m.header), length(len(m.body)))...)
			answered := make(chan struct{})
			defer close(answered)
			if bytes {
				go trickle(s, answered)
			}
			a := s.answer()
			within(t, began, a.status)
			if a.header.Get("Connection") != "close" {
				t.Errorf("Connection: %q, want close: the rest of the body may follow", a.header.Get("Connection"))
			}
		})
		t.Run("HTTP/2, "+what, func(t *testing.T) {
			t.Parallel()
			body, in := io.Pipe()
			defer in.Close()
			id := newCase()
			r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+g.address+slowPath+"?case="+id, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header, r.ContentLength = m.header.Clone(), int64(len(m.body))
			answered := make(chan struct{})
			defer close(answered)
			if bytes {
				go trickle(in, answered)
			}
			began := time.Now()
			within(t, began, g.do(t, g.h2, r).status)
		})
	}
	t.Run("a body in time", func(t *testing.T) {
		t.Parallel()
		id := newCase()
		// The app may take longer than the body: the deadline has been removed.
		g.app.answer(id, func(w http.ResponseWriter, r *http.Request) {
			pause := time.NewTimer(limit * 3 / 2)
			defer pause.Stop()
			select {
			case <-pause.C:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "late")
		})
		for _, protocol := range protocols {
			if a := g.do(t, g.client(protocol), g.request(t, id, at(slowPath).message(t))); a.status != http.StatusOK || a.body != "late" {
				t.Errorf("%s: answered %d %q, want 200 late", protocol, a.status, a.body)
			}
		}
	})
}
