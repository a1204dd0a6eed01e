package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// network is a client's, from a benchmark's addresses (RFC 2544).
func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)
}

// TestForgeriesDoNotStarve: while clients name one address after another that
// does not exist, a client that did not is served at once, and the sender is asked
// no more than so often.
func TestForgeriesDoNotStarve(t *testing.T) {
	for _, tc := range []struct {
		clients int
		every   time.Duration
	}{
		{1, 5 * time.Second}, {1, 100 * time.Millisecond}, {1, time.Millisecond}, {10, 10 * time.Millisecond}, {500, 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d clients, one forgery every %s", tc.clients, tc.every), func(t *testing.T) {
			now, asked := clock, 0
			f := &fetcher{now: func() time.Time { return now }, get: func(_ context.Context, address string) (fetched, error) {
				asked++
				if address == "genuine" {
					return fetched{text: "certificate"}, nil
				}
				return fetched{}, errors.New("status 404")
			}}
			n, inMinute, most := 0, 0, 0
			for forge := clock; forge.Before(clock.Add(20 * time.Minute)); forge = forge.Add(tc.every) {
				if forge.Sub(clock)%time.Minute < tc.every {
					most, inMinute = max(most, asked-inMinute), asked
				}
				now = forge
				_ = f.fetch(t.Context(), need{address: fmt.Sprint("forged", n), client: network(n % tc.clients)}, taken)
				n++
			}
			if err := f.fetch(t.Context(), need{address: "genuine", client: network(60000)}, taken); err != nil {
				t.Errorf("the sender's certificate after %d forgeries: %v", n, err)
			}
			if most > maxFetches {
				t.Errorf("the sender was asked %d times in a minute", most)
			}
			if f.budget.clients.Len() > tc.clients+1 || len(f.budget.begun) > maxFetches || len(f.failed) > maxFetches {
				t.Errorf("%d clients, %d fetches, %d failures kept", f.budget.clients.Len(), len(f.budget.begun), len(f.failed))
			}
		})
	}
}

// TestKnownAddressesNeedNoBudget: whatever forgeries have used up.
func TestKnownAddressesNeedNoBudget(t *testing.T) {
	f := &fetcher{now: func() time.Time { return clock }, get: func(context.Context, string) (fetched, error) { return fetched{}, nil }}
	for i := range maxFetches {
		if err := f.fetch(t.Context(), need{address: fmt.Sprint(i), client: network(i)}, taken); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.fetch(t.Context(), need{address: "new", client: network(1000)}, taken); !errors.Is(err, errManyFetches) {
		t.Errorf("a new address: %v", err)
	}
	if err := f.fetch(t.Context(), need{address: "known", client: network(0), known: true}, taken); err != nil {
		t.Errorf("a known address: %v", err)
	}
}

// TestClientsAreForgotten: their table has an end.
func TestClientsAreForgotten(t *testing.T) {
	var b fetchBudget
	for i := range 3 * maxClients {
		b.client(network(i)).failed = clock
	}
	if n := b.clients.Len(); n != maxClients {
		t.Errorf("%d clients are kept", n)
	}
}

// TestOneClientWaits: deliveries of one client that wait for a slow address leave
// room for another's.
func TestOneClientWaits(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	f := &fetcher{get: func(context.Context, string) (fetched, error) { <-release; return fetched{}, nil }}
	leaves := 0
	for range maxWaiters {
		if _, _, err := f.join(need{address: "slow", client: network(0)}, taken); err == nil {
			leaves++
		}
	}
	if leaves != maxClientWaiters {
		t.Errorf("one client has %d waiting, want %d", leaves, maxClientWaiters)
	}
	if _, _, err := f.join(need{address: "slow", client: network(1)}, taken); err != nil {
		t.Errorf("another: %v", err)
	}
}

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"203.0.113.9:1234": "203.0.113.9/32", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:2": "2001:db8:1:2::/64",
		"[::ffff:203.0.113.9]:1": "203.0.113.9/32", "[fe80::1%eth0]:1": "fe80::/64", "@": "invalid Prefix", "": "invalid Prefix",
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.RemoteAddr = remote
		if got := clientOf(r).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
	// What trusted_proxies makes of X-Forwarded-For.
	r := httptest.NewRequest("POST", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "198.51.100.7"}))
	if got := clientOf(r).String(); got != "198.51.100.7/32" {
		t.Errorf("behind a trusted proxy: %s", got)
	}
}
