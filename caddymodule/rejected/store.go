// Package rejected keeps the newest requests that a gateway has refused, and
// tells the operator why: what was sent, without its credentials and never its
// body, and a hint at the cause.
//
// A [Store] takes a [Request] on the delivery's way ([Store.Add], which only
// copies), and shows it when the admin API asks ([Store.List], [Store.Find]).
// Only then is it redacted and explained, with the keys and options that are in
// force then: what has been put right since shows.
//
// What is shown fails closed. Values of headers and query parameters are shown if
// their name is known to be harmless or a scheme reads them, and if they hold none
// of the gateway's keys, however these are encoded; everything else is redacted.
package rejected

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// PerHandler is how many requests of a handler are kept by default.
const PerHandler = 16

const (
	maxSize   = 64 << 10 // of one request: its body is cut to fit
	maxBytes  = 4 << 20  // of all requests
	maxDetail = 1 << 10
	lineSize  = 64 // about what a header line takes besides its text
)

// A Handler is a handler as it is now, or as it was when it refused a request.
type Handler struct {
	Name     string
	Provider string         // the provider's id, "" without one
	Place    int            // among the handlers of its configuration
	Keys     *keys.Snapshot // nil while it has no usable key
}

// A Request is one whose verification failed, or one that a limit refused.
type Request struct {
	verifier.Request         // as it was received
	Handler          Handler // that refused it
	// Tried are the keys of all handlers at the time: they stay hidden after a change.
	Tried    []*keys.Snapshot
	Remote   string // address and port of the client
	Time     time.Time
	Reason   verifier.Reason
	Detail   string
	Skew     time.Duration // now minus its timestamp; 0 if that is not the reason
	Observed bool          // it was let through all the same

	// Limit says that a limit refused it, and Remedy what the operator can do. Of
	// each limit of a handler the newest is kept: browsers and scanners must not
	// drive out what is worth a look.
	Limit  bool
	Remedy string

	Body     []byte
	Read     bool  // the whole body was read before the refusal
	Declared int64 // bytes that the sender announced; -1: none

	id     string
	seq    uint64
	length int // of the body as it was read
	digest [sha256.Size]byte
	size   int64 // bytes that the request takes
	hint   hint
}

// whole reports whether all that was sent is kept.
func (r *Request) whole() bool { return r.Read && len(r.Body) == r.length }

// A Store holds the newest refused requests: of each handler name a number, and
// 4 MiB in all. The zero Store is ready. It is safe for concurrent use.
type Store struct {
	// NewID names a request. Default: 48 random bits, so that none names two in a
	// lifetime. An id is no secret, and a flood of forgeries draws many.
	NewID func() string

	mu     sync.Mutex
	seq    uint64
	bytes  int64
	byName map[string][]*Request // oldest first
}

func randomID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[2:])
}

// Add keeps a request in place of the oldest, most of its handler's name, and
// returns its id. Of headers and body it keeps copies.
func (s *Store) Add(r Request, most int) (id string) {
	r.Header, r.length = http.Header(r.Header).Clone(), len(r.Body)
	if len(r.Detail) > maxDetail { // it may quote what a stranger wrote
		r.Detail = strings.ToValidUTF8(r.Detail[:maxDetail], "") + "…"
	}
	r.size = int64(len(r.Target) + len(r.Host) + len(r.Detail))
	for name, values := range r.Header {
		for _, value := range values {
			r.size += int64(len(name)+len(value)) + lineSize
		}
	}
	if r.size > maxSize { // a server may allow megabytes of headers
		r.Header, r.Target, r.Host, r.size = http.Header{}, "", "", int64(len(r.Detail))
	}
	room := min(int64(len(r.Body)), maxSize-r.size)
	if room < int64(len(r.Body)) {
		r.digest = sha256.Sum256(r.Body)
	}
	r.Body = bytes.Clone(r.Body[:room])
	r.size += room
	r.id = randomID()
	if s.NewID != nil {
		r.id = s.NewID()
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = make(map[string][]*Request)
	}
	name := r.Handler.Name
	if r.Limit {
		s.dropLimit(name, r.Reason)
	}
	s.seq++
	r.seq = s.seq
	s.bytes += r.size
	s.byName[name] = append(s.byName[name], &r)
	s.trim(name, most)
	for s.bytes > maxBytes {
		s.dropOldest()
	}
	return r.id
}

// dropLimit drops what is kept of a name that a limit refused for the same reason.
func (s *Store) dropLimit(name string, reason verifier.Reason) {
	s.byName[name] = slices.DeleteFunc(s.byName[name], func(r *Request) bool {
		same := r.Limit && r.Reason == reason
		if same {
			s.bytes -= r.size
		}
		return same
	})
}

// trim drops the oldest of a name beyond most.
func (s *Store) trim(name string, most int) {
	list := s.byName[name]
	surplus := len(list) - most
	if surplus <= 0 {
		return
	}
	for _, r := range list[:surplus] {
		s.bytes -= r.size
	}
	s.byName[name] = slices.Delete(list, 0, surplus)
	if most == 0 {
		delete(s.byName, name)
	}
}

// dropOldest drops the oldest of all names.
func (s *Store) dropOldest() {
	oldest := ""
	for name, list := range s.byName {
		if oldest == "" || list[0].seq < s.byName[oldest][0].seq {
			oldest = name
		}
	}
	s.trim(oldest, len(s.byName[oldest])-1)
}

// Restrict drops what a configuration that is now in force does not keep: requests
// of names that it does not have, and of each name all but the newest most.
func (s *Store) Restrict(names map[string]bool, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.byName {
		if !names[name] {
			s.trim(name, 0)
		} else {
			s.trim(name, most)
		}
	}
}

// List returns the requests of a name, or of all ("") newest first.
func (s *Store) List(name string) (all []*Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, list := range s.byName {
		if name == "" || n == name {
			all = append(all, list...)
		}
	}
	slices.SortFunc(all, func(a, b *Request) int { return cmp.Compare(b.seq, a.seq) })
	return all
}

// Find returns the request of an id, nil if it is not kept (any more).
func (s *Store) Find(id string) *Request {
	all := s.List("")
	if i := slices.IndexFunc(all, func(r *Request) bool { return r.id == id }); i >= 0 {
		return all[i]
	}
	return nil
}

// Totals returns how many requests are kept, and how many bytes they take.
func (s *Store) Totals() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.byName {
		n += len(list)
	}
	return n, s.bytes
}
