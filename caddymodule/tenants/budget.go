package tenants

import (
	"net/netip"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits on what a remote source is asked, so that strangers cannot make the gateway
// hammer it. Those for names without cached keys hold at the start too, when no name
// has any: one address then finds twenty tenants a second, and the senders of the
// others retry.
const (
	// renewRate limits the questions a second about tenants with cached keys.
	renewRate, renewBurst = 50, 200
	// strangeRate limits those about all other names.
	strangeRate, strangeBurst = 100, 400
	// clientRate limits those about other names that one client causes.
	clientRate, clientBurst = 20, 100
	// maxClients limits the clients remembered, at about 150 bytes each.
	maxClients = 4096
	// maxWaiting limits the deliveries that wait for answers.
	maxWaiting = 256
)

// A budget decides whether a remote source is asked. The Cache's lock guards it.
type budget struct {
	known, strange bucket
	clients        *simplelru.LRU[netip.Prefix, *bucket]
}

func newBudget() budget {
	clients, _ := simplelru.NewLRU[netip.Prefix, *bucket](maxClients, nil) // fails only for a size below 1
	return budget{clients: clients}
}

// allows counts a question about a tenant that has cached keys.
func (b *budget) allows(now time.Time) bool { return b.known.take(now, renewRate, renewBurst) }

// allowsStranger counts a question about another name, caused by a client.
func (b *budget) allowsStranger(client netip.Prefix, now time.Time) bool {
	own, ok := b.clients.Get(client)
	if !ok {
		own = new(bucket)
		b.clients.Add(client, own)
	}
	return own.take(now, clientRate, clientBurst) && b.strange.take(now, strangeRate, strangeBurst)
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
