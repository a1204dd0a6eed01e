package caddymodule

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestATenantLeavesRoomForOthers: a customer whose deliveries keep the app busy holds at
// most as much of max_buffered as it leaves, then the next one as much of that.
func TestATenantLeavesRoomForOthers(t *testing.T) {
	const fits = 64
	g := mustProvision(t, fmt.Sprintf(`{"max_buffered":%d}`, fits*(atTheApp+100)),
		shop(secretsOf(t, map[string]string{"acme": "secret-of-acme", "bravo": "secret-of-bravo", "carl": "secret-of-carl"}), `"dedupe":{"off":true}`))
	g.start(t)
	at := make(map[string]int)
	// flood sends deliveries of the tenants, until one is refused while all others are at
	// the app, and returns once all have been answered.
	var flood func(tenants ...string)
	flood = func(tenants ...string) {
		if len(tenants) == 0 {
			return
		}
		tenant := tenants[0]
		a := serve(t, to(tenant, "secret-of-"+tenant), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
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
	for range 2 { // what was given back can be used again
		clear(at)
		flood("acme", "bravo", "carl")
		if at["acme"] < fits*7/16 || at["acme"] > fits/2 || at["bravo"] < fits*3/16 || at["bravo"] > fits/4 || at["carl"] < fits/16 {
			t.Errorf("of %d places: %v", fits, at)
		}
	}
	g.budgetsAreFree(t)
	if n := len(g.handlers[0].portions.held); n > 0 {
		t.Errorf("%d tenants still hold something", n)
	}
}
