package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A witness stands before the verify_webhook handler of "caddy webhook listen",
// and notes each request and what became of it.
type witness struct {
	subject *subject
	screen  *screen
	folder  string // "": nothing is saved
	alone   bool   // no app stands behind
	seen    chan *sighting
	missed  atomic.Int64
}

// maxSightings is how many requests may wait to be shown. A flood is served on
// and not shown in full.
const maxSightings = 64

const witnessName = "verify_webhook_witness"

// CaddyModule returns the Caddy module information. The module is registered
// while listen runs: it is no part of any configuration.
func (*witness) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + witnessName, New: func() caddy.Module { return witnessing.Load() }}
}

var (
	witnessing   atomic.Pointer[witness] // there is one listen in a process
	registration sync.Once
)

// install makes w the witness of the configuration that is loaded next.
func (w *witness) install() {
	witnessing.Store(w)
	registration.Do(func() { caddy.RegisterModule(w) })
}

// A sighting is a request and what became of it.
type sighting struct {
	at      time.Time
	request *rawhttp.Request
	cut     bool // the body is longer than what is kept
	status  int

	verified, duplicate, handshake bool

	key, id, reason string
	err             error

	judged    bool // it was refused for what it is: rejection says for what
	rejection *verifier.Rejection
}

// ServeHTTP keeps a copy of what the gateway reads, and of what it leaves unread:
// a delivery that is refused by its headers is looked into with its body.
func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	kept := &keptBody{ReadCloser: r.Body, limit: w.subject.MaxBody}
	e := &sighting{at: time.Now(), request: &rawhttp.Request{
		Method: r.Method, Scheme: "http", Host: r.Host, Target: r.URL.RequestURI(), Header: r.Header.Clone(),
	}}
	if len(r.RequestURI) > 0 && r.RequestURI[0] == '/' {
		e.request.Target = r.RequestURI
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	r.Body = kept
	recorder := caddyhttp.NewResponseRecorder(rw, nil, nil)
	err := next.ServeHTTP(recorder, r)
	kept.drain(http.NewResponseController(rw))

	e.status, e.err = recorder.Status(), err
	if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		e.status, e.err = failure.StatusCode, failure.Err
	}
	e.request.Body, e.cut = kept.copy.Bytes(), kept.cut
	e.verified, e.duplicate, e.handshake = isSet(repl, "verified"), isSet(repl, "duplicate"), isSet(repl, "handshake")
	e.key, e.id, e.reason = textOf(repl, "key"), textOf(repl, "delivery_id"), textOf(repl, "reason")
	e.rejection, e.judged = errors.AsType[*verifier.Rejection](err)
	select {
	case w.seen <- e:
	default:
		w.missed.Add(1)
	}
	return err
}

func isSet(repl *caddy.Replacer, name string) bool {
	value, _ := repl.Get("http.verify_webhook." + name)
	set, _ := value.(bool)
	return set
}

func textOf(repl *caddy.Replacer, name string) string {
	text, _ := repl.GetString("http.verify_webhook." + name)
	return text
}

// verdict says in one line what became of a request.
func (w *witness) verdict(e *sighting) (colour, text string) {
	colour, text = w.outcome(e)
	if n := w.missed.Swap(0); n > 0 {
		text += fmt.Sprintf(" (%d more requests came too fast to be shown)", n)
	}
	return colour, text
}

func (w *witness) outcome(e *sighting) (colour, text string) {
	switch {
	case e.handshake:
		return yellow, fmt.Sprintf("handshake: answered %d", e.status)
	case e.duplicate:
		return yellow, fmt.Sprintf("duplicate: answered %d, the app had taken it%s", e.status, e.particulars())
	case e.verified && e.err != nil && e.status == http.StatusServiceUnavailable:
		return yellow, fmt.Sprintf("genuine, not now: %v%s", e.err, e.particulars())
	case e.verified && e.err != nil:
		return yellow, fmt.Sprintf("genuine: the app does not answer, %d: %s%s", e.status, printable(e.err.Error()), e.particulars())
	case e.verified && w.alone:
		return green, fmt.Sprintf("genuine: answered %d%s", e.status, e.particulars())
	case e.verified:
		return green, fmt.Sprintf("genuine: the app answered %d%s", e.status, e.particulars())
	case e.err == nil:
		return red, fmt.Sprintf("not genuine, let through (observe): %s: the app answered %d", e.reason, e.status)
	case e.judged:
		return red, fmt.Sprintf("refused, %d: %s: %s", e.status, e.rejection.Reason, printable(e.rejection.Detail))
	}
	return red, fmt.Sprintf("refused, %d: %s", e.status, printable(e.err.Error()))
}

func (e *sighting) particulars() string {
	text := ", key " + printable(e.key)
	if e.id != "" {
		text += ", delivery id " + printable(e.id)
	}
	return text
}

// word is the verdict in the name of a file.
func (e *sighting) word() string {
	switch {
	case e.handshake:
		return "handshake"
	case e.duplicate:
		return "duplicate"
	case e.verified:
		return "genuine"
	case e.reason != "":
		return e.reason
	}
	return "refused"
}

// keptBody keeps a copy of the first bytes that are read.
type keptBody struct {
	io.ReadCloser
	copy  bytes.Buffer
	limit int64
	cut   bool
	ended bool
}

func (b *keptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	room := int(min(int64(n), b.limit-int64(b.copy.Len())))
	b.copy.Write(p[:room])
	b.cut = b.cut || room < n
	b.ended = b.ended || err != nil
	return n, err
}

// drainTime is how long a refused request may take to hand over its body.
const drainTime = 2 * time.Second

func (b *keptBody) drain(c *http.ResponseController) {
	if b.ended {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(drainTime)) // without it the server's own limits hold
	_, _ = io.Copy(io.Discard, io.LimitReader(b, b.limit+1-int64(b.copy.Len())))
	_ = c.SetReadDeadline(time.Time{})
}

// Interface guards
var _ caddyhttp.MiddlewareHandler = (*witness)(nil)
