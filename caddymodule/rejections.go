package caddymodule

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

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// What is kept of refused deliveries, for the operator alone. It is read by the
// admin API, never on a request's way.
const (
	defaultKept   = 16       // of each handler
	maxKeptSize   = 64 << 10 // of one: its body is cut to fit
	maxKeptBytes  = 4 << 20  // of all handlers
	maxKeptDetail = 1 << 10
	lineSize      = 64 // about what a header line takes besides its text
)

// A rejection is a request whose verification failed, or one that a limit refused.
type rejection struct {
	id                           string
	seq                          uint64
	time                         time.Time
	name, provider               string
	place                        int // of its handler in the configuration
	remote, method, target, host string
	tls, observed                bool
	header                       http.Header
	reason                       verifier.Reason
	detail                       string
	skew                         time.Duration
	keys                         []string // labels of those that were tried
	limit                        bool     // refused by one: the newest of each reason is kept
	remedy                       string   // of a limit
	declared                     int64    // bytes of its body; -1: not said

	body   []byte // never shown: for Explain
	read   bool   // it was refused after its body had been read
	length int    // of the body as it was read
	digest [sha256.Size]byte
	size   int64            // bytes that the rejection takes
	tried  []*keys.Snapshot // its own and those of all handlers then: their tokens stay hidden after a change
	hint   hint
}

// whole reports whether all that was sent is kept.
func (r *rejection) whole() bool { return r.read && len(r.body) == r.length }

// keeper holds the newest rejections of the process.
type keeper struct {
	newID func() string

	mu     sync.Mutex
	seq    uint64
	bytes  int64
	byName map[string][]*rejection // oldest first
}

// kept belongs to the process: what was kept outlives a reload.
var kept = keeper{newID: randomID}

// randomID names a rejection: 48 bits, so that none names two in a lifetime. It
// is no secret, and a flood of forgeries draws many.
func randomID() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	return hex.EncodeToString(b[2:])
}

// keep notes a request that is not genuine, if the configuration wants that.
func (d *delivery) keep(r *verifier.Rejection, observed bool) {
	d.keepAs(rejection{reason: r.Reason, detail: r.Detail, skew: r.Skew, observed: observed})
}

// keepLimit notes a request that a limit refused, in place of the last that it
// did: browsers and scanners must not drive out what is worth a look.
func (d *delivery) keepLimit(r *refusal) {
	d.keepAs(rejection{reason: verifier.Reason(r.reason), detail: r.detail, remedy: r.remedy, limit: true})
}

func (d *delivery) keepAs(entry rejection) {
	most := d.h.app.keptPerHandler()
	if most == 0 {
		return
	}
	entry.time, entry.name, entry.provider, entry.place = d.h.now(), d.h.Name, d.h.providerID(), d.h.placed.Place
	entry.remote, entry.method, entry.target, entry.host, entry.tls = d.r.RemoteAddr, d.req.Method, d.req.Target, d.req.Host, d.req.TLS
	entry.header, entry.keys, entry.tried = d.r.Header.Clone(), d.keys.Labels(), d.h.app.snapshots(d.keys)
	entry.read, entry.length, entry.declared = !d.unread(), len(d.body), d.r.ContentLength
	if len(entry.detail) > maxKeptDetail { // it may quote what a stranger wrote
		entry.detail = strings.ToValidUTF8(entry.detail[:maxKeptDetail], "") + "…"
	}
	entry.size = int64(len(entry.target) + len(entry.host) + len(entry.detail))
	for name, values := range entry.header {
		for _, value := range values {
			entry.size += int64(len(name)+len(value)) + lineSize
		}
	}
	if entry.size > maxKeptSize { // a server may allow megabytes of headers
		entry.header, entry.target, entry.host, entry.size = http.Header{}, "", "", int64(len(entry.detail))
	}
	room := min(int64(len(d.body)), maxKeptSize-entry.size)
	if room < int64(len(d.body)) {
		entry.digest = sha256.Sum256(d.body)
	}
	entry.body = bytes.Clone(d.body[:room])
	entry.size += room
	d.rejection = kept.add(&entry, most)
}

