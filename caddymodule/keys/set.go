package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// Config says where a handler's keys come from.
type Config struct {
	// Name is the handler's. What its sender publishes is kept by it over a reload.
	Name string
	// Scheme is how deliveries are signed, without what the values below fill in.
	// See WithAddress for the address of a key set among PublicKey.
	Scheme verifier.Scheme
	// Param are the values of the scheme's params, by name, and RequireHeader the
	// headers that deliveries must have besides those of Scheme. Written as Values.
	Param         map[string]string
	RequireHeader []verifier.RequiredHeader
	// Secret and PublicKey verify deliveries; any one does.
	Secret, PublicKey []Value
	// SignUpstream is the secret that signs for the app. Default: nothing is signed.
	SignUpstream string

	// Fetcher fetches what the sender publishes. Default: one of the Set's own.
	Fetcher *Fetcher
	// Logger gets what goes wrong with files and fetches. Default: none.
	Logger *zap.Logger
	// Failed is called when a key file or address cannot be used, Changed after
	// each change of the keys. Default: nothing.
	Failed, Changed func()
}

// A Set holds a handler's keys: where they come from, and a snapshot of what
// they are now. Values from files are read again by Refresh; everything else is
// read once. It is safe for concurrent use.
type Set struct {
	scheme  verifier.Scheme // without what the sources fill in
	sources []*source
	current atomic.Pointer[Snapshot] // nil until every key that is needed was read
	trouble atomic.Pointer[[]string] // files that cannot be used now, for the status

	published *published  // what the sender publishes; nil where keys are given
	id        publishedID // of published
	fetcher   *Fetcher

	mu      sync.Mutex // one refresh at a time
	started bool       // the first refresh is over: a change may be half-written
	short   []string   // labels of secrets that were warned of, since Start
	logger  *zap.Logger
	failed  func()
	changed func()
}

// Open reads the values and compiles a first snapshot. A file that cannot be read
// is logged and looked for again by Refresh. An error is of the configuration and
// begins with the option; it never holds a secret. Close ends a Set's use.
func Open(c Config) (*Set, error) {
	k := newSet(c)
	if err := k.gather(c); err != nil {
		return nil, err
	}
	if len(c.Secret)+len(c.PublicKey) == 0 && c.Scheme.KeySource == nil {
		return nil, ErrNoKey
	}
	if c.SignUpstream != "" {
		if err := k.add("sign_upstream", useUpstream, "", Value{Value: c.SignUpstream}); err != nil {
			return nil, err
		}
	}
	if c.Scheme.KeySource != nil {
		k.id, k.published = publishedOf(c.Name, &c.Scheme)
	}
	if err := k.Refresh(); err != nil {
		_ = k.Close()
		return nil, err
	}
	return k, nil
}

// Close gives up what was fetched, unless another Set uses it.
func (k *Set) Close() error {
	if k.published == nil {
		return nil
	}
	_, err := publishedPool.Delete(k.id)
	return err
}

// ErrNoKey is the error of a configuration that has no key and whose sender
// publishes none.
var ErrNoKey = errors.New("secret: missing: without a key nothing can be verified; add: secret {env.NAME} (or public_key); an unset {$NAME} vanishes before this is read")

// Read returns the scheme with its values filled in, and the keys, as they are
// now. Unlike a Set it waits for no file: one that cannot be used is an error.
// Nothing is fetched, and there may be no key.
func Read(c Config) (verifier.Scheme, []verifier.Key, error) {
	k := newSet(c)
	if err := k.gather(c); err != nil {
		return verifier.Scheme{}, nil, err
	}
	for _, source := range k.sources {
		if source.kind == fileValue {
			k.reread(source)
		}
		if source.problem != "" {
			return verifier.Scheme{}, nil, fmt.Errorf("%s: %s", source, source.problem)
		}
	}
	scheme, keys, _ := k.material()
	return scheme, keys, nil
}

func newSet(c Config) *Set {
	nothing := func() {}
	k := &Set{scheme: c.Scheme, fetcher: cmp.Or(c.Fetcher, new(Fetcher)), logger: cmp.Or(c.Logger, zap.NewNop()), failed: c.Failed, changed: c.Changed}
	if k.failed == nil {
		k.failed = nothing
	}
	if k.changed == nil {
		k.changed = nothing
	}
	return k
}

