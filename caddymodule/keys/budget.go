package keys

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxFetches is how many fetches of unknown addresses a Fetcher begins in a
	// minute, so that forged deliveries do not make the gateway hammer the sender.
	maxFetches = 60
	// maxClientFetches is how many of them one client may cause. A sender needs one
	// for each of its one or two certificates.
	maxClientFetches = 6
	// failuresCount is how long a client whose fetch failed may use only the first
	// half of maxFetches. The rest is for clients without a failure.
	failuresCount = time.Hour
	// maxClients is how many clients are remembered, at about 200 bytes each.
	maxClients = 4096
	// maxWaiters is how many requests may wait for fetches, maxClientWaiters how
	// many of one client.
	maxWaiters       = 64
	maxClientWaiters = 16
)

// A fetchBudget decides which requests may cause a fetch, so that forgeries do not
// use up what the genuine sender needs. The Fetcher's lock guards it.
type fetchBudget struct {
	begun   []time.Time // of the last minute
	waiting int
	clients *simplelru.LRU[netip.Prefix, *fetchClient]
}

// A fetchClient counts what one client has asked for.
type fetchClient struct {
	since   time.Time // when its current minute began
	begun   int       // fetches in that minute
	failed  time.Time // when its last fetch failed; zero: never
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

// mayBegin reports whether a client may cause one more fetch now, and counts it.
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
