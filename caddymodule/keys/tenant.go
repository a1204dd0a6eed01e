package keys

import (
	"errors"
	"strconv"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// labelTenant is the label of all keys of all tenants in metrics: there may be any
// number of them.
const labelTenant = "tenant"

var (
	// errTenantsNoKeys refuses a handler that has keys besides those of its tenants.
	errTenantsNoKeys = errors.New("tenant: each tenant has keys of its own, so no other key verifies a delivery: write {tenant} into the file's path, secret {file./run/keys/{tenant}}, or remove tenant")
	// errTenantsPublished refuses tenants of a sender that publishes its keys.
	errTenantsPublished = errors.New("tenant: the sender publishes its keys, and signs for all of your customers with them: remove tenant and its secret or public_key")
)

// standIns returns the keys of the snapshot of a handler with tenants: see
// Config.Tenants.
func (k *Set) standIns(c Config) ([]verifier.Key, error) {
	switch {
	case k.scheme.SelfKeyed():
		return nil, errTenantsPublished
	case len(c.Secret)+len(c.PublicKey) > 0:
		return nil, errTenantsNoKeys
	}
	return k.rules.StandIns(labelTenant)
}

// With returns s with other keys: those of a tenant. They have the positions of their
// kind as labels unless they have labels. Errors hold no key.
func (s *Snapshot) With(keys []verifier.Key) (*Snapshot, error) {
	t := &Snapshot{Signer: s.Signer, Keys: keys, labels: make([]string, len(keys))}
	for i := range keys {
		if keys[i].Label == "" {
			keys[i].Label = strconv.Itoa(i + 1)
		}
		t.labels[i] = keys[i].Label
	}
	var err error
	if t.Verifier, err = s.Verifier.Verifier(keys); err != nil {
		return nil, err
	}
	if len(t.Verifier.ShortSecrets(2)) > 0 {
		return nil, errOneByte
	}
	if t.SignsAs(t) {
		return nil, errSharedSecret
	}
	return t, nil
}
