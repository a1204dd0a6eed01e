package keys

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// shelf is a storage in memory.
type shelf map[string][]byte

func (s shelf) Load(_ context.Context, key string) ([]byte, error) {
	if data, ok := s[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (s shelf) Store(_ context.Context, key string, value []byte) error {
	s[key] = value
	return nil
}

// TestRecall: the address of a certificate that has verified a delivery is stored,
// and after a restart the certificate is fetched before a delivery names it,
// regardless of the budget.
func TestRecall(t *testing.T) {
	_, key := newKey(t)
	const one, two = "https://certs.acme.example/one.pem", "https://certs.acme.example/two.pem"
	text := certificateOf(t, key, clock.Add(-time.Hour), clock.Add(time.Hour))
	s := &sender{now: clock, pages: map[string]string{one: text, two: text}}
	store := make(shelf)

	first := s.open(t, fromHosts)
	s.step(t, first, "named", signedBy(key, one), true, 1)
	s.step(t, first, "fetched, but it verifies nothing", altered(signedBy(key, two)), false, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 8 { // it looks for the end and for news in any order
		first.recall(ctx, store, first.id.storageKey())
	}
	if len(store) != 1 || string(store[first.id.storageKey()]) != `{"certificates":["`+one+`"]}` {
		t.Fatalf("stored: %s", store)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	after := &sender{now: clock, pages: s.pages}
	k := after.open(t, fromHosts)
	defer k.Close()
	for i := range 2 * maxFetches { // forgeries come first
		_ = k.fetcher.fetch(t.Context(), need{address: fmt.Sprint(i), client: network(i)}, taken)
	}
	after.asked = nil
	stored := k.recallFrom(t.Context(), store, k.id.storageKey())
	if !slices.Equal(stored, []string{one}) || !slices.Equal(after.asked, []string{one}) {
		t.Errorf("recalled %q, asked for %q", stored, after.asked)
	}
	after.step(t, k, "the first delivery after the restart", signedBy(key, one), true, 0)
}

// altered makes a delivery one that nobody signed.
func altered(r *verifier.Request) *verifier.Request {
	r.Header["X-Signature"] = []string{strings.Repeat("00", 64)}
	return r
}

// TestRecallTrustsNothing: write access to Caddy's storage chooses neither keys nor
// hosts.
func TestRecallTrustsNothing(t *testing.T) {
	_, key := newKey(t)
	evil := "https://certs.evil.example/one.pem"
	text := certificateOf(t, key, clock.Add(-time.Hour), clock.Add(time.Hour))
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("https://certs.acme.example/%d.pem", i)
	}
	for what, tc := range map[string]struct {
		data string
		most int // fetches
	}{
		"a foreign host":     {`{"certificates":["` + evil + `"]}`, 0},
		"a loopback address": {`{"certificates":["https://127.0.0.1/one.pem","http://certs.acme.example/one.pem"]}`, 0},
		"a certificate":      {`{"certificates":["` + strings.ReplaceAll(text, "\n", `\n`) + `"]}`, 0},
		"no JSON":            {"{", 0},
		"nothing":            {"", 0},
		"another shape":      {`{"certificates":{}}`, 0},
		"too long":           {`{"certificates":["` + strings.Repeat(many[0]+`","`, 5000) + `"]}`, 0},
		"too many":           {`{"certificates":["` + strings.Join(many, `","`) + `"]}`, maxCertificates},
	} {
		s := &sender{now: clock, pages: map[string]string{evil: text}}
		k := s.open(t, fromHosts)
		k.recallFrom(t.Context(), shelf{"k": []byte(tc.data)}, "k")
		if len(s.asked) > tc.most || slices.ContainsFunc(s.asked, func(a string) bool { return !strings.HasPrefix(a, "https://certs.acme.example/") }) {
			t.Errorf("%s: asked for %q", what, s.asked)
		}
		s.step(t, k, what, signedBy(key, evil), false, 0)
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecalledStay: forgeries do not displace recalled certificates that have
// verified nothing since the restart.
func TestRecalledStay(t *testing.T) {
	_, key := newKey(t)
	const one = "https://certs.acme.example/one.pem"
	text := certificateOf(t, key, clock.Add(-time.Hour), clock.Add(time.Hour))
	p := &published{}
	p.expect([]string{one})
	for _, address := range append([]string{one}, manyAddresses(3*maxCertificates)...) {
		if err := p.keep(address, Page{Text: text}, clock, func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if p.lacks(one, clock, clock) {
		t.Error("gone")
	}
}

func manyAddresses(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("https://certs.acme.example/%d.pem", i))
	}
	return all
}
