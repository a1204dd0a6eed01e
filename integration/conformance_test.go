package integration

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The scenarios of luckyteagirl/webhook-receiver-conformance (Apache-2.0, commit
// 981c2c9, specification/07-scenario-catalog.md), as far as they are about a
// receiver that forwards. Elsewhere: SCN-003 in TestCopiesAtOnce, SCN-005 in
// TestRetryAfterHangUp, SCN-006 in TestAppIsBackLater, SCN-013 in TestKill9 and
// TestBoltOutlivesTheProcess; SCN-014 is about the harness of theirs, SCN-015
// about the app's own transactions, SCN-016 is logbook.check.
const conformanceSite = "verify_webhook stripe {env.STRIPE_KEY} {\nmax_body 64KiB\n}\nreverse_proxy APP"

func TestConformance(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: conformanceSite})
	body := func(kind string) []byte { // in their form
		return []byte(`{"id":"` + newID() + `","type":"` + kind + `","note":"` + bodyMark + `"}`)
	}
	event := func(kind string) message { return signedBy(t, stripe, "/", body(kind)) }
	signature := func(value string) message {
		m := event("order.paid")
		m.header.Set("Stripe-Signature", value)
		return m
	}
	now := func() string { return strconv.FormatInt(time.Now().Unix(), 10) }

	t.Run("SCN-001 a single valid delivery", func(t *testing.T) {
		wantForwarded(t, "valid", g.once(t, event("order.paid")))
	})
	t.Run("SCN-002 a sequential duplicate", func(t *testing.T) {
		m := event("order.paid")
		wantForwarded(t, "first", g.once(t, m))
		for range 3 {
			wantDuplicate(t, "again", g.once(t, m))
		}
	})
	t.Run("SCN-004 the later event first", func(t *testing.T) {
		created, later := event("order.created"), event("order.paid")
		wantForwarded(t, "paid", g.once(t, later))
		wantForwarded(t, "created", g.once(t, created))
	})
	altered := event("order.paid")
	altered.body = []byte(strings.Replace(string(altered.body), "order.paid", "order.void", 1))
	unsigned := event("order.paid")
	unsigned.header = nil
	for what, m := range map[string]message{
		"SCN-007 missing signature":         unsigned,
		"SCN-008 malformed: v1=!":           signature("t=" + now() + ",v1=!"),
		"SCN-008 malformed: v1":             signature("t=" + now() + ",v1"),
		"SCN-008 malformed: v1:00":          signature("t=" + now() + ",v1:00"),
		"SCN-008 malformed: two":            signature("t=" + now() + ",v1=00,v1=11"),
		"SCN-008 malformed: no timestamp":   signature("v1=" + strings.Repeat("0", 64)),
		"SCN-009 wrong key":                 stripe.deliver(t, stripe.otherKey(), time.Now(), body("order.paid")).to("", "/"),
		"SCN-010 stale timestamp":           stripe.deliver(t, stripeKey, time.Now().Add(-301*time.Second), body("order.paid")).to("", "/"),
		"SCN-010 timestamp ahead":           stripe.deliver(t, stripeKey, time.Now().Add(310*time.Second), body("order.paid")).to("", "/"),
		"SCN-011 altered after signing":     altered,
		"SCN-012 a body that is not signed": {path: "/", header: event("order.paid").header, body: []byte(`{"id":`)},
		"SCN-012 a duplicate key, unsigned": {path: "/", header: event("order.paid").header, body: []byte(`{"id":"a","id":"b"}`)},
		"SCN-012 invalid UTF-8, not signed": {path: "/", header: event("order.paid").header, body: []byte("{\"id\":\"\xff\"}")},
	} {
		t.Run(what, func(t *testing.T) {
			a, got := g.send(t, "HTTP/1.1", m)
			wantRefused(t, what, http.StatusUnauthorized, a, got)
		})
	}
	t.Run("SCN-010 boundary control", func(t *testing.T) {
		wantForwarded(t, "ten seconds within", g.once(t, stripe.deliver(t, stripeKey, time.Now().Add(-290*time.Second), body("order.paid")).to("", "/")))
	})
	t.Run("SCN-012 oversized", func(t *testing.T) {
		a, got := g.send(t, "HTTP/1.1", signedBy(t, stripe, "/", make([]byte, 65<<10)))
		wantRefused(t, "oversized", http.StatusRequestEntityTooLarge, a, got)
	})
	// Whether a signed body makes sense is the app's business: it is forwarded, as
	// it is, and as often as it comes, since it holds no id.
	for what, body := range map[string]string{
		"truncated": `{"id":"evt_t`, "a duplicate key": `{"id":"evt_d","id":"evt_e"}`, "invalid UTF-8": "{\"id\":\"\xff\"}", "no JSON": "id=1",
		"an id that is no scalar": `{"id":{"a":1}}`, "empty": "",
	} {
		t.Run("SCN-012 signed, "+what, func(t *testing.T) {
			m := signedBy(t, stripe, "/", []byte(body))
			m.header.Set("Content-Type", "text/plain")
			for range 2 {
				a, got := g.send(t, "HTTP/1.1", m)
				wantTaken(t, what, a, got)
				wantArrival(t, got, "stripe", m)
			}
		})
	}
}
