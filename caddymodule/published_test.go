package caddymodule

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
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A sender has Ed25519 keys and pages that a handler fetches.
type sender struct {
	pages map[string]string
	asked []string
	now   time.Time
}

// handler provisions one of the sender's handlers, which fetches from its pages.
func (s *sender) handler(t *testing.T, more ...string) *Handler {
	t.Helper()
	g := mustProvision(t, "", acme(append([]string{`"algorithm":"ed25519"`}, more...)...))
	h := g.handlers[0]
	h.now = func() time.Time { return s.now }
	h.fetcher.Now = h.now
	h.fetcher.Get = func(_ context.Context, address string) (keys.Page, error) {
		s.asked = append(s.asked, address)
		page, ok := s.pages[address]
		if !ok {
			return keys.Page{}, errors.New("status 404")
		}
		return keys.Page{Text: page}, nil
	}
	return h
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

func signedBy(key ed25519.PrivateKey, id string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", strings.NewReader(body))
	r.Header.Set("X-Signature", fmt.Sprintf("%x", ed25519.Sign(key, []byte(body))))
	r.Header.Set("X-Key", id)
	return r
}

const (
	setAddress = "https://keys.acme.example/jwks.json"
	fromSet    = `"public_key":["` + setAddress + `"],"key_id":{"header":"X-Key"},"dedupe":{"off":true}`
	fromHosts  = `"key_id":{"header":"X-Key"},"key_source":{"certificate_hosts":["certs.acme.example"]},"dedupe":{"off":true}`
)

// step is one delivery, its result, and how often the sender is contacted.
func (s *sender) step(t *testing.T, h *Handler, what string, r *http.Request, status int, asked int) {
	t.Helper()
	before := len(s.asked)
	a := serve(t, r, accepting, h)
	if a.status != status || len(s.asked)-before != asked {
		t.Errorf("%s, at %s: %d and asked %q, want %d and %d", what, s.now.Sub(clock), a.status, s.asked[before:], status, asked)
	}
	if reason := a.placeholder("reason"); status == 503 && (reason != "key_unavailable" || a.header.Get("Retry-After") == "") {
		t.Errorf("%s: reason %s, %v", what, reason, a.header)
	}
}

func TestPublishedSet(t *testing.T) {
	publicA, a := newKey(t)
	publicB, b := newKey(t)
	s := &sender{pages: map[string]string{}, now: clock}
	h := s.handler(t, fromSet)

	s.step(t, h, "no set yet", signedBy(a, "a"), 503, 1)
	s.step(t, h, "and just now none", signedBy(a, "a"), 503, 0)
	s.now = s.now.Add(10 * time.Second)
	s.pages[setAddress] = setOf("a", publicA)
	s.step(t, h, "the set is there", signedBy(a, "a"), 202, 1)
	s.step(t, h, "and stays", signedBy(a, "a"), 202, 0)
	s.step(t, h, "a forgery", signedBy(b, "a"), 401, 1)
	s.step(t, h, "an id that the new set lacks", signedBy(b, "b"), 401, 1)
	s.now = s.now.Add(time.Minute)
	s.step(t, h, "a forgery with an id at hand", signedBy(b, "a"), 401, 1)
	s.pages[setAddress] = setOf("b", publicB)
	s.step(t, h, "the keys have changed", signedBy(b, "b"), 202, 1)
	s.step(t, h, "the old one is gone", signedBy(a, "a"), 401, 1)
	s.pages[setAddress] = setOf("b", publicA)
	s.step(t, h, "another key has the id", signedBy(a, "b"), 202, 1)
	s.pages[setAddress] = setOf("b", publicB)
	s.step(t, h, "and the first again", signedBy(b, "b"), 202, 1)
	s.now = s.now.Add(time.Minute)
	s.pages[setAddress] = `{"keys":[]}`
	s.step(t, h, "a set without keys", signedBy(a, "a"), 503, 1)
	s.step(t, h, "the last good one stays", signedBy(b, "b"), 202, 0)
	delete(s.pages, setAddress)
	s.now = s.now.Add(10 * time.Second)
	s.step(t, h, "the sender is down", signedBy(a, "a"), 503, 1)
	s.step(t, h, "the last good one stays", signedBy(b, "b"), 202, 0)

	if labels := h.keys.Snapshot().Labels(); !slices.Equal(labels, []string{"fetched"}) {
		t.Errorf("labels %q", labels)
	}
	if got := h.keys.NoteUse(verifier.Verdict{Key: "jwks/a"}, netip.Prefix{}); got != "fetched" {
		t.Errorf("in metrics: %s", got)
	}
}

func TestPublishedCertificates(t *testing.T) {
	_, a := newKey(t)
	_, b := newKey(t)
	const one, two = "https://certs.acme.example/one.pem", "https://certs.acme.example/two.pem"
	s := &sender{now: clock, pages: map[string]string{
		one: certificateOf(t, a, clock.Add(-time.Hour), clock.Add(time.Hour)),
		two: certificateOf(t, b, clock.Add(time.Minute), clock.Add(2*time.Hour)),
	}}
	h := s.handler(t, fromHosts)
	s.step(t, h, "the first", signedBy(a, one), 202, 1)
	s.step(t, h, "the second", signedBy(a, one), 202, 0)
	s.step(t, h, "another's signature", signedBy(b, one), 401, 0)
	s.step(t, h, "not one of the sender's hosts", signedBy(a, "https://certs.evil.example/one.pem"), 401, 0)
	s.step(t, h, "not valid yet", signedBy(b, two), 503, 1)
	s.now = clock.Add(time.Minute)
	s.step(t, h, "valid now", signedBy(b, two), 202, 1)
	s.now = clock.Add(time.Hour)
	s.step(t, h, "in its last second", signedBy(a, one), 202, 0)
	s.now = clock.Add(time.Hour + time.Second)
	s.step(t, h, "valid no longer", signedBy(a, one), 503, 1)
	s.step(t, h, "the other still is", signedBy(b, two), 202, 0)
	if got := h.keys.Snapshot().Labels(); !slices.Equal(got, []string{"fetched"}) {
		t.Errorf("labels %q", got)
	}
}

// TestPublishedOutlivesReload: fetched keys are available to the next configuration,
// and dropped with the last.
func TestPublishedOutlivesReload(t *testing.T) {
	public, key := newKey(t)
	s := &sender{pages: map[string]string{setAddress: setOf("a", public)}, now: clock}
	s.step(t, s.handler(t, fromSet), "fetched", signedBy(key, "a"), 202, 1)
	delete(s.pages, setAddress)
	h := s.handler(t, fromSet)
	s.step(t, h, "in the next configuration", signedBy(key, "a"), 202, 0)
	if _, err := provision(t, "", acme(`"algorithm":"ecdsa-p256-sha256"`, fromSet)); err != nil {
		t.Errorf("another algorithm, of which the set that was fetched holds no key: %v", err)
	}
}

// TestKeyAddresses: which configurations fetch, and which are wrong.
func TestKeyAddresses(t *testing.T) {
	t.Setenv("TEST_SET", setAddress)
	t.Setenv("TEST_PLAIN", "http://keys.acme.example/jwks.json")
	const pinned = `"public_key":["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]`
	for config, want := range map[string]string{
		acme(`"algorithm":"ed25519"`, fromSet):                                                    "",
		acme(`"algorithm":"ed25519"`, fromHosts):                                                  "",
		acme(`"algorithm":"ed25519"`, `"public_key":["{env.TEST_SET}"]`):                          "",
		acme(`"algorithm":"ed25519"`, `"key_source":{"jwks":"`+setAddress+`"}`):                   "",
		acme(`"algorithm":"ed25519"`, `"public_key":["http://keys.acme.example/jwks.json"]`):      "write https://",
		acme(`"algorithm":"ed25519"`, `"public_key":["{env.TEST_PLAIN}"]`):                        "write https://",
		acme(`"algorithm":"ed25519"`, `"public_key":["https://u@keys.acme.example/jwks.json"]`):   "write an https address",
		acme(`"algorithm":"ed25519"`, `"public_key":["`+setAddress+`","`+setAddress+`2"]`):        "two addresses",
		acme(`"algorithm":"ed25519"`, `"public_key":[{"value":"`+setAddress+`","label":"main"}]`): "has no label",
		acme(`"algorithm":"ed25519"`, fromHosts, `"public_key":["`+setAddress+`"]`):               "name the address of its certificate",
		acme(`"public_key":["` + setAddress + `"]`):                                               "uses a shared secret",
		acme(`"algorithm":"ed25519"`):                                                             "secret: missing",
		`{"provider":"aws_sns"}`:                                                                  "param topic_arn",
		`{"provider":"aws_sns","param":{"topic_arn":"arn","confirm_subscription":"yes"}}`:         "confirm_subscription: write on",
		`{"provider":"aws_sns","param":{"topic_arn":"arn","confirm_subscription":"on"}}`:          "",
	} {
		g, err := provision(t, "", config)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", config, err, want)
		case want == "" && !fetches(t, g.handlers[0]):
			t.Errorf("%s: nothing is fetched", config)
		}
	}
	if g := mustProvision(t, "", acme(`"algorithm":"ed25519"`, fromHosts, pinned)); fetches(t, g.handlers[0]) {
		t.Error("keys that are written out replace what the sender publishes")
	}
}

