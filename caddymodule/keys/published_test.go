package keys

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	marker = "SECRET-MARKER-7f3a"
	body   = `{"id":"evt_1"}`
)

var clock = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A sender has Ed25519 keys and pages to fetch.
type sender struct {
	pages map[string]string
	asked []string
	now   time.Time
}

// open opens a set of keys whose fetches go to the sender's pages.
func (s *sender) open(t *testing.T, source verifier.KeySource) *Set {
	t.Helper()
	k, err := Open(Config{
		Name: t.Name(),
		Rules: mustCompile(verifier.Scheme{
			Algorithm: "ed25519",
			Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}},
			KeyID:     &verifier.KeyID{Header: "X-Key"},
			KeySource: &source,
		}),
		Fetcher: &Fetcher{
			Now: func() time.Time { return s.now },
			Get: func(_ context.Context, address string) (Page, error) {
				s.asked = append(s.asked, address)
				page, ok := s.pages[address]
				if !ok {
					return Page{}, errors.New("status 404")
				}
				return Page{Text: page}, nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const setAddress = "https://keys.acme.example/jwks.json"

var (
	fromSet   = verifier.KeySource{JWKS: setAddress}
	fromHosts = verifier.KeySource{CertificateHosts: []string{"certs.acme.example"}}
)

func signedBy(key ed25519.PrivateKey, id string) *verifier.Request {
	return &verifier.Request{Header: http.Header{"X-Signature": {fmt.Sprintf("%x", ed25519.Sign(key, []byte(body)))}, "X-Key": {id}}}
}

// judge does what a handler does with a delivery whose key may have to be fetched.
func judge(k *Set, r *verifier.Request) error {
	j, err := k.Snapshot().Verifier.Judge(r, []byte(body), clock)
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok && rej.UnknownKey {
		if err := k.Fetch(context.Background(), rej.KeyID, netip.Prefix{}, k.fetcher.clock()); err != nil {
			return err
		}
		j, err = k.Snapshot().Verifier.Judge(r, []byte(body), clock)
	}
	if err == nil {
		k.NoteUse(j.Verdict, netip.Prefix{})
	}
	return err
}

// step is one delivery, whether it is genuine, and how often the sender is contacted.
func (s *sender) step(t *testing.T, k *Set, what string, r *verifier.Request, genuine bool, asked int) {
	t.Helper()
	before := len(s.asked)
	if err := judge(k, r); (err == nil) != genuine || len(s.asked)-before != asked {
		t.Errorf("%s: %v and asked %q, want %t and %d", what, err, s.asked[before:], genuine, asked)
	}
}

func newKey(t *testing.T) (public ed25519.PublicKey, private ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func setOf(kid string, public ed25519.PublicKey) string {
	return `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"` + kid + `","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
}

func certificateOf(t *testing.T, key ed25519.PrivateKey, from, until time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestPublishedBounds: a certificate that has verified a delivery is kept, however
// many others forgeries have fetched since, even under the same file name.
func TestPublishedBounds(t *testing.T) {
	_, key := newKey(t)
	text := certificateOf(t, key, clock.Add(-time.Hour), clock.Add(time.Hour))
	p := &published{}
	keep := func(address string) {
		t.Helper()
		if err := p.keep(address, Page{Text: text}, clock, func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	const one, two = "https://certs.acme.example/old/key.pem", "https://certs.acme.example/new/key.pem"
	keep(one)
	keep(two)
	p.used(two)
	p.used(one)
	for i := range 3 * maxCertificates {
		keep(fmt.Sprintf("https://certs.acme.example/%d/key.pem", i))
	}
	keys, _, _ := p.keys(clock)
	if len(keys) != maxCertificates || p.lacks(one, clock, clock) || p.lacks(two, clock, clock) {
		t.Errorf("%d kept, gone: %v, %v", len(keys), p.lacks(one, clock, clock), p.lacks(two, clock, clock))
	}
}

// TestCertificateText: the first of a chain is used, and other text is refused.
func TestCertificateText(t *testing.T) {
	public, key := newKey(t)
	const address = "https://certs.acme.example/one.pem"
	one, two := certificateOf(t, key, clock, clock.Add(time.Hour)), certificateOf(t, key, clock, clock.Add(2*time.Hour))
	for text, what := range map[string]string{
		"":             "nothing",
		"<html>" + two: "text before",
		two + "x":      "text behind",
		strings.ReplaceAll(two, "CERTIFICATE", "PUBLIC KEY"): "no certificate",
		setOf("a", public): "a set",
	} {
		if _, err := parseCertificate(address, text); err == nil {
			t.Errorf("%s passes for a certificate", what)
		}
	}
	if c, err := parseCertificate(address, strings.TrimSpace(one+two)); err != nil || c.text != one {
		t.Errorf("a chain: %v", err)
	}
}

// TestBareKeys: a public key without a certificate is fetched from the path that a
// delivery names, and again after a day.
func TestBareKeys(t *testing.T) {
	public, key := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	const address = "https://certs.acme.example/keys/k1.pem"
	s := &sender{pages: map[string]string{address: text}, now: clock}
	k := s.open(t, verifier.KeySource{CertificateHosts: []string{"certs.acme.example"}, CertificatePath: "/keys/[a-z0-9]+\\.pem", Paths: true})
	defer k.Close()
	s.step(t, k, "the first", signedBy(key, "/keys/k1.pem"), true, 1)
	s.step(t, k, "the next", signedBy(key, "/keys/k1.pem"), true, 0)
	s.step(t, k, "an address", signedBy(key, address), false, 0)
	s.step(t, k, "another path", signedBy(key, "/other/k1.pem"), false, 0)
	s.now = clock.Add(maxSetAge + time.Second)
	s.step(t, k, "a day later", signedBy(key, "/keys/k1.pem"), true, 1)
	delete(s.pages, address)
	s.now = s.now.Add(maxSetAge + time.Second)
	s.step(t, k, "a day after it was removed", signedBy(key, "/keys/k1.pem"), false, 1)

	for _, source := range []*published{{}, {bare: true}} {
		for text, fine := range map[string]bool{text: source.bare, "x" + text: false, text + "x": false, text + text: false, strings.ReplaceAll(text, "PUBLIC", "PRIVATE"): false} {
			if _, err := source.parse(address, text, clock); (err == nil) != fine {
				t.Errorf("bare %t: %q: %v", source.bare, text, err)
			}
		}
	}
}

// TestForgeryWaitsForNoFile: key files are read under a lock, from a file system that
// may hang; a delivery with an unknown key must not wait for it.
func TestForgeryWaitsForNoFile(t *testing.T) {
	public, key := newKey(t)
	s := &sender{pages: map[string]string{setAddress: setOf("a", public)}, now: clock}
	k := s.open(t, fromSet)
	defer k.Close()
	s.step(t, k, "the set is there", signedBy(key, "a"), true, 1)
	k.mu.Lock()
	defer k.mu.Unlock()
	refused := make(chan error, 1)
	go func() { refused <- judge(k, signedBy(key, "b")) }()
	select {
	case err := <-refused:
		if err == nil {
			t.Error("a key that is not in the set is taken")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
	}
}

// TestEmptySet: an empty page is a failure, not a set without the key.
func TestEmptySet(t *testing.T) {
	_, key := newKey(t)
	s := &sender{pages: map[string]string{setAddress: ""}, now: clock}
	k := s.open(t, fromSet)
	defer k.Close()
	if err := judge(k, signedBy(key, "a")); err == nil || len(s.asked) != 1 {
		t.Error(err)
	}
	if _, rejected := errors.AsType[*verifier.Rejection](judge(k, signedBy(key, "a"))); rejected {
		t.Error("refused as a forgery")
	}
}

// TestSetsThatDeliveriesName: each sender's set is fetched on its own, for deliveries
// that name it, and nothing else is, whatever a delivery names.
func TestSetsThatDeliveriesName(t *testing.T) {
	const one, other = "https://one.example/.well-known/ucp", "https://other.example/.well-known/ucp"
	oneKey, onePrivate := newKey(t)
	otherKey, otherPrivate := newKey(t)
	newerKey, newerPrivate := newKey(t)
	s := &sender{pages: map[string]string{one: setOf("k", oneKey), other: setOf("k", otherKey)}, now: clock}
	scheme, written, err := WithAddress(verifier.Scheme{
		Algorithm: "ed25519",
		Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}},
		KeySet:    &verifier.KeySet{Header: "X-Agent", Member: "profile"},
	}, []Value{{Value: one}, {Value: other}})
	if err != nil || len(written) > 0 {
		t.Fatal(written, err)
	}
	k, err := Open(Config{
		Name: t.Name(), Rules: mustCompile(scheme), PublicKey: []Value{{Value: one}, {Value: other}},
		Fetcher: &Fetcher{Now: func() time.Time { return s.now }, Get: func(_ context.Context, address string) (Page, error) {
			s.asked = append(s.asked, address)
			page, ok := s.pages[address]
			if !ok {
				return Page{}, errors.New("status 404")
			}
			return Page{Text: page}, nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	from := func(key ed25519.PrivateKey, agent string) *verifier.Request {
		r := signedBy(key, "")
		r.Header["X-Agent"] = []string{`profile="` + agent + `"`}
		return r
	}
	s.step(t, k, "a stranger's address", from(onePrivate, "https://attacker.example/.well-known/ucp"), false, 0)
	s.step(t, k, "the first of one", from(onePrivate, one), true, 1)
	s.step(t, k, "the second of one", from(onePrivate, one), true, 0)
	s.step(t, k, "one in the name of the other", from(onePrivate, other), false, 1)
	s.step(t, k, "the first of the other", from(otherPrivate, other), true, 0)
	if want := []string{one, other}; !slices.Equal(s.asked, want) {
		t.Errorf("asked %q, want %q", s.asked, want)
	}
	s.now = s.now.Add(2 * setLasts)
	s.pages[other] = setOf("k2", newerKey)
	s.step(t, k, "the other after a rotation", from(newerPrivate, other), true, 1)
	s.step(t, k, "one, whose set is as it was", from(onePrivate, one), true, 0)
	s.step(t, k, "the other's old key", from(otherPrivate, other), false, 1)
	if due := k.published.due(s.now.Add(maxSetAge)); !slices.Equal(due, []string{one, other}) {
		t.Errorf("due: %q", due)
	}
	if _, _, err := WithAddress(verifier.Scheme{}, []Value{{Value: one}, {Value: other}}); err == nil {
		t.Error("two sets of a sender that names none")
	}
}

func TestSetIsDue(t *testing.T) {
	usable := func(string) error { return nil }
	for _, tc := range []struct{ says, lasts time.Duration }{{0, maxSetAge}, {time.Second, minSetAge}, {time.Hour, time.Hour}, {1000 * time.Hour, maxSetAge}} {
		p := &published{sets: []*keySet{{address: setAddress}}}
		if err := p.keep(setAddress, Page{Text: "{}", MaxAge: tc.says}, clock, usable); err != nil {
			t.Fatal(err)
		}
		due := func(after time.Duration) bool { return slices.Equal(p.due(clock.Add(after)), []string{setAddress}) }
		if due(tc.lasts - 1) {
			t.Errorf("max-age %s: due too early", tc.says)
		}
		if !due(tc.lasts) || due(tc.lasts+1) || !due(tc.lasts+setLasts) {
			t.Errorf("max-age %s: not due, or due at every look", tc.says)
		}
	}
	if len((&published{}).due(clock)) > 0 {
		t.Error("certificates are fetched for deliveries alone")
	}
}

// TestPublishedOutlivesSet: fetched keys are available to the next configuration,
// even while the sender is down, and are dropped with the last.
func TestPublishedOutlivesSet(t *testing.T) {
	public, key := newKey(t)
	s := &sender{pages: map[string]string{setAddress: setOf("a", public)}, now: clock}
	first := s.open(t, fromSet)
	s.step(t, first, "fetched", signedBy(key, "a"), true, 1)
	delete(s.pages, setAddress)
	second := s.open(t, fromSet)
	s.step(t, second, "in the next configuration", signedBy(key, "a"), true, 0)
	for _, k := range []*Set{first, second} {
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	third := s.open(t, fromSet)
	s.step(t, third, "after the last", signedBy(key, "a"), false, 1)
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNothingFetchedStays: the earlier tests have closed their sets.
func TestNothingFetchedStays(t *testing.T) {
	publishedPool.Range(func(key, _ any) bool { t.Errorf("%v is still held", key); return true })
}

// TestStrangersCauseNoKeyErrors: who names an address without a key on the sender's hosts
// causes no failure that an alert would report. A sender that cannot be asked, and a set
// or certificate that is gone, do.
func TestStrangersCauseNoKeyErrors(t *testing.T) {
	const named, elsewhere, proven = "https://certs.acme.example/named.pem", "https://certs.nowhere.acme.example/named.pem", "https://certs.acme.example/proven.pem"
	public, private := newKey(t)
	for name, c := range map[string]struct {
		err   error
		page  string // without err
		named bool   // counted where only the delivery names the address
		fixed bool   // also counted there, on a host that no delivery chooses

	}{
		"not found":    {err: statusError(404)},
		"forbidden":    {err: fmt.Errorf("wrapped: %w", statusError(403))},
		"no such host": {err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, fixed: true},
		"not a key":    {page: "<html>"},
		"unavailable":  {err: statusError(503), named: true},
		"refused":      {err: errors.New("connect: connection refused"), named: true},
		"timeout":      {err: context.DeadlineExceeded, named: true},
		"DNS is down":  {err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}, named: true},
	} {
		s := &sender{now: clock, pages: map[string]string{proven: certificateOf(t, private, clock.Add(-time.Hour), clock.Add(time.Hour)), setAddress: setOf("1", public)}}
		fail := func(k *Set, address string, client int) (failures int) {
			k.failed = func() { failures++ }
			k.fetcher.Get = func(context.Context, string) (Page, error) { return Page{Text: c.page}, c.err }
			s.now = s.now.Add(2 * time.Hour) // the certificate has expired, the set is old
			if err := k.Fetch(t.Context(), address, network(client), s.now); err == nil {
				t.Errorf("%s: %s is fetched", name, address)
			}
			return failures
		}
		certificates := s.open(t, verifier.KeySource{CertificateHosts: []string{"certs.acme.example", "certs.*.acme.example"}})
		s.step(t, certificates, "genuine", signedBy(private, proven), true, 1)
		if n := fail(certificates, elsewhere, 1); (n > 0) != c.named {
			t.Errorf("%s: %d failures are counted of an address that a delivery names, want %t", name, n, c.named)
		}
		if n := fail(certificates, named, 4); (n > 0) != (c.named || c.fixed) {
			t.Errorf("%s: %d failures are counted of a path that a delivery names, want %t", name, n, c.named || c.fixed)
		}
		if n := fail(certificates, proven, 2); n != 1 {
			t.Errorf("%s: %d failures are counted of a known certificate", name, n)
		}
		s.now = clock
		set := s.open(t, fromSet)
		if n := fail(set, "", 3); n != 1 {
			t.Errorf("%s: %d failures are counted of a key set", name, n)
		}
		if err := errors.Join(certificates.Close(), set.Close()); err != nil { // the next case has nothing fetched
			t.Error(err)
		}
	}
}
