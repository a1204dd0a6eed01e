package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// fits is how many deliveries of tenants fit into max_buffered.
const fits = 64

// tenantsAtTheApp starts a handler with three tenants. The function that it returns sends
// deliveries of each, until one is refused while all others are at the app. It returns how
// many of each were there, after all are answered.
func tenantsAtTheApp(t *testing.T, more ...string) (*gateway, func(sign func(tenant string) string, tenants ...string) map[string]int) {
	t.Helper()
	more = append(more, `"dedupe":{"off":true}`)
	g := mustProvision(t, fmt.Sprintf(`{"max_buffered":%d}`, fits*(atTheApp+100)),
		shop(secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "secret-of-bravo", "carl": "secret-of-carl"}), more...))
	g.start(t)
	return g, func(sign func(tenant string) string, tenants ...string) map[string]int {
		at := make(map[string]int)
		var flood func(tenants ...string)
		flood = func(tenants ...string) {
			if len(tenants) == 0 {
				return
			}
			tenant := tenants[0]
			a := serve(t, to(tenant, sign(tenant)), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				at[tenant]++
				flood(tenants...)
				w.WriteHeader(http.StatusOK)
				return nil
			}), g.handlers...)
			if a.forward == nil {
				if a.status != 503 || a.placeholder("reason") != "overloaded" || a.header.Get("Retry-After") == "" {
					t.Errorf("the one too many of %s: %d %v %v", tenant, a.status, a.header, a.err)
				}
				flood(tenants[1:]...)
			}
		}
		flood(tenants...)
		return at
	}
}

func genuine(tenant string) string { return "secret-of-" + tenant }

// TestATenantLeavesRoomForOthers: a customer whose deliveries keep the app busy holds at
// most as much of max_buffered as it leaves, then the next one as much of that.
func TestATenantLeavesRoomForOthers(t *testing.T) {
	g, flood := tenantsAtTheApp(t)
	for range 2 { // what was given back can be used again
		at := flood(genuine, "acme", "bravo", "carl")
		if at["acme"] < fits*7/16 || at["acme"] > fits/2 || at["bravo"] < fits*3/16 || at["bravo"] > fits/4 || at["carl"] < fits/16 {
			t.Errorf("of %d places: %v", fits, at)
		}
	}
	g.budgetsAreFree(t)
	if p := &g.handlers[0].portions; len(p.held) > 0 || p.total != 0 {
		t.Errorf("%d tenants still hold something, %d bytes in all", len(p.held), p.total)
	}
	tiny := mustProvision(t, `{"max_buffered":1000}`, shop(secretsOf(t, map[string]string{"acme": "secret-of-acme"}), `"dedupe":{"off":true}`))
	tiny.start(t)
	alone := to("acme", "")
	text := strings.Repeat("a", 999) // with what the app needs, more than there is
	alone.Body, alone.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	alone.Header.Set("X-Signature", sign("secret-of-acme", text))
	if a := serve(t, alone, accepting, tiny.handlers...); a.forward == nil {
		t.Errorf("alone: %d %v", a.status, a.err)
	}
}

// TestStrangersTakeNothingFromATenant: neither bodies that are still arriving nor, under
// observe, forgeries that name it.
func TestStrangersTakeNothingFromATenant(t *testing.T) {
	g, flood := tenantsAtTheApp(t)
	half := g.handlers[0].buffered.limit.Load() / 2
	g.handlers[0].buffered.used.Add(half) // bodies
	if n := flood(genuine, "acme")["acme"]; n < fits*7/16 {
		t.Errorf("beside bodies in half of max_buffered, %d of %d places", n, fits)
	}
	g.handlers[0].buffered.give(half)
	_, flood = tenantsAtTheApp(t, `"observe":true`)
	sent := 0
	forged := func(tenant string) string {
		if sent++; sent <= fits/2 {
			return "wrong"
		}
		return genuine(tenant)
	}
	if n := flood(forged, "acme")["acme"]; n < fits*15/16 {
		t.Errorf("with %d forgeries under observe, %d of %d places", fits/2, n, fits)
	}
}
