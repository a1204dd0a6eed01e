package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	// setLasts is the age from which a key set is fetched for a delivery that matches
	// none of its keys, whoever sent it. A younger one is fetched within the budget.
	setLasts = time.Minute
	// Bounds of the age, from Cache-Control, at which a key set is fetched again.
	minSetAge, maxSetAge = 5 * time.Minute, 24 * time.Hour
	// maxCertificates limits the certificates kept of a sender, which has one or two.
	maxCertificates = 16

	setLabel = "jwks" // prefix of the id of a key in a set
	// labelFetched is the label of all fetched keys in metrics and logs.
	labelFetched = "fetched"
)

// published holds the public keys fetched from a sender: one key set, the sets of
// several senders, or certificates that deliveries name.
type published struct {
	sets  []*keySet // none where deliveries name certificates
	named bool      // deliveries name one of the sets
	bare  bool      // the files may be public keys without a certificate

	mu           sync.Mutex
	version      int           // grows when the keys change
	certificates []certificate // most recently used last
	expected     []string      // addresses of certificates proven before a restart

	learned chan struct{} // signals that another certificate verified a delivery
}

// A keySet is a JSON Web Key Set at an address.
type keySet struct {
	address string
	text    string    // "" before the first fetch
	fetched time.Time // when the fetch was that got it
	stale   time.Time // when it is too old
	tried   time.Time // when due named it last
}

// setOf returns the set of a delivery that names id, nil where deliveries name
// certificates.
func (p *published) setOf(id string) *keySet {
	for _, s := range p.sets {
		if !p.named || s.address == id {
			return s
		}
	}
	return nil
}

type certificate struct {
	address, text string
	from, until   time.Time
	proven        bool // verified a delivery; dropped last
}

// keys returns the valid keys and the time when the first expires (zero: never).
func (p *published) keys(now time.Time) (keys []verifier.Key, version int, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sets {
		if s.text == "" {
			continue
		}
		key := verifier.Key{Label: setLabel, Text: s.text, Kind: verifier.PublicKey}
		if p.named {
			key.ID = s.address
		}
		keys = append(keys, key)
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

// lacks reports whether fetching address may yield a key that we do not have, for a
// delivery that came then.
func (p *published) lacks(address string, came, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.setOf(address); s != nil {
		return s.text == "" || !s.fetched.After(came)
	}
	return !slices.ContainsFunc(p.certificates, func(c certificate) bool {
		return c.address == address && !now.Before(c.from) && !now.After(c.until)
	})
}

// young returns how long the set at an address is still younger than setLasts;
// otherwise 0.
func (p *published) young(address string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.setOf(address)
	if s == nil || s.text == "" {
		return 0
	}
	return max(0, setLasts-now.Sub(s.fetched))
}

// due returns the addresses of the key sets to fetch now. Those are not due for a
// while then.
func (p *published) due(now time.Time) (addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sets {
		if s.text == "" || !now.Before(s.stale) && now.Sub(s.tried) >= setLasts {
			s.tried = now
			addresses = append(addresses, s.address)
		}
	}
	return addresses
}

// keep stores a fetched page. usable returns why it is not a key of the scheme.
func (p *published) keep(address string, page Page, now time.Time, usable func(text string) error) error {
	c := certificate{address: address, text: page.Text}
	set := p.setOf(address)
	if set == nil {
		var err error
		if c, err = p.parse(address, page.Text, now); err != nil {
			return err
		}
		if now.Before(c.from) || now.After(c.until) {
			return fmt.Errorf("the certificate is not valid now, only from %s to %s", c.from.Format(time.RFC3339), c.until.Format(time.RFC3339))
		}
	}
	if set == nil || !p.has(set, c.text) { // usable may wait for a file
		if err := usable(c.text); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if set != nil {
		if set.text != c.text {
			p.version++
		}
		age := maxSetAge
		if page.MaxAge > 0 {
			age = min(max(page.MaxAge, minSetAge), maxSetAge)
		}
		set.text, set.fetched, set.stale = c.text, now, now.Add(age)
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

// has reports whether text is that of the set.
func (p *published) has(s *keySet, text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return text != "" && s.text == text
}

// used records that the certificate at address verified a delivery.
func (p *published) used(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.certificates, func(c certificate) bool { return c.address == address })
	if i < 0 {
		return // dropped
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

var errNoCertificate = errors.New("the address serves no certificate in PEM")

// parse returns the certificate in a file, or a public key without dates if the source
// may have those: it is fetched again when it is as old as a key set may be.
func (p *published) parse(address, text string, now time.Time) (certificate, error) {
	if p.bare && strings.HasPrefix(text, "-----BEGIN PUBLIC KEY-----") {
		block, rest := pem.Decode([]byte(text))
		if block == nil || strings.TrimSpace(string(rest)) != "" {
			return certificate{}, errNoCertificate
		}
		return certificate{address: address, text: string(pem.EncodeToMemory(block)), from: now, until: now.Add(maxSetAge)}, nil
	}
	return parseCertificate(address, text)
}

// parseCertificate returns the first certificate of a chain. Other text around or
// between certificates is an error.
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
