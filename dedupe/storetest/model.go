package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"pgregory.net/rapid"
)

// The reference: a store without locks, limits, networks or files.
type model struct {
	now  time.Duration
	keys map[dedupe.Key]entry
}

type entry struct {
	state dedupe.State
	token dedupe.Token
	until time.Duration
}

func (m *model) at(k dedupe.Key) (entry, bool) {
	e, ok := m.keys[k]
	return e, ok && e.until > m.now
}

func (m *model) claim(k dedupe.Key, tok dedupe.Token, lease time.Duration) dedupe.State {
	if e, ok := m.at(k); ok && (e.state.Phase == dedupe.Done || e.token != tok) {
		return e.state
	}
	m.keys[k] = entry{inFlight, tok, m.now + lease}
	return claimed
}

func (m *model) owns(k dedupe.Key, tok dedupe.Token) bool {
	e, ok := m.at(k)
	return ok && e.state == inFlight && e.token == tok
}

func (m *model) renew(k dedupe.Key, tok dedupe.Token, lease time.Duration) bool {
	if !m.owns(k, tok) {
		return false
	}
	m.keys[k] = entry{inFlight, tok, m.now + lease}
	return true
}

func (m *model) release(k dedupe.Key, tok dedupe.Token) {
	if m.owns(k, tok) {
		delete(m.keys, k)
	}
}

// testModel makes the same random calls to the store and the reference. Times are odd
// on purpose: no two ends coincide, so that the server's own clock, which keeps
// running, cannot decide a case.
func testModel(t *testing.T, open Factory) {
	keys := rapid.SampledFrom([]dedupe.Key{key, key2})
	tokens := rapid.SampledFrom([]dedupe.Token{mine, his, {3}})
	leases := rapid.SampledFrom([]time.Duration{10 * time.Second, 31 * time.Second})
	ttls := rapid.SampledFrom([]time.Duration{103 * time.Second, 1009 * time.Second})
	steps := rapid.SampledFrom([]time.Duration{3 * time.Second, 17 * time.Second, 61 * time.Second, 509 * time.Second})
	ctx := context.Background()

	rapid.Check(t, func(t *rapid.T) {
		s := open(t, 0)
		store := s.Store
		m := &model{keys: map[dedupe.Key]entry{}}
		actions := map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				k, tok, l := keys.Draw(t, "key"), tokens.Draw(t, "token"), leases.Draw(t, "lease")
				got, err := store.Claim(ctx, k, tok, l)
				if want := m.claim(k, tok, l); err != nil || got != want {
					t.Fatalf("claim: got %v %v, want %v", got, err, want)
				}
			},
			"renew": func(t *rapid.T) {
				k, tok, l := keys.Draw(t, "key"), tokens.Draw(t, "token"), leases.Draw(t, "lease")
				got, err := store.Renew(ctx, k, tok, l)
				if want := m.renew(k, tok, l); err != nil || got != want {
					t.Fatalf("renew: got %v %v, want %v", got, err, want)
				}
			},
			"done": func(t *rapid.T) {
				k, ttl, status := keys.Draw(t, "key"), ttls.Draw(t, "ttl"), rapid.IntRange(200, 299).Draw(t, "status")
				if err := store.Done(ctx, k, dedupe.Mark{Status: status, TTL: ttl}); err != nil {
					t.Fatalf("done: %v", err)
				}
				m.keys[k] = entry{state: isDone(status), until: m.now + ttl}
			},
			"release": func(t *rapid.T) {
				k, tok := keys.Draw(t, "key"), tokens.Draw(t, "token")
				if err := store.Release(ctx, k, tok); err != nil {
					t.Fatalf("release: %v", err)
				}
				m.release(k, tok)
			},
			"advance": func(t *rapid.T) {
				d := steps.Draw(t, "by")
				s.Advance(d)
				m.now += d
			},
		}
		if s.Reopen != nil {
			actions["restart"] = func(t *rapid.T) {
				store = s.Reopen()
				for k, e := range m.keys {
					if e.state == inFlight {
						delete(m.keys, k)
					}
				}
			}
		}
		t.Repeat(actions)
	})
}
