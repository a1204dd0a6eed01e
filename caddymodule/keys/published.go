package keys

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	// setLasts is the least time between two fetches of a set for deliveries that
	// name a key which it lacks.
	setLasts = time.Minute
	// A set is fetched again, off every request's way, when it is as old as its
	// Cache-Control says, within these bounds.
	minSetAge, maxSetAge = 5 * time.Minute, 24 * time.Hour
	// maxCertificates is how many are kept of one sender, which has one or two.
	maxCertificates = 16

	setLabel = "jwks"
	// labelFetched stands for all fetched keys in metrics and logs.
	labelFetched = "fetched"

	setPollInterval = 10 * time.Second
)

// published holds the public keys that a sender publishes, as far as they were
// fetched: one set, or certificates that deliveries name. It outlives a reload.
type published struct {
	jwks string // address of the set; "": there are certificates

	mu           sync.Mutex
	version      int // changes when the keys do
	set          string
	since        time.Time // when the set was fetched
	stale        time.Time // when it is to be fetched again
	tried        time.Time
	certificates []certificate // the one used last is the last
	expected     []string      // addresses that served before a restart

	learned chan struct{} // holds something when another certificate has verified a delivery
}

type certificate struct {
	address, text string
	from, until   time.Time
	proven        bool // it has verified a delivery: what forgeries name does not drive it out
}

// algorithms are part of it: keys of another would be refused, and with them the
// configuration that has come to want other ones.
type publishedID struct{ handler, jwks, hosts, algorithms string }

func publishedOf(handler string, scheme *verifier.Scheme) (publishedID, *published) {
	source, algorithms := scheme.KeySource, string(scheme.Algorithm)
	if s := scheme.Signature; s != nil {
		algorithms += fmt.Sprint(s.Accept) // in the order of its keys
	}
	id := publishedID{handler, source.JWKS, strings.Join(source.CertificateHosts, " "), algorithms}
	p, _ := publishedPool.LoadOrStore(id, &published{jwks: source.JWKS, learned: make(chan struct{}, 1)})
	return id, p.(*published)
}

// Destruct has nothing to end: fetches under way end by themselves.
func (*published) Destruct() error { return nil }

// keys returns what is valid at now, and until when it all is (zero: no end).
func (p *published) keys(now time.Time) (keys []verifier.Key, version int, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != "" {
		keys = append(keys, verifier.Key{Label: setLabel, Text: p.set, Kind: verifier.PublicKey})
	}
	for _, c := range p.certificates {
		if now.Before(c.from) || now.After(c.until) {
			continue
		}
		keys = append(keys, verifier.Key{ID: c.address, Label: path.Base(c.address), Text: c.text, Kind: verifier.PublicKey})
		if until.IsZero() || c.until.Before(until) {
			until = c.until
		}
	}
	return keys, p.version, until
}

// wants reports whether a fetch may bring what is not at hand.
func (p *published) wants(address string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jwks != "" {
		return p.set == "" || now.Sub(p.since) >= setLasts
	}
	return !slices.ContainsFunc(p.certificates, func(c certificate) bool {
		return c.address == address && !now.Before(c.from) && !now.After(c.until)
	})
}

// due reports whether the set is to be fetched again, and notes the attempt.
func (p *published) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jwks == "" || p.set != "" && (now.Before(p.stale) || now.Sub(p.tried) < setLasts) {
		return false
	}
	p.tried = now
	return true
}

// keep takes what was fetched. usable says whether the scheme can use the key.
func (p *published) keep(address string, got Page, now time.Time, usable func(text string) error) error {
	c := certificate{address: address, text: got.Text}
	if p.jwks == "" {
		var err error
		if c, err = parseCertificate(address, got.Text); err != nil {
			return err
		}
		if now.Before(c.from) || now.After(c.until) {
			return fmt.Errorf("the certificate is valid from %s to %s, which is not now", c.from.Format(time.RFC3339), c.until.Format(time.RFC3339))
		}
	}
	if err := usable(c.text); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jwks != "" {
		if p.set != c.text {
			p.version++
		}
		age := maxSetAge
		if got.MaxAge > 0 {
			age = min(max(got.MaxAge, minSetAge), maxSetAge)
		}
		p.set, p.since, p.stale = c.text, now, now.Add(age)
		return nil
	}
	p.version++
	c.proven = slices.Contains(p.expected, address) ||
		slices.ContainsFunc(p.certificates, func(other certificate) bool { return other.address == address && other.proven })
	p.certificates = slices.DeleteFunc(p.certificates, func(other certificate) bool { return other.address == address || now.After(other.until) })
	if len(p.certificates) == maxCertificates {
		i := max(0, slices.IndexFunc(p.certificates, func(c certificate) bool { return !c.proven }))
		p.certificates = slices.Delete(p.certificates, i, i+1)
	}
	p.certificates = append(p.certificates, c)
	return nil
}

