package integration

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

const identitySite = `
	handle /observe {
		verify_webhook stripe {env.STRIPE_KEY} {
			name observing
			observe
		}
		reverse_proxy APP
	}
	@listed host listed-a.test listed-b.test
	handle @listed {
		verify_webhook /aryeo aryeo {env.ARYEO_KEY}
		reverse_proxy APP
	}
	@wild host *.wild.test
	handle @wild {
		verify_webhook /aryeo aryeo {env.ARYEO_KEY}
		reverse_proxy APP
	}
	handle {
		verify_webhook /github github {env.GITHUB_KEY}
		verify_webhook /github-too github {env.GITHUB_KEY}
		verify_webhook /content github {env.GITHUB_KEY} {
			name content
			dedupe {
				key content
			}
		}
		verify_webhook /stripe stripe {env.STRIPE_KEY}
		verify_webhook /standard standard_webhooks {env.STANDARD_KEY}
		verify_webhook /aryeo aryeo {env.ARYEO_KEY}
		verify_webhook /aryeo-too aryeo {env.ARYEO_KEY}
		verify_webhook /one aryeo {env.ARYEO_KEY} {
			name one
		}
		verify_webhook /also-one aryeo {env.ARYEO_KEY} {
			name one
		}
		verify_webhook /two aryeo {env.ARYEO_KEY} {
			name two
		}
		verify_webhook /short aryeo {env.ARYEO_KEY} {
			name short
			dedupe {
				window 1s
			}
		}
		reverse_proxy APP
	}`

// signedBy signs a body as a sender does at the current time, for a path.
func signedBy(t testing.TB, s sender, path string, body []byte) message {
	m := s.deliver(t, s.key, time.Now(), body)
	m.path = path
	return m
}

// TestIdentity sends two messages, and checks whether the second is a copy of the
// first.
func TestIdentity(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: identitySite})
	github1, github2, github3 := fresh(jsonBody), fresh(jsonBody), fresh(jsonBody)
	guid := func(path string, body []byte, id string) message {
		m := signedBy(t, github, path, body)
		if id != "" {
			m.header.Set("X-Github-Delivery", id)
		}
		return m
	}
	event := func(pending string) []byte {
		return []byte(`{"id":"evt_a","pending_webhooks":` + pending + `,"note":"` + bodyMark + `"}`)
	}
	aryeo1, aryeo2, aryeo3 := fresh(jsonBody), fresh(jsonBody), fresh(jsonBody)
	with := func(name string, m message, value string) message {
		m = m.clone()
		m.header.Set(name, value)
		return m
	}
	for what, c := range map[string]struct {
		first, second message
		copy          bool
	}{
		"GitHub, the same":              {guid("/github", github1, "a"), guid("/github", github1, "a"), true},
		"GitHub, same id, other body":   {guid("/github", github1, "b"), guid("/github", github2, "b"), false},
		"GitHub, same body, other id":   {guid("/github", github1, "c"), guid("/github", github1, "d"), false},
		"GitHub, no id":                 {guid("/github", github1, ""), guid("/github", github1, ""), true},
		"GitHub, the id taken away":     {guid("/github", github2, ""), guid("/github", github2, "a"), false},
		"GitHub, no id, then empty":     {guid("/github", github3, ""), with("X-Github-Delivery", guid("/github", github3, ""), ""), true},
		"GitHub, another event":         {with("X-Github-Event", guid("/github", github1, "i"), "push"), with("X-Github-Event", guid("/github", github1, "i"), "ping"), false},
		"GitHub, the event in capitals": {with("X-Github-Event", guid("/github", github1, "j"), "push"), with("X-Github-Event", guid("/github", github1, "j"), "PUSH"), false},
		"GitHub, two hooks":             {guid("/github", github1, "e"), guid("/github-too", github1, "e"), false},
		"GitHub, by content, other id":  {guid("/content", github1, "f"), guid("/content", github1, "g"), true},
		"GitHub, by content, other":     {guid("/content", fresh(jsonBody), "h"), guid("/content", fresh(jsonBody), "h"), false},

		"Stripe, same event, other counter": {signedBy(t, stripe, "/stripe", event("2")), signedBy(t, stripe, "/stripe", event("1")), true},
		"Stripe, another event":             {stripe.message(t).to("", "/stripe"), stripe.message(t).to("", "/stripe"), false},
		"Stripe, null id": {signedBy(t, stripe, "/stripe", []byte(`{"id":null}`)),
			signedBy(t, stripe, "/stripe", []byte(`{"id":null}`)), false},
		"Stripe, signed again later": {stripe.deliver(t, stripeKey, time.Now().Add(-time.Minute), []byte(`{"id":"evt_b"}`)).to("", "/stripe"),
			stripe.deliver(t, stripeKey, time.Now(), []byte(`{"id":"evt_b"}`)).to("", "/stripe"), true},

		"Aryeo, same body":                        {signedBy(t, aryeo, "/aryeo", aryeo1), signedBy(t, aryeo, "/aryeo", aryeo1), true},
		"Aryeo, other body":                       {aryeo.message(t).to("", "/aryeo"), aryeo.message(t).to("", "/aryeo"), false},
		"Aryeo, other path":                       {signedBy(t, aryeo, "/aryeo", aryeo2).to("path.test", ""), signedBy(t, aryeo, "/aryeo-too", aryeo2).to("path.test", ""), false},
		"Aryeo, other host, any taken":            {signedBy(t, aryeo, "/aryeo", aryeo3).to("a.test", ""), signedBy(t, aryeo, "/aryeo", aryeo3).to("b.test", ""), true},
		"Aryeo, other host, a wildcard":           {signedBy(t, aryeo, "/aryeo", aryeo1).to("a.wild.test", ""), signedBy(t, aryeo, "/aryeo", aryeo1).to("b.wild.test:99", ""), true},
		"Aryeo, other host, both listed":          {signedBy(t, aryeo, "/aryeo", aryeo1).to("listed-a.test", ""), signedBy(t, aryeo, "/aryeo", aryeo1).to("listed-b.test", ""), false},
		"Aryeo, a listed host, written otherwise": {signedBy(t, aryeo, "/aryeo", github3).to("listed-a.test", ""), signedBy(t, aryeo, "/aryeo", github3).to("LISTED-A.test:99", ""), true},
		"Aryeo, host and path written otherwise": {signedBy(t, aryeo, "/aryeo", github2).to("same.test", ""),
			signedBy(t, aryeo, "/aryeo", github2).to("SAME.test:8080", "/ARYEO"), true},

		"one name, two hosts and paths": {signedBy(t, aryeo, "/one", aryeo1).to("a.test", ""), signedBy(t, aryeo, "/also-one", aryeo1).to("b.test", ""), true},
		"two names":                     {signedBy(t, aryeo, "/one", github2), signedBy(t, aryeo, "/two", github2), false},
	} {
		t.Run(what, func(t *testing.T) { // at once: what is signed above grows stale
			a := g.once(t, c.first)
			wantForwarded(t, "first", a)
			b := g.once(t, c.second)
			keys := [2]string{a.header.Get("Webhook-Delivery"), b.header.Get("Webhook-Delivery")}
			if c.copy {
				wantDuplicate(t, "second", b)
			} else {
				wantForwarded(t, "second", b)
			}
			if same := keys[0] == keys[1] && keys[0] != ""; same != c.copy {
				t.Errorf("Webhook-Delivery %q", keys)
			}
		})
	}
}

