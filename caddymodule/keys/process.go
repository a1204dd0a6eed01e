package keys

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// This file holds the state that outlives a configuration: the fetched keys. A reload
// while the sender's server is down loses none.

// publishedPool holds published keys while a configuration uses them.
var publishedPool = caddy.NewUsagePool()

// publishedID is the key of publishedPool. The algorithms are part of it: a key set
// fetched for one algorithm may hold no key for another, and a configuration that
// got it would not load.
type publishedID struct{ handler, sets, hosts, algorithms string }

// publishedOf returns the fetched keys of a handler and its source. Each call needs
// one Delete from the pool.
func publishedOf(handler string, scheme *verifier.Scheme) (publishedID, *published) {
	source, algorithms := scheme.KeySource, string(scheme.Algorithm)
	if s := scheme.Signature; s != nil {
		algorithms += fmt.Sprint(s.Accept) // in the order of its keys
	}
	hosts := strings.Join(source.CertificateHosts, " ")
	if source.Paths {
		hosts += " paths"
	}
	addresses := source.Sets
	if source.JWKS != "" {
		addresses = []string{source.JWKS}
	}
	fresh := &published{named: len(source.Sets) > 0, bare: source.Paths, learned: make(chan struct{}, 1)}
	for _, address := range addresses {
		fresh.sets = append(fresh.sets, &keySet{address: address})
	}
	id := publishedID{handler, strings.Join(addresses, " "), hosts, algorithms}
	if fresh.named {
		id.sets += " named"
	}
	p, _ := publishedPool.LoadOrStore(id, fresh)
	return id, p.(*published)
}

// Destruct implements caddy.Destructor. Running fetches end on their own.
func (*published) Destruct() error { return nil }