// used notes that a certificate has verified a delivery: it stays among those
// that are kept.
func (p *published) used(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.certificates, func(c certificate) bool { return c.address == address })
	if i < 0 {
		return // of a set, or gone since
	}
	c := p.certificates[i]
	if !c.proven {
		select {
		case p.learned <- struct{}{}:
		default:
		}
	}
	c.proven = true
	p.certificates = append(slices.Delete(p.certificates, i, i+1), c)
}

var errNoCertificate = errors.New("what stands there is not a certificate in PEM")

// parseCertificate reads the first of what may be a chain, with nothing around.
func parseCertificate(address, text string) (certificate, error) {
	rest := []byte(text)
	var first *pem.Block
	for len(rest) > 0 {
		if !strings.HasPrefix(string(rest), "-----BEGIN CERTIFICATE-----") {
			return certificate{}, errNoCertificate
		}
		block, after := pem.Decode(rest)
		if block == nil {
			return certificate{}, errNoCertificate
		}
		if first == nil {
			first = block
		}
		rest = []byte(strings.TrimSpace(string(after)))
	}
	if first == nil {
		return certificate{}, errNoCertificate
	}
	c, err := x509.ParseCertificate(first.Bytes)
	if err != nil {
		return certificate{}, errNoCertificate
	}
	return certificate{address: address, text: string(pem.EncodeToMemory(first)), from: c.NotBefore, until: c.NotAfter}, nil
}

// Fetch gets the key of a delivery that none at hand has signed, waits for it, and
// puts it to use. id is what the delivery calls its key, client who sent it. Nil
// means that what the sender publishes now is in use, whether or not the
// delivery's key is in it. Errors hold no address.
func (k *Set) Fetch(ctx context.Context, id string, client netip.Prefix) error {
	return k.fetch(ctx, need{address: id, client: client})
}

func (k *Set) fetch(ctx context.Context, n need) error {
	p := k.published
	if p.jwks != "" {
		n.address = p.jwks
	}
	n.known = p.knows(n.address)
	shown, _, _ := strings.Cut(n.address, "?") // a query may hold a token
	if p.wants(n.address, k.fetcher.clock()) {
		err := k.fetcher.fetch(ctx, n, func(got Page, err error) error {
			if err == nil {
				err = p.keep(n.address, got, k.fetcher.clock(), k.usableKey)
			}
			if err != nil {
				k.failed()
				k.logger.Error("the sender's key cannot be fetched", zap.String("address", shown), zap.Error(err),
					zap.String("consequence", "those at hand stay in use; deliveries signed with another are answered 503"))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return k.adopt()
}

// usableKey reports whether a fetched text is a key of the scheme.
func (k *Set) usableKey(text string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.usable(&source{use: usePublicKey}, []labelled{{text: text}})
}

// adopt puts what was fetched to use, if it is not yet. Only then it waits for
// the lock, under which files are read.
func (k *Set) adopt() error {
	if k.adopted() {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.adopted() {
		return nil
	}
	return k.swap()
}

func (k *Set) adopted() bool {
	now := k.fetcher.clock()
	_, version, _ := k.published.keys(now)
	s := k.current.Load()
	return s != nil && s.version == version && !s.expired(now)
}

// Snapshot returns what to verify and sign with now, nil while there is no key.
// A certificate counts until it expires.
func (k *Set) Snapshot() *Snapshot {
	s := k.current.Load()
	if k.published == nil || !s.expired(k.fetcher.clock()) {
		return s
	}
	if err := k.adopt(); err != nil {
		k.logger.Error("keys cannot be used", zap.Error(err))
	}
	return k.current.Load()
}

// followSet fetches the sender's set at once and whenever it is old, until ctx ends.
func (k *Set) followSet(ctx context.Context) {
	ticker := time.NewTicker(setPollInterval)
	defer ticker.Stop()
	for {
		if k.published.due(k.fetcher.clock()) {
			_ = k.fetch(ctx, need{}) // logged there
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// NoteUse keeps a certificate that verifies deliveries among those that are
// kept, and returns what metrics call the key: those that were fetched, which
// are never beside others, share a name, for there is no end of them.
func (k *Set) NoteUse(verdict verifier.Verdict) string {
	if k.published == nil {
		return verdict.Key
	}
	k.published.used(verdict.KeyID)
	return labelFetched
}
