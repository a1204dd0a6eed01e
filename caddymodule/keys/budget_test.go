package keys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// network is a client's address, in the range for benchmarks (RFC 2544).
func network(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32)
}

// TestForgeriesDoNotStarve: while clients name nonexistent addresses, another client
// is served at once, and requests to the sender are limited.
func TestForgeriesDoNotStarve(t *testing.T) {
	for _, tc := range []struct {
		clients int
		every   time.Duration
	}{
		{1, 5 * time.Second}, {1, 100 * time.Millisecond}, {1, time.Millisecond}, {10, 10 * time.Millisecond}, {500, 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%d clients, one forgery every %s", tc.clients, tc.every), func(t *testing.T) {
			now, asked := clock, 0
			f := &Fetcher{Now: func() time.Time { return now }, Get: func(_ context.Context, address string) (Page, error) {
				asked++
				if address == "genuine" {
					return Page{Text: "certificate"}, nil
				}
				return Page{}, errors.New("status 404")
			}}
			n, inMinute, most := 0, 0, 0
			for forge := clock; n < 100_000 && forge.Before(clock.Add(20*time.Minute)); forge = forge.Add(tc.every) {
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

// TestNetworksDoNotStarve: an attacker with one or more IPv6 /48 networks leaves
// fetches to clients of other networks, and to those served before.
func TestNetworksDoNotStarve(t *testing.T) {
	subnet := func(network, i int) netip.Prefix {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[5], a[6], a[7] = byte(network), byte(i>>8), byte(i)
		return netip.PrefixFrom(netip.AddrFrom16(a), 64)
	}
	for networks, asked := range map[int]int{1: maxNetworkFetches, 3: 3 * maxNetworkFetches, 60: maxFetches} {
		now := clock
		f := &Fetcher{Now: func() time.Time { return now }, Get: func(context.Context, string) (Page, error) { return Page{}, nil }}
		if err := f.fetch(t.Context(), need{address: "old", client: network(1)}, taken); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Minute)
		for i := range 200 * networks {
			address := fmt.Sprint("forged", i)
			_, leave, err := f.join(need{address: address, client: subnet(i%networks, i/networks)}, taken) // and does not wait
			if err == nil {
				leave()
			}
		}
		f.mu.Lock()
		begun := len(f.budget.begun)
		f.mu.Unlock()
		if begun != asked {
			t.Errorf("%d networks began %d fetches, want %d", networks, begun, asked)
		}
		if networks == 1 {
			if err := f.fetch(t.Context(), need{address: "new", client: network(2)}, taken); err != nil {
				t.Errorf("another client: %v", err)
			}
		}
		if err := f.fetch(t.Context(), need{address: "newer", client: network(1)}, taken); err != nil {
			t.Errorf("%d networks: a client that was served before: %v", networks, err)
		}
	}
}

// TestKnownAddressesNeedNoBudget: whatever forgeries have used.
func TestKnownAddressesNeedNoBudget(t *testing.T) {
	f := &Fetcher{Now: func() time.Time { return clock }, Get: func(context.Context, string) (Page, error) { return Page{}, nil }}
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

// TestClientsAreForgotten: their table is limited.
func TestClientsAreForgotten(t *testing.T) {
	var b fetchBudget
	for i := range 3 * maxClients {
		b.keep(b.client(network(i)))
	}
	if n := b.clients.Len(); n != maxClients {
		t.Errorf("%d clients are kept", n)
	}
}

// TestOneClientWaits: deliveries of one client waiting for a slow address leave room
// for another's.
func TestOneClientWaits(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	f := &Fetcher{Get: func(context.Context, string) (Page, error) { <-release; return Page{}, nil }}
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
