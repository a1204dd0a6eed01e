package inbox_test

import (
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// TestWhatARouteRefuses is retried on schedule, and when a configuration changes. Its
// status says nothing of the app: it neither ends the delivery nor means that the app is
// down.
func TestWhatARouteRefuses(t *testing.T) {
	inBubble(t, inbox.Options{}, func(b *bench) {
		policies := map[string]inbox.Policy{"shop": {DeadOn: []int{503}, Retry: []time.Duration{time.Minute}, Expire: 10 * time.Minute}}
		b.box.Configure(policies)
		b.app.set(func(*inbox.Attempt) inbox.Result { return inbox.Result{Refused: true, Status: 503} })
		b.accept(shop, numbers(0, 20)...)
		b.pass(time.Second)
		if b.box.Holds(shop) {
			b.Error("the app counts as down")
		}
		for n := range 20 {
			if e := b.state(n, inbox.Pending); e.Hold != inbox.HoldRefused || e.Attempts != 1 || e.Status != 503 || e.Due.IsZero() {
				b.Errorf("%+v", e)
			}
		}
		b.box.Configure(policies)
		b.pass(time.Second)
		if b.app.total() != 40 {
			b.Errorf("%d attempts after the configuration has changed", b.app.total())
		}
		b.pass(2 * time.Minute)
		if n := b.app.total(); n < 60 {
			b.Errorf("%d attempts", n)
		}
		b.pass(10 * time.Minute)
		for n := range 20 {
			if e := b.state(n, inbox.Dead); e.Hold != inbox.HoldRefused || e.Status != 503 {
				b.Errorf("%+v", e)
			}
		}
	})
}