// gather adds what verifies.
func (k *Set) gather(c Config) error {
	for _, name := range slices.Sorted(maps.Keys(c.Param)) {
		if err := k.add("param "+name, useParam, name, Value{Value: c.Param[name]}); err != nil {
			return err
		}
	}
	for _, header := range c.RequireHeader {
		for _, value := range header.Values {
			name := textproto.CanonicalMIMEHeaderKey(header.Name)
			if err := k.add("require_header "+header.Name, useHeader, name, Value{Value: value}); err != nil {
				return err
			}
		}
	}
	for _, v := range c.Secret {
		if err := k.add("secret", useSecret, "", v); err != nil {
			return err
		}
	}
	_, publicKeys, err := withAddress(verifier.Scheme{}, c.PublicKey)
	if err != nil {
		return err
	}
	for _, v := range publicKeys {
		if err := k.add("public_key", usePublicKey, "", v); err != nil {
			return err
		}
	}
	return nil
}

// A snapshot is all that a handler verifies and signs with at one time. It is
// never changed: a rotation replaces it whole, and a request keeps the one that
// it loads on arrival, so that no request sees old keys and new ones.
type Snapshot struct {
	Verifier *verifier.Verifier
	Signer   *verifier.Verifier // signs for the app; nil where nothing does

	// Scheme and Keys are what Verifier was compiled from.
	Scheme verifier.Scheme
	Keys   []verifier.Key

	labels  []string  // of the keys, all fetched ones under one
	version int       // of the published keys that are part of it
	ends    time.Time // when the first certificate expires; zero: never
}

// Labels returns the labels of the keys in use: see Snapshot.Labels. It takes no
// lock.
func (k *Set) Labels() []string { return k.Current().Labels() }

// Current returns the newest snapshot, nil while there is none, also if a
// certificate in it has expired. It takes no lock.
func (k *Set) Current() *Snapshot { return k.current.Load() }

// Labels returns what logs and metrics call the keys; all that were fetched share
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

