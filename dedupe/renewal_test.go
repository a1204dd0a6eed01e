package dedupe_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// TestOneTimerRenewsAllClaims: a claim is renewed in time whatever the leases of those
// before it, and also after all others are settled.
func TestOneTimerRenewsAllClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := dedupe.NewMemory(dedupe.MemoryOptions{})
		g := dedupe.NewGate(dedupe.Options{Store: store})
		claim := func(name string, lease time.Duration) *dedupe.Claim {
			return g.Claim(t.Context(), dedupe.NewKey(name), dedupe.Terms{Lease: lease, Limit: time.Hour}).Claim
		}
		held := func(name string) bool {
			synctest.Wait()
			state, err := store.Claim(t.Context(), dedupe.NewKey(name), dedupe.NewToken(), time.Millisecond)
			return err == nil && state.Phase == dedupe.InFlight
		}
		long := claim("long", 9*time.Second)
		time.Sleep(2 * time.Second)
		short := claim("short", time.Second)
		time.Sleep(time.Minute)
		if first, second := held("long"), held("short"); !first || !second {
			t.Errorf("after a minute the long lease is held: %t, the short one: %t", first, second)
		}
		short.Release()
		long.Done(200)
		time.Sleep(time.Minute) // the timer finds nothing to renew
		late := claim("late", time.Second)
		time.Sleep(time.Minute)
		if !held("late") {
			t.Error("a claim after a pause is not renewed")
		}
		late.Release()
		after := claim("after", 9*time.Second)
		claim("gone", time.Second).Release() // the timer still fires for it first
		time.Sleep(time.Minute)
		if !held("after") {
			t.Error("a claim behind one that is settled is not renewed")
		}
		after.Release()
		if held("short") || held("late") {
			t.Error("a released claim is renewed")
		}
	})
}