// add keeps a rejection in place of the oldest, and returns its id.
func (k *keeper) add(r *rejection, most int) string {
	r.id = k.newID()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byName == nil {
		k.byName = make(map[string][]*rejection)
	}
	if r.limit {
		k.dropLimit(r.name, r.reason)
	}
	k.seq++
	r.seq = k.seq
	k.bytes += r.size
	k.byName[r.name] = append(k.byName[r.name], r)
	k.trim(r.name, most)
	for k.bytes > maxKeptBytes {
		k.dropOldest()
	}
	return r.id
}

// dropLimit drops what is kept of a name that a limit refused for the same reason.
func (k *keeper) dropLimit(name string, reason verifier.Reason) {
	k.byName[name] = slices.DeleteFunc(k.byName[name], func(r *rejection) bool {
		same := r.limit && r.reason == reason
		if same {
			k.bytes -= r.size
		}
		return same
	})
}

// trim drops the oldest of a name beyond most.
func (k *keeper) trim(name string, most int) {
	list := k.byName[name]
	surplus := len(list) - most
	if surplus <= 0 {
		return
	}
	for _, r := range list[:surplus] {
		k.bytes -= r.size
	}
	k.byName[name] = slices.Delete(list, 0, surplus)
	if most == 0 {
		delete(k.byName, name)
	}
}

// dropOldest drops the oldest of all names.
func (k *keeper) dropOldest() {
	oldest := ""
	for name, list := range k.byName {
		if oldest == "" || list[0].seq < k.byName[oldest][0].seq {
			oldest = name
		}
	}
	k.trim(oldest, len(k.byName[oldest])-1)
}

// limit drops what a configuration that comes into force does not keep: of names
// that it does not have, and beyond most.
func (k *keeper) limit(names map[string]bool, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.byName {
		if !names[name] {
			k.trim(name, 0)
		} else {
			k.trim(name, most)
		}
	}
}

// list returns the rejections of a name, or of all, newest first.
func (k *keeper) list(name string) (all []*rejection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n, list := range k.byName {
		if name == "" || n == name {
			all = append(all, list...)
		}
	}
	slices.SortFunc(all, func(a, b *rejection) int { return cmp.Compare(b.seq, a.seq) })
	return all
}

// find returns the rejection of an id, nil if it is not kept (any more).
func (k *keeper) find(id string) *rejection {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, list := range k.byName {
		for _, r := range list {
			if r.id == id {
				return r
			}
		}
	}
	return nil
}

// totals returns how many rejections are kept, and how many bytes they take.
func (k *keeper) totals() (n int, bytes int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, list := range k.byName {
		n += len(list)
	}
	return n, k.bytes
}

// view returns what is shown of a rejection in a list.
func (r *rejection) view(hide redaction) adminapi.Rejection {
	v := adminapi.Rejection{
		ID: r.id, Time: r.time.UTC(), Name: r.name, Provider: r.provider, Reason: string(r.reason), Detail: hide.text(r.detail),
		Keys: append([]string{}, r.keys...), Observed: r.observed, Remote: r.remote, Method: r.method, Host: hide.text(r.host), URL: hide.target(r.target),
	}
	if r.skew != 0 {
		v.Skew = r.skew.String()
	}
	return v
}

// viewAll returns all that is shown of a rejection. Never its body.
func (r *rejection) viewAll(hide redaction, h hint) adminapi.RejectionDetail {
	body := adminapi.Body{Read: r.read, Bytes: r.length, ContentType: hide.text(r.header.Get("Content-Type")), Truncated: len(r.body) < r.length}
	if !r.read && r.declared >= 0 {
		body.Declared = &r.declared
	}
	if r.read {
		sum := r.digest
		if !body.Truncated {
			sum = sha256.Sum256(r.body)
		}
		body.SHA256 = hex.EncodeToString(sum[:])
	}
	return adminapi.RejectionDetail{Rejection: r.view(hide), Headers: hide.header(r.header), Body: body, Hint: h.text, Note: h.note}
}

// redaction hides the tokens of the keys that the rejection was kept with, and of
// those in force.
func (r *rejection) redaction(app *App) redaction {
	if app == nil {
		return redactionOf(r.tried)
	}
	return redactionOf(app.snapshots(r.tried...))
}
