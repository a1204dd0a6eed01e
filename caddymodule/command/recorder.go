package command

import (
	"errors"
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

// A recorder runs before the verify_webhook handler of "caddy webhook listen" and
// records each request and its outcome.
type recorder struct {
	maxBody int64  // limit of the copy of a body, in bytes
	tenant  string // of each request; "" for a handler without tenants
	seen    chan *observation
	missed  atomic.Int64 // observations since the last look for which seen had no room
	copied  atomic.Int64 // room of the bodies that are kept, in bytes
}

// maxCopied limits the bodies that are kept at once, in bytes: strangers find a tunnel's
// address. Small ones, which a connection alone costs, always have room.
const (
	maxCopied = 64 << 20
	smallCopy = mostShown
)

// maxSeen limits the observations that wait to be shown. A flood is still served, but
// not shown in full.
const maxSeen = 64

// recorderID is registered only by listen; no other configuration contains it.
const recorderID = "http.handlers.verify_webhook_recorder"

var (
	recording    atomic.Pointer[recorder] // a process runs one listen at a time
	registration sync.Once
)

// newRecorder returns the recorder for the next configuration.
func newRecorder(maxBody int64, tenant string) *recorder {
	w := &recorder{maxBody: maxBody, tenant: tenant, seen: make(chan *observation, maxSeen)}
	recording.Store(w)
	registration.Do(func() { caddy.RegisterModule(w) })
	return w
}

// CaddyModule returns the Caddy module information.
func (*recorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: recorderID, New: func() caddy.Module { return recording.Load() }}
}

// An observation is a request and its outcome.
type observation struct {
	at      time.Time
	took    time.Duration // until the answer
	name    string        // of the handler; "" if no sender has this path
	request *rawhttp.Request
	app     http.Header // the headers that the app got; nil if it got nothing
	bytes   int64       // of the body that arrived
	cut     string      // why not all of them are kept; "" if they are
	room    int64       // of the body that is kept, in bytes
	status  int

	verified, duplicate, handshake bool

	key, id, event, reason string
	err                    error
	rejection              *verifier.Rejection // err, if it is one
}

// ServeHTTP keeps a copy of the whole body, including the part that the gateway does
// not read: a delivery refused by its headers is explained and saved with its body.
func (w *recorder) ServeHTTP(rw http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	kept := &keptBody{ReadCloser: r.Body, limit: w.maxBody, declared: r.ContentLength, copied: &w.copied}
	e := &observation{at: time.Now(), request: &rawhttp.Request{
		Method: r.Method, Scheme: "http", Host: r.Host, Target: r.URL.RequestURI(), Header: r.Header.Clone(),
	}}
	if len(r.RequestURI) > 0 && r.RequestURI[0] == '/' {
		e.request.Target = r.RequestURI
	}
	r.Body = kept
	r.Header.Set(tenantHeader, w.tenant)
	response := caddyhttp.NewResponseRecorder(rw, nil, nil)
	err := next.ServeHTTP(response, r)
	e.took = time.Since(e.at)
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	flag := func(name string) bool { value, _ := repl.Get("http.verify_webhook." + name); return value == true }
	text := func(name string) string { value, _ := repl.GetString("http.verify_webhook." + name); return value }
	if text("reason") == "overloaded" && kept.cut == "" {
		kept.cutOff(crowded)
	}
	kept.drain(http.NewResponseController(rw))

	e.status, e.err = response.Status(), err
	if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		e.status, e.err = failure.StatusCode, failure.Err
	}
	e.request.Body, e.bytes, e.cut, e.room = kept.copy, kept.read, kept.cut, int64(cap(kept.copy))
	e.verified, e.duplicate, e.handshake = flag("verified"), flag("duplicate"), flag("handshake")
	e.name, e.key, e.id, e.event, e.reason = text("name"), text("key"), text("delivery_id"), text("event"), text("reason")
	e.rejection, _ = errors.AsType[*verifier.Rejection](err)
	if e.verified && !e.duplicate && r.Header.Get("Webhook-Verified") == e.name {
		e.app = r.Header.Clone()
		e.app.Del(tenantHeader)
	}
	select {
	case w.seen <- e:
	default:
		w.missed.Add(1)
		w.forget(e)
	}
	return err
}

// forget frees the room of an observation's body.
func (w *recorder) forget(e *observation) { w.copied.Add(-e.room) }

// keptBody keeps a copy of a body: of all of it, or of its beginning.
type keptBody struct {
	io.ReadCloser
	copy     []byte
	limit    int64
	declared int64 // -1: unknown
	read     int64
	cut      string
	ended    bool

	copied *atomic.Int64 // with all others
}

func (b *keptBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.ended = b.ended || err != nil
	if b.cut != "" {
		return n, err
	}
	want := min(b.read, b.limit)
	if !b.grow(want) {
		b.cutOff(crowded)
		return n, err
	}
	b.copy = append(b.copy, p[:want-int64(len(b.copy))]...)
	if b.read > b.limit {
		b.cutOff("it is larger than max_body")
	} else if err != nil && err != io.EOF {
		b.cutOff("it did not arrive whole")
	}
	return n, err
}

const crowded = "too many large bodies arrive at once"

// grow makes room for so many bytes; false if there is none.
func (b *keptBody) grow(want int64) bool {
	had := int64(cap(b.copy))
	if want <= had {
		return true
	}
	most := b.limit
	if b.declared >= 0 {
		most = min(most, b.declared)
	}
	room := max(want, min(most, max(2*had, 4<<10)))
	if b.copied.Add(room-had) > maxCopied && room > smallCopy {
		b.copied.Add(had - room)
		return false
	}
	grown := make([]byte, len(b.copy), room)
	copy(grown, b.copy)
	b.copy = grown
	return true
}

// cutOff keeps only the beginning.
func (b *keptBody) cutOff(why string) {
	b.cut = why
	if had := cap(b.copy); had > smallCopy {
		b.copy = append(make([]byte, 0, smallCopy), b.copy[:min(len(b.copy), smallCopy)]...)
		b.copied.Add(int64(smallCopy - had))
	}
}

// drain reads the rest of the body, for at most two seconds.
func (b *keptBody) drain(c *http.ResponseController) {
	if b.ended || b.cut != "" {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // without it the server's limits apply
	_, _ = io.Copy(io.Discard, io.LimitReader(b, b.limit+1-b.read))
	_ = c.SetReadDeadline(time.Time{})
}

// Interface guards
var _ caddyhttp.MiddlewareHandler = (*recorder)(nil)
