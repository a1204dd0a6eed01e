package keys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A Set holds the sources of a handler's keys and the current Snapshot. It is safe for
// concurrent use.
type Set struct {
	rules   *verifier.Rules // compiled scheme
	scheme  verifier.Scheme // of the rules, without the values of the sources
	sources []*source
	sender  providers.Key
	current atomic.Pointer[Snapshot] // nil until all required keys have been read
	trouble atomic.Pointer[[]string] // see Problems

	doubtful atomic.Pointer[[]string] // see Problems; nil before the first warning

	published *published  // published keys; nil with literal keys
	id        publishedID // of published
	fetcher   *Fetcher

	standIn []verifier.Key // of a handler with tenants: see Config.Tenants

	mu      sync.Mutex // guards sources, started, short and judged; one refresh at a time
	started bool       // after the first refresh: a change may be half-written
	short   []string   // labels of short secrets already logged
	judged  *Snapshot  // whose doubtful secrets are already logged
	logger  *zap.Logger
	failed  func() // may be nil
	changed func() // may be nil
}

// A Snapshot is everything that a handler verifies and signs with at one time. It is
// immutable: a rotation replaces it as a whole. A request keeps the snapshot that it
// loads on arrival, so no request sees both old and new keys.
type Snapshot struct {
	// Verifier verifies deliveries.
	Verifier *verifier.Verifier
	// Signer signs upstream requests. It is nil without sign_upstream.
	Signer *verifier.Verifier
	// SignerKey is the secret of Signer.
	SignerKey string
	// Keys are the keys of Verifier. They are read-only.
	Keys []verifier.Key

	labels    []string
	guessable []string    // see Guessable
	short     []string    // see Short
	foreign   []zap.Field // see Foreign
	of        *Set        // of a handler with tenants: see With
	version   int         // of the published keys
	ends      time.Time   // when the first certificate expires; zero: never

	// Room for Keys and labels of a tenant with one key: an object of each of thousands
	// would cost the garbage collector more than the bytes.
	oneKey   [1]verifier.Key
	oneLabel [1]string
}

// Apart returns the snapshot without a way to the Set that it is of, for whoever keeps it
// longer than a configuration. Nil has none.
func (s *Snapshot) Apart() *Snapshot {
	if s == nil || s.of == nil {
		return s
	}
	apart := *s
	apart.of, apart.Keys, apart.labels = nil, slices.Clone(s.Keys), slices.Clone(s.labels)
	return &apart
}

// Labels returns the labels of the keys in logs and metrics. All fetched keys share
// one label. A nil Snapshot has none.
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

// Close releases the fetched keys, which other Sets may still use.
func (k *Set) Close() error {
	if k.published == nil {
		return nil
	}
	_, err := publishedPool.Delete(k.id)
	return err
}

// Snapshot returns the snapshot for a request that arrives now; nil while a key is
// missing. None of its certificates has expired.
func (k *Set) Snapshot() *Snapshot {
	if k.published != nil && k.Current().expired(k.fetcher.clock()) {
		if err := k.adopt(); err != nil {
			k.logger.Error("keys cannot be used", zap.Error(err))
		}
	}
	return k.Current()
}

// Current returns the newest snapshot; nil while a key is missing. Unlike Snapshot it
// acquires no lock and does not check whether a certificate has expired.
func (k *Set) Current() *Snapshot { return k.current.Load() }

// Labels returns the labels of the current snapshot, and one for all keys of all
// tenants. It acquires no lock.
func (k *Set) Labels() []string {
	if k.standIn != nil {
		return []string{labelTenant}
	}
	return k.Current().Labels()
}

// Problems lists the key files that cannot be used now, leftovers beside them, those whose
// secret may be guessed, and lines that are used as several keys and may be one, with
// reasons. It acquires no lock.
func (k *Set) Problems() []string {
	problems := slices.Clone(*k.trouble.Load())
	if doubtful := k.doubtful.Load(); doubtful != nil {
		problems = append(problems, *doubtful...)
	}
	return problems
}

// Refresh rereads the key files and swaps the snapshot if one has changed. It logs and
// counts an unusable file and keeps its last usable text. An error means that the keys
// do not fit the configuration.
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
		if len(s.skipped) > 0 {
			problems = append(problems, fmt.Sprintf("%s: %s: %s", s, strings.Join(s.skipped, ", "), LeftoverUnused))
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

// compile builds a snapshot; nil while all keys, or the value of a required header or
// param, are missing.
func (k *Set) compile() (*Snapshot, error) {
	signer, signerKey, err := k.compileSigner()
	if err != nil {
		return nil, err
	}
	scheme, keys, ok := k.resolved()
	switch {
	case !ok:
		return nil, nil
	case k.standIn != nil:
		keys = k.standIn
	case len(keys) == 0 && k.published == nil && slices.ContainsFunc(k.sources, (*source).isKey):
		return nil, nil
	}
	s := &Snapshot{Signer: signer, SignerKey: signerKey, Keys: keys}
	if k.standIn != nil {
		s.of = k
	}
	for _, key := range keys {
		if k.standIn == nil {
			s.labels = append(s.labels, key.Label)
		}
	}
	if len(keys) == 0 && k.published == nil {
		s.labels = append(s.labels, verifier.LabelPinned)
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

// resolved returns the scheme with its values filled in, and the keys. ok is false
// while the value of a required header or param is missing.
func (k *Set) resolved() (scheme verifier.Scheme, keys []verifier.Key, ok bool) {
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

// errOneByte does not apply to literal secrets: variables and files are more easily
// cut off or half-written.
var errOneByte = errors.New("the secret is one byte long, so anyone can guess it: copy all of it")

// errAnyValue keeps a glob that nothing expanded, or a mask, from letting any value pass:
// whether a header is checked is the configuration's to say.
var errAnyValue = errors.New("the text is *, and only a * in the configuration itself accepts any value: write the value")

// usableTexts divides texts into lines and returns why one cannot be used.
func (k *Set) usableTexts(s *source, whole []labelled) ([]labelled, error) {
	texts, err := k.divide(s, whole)
	if err == nil {
		err = k.usable(s, texts)
	}
	return texts, err
}

// usable returns why a text cannot be used; nil if all can.
func (k *Set) usable(s *source, texts []labelled) error {
	if s.use == useUpstream {
		_, err := newSigner(texts[0].text)
		return err
	}
	if s.use == useHeader && s.kind != literalValue && slices.ContainsFunc(texts, func(t labelled) bool { return t.text == "*" }) {
		return errAnyValue
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
		if s.kind != fileValue {
			continue
		}
		for _, password := range k.parts(s, t)[1:] { // all of the text has been checked
			if err := CheckRendered(password); err != nil {
				return err
			}
		}
	}
	return nil
}
