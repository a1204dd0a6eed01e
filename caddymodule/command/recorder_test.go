package command

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestKeptBody: what is longer than the limit is not kept, and says so.
func TestKeptBody(t *testing.T) {
	for body, cut := range map[string]string{"": "", "abc": "", "abcd": "it is larger than max_body"} {
		kept := &keptBody{ReadCloser: io.NopCloser(strings.NewReader(body)), limit: 3, declared: -1, copied: new(atomic.Int64)}
		kept.drain(http.NewResponseController(httptest.NewRecorder()))
		if kept.cut != cut || string(kept.copy) != body[:min(3, len(body))] {
			t.Errorf("%q: cut %q, kept %q", body, kept.cut, kept.copy)
		}
	}
	half := &keptBody{ReadCloser: io.NopCloser(io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF))), limit: 3, declared: 3, copied: new(atomic.Int64)}
	half.drain(http.NewResponseController(httptest.NewRecorder()))
	if half.cut != "it did not arrive whole" || string(half.copy) != "ab" {
		t.Errorf("half a body: cut %q, kept %q", half.cut, half.copy)
	}
}

// TestStrangersFillNeitherMemoryNorDisk: whoever finds the address of a tunnel can send
// large bodies as fast as he likes.
func TestStrangersFillNeitherMemoryNorDisk(t *testing.T) {
	w := &recorder{maxBody: 25 << 20, seen: make(chan *observation, maxSeen)}
	app := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	})
	large := strings.Repeat("x", 20<<20)
	for range 5 {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(large))
		rw := httptest.NewRecorder()
		if err := w.ServeHTTP(rw, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), rw, nil), app); err != nil {
			t.Fatal(err)
		}
	}
	if kept := w.copied.Load(); kept > maxCopied+2*smallCopy {
		t.Errorf("%d bytes are kept", kept)
	}
	p := &reporter{recorder: w, out: io.Discard}
	p.saved.Store(maxSaved - 30<<20)
	folder := t.TempDir()
	cut, full := 0, 0
	for range 5 {
		e := <-w.seen
		if e.cut != "" {
			cut++
			if len(e.request.Body) > smallCopy {
				t.Errorf("%d bytes of a body that is cut are kept", len(e.request.Body))
			}
		}
		if e.bytes != int64(len(large)) || int64(cap(e.request.Body)) != e.room || cap(e.request.Body) > len(large) {
			t.Errorf("%d bytes arrived, with room for %d, counted as %d", e.bytes, cap(e.request.Body), e.room)
		}
		if _, err := p.save(e, folder); err != nil && strings.Contains(err.Error(), "1 GiB") {
			full++
		}
		w.forget(e)
	}
	if cut != 2 || full != 2 {
		t.Errorf("%d of 5 bodies are cut, want 2; %d of the others are too much for the disk, want 2", cut, full)
	}
	if kept := w.copied.Load(); kept != 0 {
		t.Errorf("%d bytes are kept after all are shown", kept)
	}
}

// TestBodiesThatArriveTogether: those that are kept are whole, and a small one always
// is.
func TestBodiesThatArriveTogether(t *testing.T) {
	var copied atomic.Int64
	const size = 20 << 20
	whole, piece := 0, make([]byte, 1<<20)
	var all []*keptBody
	for range 12 {
		all = append(all, &keptBody{ReadCloser: io.NopCloser(io.LimitReader(zeros{}, size)), limit: 25 << 20, declared: size, copied: &copied})
	}
	for range size/len(piece) + 1 {
		for _, b := range all {
			if _, err := io.ReadFull(b, piece); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if copied.Load() > maxCopied+int64(len(all))*smallCopy {
				t.Fatalf("%d bytes are kept", copied.Load())
			}
		}
	}
	for _, b := range all {
		if b.read != size {
			t.Errorf("%d bytes were read", b.read)
		}
		if b.cut == "" && len(b.copy) == size {
			whole++
		} else if len(b.copy) > smallCopy {
			t.Errorf("%d bytes of a body that is cut are kept", len(b.copy))
		}
	}
	if whole != maxCopied/size {
		t.Errorf("%d bodies are whole, want %d", whole, maxCopied/size)
	}
	small := &keptBody{ReadCloser: io.NopCloser(io.LimitReader(zeros{}, smallCopy)), limit: 25 << 20, declared: -1, copied: &copied}
	if _, err := io.Copy(io.Discard, small); err != nil || small.cut != "" || len(small.copy) != smallCopy {
		t.Errorf("a small one: %d bytes, cut %q, %v", len(small.copy), small.cut, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestNoHintAboutACutBody: the missing rest is no mistake of the sender's.
func TestNoHintAboutACutBody(t *testing.T) {
	s, _, err := (&schemeFlags{secrets: []string{"Zk8vQ2mWn4Lx7RtYp0sB"}}).resolve([]string{"github"})
	if err != nil {
		t.Fatal(err)
	}
	for reason, skew := range map[verifier.Reason]time.Duration{verifier.SignatureMismatch: 0, verifier.StaleTimestamp: time.Hour} {
		e := &observation{name: s.Name, bytes: 21968897, cut: "too many large bodies arrive at once", rejection: &verifier.Rejection{Reason: reason, Skew: skew}, request: s.newRequest()}
		e.err = e.rejection
		e.request.Header.Set("Content-Length", "21968897")
		e.request.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
		e.request.Body = []byte("the beginning")
		p := &reporter{recorder: new(recorder), subjects: []*subject{s}, out: io.Discard}
		r := p.report(t.Context(), e)
		if want := "only the first 13 bytes of the body are kept here, too few for a hint, because too many large bodies arrive at once"; r.Hint != want || r.Bytes != e.bytes {
			t.Errorf("%s: %d bytes, %s", reason, r.Bytes, r.Hint)
		}
	}
}
