package keys

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxFetches is how many fetches of unknown addresses a fetcher begins in a
	// minute: who forges deliveries must not make the gateway hammer the sender.
	maxFetches = 60
	// maxClientFetches is how many of them one client causes. A sender needs one
	// for each certificate, of which it has one or two.
	maxClientFetches = 6
	// failuresCount is how long a client that named an address in vain is kept to
	// the first half of maxFetches: the rest is for those that did not.
	failuresCount = time.Hour
	// maxClients is how many are remembered, at some 200 bytes each.
	maxClients = 4096
	// maxWaiters is how many requests wait for fetches at a time, and
	// maxClientWaiters how many of one client.
	maxWaiters       = 64
	maxClientWaiters = 16
)

// A fetchBudget says which deliveries may cause a fetch, so that forgeries do not
// use up what the genuine sender needs. Its fetcher's lock guards it.
type fetchBudget struct {
	begun   []time.Time // within a minute
	waiting int
	clients *simplelru.LRU[netip.Prefix, *fetchClient]
}

// fetchClient is what one client has asked for.
type fetchClient struct {
	since   time.Time // when its minute began
	begun   int       // within it
	failed  time.Time // when it last named an address in vain; zero: it did not
	waiting int
}

func (b *fetchBudget) client(address netip.Prefix) *fetchClient {
	if b.clients == nil {
		b.clients, _ = simplelru.NewLRU[netip.Prefix, *fetchClient](maxClients, nil) // it fails only for a size below 1
	}
	c, ok := b.clients.Get(address)
	if !ok {
		c = new(fetchClient)
		b.clients.Add(address, c)
	}
	return c
}

// mayBegin counts a fetch that begins now, unless there were too many.
func (b *fetchBudget) mayBegin(c *fetchClient, now time.Time) bool {
	b.begun = slices.DeleteFunc(b.begun, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if now.Sub(c.since) >= time.Minute {
		c.since, c.begun = now, 0
	}
	most := maxFetches
	if !c.failed.IsZero() && now.Sub(c.failed) < failuresCount {
		most /= 2
	}
	if len(b.begun) >= most || c.begun == maxClientFetches {
		return false
	}
	b.begun = append(b.begun, now)
	c.begun++
	return true
}