// fetches reports whether a handler has a source of keys to fetch.
func fetches(t *testing.T, h *Handler) bool {
	t.Helper()
	if err := h.compose(); err != nil {
		t.Fatal(err)
	}
	return h.rules.Scheme().KeySource != nil
}

// hung is a storage that never responds.
type hung struct{ asked chan struct{} }

func (s hung) Load(context.Context, string) ([]byte, error) {
	close(s.asked)
	select {}
}

func (hung) Store(context.Context, string, []byte) error { return errors.New("not reached") }

// TestStorageThatHangs: it delays neither deliveries nor a reload.
func TestStorageThatHangs(t *testing.T) {
	_, key := newKey(t)
	const one = "https://certs.acme.example/one.pem"
	s := &sender{now: clock, pages: map[string]string{one: certificateOf(t, key, clock.Add(-time.Hour), clock.Add(time.Hour))}}
	h := s.handler(t, fromHosts)
	store := hung{make(chan struct{})}
	h.app.storage = store
	if err := h.app.Start(); err != nil {
		t.Fatal(err)
	}
	<-store.asked
	s.step(t, h, "meanwhile", signedBy(key, one), 202, 1)
	stopped := make(chan error, 1)
	go func() { stopped <- h.app.Stop() }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Stop waits for the storage")
	}
}

