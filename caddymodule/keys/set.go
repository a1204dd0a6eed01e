package keys

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A Set holds a handler's keys: where they come from, and a Snapshot of what they
// are now. It is safe for concurrent use.
type Set struct {
	rules   *verifier.Rules // what keys are tried with
	scheme  verifier.Scheme // of the rules, without the values of the sources
	sources []*source
	current atomic.Pointer[Snapshot] // nil until every key that is needed was read
	trouble atomic.Pointer[[]string] // see Problems

	published *published  // what the sender publishes; nil where keys are given
	id        publishedID // of published
	fetcher   *Fetcher

	mu      sync.Mutex // guards sources, started and short; one refresh at a time
	started bool       // the first refresh is over: a change may be half-written
	short   []string   // labels of short secrets, as last warned of
	logger  *zap.Logger
	failed  func() // may be nil
	changed func() // may be nil
}

// A Snapshot is all that a handler verifies and signs with at one time. It never
// changes: a rotation replaces it whole. A request keeps the one that it loads on
// arrival, so no request sees both old and new keys.
type Snapshot struct {
	// Verifier verifies deliveries.
	Verifier *verifier.Verifier
	// Signer signs for the app. It is nil where nothing is signed.
	Signer *verifier.Verifier
	// Keys are those of Verifier. They are read-only.
	Keys []verifier.Key

	labels  []string
	version int       // of the published keys
	ends    time.Time // when the first certificate expires; zero: never
}

// Labels returns what logs and metrics call the keys. All fetched keys share one
// label. A nil Snapshot has none.
func (s *Snapshot) Labels() []string {
	if s == nil {
		return nil
	}
	return s.labels
}

// expired reports whether a certificate is no longer valid.
func (s *Snapshot) expired(now time.Time) bool {
	return s != nil && !s.ends.IsZero() && now.After(s.ends)
}

// Close releases what was fetched, which other Sets may still use.
func (k *Set) Close() error {
	if k.published == nil {
		return nil
	}
	_, err := publishedPool.Delete(k.id)
	return err
}

// Snapshot returns what verifies a request that arrives now, nil while a key is
// missing. No certificate in it has expired.
func (k *Set) Snapshot() *Snapshot {
	if k.published != nil && k.Current().expired(k.fetcher.clock()) {
		if err := k.adopt(); err != nil {
			k.logger.Error("keys cannot be used", zap.Error(err))
		}
	}
	return k.Current()
}

// Current returns the newest snapshot, nil while a key is missing. Unlike Snapshot
// it takes no lock and does not look whether a certificate has expired.
func (k *Set) Current() *Snapshot { return k.current.Load() }

// Labels returns the labels of the current snapshot. It takes no lock.
func (k *Set) Labels() []string { return k.Current().Labels() }

// Problems says which key files cannot be used now, and why. It takes no lock.
func (k *Set) Problems() []string { return *k.trouble.Load() }

// Refresh reads the key files again and swaps the snapshot if one has changed. A
// file that cannot be used is logged and counted, and its last usable text stays.
// An error says that the keys do not fit the configuration.
func (k *Set) Refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := k.Current() == nil
	var problems []string
	for _, s := range k.sources {
		if s.kind == fileValue && k.reread(s) {
			changed = true
		}
		if s.problem != "" {
			problems = append(problems, s.String()+": "+s.problem)
		}
	}
	k.started = true
	k.trouble.Store(&problems)
	if !changed {
		return nil
	}
	return k.swap()
}

// swap compiles a snapshot and puts it into use.
func (k *Set) swap() error {
	s, err := k.compile()
	if err != nil || s == nil {
		return err
	}
	previous := k.current.Swap(s)
	if k.changed != nil {
		k.changed()
	}
	if previous != nil {
		k.logger.Info("keys changed and are in use", zap.Strings("keys", some(s.labels)))
	}
	return nil
}

// compile builds a snapshot, nil while something is missing that every delivery
// needs: all keys, or the value of a required header or param.
func (k *Set) compile() (*Snapshot, error) {
	signer, err := k.compileSigner()
	if err != nil {
		return nil, err
	}
	scheme, keys, ok := k.material()
	if !ok || len(keys) == 0 && k.published == nil && k.watches() {
		return nil, nil
	}
	s := &Snapshot{Signer: signer, Keys: keys}
	for _, key := range keys {
		s.labels = append(s.labels, key.Label)
	}
	if k.published != nil {
		var fetched []verifier.Key
		fetched, s.version, s.ends = k.published.keys(k.fetcher.clock())
		if s.Keys = append(keys, fetched...); len(fetched) > 0 {
			s.labels = append(s.labels, labelFetched)
		}
	}
	s.Verifier, err = verifier.New(scheme, s.Keys)
	if err != nil {
		return nil, err
	}
	if s.SignsAs(s) {
		return nil, errSharedSecret
	}
	return s, nil
}

// material returns the scheme with its values filled in, and the keys. ok is false
// while the value of a required header or param is missing.
func (k *Set) material() (scheme verifier.Scheme, keys []verifier.Key, ok bool) {
	scheme = k.scheme
	scheme.Params = make(map[string]string)
	scheme.RequireHeader = slices.Clone(scheme.RequireHeader)
	headers := make(map[string]int) // name → its index in RequireHeader
	for _, s := range k.sources {
		if len(s.texts) == 0 && !s.isKey() {
			return scheme, nil, false
		}
		for _, t := range s.texts {
			switch s.use {
			case useSecret, usePublicKey:
				keys = append(keys, s.key(t))
			case useParam:
				scheme.Params[s.detail] = t.text
			case useHeader:
				i, ok := headers[s.detail]
				if !ok {
					i = len(scheme.RequireHeader)
					headers[s.detail] = i
					scheme.RequireHeader = append(scheme.RequireHeader, verifier.RequiredHeader{Name: s.detail})
				}
				scheme.RequireHeader[i].Values = append(scheme.RequireHeader[i].Values, t.text)
			}
		}
	}
	return scheme, keys, true
}

// watches reports whether any value is in a file.
func (k *Set) watches() bool {
	return slices.ContainsFunc(k.sources, func(s *source) bool { return s.kind == fileValue })
}

// errOneByte does not apply to secrets that are written out: variables and files
// are cut off or half-written more easily.
var errOneByte = errors.New("the secret is one byte long, which anyone finds by trying: copy it whole")

// usable returns why a text cannot be used, nil if all can.
func (k *Set) usable(s *source, texts []labelled) error {
	if s.use == useUpstream {
		_, err := newSigner(texts[0].text)
		return err
	}
	if !s.isKey() {
		return nil
	}
	for _, t := range texts {
		v, err := k.rules.Verifier([]verifier.Key{s.key(t)})
		if e, ok := errors.AsType[*verifier.KeyError](err); ok {
			return errors.New(e.Problem)
		}
		if err != nil {
			return err
		}
		if s.kind != literalValue && len(v.ShortSecrets(2)) > 0 {
			return errOneByte
		}
	}
	return nil
}
