package keys

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxFetches limits the fetches of unknown addresses, and of key sets fetched less
	// than a minute ago, that a Fetcher starts per minute, so that forged deliveries
	// cannot make the gateway hammer the sender. A quarter more is for clients that
	// were served.
	maxFetches = 60
	// maxClientFetches limits the fetches that one client may cause. A sender needs
	// one for each of its one or two certificates, or for each new key of its set.
	maxClientFetches = 6
	// maxNetworkFetches limits the fetches that the clients of one IPv6 /48 may cause
	// together: a /48 holds 65,536 clients.
	maxNetworkFetches = 12
	// failuresCount is how long a client with a failed fetch, its own or of its /48,
	// may use only the first half of maxFetches. The rest is reserved for clients
	// without a failure.
	failuresCount = time.Hour
	// maxClients limits the clients remembered, at about 200 bytes each.
	maxClients = 4096
	// maxWaiters limits the requests that wait for fetches, maxClientWaiters those of
	// one client.
	maxWaiters       = 64
	maxClientWaiters = 16
)

// A fetchBudget decides which requests may cause a fetch, so that forgeries cannot
// use up the genuine sender's share. The Fetcher's lock guards it.
type fetchBudget struct {
	begun   []time.Time // of the last minute
	waiting int
	clients *simplelru.LRU[netip.Prefix, *fetchClient]
}

// A fetchClient counts the fetches of one client.
type fetchClient struct {
	address netip.Prefix
	since   time.Time // when its current minute began
	begun   int       // fetches in that minute
	failed  time.Time // when its last fetch was useless; zero: it was not
	served  bool      // its last fetch was not; for a key set: a delivery was verified since
	waiting int
}

// client returns the record of a client. Only keep stores it, so refused requests
// evict no client.
func (b *fetchBudget) client(address netip.Prefix) *fetchClient {
	if b.clients != nil {
		if c, ok := b.clients.Get(address); ok {
			return c
		}
	}
	return &fetchClient{address: address}
}

// keep stores clients, of which one may be nil.
func (b *fetchBudget) keep(clients ...*fetchClient) {
	if b.clients == nil {
		b.clients, _ = simplelru.NewLRU[netip.Prefix, *fetchClient](maxClients, nil) // fails only for a size below 1
	}
	for _, c := range clients {
		if c != nil {
			b.clients.Add(c.address, c)
		}
	}
}

// network returns the counts of the IPv6 /48 that a client is in, nil for IPv4.
func (b *fetchBudget) network(client netip.Prefix) *fetchClient {
	if !client.Addr().Is6() {
		return nil
	}
	network, _ := client.Addr().Prefix(48)
	return b.client(network)
}

// begin counts one more fetch of a client of a network and returns 0, or how long to
// wait until it may begin. The network may be nil.
func (b *fetchBudget) begin(c, network *fetchClient, now time.Time) time.Duration {
	b.begun = slices.DeleteFunc(b.begun, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	most := maxFetches
	switch {
	case c.failedLately(now) || !c.served && network.failedLately(now):
		most = maxFetches / 2
	case c.served:
		most = maxFetches * 5 / 4
	}
	free := now
	if n := len(b.begun); n >= most {
		free = b.begun[n-most].Add(time.Minute)
	}
	if c.inMinute(now) >= maxClientFetches {
		free = later(free, c.since.Add(time.Minute))
	}
	if network.inMinute(now) >= maxNetworkFetches {
		free = later(free, network.since.Add(time.Minute))
	}
	if free.After(now) {
		return free.Sub(now)
	}
	b.begun = append(b.begun, now)
	c.count()
	network.count()
	return 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// useless records that a fetch of the client yielded nothing, as far as is known.
func (c *fetchClient) useless(now time.Time) {
	if c != nil {
		c.failed, c.served = now, false
	}
}

// useful records the opposite.
func (c *fetchClient) useful() { c.failed, c.served = time.Time{}, true }

func (c *fetchClient) failedLately(now time.Time) bool {
	return c != nil && !c.failed.IsZero() && now.Sub(c.failed) < failuresCount
}

// inMinute returns how many fetches the client has caused in its minute, which begins
// with the first of them.
func (c *fetchClient) inMinute(now time.Time) int {
	if c == nil {
		return 0
	}
	if now.Sub(c.since) >= time.Minute {
		c.since, c.begun = now, 0
	}
	return c.begun
}

func (c *fetchClient) count() {
	if c != nil {
		c.begun++
	}
}
