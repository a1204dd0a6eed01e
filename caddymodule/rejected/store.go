// Package rejected keeps the latest requests that a gateway has refused and shows them
// to the operator: the request without credentials and never its body, and a hint at
// the cause.
//
// [Store.Add] copies a [Request] on the delivery's path, and nothing more. The admin
// API shows it ([Store.List], [Store.Find]). Only then is it redacted and explained,
// with the keys and options current at that time: an error corrected since is visible.
//
// Redaction fails closed. Values of headers and query parameters are shown if their
// name is known to be harmless or a scheme reads them, and if they contain none of the
// gateway's keys in any encoding. Everything else is redacted.
package rejected

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// PerHandler is the default number of requests kept per handler.
const PerHandler = 16

const (
	maxSize   = 64 << 10 // per request: its body is cut to fit
	maxBytes  = 4 << 20  // of all requests
	maxDetail = 1 << 10
	maxHost   = 512 // a name has 253
	maxMethod = 64
	turnover  = 10 // of a handler's requests a second: of more, each would be gone in moments
	maxSums   = 10 // digests of cut bodies a second: each costs as much as its verification
	lineSize  = 64 // approximate overhead of a header line
)

// A Handler is the current state of a handler, or its state when it refused a request.
type Handler struct {
	Name     string
	Provider string         // the provider's id, "" without one
	Place    int            // index among the handlers of its configuration
	Keys     *keys.Snapshot // nil while it has no usable key
	// Tenant returns the current keys of a tenant; nil if it has none. It is nil for a
	// handler without tenants.
	Tenant func(name string) *keys.Snapshot
	// Cached is Tenant without asking for them.
	Cached func(name string) *keys.Snapshot
}

// A Request is a request that failed verification or that a limit refused.
type Request struct {
	verifier.Request         // as it was received
	Handler          Handler // that refused it
	Tenant           string  // that it names, if it can be one
	Known            bool    // Handler.Keys are that tenant's
	// Tried are the keys of all handlers at that time: they stay hidden after a change.
	// Requests of equal keys share one list.
	Tried    []*keys.Snapshot
	Remote   string // address of the client, with its port if no proxy is between
	Time     time.Time
	Reason   verifier.Reason
	Detail   string
	Skew     time.Duration // now minus its timestamp; 0 if the timestamp is not the reason
	Observed bool          // it was forwarded all the same

	// Limit is set if a limit refused it; Remedy says what the operator can do. Only the
	// latest of each limit of a handler is kept: browsers and scanners must not evict
	// failed verifications.
	Limit  bool
	Remedy string

	Body     []byte
	Read     bool  // the whole body was read before the refusal
	Declared int64 // bytes announced by the sender; -1: none

	id     string
	seq    uint64
	ofMany bool               // Handler had tenants
	length int                // of the body as read
	digest *[sha256.Size]byte // of a cut body; nil if many came
	size   int64              // of the request in memory, in bytes
	hint   hint
}

// whole reports whether the complete body is kept.
func (r *Request) whole() bool { return r.Read && len(r.Body) == r.length }

// A Store holds the latest refused requests: a number per handler name, and 4 MiB in
// all. The zero Store is ready to use. It is safe for concurrent use.
type Store struct {
	// NewID returns an id for a request. Default: 48 random bits, which do not repeat in
	// practice. An id is not a secret, and a flood of forgeries draws many.
	NewID func() string

	mu     sync.Mutex
	seq    uint64
	bytes  int64
	second int64                 // of the latest digests
	summed int                   // digests in that second
	byName map[string][]*Request // oldest first
	rates  map[stream]rate
	tried  []*keys.Snapshot // of the newest
	latest []*keys.Snapshot // that were compared with these, and are equal
}

// A stream is the requests of a name that a limit refused, or the others: a flood of the
// ones must not hide the others.
type stream struct {
	name  string
	limit bool
}

// A rate is how many requests were added in the latest second that had any.
type rate struct {
	second int64
	added  int
}

func randomID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[2:])
}

