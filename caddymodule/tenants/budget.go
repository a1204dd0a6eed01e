package tenants

import (
	"net/netip"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits on what a remote source is asked, so that strangers cannot make the gateway
// hammer it, nor use up what customers need. A client is known once a delivery of it was
// verified. The limits for names without cached keys hold at the start too, when no name
// has any: one address then finds twenty tenants a second, and the senders of the others
// retry.
const (
	// renewRate limits the questions a second that renew cached keys for known clients.
	renewRate, renewBurst = 50, 200
	// mismatchRate limits those for deliveries that do not match cached keys, and those
	// that renew them for other clients.
	mismatchRate, mismatchBurst = 50, 200
	// strangeRate limits those about all other names.
	strangeRate, strangeBurst = 100, 400
	// clientRate limits those of the last two kinds that one client causes.
	clientRate, clientBurst = 20, 100
	// maxClients limits the clients remembered, at about 150 bytes each; those known are
	// remembered apart.
	maxClients = 4096
	// maxWaiting limits the deliveries that wait for answers, maxClientWaiting those of
	// one client. Those of known clients that wait for a renewal have as many places of
	// their own.
	maxWaiting, maxClientWaiting = 256, 16
)

// A cause is why a source is asked.
type cause uint8

const (
	unknownName cause = iota // without cached keys
	renewal                  // of cached keys
	mismatch                 // a delivery does not match them
)

// A budget decides whether a remote source is asked. The Cache's lock guards it.
type budget struct {
	renewals, mismatches, strange bucket

	clients           *simplelru.LRU[netip.Prefix, *bucket]
	known             *simplelru.LRU[netip.Prefix, struct{}]
	renewing, waiting int                  // deliveries of known clients that wait for a renewal, and all other
	waiters           map[netip.Prefix]int // the other, by client
}

func newBudget() budget {
	clients, _ := simplelru.NewLRU[netip.Prefix, *bucket](maxClients, nil) // both fail only for a size below 1
	known, _ := simplelru.NewLRU[netip.Prefix, struct{}](maxClients, nil)
	return budget{clients: clients, known: known, waiters: make(map[netip.Prefix]int)}
}

// reserved reports whether a question is one that strangers cannot cause.
func (b *budget) reserved(why cause, client netip.Prefix) bool {
	return why == renewal && b.known.Contains(client)
}

// allows counts a question that a client causes.
func (b *budget) allows(why cause, client netip.Prefix, now time.Time) bool {
	if b.reserved(why, client) {
		return b.renewals.take(now, renewRate, renewBurst)
	}
	own, ok := b.clients.Get(client)
	if !ok {
		own = new(bucket)
		b.clients.Add(client, own)
	}
	if !own.take(now, clientRate, clientBurst) {
		return false
	}
	if why == unknownName {
		return b.strange.take(now, strangeRate, strangeBurst)
	}
	return b.mismatches.take(now, mismatchRate, mismatchBurst)
}

// wait takes a place to wait for an answer, if there is one, until leave is called.
func (b *budget) wait(why cause, client netip.Prefix) (leave func(), ok bool) {
	if b.reserved(why, client) {
		if b.renewing == maxWaiting {
			return nil, false
		}
		b.renewing++
		return func() { b.renewing-- }, true
	}
	if b.waiting == maxWaiting || b.waiters[client] == maxClientWaiting {
		return nil, false
	}
	b.waiting++
	b.waiters[client]++
	return func() {
		b.waiting--
		if b.waiters[client]--; b.waiters[client] == 0 {
			delete(b.waiters, client)
		}
	}, true
}

// A bucket holds tokens. The zero bucket is full.
type bucket struct {
	spent float64
	at    time.Time
}

func (b *bucket) take(now time.Time, perSecond, burst float64) bool {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.spent = max(0, b.spent-passed*perSecond)
	}
	b.at = now
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}
