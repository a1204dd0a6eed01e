package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTheAppsAnswerIsTheSenders, whatever it is.
func TestTheAppsAnswerIsTheSenders(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, status := range []int{200, 201, 202, 204, 302, 307, 400, 401, 404, 410, 422, 429, 500, 502, 503} {
		for _, protocol := range protocols {
			id := newCase()
			body := fmt.Sprintf("answer %d", status)
			if status == http.StatusNoContent {
				body = ""
			}
			g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.Header().Add("X-Answer", "one")
				w.Header().Add("X-Answer", "two")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			})
			a := g.do(t, g.client(protocol), g.request(t, id, github.message(t)))
			if a.status != status || a.body != body || a.header.Get("Location") != "/elsewhere" || len(a.header.Values("X-Answer")) != 2 {
				t.Errorf("%s, %d: answered %d %q %v", protocol, status, a.status, a.body, a.header)
			}
			if a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s, %d: the gateway added its own challenge", protocol, status)
			}
		}
	}
}

// TestLongAnswer: what the app says is not cut or held.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	g := shared(t)
	id := newCase()
	long := strings.Repeat("0123456789abcdef", mebibyte/16)
	g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) })
	for _, protocol := range protocols {
		if a := g.do(t, g.client(protocol), g.request(t, id, github.message(t))); a.status != 200 || a.body != long {
			t.Errorf("%s: answered %d with %d bytes, want 200 with %d", protocol, a.status, len(a.body), len(long))
		}
	}
}

// TestUpstreamTimeout: an app that does not answer in time is a 504.
func TestUpstreamTimeout(t *testing.T) {
	t.Parallel()
	g := shared(t)
	id := newCase()
	g.app.answer(id, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-g.app.released:
		}
	})
	began := time.Now()
	a := g.do(t, g.h1, g.request(t, id, at(impatient).message(t)))
	if took := time.Since(began); a.status != http.StatusGatewayTimeout || took < 900*time.Millisecond || took > 8*time.Second {
		t.Errorf("answered %d after %s, want 504 after upstream_timeout (1s)", a.status, took)
	}
}

// TestSenderHangsUp: the app finishes all the same. Plain proxies beside it, whose
// senders hang up later, show that the gateway notices and would have cut it off.
func TestSenderHangsUp(t *testing.T) {
	t.Parallel()
	g := shared(t)
	bound := time.After(patience)
	m := github.message(t)
	// call sends and hangs up once the app works on it. The channel tells how
	// that ends: nil if the app was left to finish.
	finish := make(chan struct{})
	call := func(path string) <-chan error {
		arrived, ended := make(chan struct{}), make(chan error, 1)
		id := newCase()
		g.app.answer(id, func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			select {
			case <-r.Context().Done():
			case <-finish:
			}
			ended <- r.Context().Err()
		})
		s := g.dial(t)
		s.head("POST", path+"?case="+id, append(lines(m.header), length(len(m.body)))...)
		s.write(string(m.body))
		select {
		case <-arrived:
		case <-bound:
			t.Fatalf("%s: the app was not called", path)
		}
		s.Close()
		return ended
	}
	guarded := call(github.path)
	for range 5 {
		select {
		case err := <-call("/plain"):
			if err == nil {
				t.Fatal("the plain proxy's app was not cut off: this test proves nothing")
			}
		case <-bound:
			t.Fatal("the gateway does not notice a hang-up")
		}
	}
	close(finish)
	select {
	case err := <-guarded:
		if err != nil {
			t.Errorf("the app was cut off when its sender hung up: %v", err)
		}
	case <-bound:
		t.Error("the app did not finish")
	}
}

// TestAppIsDown: a genuine delivery that nobody took is no success.
func TestAppIsDown(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: "verify_webhook github {env.GITHUB_KEY}\nreverse_proxy " + freeAddress()})
	for _, protocol := range protocols {
		if a, _ := g.send(t, protocol, github.message(t)); a.status != http.StatusBadGateway {
			t.Errorf("%s: answered %d, want 502", protocol, a.status)
		}
	}
}

// TestAppDiesInItsAnswer: the sender must not take half an answer for a whole one.
func TestAppDiesInItsAnswer(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, protocol := range protocols {
		id := newCase()
		g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush() // else the gateway sees no answer at all
			panic(http.ErrAbortHandler)
		})
		resp, err := g.client(protocol).Do(g.request(t, id, github.message(t)))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the sender got a whole answer from an app that died", protocol)
		}
	}
}