// Add stores a request, at most most per handler name, evicts the oldest and returns
// the id. It copies headers and body. Of a flood it stores 10 × most a second, and
// returns "" for the others.
func (s *Store) Add(r Request, most int) (id string) {
	if !s.keeps(stream{r.Handler.Name, r.Limit}, r.Time, turnover*most) {
		return ""
	}
	r.Header, r.length = http.Header(r.Header).Clone(), len(r.Body)
	// They may hold a key, of which a part would not be recognized.
	for _, cut := range []struct {
		text *string
		most int
	}{{&r.Detail, maxDetail}, {&r.Host, maxHost}, {&r.Method, maxMethod}} {
		if len(*cut.text) > cut.most {
			*cut.text = more
		}
	}
	r.size = int64(len(r.Target) + len(r.Host) + len(r.Detail) + len(r.Method))
	for name, values := range r.Header {
		for _, value := range values {
			r.size += int64(len(name)+len(value)) + lineSize
		}
	}
	if r.size > maxSize { // a server may allow megabytes of headers
		r.Header, r.Target, r.Host, r.size = http.Header{}, "", "", int64(len(r.Detail))
	}
	room := min(int64(len(r.Body)), maxSize-r.size)
	if room < int64(len(r.Body)) && s.sums(r.Time) {
		r.digest = new(sha256.Sum256(r.Body))
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
	// A reload makes new snapshots of the same keys. Neither they nor the handler's
	// functions, which lead to all that its configuration holds, may outlive it here.
	r.ofMany, r.Handler.Tenant, r.Handler.Cached = r.Handler.Tenant != nil, nil, nil
	r.Handler.Keys = r.Handler.Keys.Apart()
	if !slices.Equal(r.Tried, s.latest) {
		s.latest = r.Tried
		if !slices.EqualFunc(r.Tried, s.tried, hideAlike) {
			s.tried = make([]*keys.Snapshot, 0, len(r.Tried))
			for _, k := range r.Tried {
				s.tried = append(s.tried, k.Apart())
			}
		}
	}
	r.Tried = s.tried
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

// keeps reports whether one more request of a stream may be stored in this second.
func (s *Store) keeps(of stream, now time.Time, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rates[of]
	if second := now.Unix(); second != r.second {
		r = rate{second: second}
	}
	if r.added >= most {
		return false
	}
	r.added++
	if s.rates == nil {
		s.rates = make(map[stream]rate)
	}
	s.rates[of] = r
	return true
}

// sums reports whether a digest may be computed now.
func (s *Store) sums(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := now.Unix(); second != s.second {
		s.second, s.summed = second, 0
	}
	s.summed++
	return s.summed <= maxSums
}

// dropLimit drops the earlier request of a name that a limit refused for this reason.
func (s *Store) dropLimit(name string, reason verifier.Reason) {
	s.byName[name] = slices.DeleteFunc(s.byName[name], func(r *Request) bool {
		same := r.Limit && r.Reason == reason
		if same {
			s.bytes -= r.size
		}
		return same
	})
}

// trim drops the oldest requests of a name beyond most.
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

// dropOldest drops the oldest request of all names.
func (s *Store) dropOldest() {
	oldest := ""
	for name, list := range s.byName {
		if oldest == "" || list[0].seq < s.byName[oldest][0].seq {
			oldest = name
		}
	}
	s.trim(oldest, len(s.byName[oldest])-1)
}

// Restrict drops the requests that the current configuration does not keep: those of
// unknown names, and of each name all but the latest most.
func (s *Store) Restrict(names map[string]bool, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.rates, func(of stream, _ rate) bool { return !names[of.name] })
	for name := range s.byName {
		if !names[name] {
			s.trim(name, 0)
		} else {
			s.trim(name, most)
		}
	}
}

// List returns the requests of a name, or of all names for "", newest first.
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

// Find returns the request with an id; nil if it is unknown or evicted.
func (s *Store) Find(id string) *Request {
	all := s.List("")
	if i := slices.IndexFunc(all, func(r *Request) bool { return r.id == id }); i >= 0 {
		return all[i]
	}
	return nil
}

// Totals returns the number of requests kept, and their size in bytes.
func (s *Store) Totals() (n int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.byName {
		n += len(list)
	}
	return n, s.bytes
}