// add registers a configured value and reads it unless it is a file.
func (k *Set) add(option string, use use, detail string, v Value) error {
	s := &source{option: option, use: use, detail: detail, label: v.Label, place: 1}
	for _, earlier := range k.sources {
		if earlier.isKey() {
			s.place++
		}
	}
	var err error
	if s.kind, s.name, err = parseValue(v.Value); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	switch s.kind {
	case literalValue:
		if use == useSecret || use == useUpstream {
			if err := checkLiteral(v.Value); err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
		}
		s.texts = []labelled{{text: v.Value}}
	case envValue:
		read := readEnv
		if use == useSecret || use == useUpstream {
			read = readSecretEnv
		}
		text, err := read(s.name)
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		s.texts = []labelled{{text: text}}
	}
	if s.kind != fileValue {
		if err := k.usable(s, s.texts); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	k.sources = append(k.sources, s)
	return nil
}

// usable reports whether every text is a key of the scheme, for keys.
func (k *Set) usable(s *source, texts []labelled) error {
	if s.use == useUpstream {
		_, err := newSigner(texts[0].text)
		return err
	}
	if !s.isKey() {
		return nil
	}
	for _, t := range texts {
		key := verifier.Key{Label: t.label, Text: t.text}
		if s.use == usePublicKey {
			key.Kind = verifier.PublicKey
		}
		scheme := k.scheme
		scheme.Params = k.params()
		v, err := verifier.New(scheme, []verifier.Key{key})
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

// params returns the values of all params. One that is not read yet is its own
// name, so that a key can be tried alone: compile waits for the real one.
func (k *Set) params() map[string]string {
	params := make(map[string]string)
	for _, s := range k.sources {
		if s.use != useParam {
			continue
		}
		params[s.detail] = s.detail
		if len(s.texts) > 0 {
			params[s.detail] = s.texts[0].text
		}
	}
	return params
}

// watches reports whether anything comes from a file.
func (k *Set) watches() bool {
	return slices.ContainsFunc(k.sources, func(s *source) bool { return s.kind == fileValue })
}

// pollInterval is how often key files are read again: a change is in use when two
// looks have found the same, within two seconds. Polling, because what mounts
// secrets swaps symbolic links, which file events miss.
const pollInterval = time.Second

// Follow begins to keep the keys current, until ctx ends: key files are read every
// second, the sender's key set is fetched at once and whenever it is old, and so
// are the certificates whose addresses are in store (nil: there is none). running
// counts what is to end after ctx; what a store holds up is not part of it.
func (k *Set) Follow(ctx context.Context, store Storage, running *sync.WaitGroup) {
	k.warnOfShort()
	if k.watches() {
		running.Go(func() { k.followFiles(ctx) })
	}
	switch {
	case k.published == nil:
	case k.published.jwks != "":
		running.Go(func() { k.followSet(ctx) })
	case store != nil:
		go k.recall(ctx, store, k.id.storageKey())
	}
}

func (k *Set) followFiles(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := k.Refresh(); err != nil {
			k.logger.Error("keys cannot be used", zap.Error(err))
		}
		k.warnOfShort()
	}
}

// Refresh reads the files again and swaps the snapshot if a text has changed.
// What cannot be used is logged, counted, and leaves the last usable text in
// place. The error is of the configuration itself, not of a file.
func (k *Set) Refresh() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := k.current.Load() == nil
	for _, s := range k.sources {
		if s.kind == fileValue && k.reread(s) {
			changed = true
		}
	}
	k.started = true
	k.trouble.Store(new(k.problems()))
	if !changed {
		return nil
	}
	return k.swap()
}

// swap compiles what is there, files and fetched keys, and puts it to use.
func (k *Set) swap() error {
	s, err := k.compile()
	if err != nil || s == nil {
		return err
	}
	previous := k.current.Swap(s)
	k.changed()
	if previous != nil {
		k.logger.Info("keys changed and are in use", zap.Strings("keys", some(s.labels)))
	}
	return nil
}

// compile builds a snapshot of what is there, nil while something that every
// delivery needs is not: all keys, or a required header's or param's value.
func (k *Set) compile() (*Snapshot, error) {
	signer, err := k.compileSigner()
	if err != nil {
		return nil, err
	}
	scheme, keys, ok := k.material()
	if !ok || len(keys) == 0 && k.published == nil && k.watches() {
		return nil, nil
	}
	s := &Snapshot{Signer: signer, Scheme: scheme, Keys: keys}
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
	s.Verifier, err = verifier.New(s.Scheme, s.Keys)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// shortSecret is how many bytes a secret has at least, or a warning is due: 112
// bits, what NIST SP 800-131A Rev. 2 §10 asks of an HMAC key. Shorter ones are not
// refused, since some senders take what a person types.
const shortSecret = 14

// errOneByte is of variables and files, which are cut off or half-written more
// easily than what a person writes out.
var errOneByte = errors.New("the secret is one byte long, which anyone finds by trying: copy it whole")

// warnOfShort logs which secrets can be found by trying, when others become so.
func (k *Set) warnOfShort() {
	var labels []string
	if s := k.current.Load(); s != nil {
		labels = s.Verifier.ShortSecrets(shortSecret)
		if s.Signer != nil && len(s.Signer.ShortSecrets(shortSecret)) > 0 {
			labels = append(labels, "sign_upstream")
		}
	}
	if len(labels) > 0 && !slices.Equal(labels, k.short) {
		k.logger.Warn("a secret is short enough to be found by trying: use at least 16 random characters where the sender lets you choose",
			zap.Strings("keys", some(labels)))
	}
	k.short = labels
}

// some keeps a log line short: a folder may hold thousands of keys.
func some(labels []string) []string {
	const most = 32
	if len(labels) <= most {
		return labels
	}
	return append(slices.Clone(labels[:most]), fmt.Sprintf("and %d more", len(labels)-most))
}

// material returns the scheme with its values filled in, and the keys; ok is
// false while the value of a required header or param is not there.
func (k *Set) material() (scheme verifier.Scheme, keys []verifier.Key, ok bool) {
	scheme = k.scheme
	scheme.Params = k.params()
	scheme.RequireHeader = slices.Clone(scheme.RequireHeader)
	headers := make(map[string]int) // name → its place in RequireHeader
	for _, s := range k.sources {
		if len(s.texts) == 0 && s.use != useSecret && s.use != usePublicKey {
			return scheme, nil, false
		}
		for _, t := range s.texts {
			switch s.use {
			case useSecret, usePublicKey:
				key := verifier.Key{Label: s.keyLabel(t), Text: t.text}
				if s.use == usePublicKey {
					key.Kind = verifier.PublicKey
				}
				keys = append(keys, key)
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

// Problems says which files cannot be used now, and why. It takes no lock.
func (k *Set) Problems() []string {
	if problems := k.trouble.Load(); problems != nil {
		return *problems
	}
	return nil
}

func (k *Set) problems() []string {
	var problems []string
	for _, s := range k.sources {
		if s.problem != "" {
			problems = append(problems, s.String()+": "+s.problem)
		}
	}
	return problems
}
