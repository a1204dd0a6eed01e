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

// A provider's facts determine how copies are recognised, and how far that blocks
// replays of captured deliveries.
func ExampleIdentityOf() {
	for _, f := range []dedupe.Facts{
		{HasID: true, IDSigned: true, UniqueID: true, BodySigned: true}, // Standard Webhooks
		{HasID: true, BodySigned: true},                                 // an unsigned id
		{BodySigned: true, BodiesDiffer: true},                          // no id; each body is unique
		{BodySigned: true},                                              // nothing
	} {
		i := dedupe.IdentityOf(f)
		fmt.Println(i.ID == dedupe.IDAlone, i.Content, i.TTL(0), i.Keeps(f) == dedupe.AllCopies, i.Off())
	}
	// Output:
	// true false 168h0m0s true false
	// false true 168h0m0s false false
	// false true 15m0s true false
	// false false 15m0s false true
}

// Two apps behind one gateway get the same GitHub event at two addresses: their
// scopes separate them. The spelling of an address does not matter.
func ExampleRouteScope() {
	one := dedupe.RouteScope("github", "Hooks.example.com:443", "/build/../build")
	two := dedupe.RouteScope("github", "hooks.example.com", "/BUILD")
	other := dedupe.RouteScope("github", "hooks.example.com", "/deploy")
	fmt.Println(one == two, one == other)
	// Output: true false
}

// A copy that arrives while the first is at the app waits for its outcome.
func ExampleGate_Claim() {
	gate := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})})
	defer gate.Close(context.Background())
	key := dedupe.NewKey("stripe", "evt_1")

	first := gate.Claim(context.Background(), key, dedupe.Terms{})
	impatient := gate.Claim(context.Background(), key, dedupe.Terms{}) // Wait is 0
	fmt.Println(first.Outcome, impatient.Outcome, impatient.RetryAfter)

	copied := make(chan dedupe.Decision)
	go func() { copied <- gate.Claim(context.Background(), key, dedupe.Terms{Wait: time.Minute}) }()
	first.Claim.Done(204)
	d := <-copied
	fmt.Println(d.Outcome, d.Status)
	// Output:
	// held in_flight 3s
	// duplicate 204
}

// A person presses "Redeliver": the delivery is forgotten and comes through.
func ExampleGate_Forget() {
	gate := dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{})})
	defer gate.Close(context.Background())
	key, err := dedupe.ParseKey("00112233445566778899aabbccddeeff") // An operator uses "Redeliver": the delivery is forgotten and forwarded again.
	if err != nil {
		fmt.Println(err)
		return
	}
	gate.Claim(context.Background(), key, dedupe.Terms{}).Claim.Done(200)
	fmt.Println(gate.Claim(context.Background(), key, dedupe.Terms{}).Outcome)
	fmt.Println(gate.Forget(context.Background(), key))
	fmt.Println(gate.Claim(context.Background(), key, dedupe.Terms{}).Outcome)
	fmt.Println(gate.Forget(context.Background(), key)) // not while it is at the app
	// Output:
	// duplicate
	// true <nil>
	// held
	// false the delivery is in flight
}

// A gate calls a store. A token owns a claim: another cannot renew it, and a done is
// final whoever releases.
func ExampleStore() {
	ctx, key := context.Background(), dedupe.NewKey("stripe", "evt_1")
	mine, other := dedupe.NewToken(), dedupe.NewToken()
	var s dedupe.Store = dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: 1000})

	state, _ := s.Claim(ctx, key, mine, 9*time.Second)
	late, _ := s.Claim(ctx, key, other, 9*time.Second)
	fmt.Println(state.Phase, "/", late.Phase)

	held, _ := s.Renew(ctx, key, other, 9*time.Second)
	fmt.Println(held)

	_ = s.Done(ctx, key, dedupe.Mark{Status: 200, TTL: dedupe.DefaultTTL, Room: "stripe"})
	_ = s.Release(ctx, key, mine)
	state, _ = s.Claim(ctx, key, other, 9*time.Second)
	fmt.Println(state.Phase, state.Status)
	// Output:
	// claimed / in flight
	// false
	// done 200
}
