package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A keyring holds a handler's keys: where they come from, and a snapshot of what
// they are now. Values from files are read again by refresh; everything else is
// read once.
type keyring struct {
	scheme  verifier.Scheme // without what the sources fill in
	sources []*source
	current atomic.Pointer[snapshot] // nil until every key that is needed was read
	trouble atomic.Pointer[[]string] // files that cannot be used now, for the status

	published *published // what the sender publishes; nil where keys are given

	mu      sync.Mutex // one refresh at a time
	started bool       // the first refresh is over: a change may be half-written
	short   []string   // labels of secrets that were warned of, since Start
	logger  *zap.Logger
	failed  func() // counts a key file or address that could not be used

	changed func() // called after each change of the keys; may be nil
}

// A snapshot is all that a handler verifies and signs with at one time. It is
// never changed: a rotation replaces it whole, and a request keeps the one that
// it loads on arrival, so that no request sees old keys and new ones.
type snapshot struct {
	verifier *verifier.Verifier
	signer   *verifier.Verifier // of sign_upstream; nil without
	labels   []string           // of the keys, all fetched ones under one

	// What verifier was compiled from, for Explain and redaction.
	scheme verifier.Scheme
	keys   []verifier.Key

	version int       // of the published keys that are part of it
	ends    time.Time // when the first certificate expires; zero: never
}

// Labels implements metrics.Keys.
func (k *keyring) Labels() []string { return k.current.Load().keyLabels() }

// keyLabels is safe on nil, which has none.
func (s *snapshot) keyLabels() []string {
	if s == nil {
		return nil
	}
	return s.labels
}

// expired reports whether a certificate is no longer valid.
func (s *snapshot) expired(now time.Time) bool {
	return s != nil && !s.ends.IsZero() && now.After(s.ends)
}

// add registers a configured value and reads it unless it is a file.
func (k *keyring) add(option string, use use, detail string, v Value) error {
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
func (k *keyring) usable(s *source, texts []labelled) error {
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
func (k *keyring) params() map[string]string {
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
func (k *keyring) watches() bool {
	return slices.ContainsFunc(k.sources, func(s *source) bool { return s.kind == fileValue })
}

// refresh reads the files again and swaps the snapshot if a text has changed.
// What cannot be used is logged, counted, and leaves the last usable text in
// place. The error is of the configuration itself, not of a file.
func (k *keyring) refresh() error {
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
func (k *keyring) swap() error {
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

// compile builds a snapshot of what is there, nil while something that every
// delivery needs is not: all keys, or a required header's or param's value.
func (k *keyring) compile() (*snapshot, error) {
	signer, err := k.compileSigner()
	if err != nil {
		return nil, err
	}
	scheme, keys, ok := k.material()
	if !ok || len(keys) == 0 && k.published == nil && k.watches() {
		return nil, nil
	}
	s := &snapshot{signer: signer, scheme: scheme, keys: keys}
	for _, key := range keys {
		s.labels = append(s.labels, key.Label)
	}
	if k.published != nil {
		var fetched []verifier.Key
		fetched, s.version, s.ends = k.published.keys(k.published.fetcher.clock())
		if s.keys = append(keys, fetched...); len(fetched) > 0 {
			s.labels = append(s.labels, labelFetched)
		}
	}
	s.verifier, err = verifier.New(s.scheme, s.keys)
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
func (k *keyring) warnOfShort() {
	var labels []string
	if s := k.current.Load(); s != nil {
		labels = s.verifier.ShortSecrets(shortSecret)
		if s.signer != nil && len(s.signer.ShortSecrets(shortSecret)) > 0 {
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
func (k *keyring) material() (scheme verifier.Scheme, keys []verifier.Key, ok bool) {
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

// compileSigner builds what signs for the app, nil where nothing does. Its
// secret is the app's alone: were it one of the sender's, whoever signs for the
// sender could sign for the gateway.
func (k *keyring) compileSigner() (*verifier.Verifier, error) {
	i := slices.IndexFunc(k.sources, func(s *source) bool { return s.use == useUpstream })
	if i < 0 || len(k.sources[i].texts) == 0 {
		return nil, nil
	}
	secret := k.sources[i].texts[0].text
	signer, err := newSigner(secret)
	if err != nil {
		return nil, err
	}
	for _, s := range k.sources {
		for _, t := range s.texts {
			if s.use == useSecret && (t.text == secret || signsLike(signer, t.text)) {
				return nil, errors.New("sign_upstream: the same secret as one of the sender's: give the app a secret of its own")
			}
		}
	}
	return signer, nil
}

// signsLike reports whether a secret is the signer's, written otherwise: the
// prefix whsec_ and the padding are optional.
func signsLike(signer *verifier.Verifier, secret string) bool {
	other, err := newSigner(secret)
	if err != nil {
		return false
	}
	a, b := make(http.Header), make(http.Header)
	return signer.Sign(&verifier.Request{Header: a}, "probe", time.Unix(0, 0), nil) == nil &&
		other.Sign(&verifier.Request{Header: b}, "probe", time.Unix(0, 0), nil) == nil &&
		a.Get("Webhook-Signature") == b.Get("Webhook-Signature")
}

// newSigner signs as Standard Webhooks does.
func newSigner(secret string) (*verifier.Verifier, error) {
	p, err := providers.Get("standard_webhooks")
	if err != nil {
		return nil, err
	}
	v, err := verifier.New(p.Scheme, []verifier.Key{{Text: secret}})
	if e, ok := errors.AsType[*verifier.KeyError](err); ok {
		return nil, errors.New(e.Problem)
	}
	return v, err
}

// problems says which files cannot be used now, and why.
func (k *keyring) problems() []string {
	var problems []string
	for _, s := range k.sources {
		if s.problem != "" {
			problems = append(problems, s.String()+": "+s.problem)
		}
	}
	return problems
}
