package tenants

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// TestAdopted: what another cache of the same source knows is used, with its age: the keys
// of tenants that delivered before a reload, while the source is down, and the clients.
func TestAdopted(t *testing.T) {
	old := newBench(t, remote, 0)
	old.source.set("bravo", "secret-of-bravo")
	old.expect(t, "acme", "secret-of-acme", 1)
	old.now = old.now.Add(time.Minute)
	old.expect(t, "bravo", "secret-of-bravo", 1)
	old.Verified(client)

	b := newBench(t, remote, 0)
	b.now = old.now
	b.Adopt(old.Cache)
	b.source.fails(fmt.Errorf("%w: status 502", ErrDown))
	b.expect(t, "acme", "secret-of-acme", 0)
	if b.Peek("acme") == old.Peek("acme") || b.Cached(t.Context(), "acme", b.now) != b.Peek("acme") {
		t.Error("the snapshot is not of the new handler")
	}
	b.now = b.now.Add(remote.Fresh - time.Minute) // that of acme is no longer fresh
	b.expect(t, "acme", "secret-of-acme", 1)
	b.now = b.now.Add(remote.Stale + time.Minute)
	b.expect(t, "acme", "unavailable", 2)
	if !b.budget.known.Contains(client) {
		t.Error("a client is not known any more")
	}
}

// TestAdoptedKeysThatDoNotFit: keys for the handler as it was before do not keep the
// source from being asked for others, and are not used.
func TestAdoptedKeysThatDoNotFit(t *testing.T) {
	const secret = "secret-of-acme-7f31c9a2"
	old, b := newBench(t, remote, 0), newBench(t, remote, 0)
	old.source.set("acme", secret)
	old.expect(t, "acme", secret, 1)
	b.source.set("acme", secret)
	b.base = baseOf(t, "whsec_"+base64.StdEncoding.EncodeToString([]byte(secret))) // signs for the app with it
	b.now = old.now.Add(remote.Again)
	b.Adopt(old.Cache)
	b.expect(t, "acme", "unavailable", 1)
	b.expect(t, "acme", "unavailable", 1)
	b.source.set("acme", "another-secret-of-acme")
	b.now = b.now.Add(remote.Again)
	b.expect(t, "acme", "another-secret-of-acme", 2)
}

// TestProblemEnds once the source answers about that tenant.
func TestProblemEnds(t *testing.T) {
	b := newBench(t, remote, 0)
	b.expect(t, "acme", "secret-of-acme", 1)
	b.source.fails(fmt.Errorf("%w: status 502", ErrDown))
	b.expect(t, "bravo", "unavailable", 1)
	if p := b.Figures().Problem; p == nil || p.Tenant != "bravo" || !strings.Contains(p.Text, "status 502") || !p.Time.Equal(b.now) {
		t.Errorf("%+v", p)
	}
	b.source.fails(nil)
	b.source.set("bravo", "secret-of-bravo")
	b.now = b.now.Add(remote.Again)
	b.expect(t, "acme", "secret-of-acme", 1)
	if b.Figures().Problem == nil {
		t.Error("an answer about another tenant ends the problem")
	}
	b.expect(t, "bravo", "secret-of-bravo", 2)
	if f := b.Figures(); f.Problem != nil || f.Cached != 2 || b.results[ResultFound] != 2 || b.results[ResultFailed] != 1 {
		t.Errorf("%+v, %v", f, b.results)
	}
}

// TestTooManyKeys: each delivery that does not match would be compared with all of them.
func TestTooManyKeys(t *testing.T) {
	b := newBench(t, remote, 0)
	secrets := make([]string, keys.MaxTenantKeys+1)
	for i := range secrets {
		secrets[i] = fmt.Sprintf("9f31c0a2d47be58690f1-%d", i)
	}
	b.source.set("bravo", strings.Join(secrets[1:], " "))
	b.expect(t, "bravo", strings.Join(secrets[1:], " "), 1)
	b.source.set("charlie", strings.Join(secrets, " "))
	b.expect(t, "charlie", "unavailable", 1)
	if p := b.Figures().Problem; p == nil || !strings.Contains(p.Text, "more than 16 keys") || b.results[ResultFailed] != 1 {
		t.Errorf("%+v, %v", p, b.results)
	}
}