// TestSignedID: a signed id alone counts, whatever the body and time of the sender's
// next attempt. Stripe's scheme with headers.
func TestSignedID(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: identitySite})
	m := standard.deliver(t, standardKey, time.Now().Add(-time.Minute), fresh(jsonBody)).to("", "/standard")
	wantForwarded(t, "first", g.once(t, m))
	again := standard.deliver(t, standardKey, time.Now(), m.body).to("", "/standard")
	wantDuplicate(t, "an attempt of a minute later", g.once(t, again))

	// A captured message under another id is not genuine.
	other := m.clone()
	other.header.Set("Webhook-Id", "msg_other")
	if a := g.once(t, other); a.status != http.StatusUnauthorized {
		t.Errorf("another id: %d, want 401", a.status)
	}
}

// TestWindow: after its window a copy is a new delivery.
func TestWindow(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: identitySite})
	m := signedBy(t, aryeo, "/short", fresh(jsonBody))
	wantForwarded(t, "first", g.once(t, m))
	began := time.Now()
	wantDuplicate(t, "at once", g.once(t, m))
	eventually(t, "the window ends", func() bool { return g.once(t, m).body == "taken" })
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("forwarded again after %s, want a window of 1s", took)
	}
}

// TestUnverifiedIsNeverMarked: without a key, nobody can have a delivery marked as
// done or find out whether it is, not even if a handler only observes.
func TestUnverifiedIsNeverMarked(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: identitySite})
	genuine := signedBy(t, stripe, "/stripe", []byte(`{"id":"evt_forged","note":"`+bodyMark+`"}`))
	forged := genuine.clone()
	forged.header.Set("Stripe-Signature", strings.Replace(genuine.header.Get("Stripe-Signature"), "v1=", "v1=0", 1)[:len(genuine.header.Get("Stripe-Signature"))])
	refused := func(what string) {
		t.Helper()
		a := g.once(t, forged)
		if a.status != http.StatusUnauthorized || a.header.Get("Webhook-Duplicate") != "" || a.header.Get("Webhook-Delivery") != "" {
			t.Errorf("%s: a forged copy was answered %d %v", what, a.status, a.header)
		}
	}
	refused("before")
	id, d, finish := newCase(), newDesk(), make(chan struct{})
	g.app.answer(id, d.serve(func(int, http.ResponseWriter, *http.Request) { g.app.until(finish) }))
	var c crowd
	c.send(t, g, id, genuine, 1)
	next(t, "the app", d.arrived)
	refused("meanwhile")
	close(finish)
	c.wait(t)
	refused("afterwards")
	wantDuplicate(t, "genuine", g.once(t, genuine))

	// observe
	m := signedBy(t, stripe, "/observe", []byte(`{"id":"evt_observed","note":"`+bodyMark+`"}`))
	bad := m.clone()
	bad.body = bytes.Replace(m.body, []byte("}"), []byte(" }"), 1)
	observed := func(what string) {
		t.Helper()
		id := newCase()
		a, err := g.post(t.Context(), g.h1, id, bad)
		got := g.app.got(id)
		if err != nil || len(got) != 1 || a.status != http.StatusOK || a.header.Get("Webhook-Duplicate") != "" || a.header.Get("Webhook-Delivery") != "" ||
			got[0].Header.Get("Webhook-Delivery") != "" || got[0].Header.Get("Webhook-Verified") != "" {
			t.Errorf("%s: unverified traffic was looked up or marked: %d %v, the app got %v", what, a.status, a.header, got)
		}
	}
	observed("before")
	wantForwarded(t, "genuine under observe", g.once(t, m))
	wantDuplicate(t, "its copy", g.once(t, m))
	observed("afterwards")
}
