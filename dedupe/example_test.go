package dedupe_test

import (
	"context"
	"fmt"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// A handler's part: identify, claim, forward, settle.
func Example() {
	gate := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})})
	defer gate.Close(context.Background())

	// Once, when the handler is configured.
	identity := dedupe.IdentityOf(dedupe.Facts{HasID: true, IDSigned: true, UniqueID: true})
	terms := dedupe.Terms{TTL: 7 * 24 * time.Hour, Wait: 10 * time.Second, Limit: time.Minute}

	handle := func(id string, body []byte, app func() int) int {
		key, ok := identity.Key(dedupe.NamedScope("stripe"), "stripe", dedupe.Delivery{ID: id, Content: body})
		if !ok {
			return app() // nothing identifies it: no dedupe
		}
		d := gate.Claim(context.Background(), key, terms)
		switch d.Outcome {
		case dedupe.Held:
			defer d.Claim.Release() // does nothing after Done
			status := app()
			if status >= 200 && status < 300 {
				d.Claim.Done(status) // before the first byte goes to the sender
			}
			return status
		case dedupe.Duplicate:
			return 200
		default: // Busy, Overloaded, StoreDown: Retry-After is d.RetryAfter
			return 503
		}
	}

	app := func(status int) func() int {
		return func() int { fmt.Print("app; "); return status }
	}
	fmt.Println(handle("evt_1", nil, app(500)))
	fmt.Println(handle("evt_1", nil, app(204)))
	fmt.Println(handle("evt_1", nil, app(204)))
	// Output:
	// app; 500
	// app; 204
	// 200
}