// TestSendersMarkOnlyTheirOwnDeliveries: where each sender has a key set, one that signs
// the id and the body of another's delivery does not make that one a copy.
func TestSendersMarkOnlyTheirOwnDeliveries(t *testing.T) {
	const one, other = "https://one.example/jwks.json", "https://other.example/jwks.json"
	oneKey, onePrivate := newKey(t)
	otherKey, otherPrivate := newKey(t)
	s := &sender{pages: map[string]string{one: setOf("k", oneKey), other: setOf("k", otherKey)}, now: clock}
	h := s.handler(t, `"public_key":["`+one+`","`+other+`"],"key_set":{"header":"X-Agent","member":"profile"},"delivery_id":{"header":"X-Id"},"dedupe":{"key":"id+content"}`)
	delivery := func(key ed25519.PrivateKey, agent string) *http.Request {
		r := signedBy(key, "")
		r.Header.Set("X-Id", "evt_1")
		r.Header.Set("X-Agent", `profile="`+agent+`"`)
		return r
	}
	for _, step := range []struct {
		what, agent string
		key         ed25519.PrivateKey
		duplicate   string
	}{
		{"one sender's", one, onePrivate, ""},
		{"its copy", one, onePrivate, "true"},
		{"the other's with the same id and body", other, otherPrivate, ""},
		{"the other's copy", other, otherPrivate, "true"},
	} {
		a := serve(t, delivery(step.key, step.agent), accepting, h)
		if got := a.header.Get("Webhook-Duplicate"); a.status/100 != 2 || got != step.duplicate {
			t.Errorf("%s: %d, duplicate %q, want %q", step.what, a.status, got, step.duplicate)
		}
	}
}
