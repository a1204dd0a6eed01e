package keys

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// recalled is the record in Caddy's storage that survives a restart: the addresses of
// proven certificates. The certificates are fetched and checked again, so write access
// to the storage does not choose a key.
type recalled struct {
	Certificates []string `json:"certificates"`
}

// maxRecalled limits the record in the storage, in bytes.
const maxRecalled = 64 << 10

const storageTimeout = 10 * time.Second

// Storage is the part of Caddy's storage that a Set uses.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// storageKey is the storage key of a source's addresses.
func (id publishedID) storageKey() string {
	d := sha256.Sum256([]byte(strings.Join([]string{id.handler, id.hosts, id.algorithms}, "\x00")))
	return "verify_webhook/certificates/" + hex.EncodeToString(d[:16]) + ".json"
}

// recall fetches the certificates in use before a restart, and stores the addresses
// of new ones for the next, until ctx ends.
func (k *Set) recall(ctx context.Context, store Storage, key string) {
	stored := k.recallFrom(ctx, store, key)
	for {
		if proven := k.published.provenAddresses(); len(proven) > 0 && !slices.Equal(proven, stored) {
			if k.noteIn(ctx, store, key, proven) == nil {
				stored = proven
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-k.published.learned:
		}
	}
}

// recallFrom fetches the certificates at those stored addresses that the scheme
// allows, and returns the addresses.
func (k *Set) recallFrom(ctx context.Context, store Storage, key string) []string {
	loading, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	data, err := store.Load(loading, key)
	var from recalled
	if err == nil && len(data) <= maxRecalled {
		err = json.Unmarshal(data, &from)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.logger.Warn("cannot read the addresses of the sender's certificates from Caddy's storage", zap.Error(err))
	}
	s := k.current.Load()
	if s == nil { // a param's file is missing: deliveries fetch certificates on demand
		return nil
	}
	addresses := slices.DeleteFunc(from.Certificates, func(address string) bool { return !s.Verifier.Publishes(address) })
	addresses = addresses[:min(len(addresses), maxCertificates)]
	slices.Sort(addresses)
	k.published.expect(addresses)
	for _, address := range addresses {
		if ctx.Err() != nil {
			break
		}
		_ = k.Fetch(ctx, address, netip.Prefix{}, k.fetcher.clock()) // logs its errors
	}
	return addresses
}

// noteIn stores addresses even after ctx has ended.
func (k *Set) noteIn(ctx context.Context, store Storage, key string, addresses []string) error {
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	data, err := json.Marshal(recalled{addresses})
	if err == nil {
		err = store.Store(storing, key, data)
	}
	if err != nil {
		k.logger.Warn("cannot write the addresses of the sender's certificates to Caddy's storage: after a restart the first delivery fetches them", zap.Error(err))
	}
	return err
}

// expect marks addresses as known.
func (p *published) expect(addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = addresses
}

// knows reports whether the certificate at an address verified deliveries, now or
// before a restart. Known addresses need no budget.
func (p *published) knows(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.expected, address) ||
		slices.ContainsFunc(p.certificates, func(c certificate) bool { return c.proven && c.address == address })
}

func (p *published) provenAddresses() (addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.certificates {
		if c.proven {
			addresses = append(addresses, c.address)
		}
	}
	slices.Sort(addresses)
	return addresses
}
