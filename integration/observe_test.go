package integration

import (
	"bytes"
	"net/http"
	"testing"
)

// TestObserve: what fails verification goes on unmarked, and says why to the
// app and the sender, where the operator asks for that.
func TestObserve(t *testing.T) {
	t.Parallel()
	g := start(t, setup{site: `
		header >X-Reason {http.verify_webhook.reason}
		verify_webhook aryeo {env.ARYEO_KEY} {
			observe
			require_header X-Team {env.ARYEO_TEAM}
			body_timeout 1s
		}
		reverse_proxy APP {
			header_up X-Reason {http.verify_webhook.reason}
			header_up X-Verified {http.verify_webhook.verified}
		}`})

	genuine := aryeo.message(t)
	altered, team, unsigned, repeated := genuine, genuine, genuine, genuine
	altered.body = append(bytes.Clone(genuine.body), ' ')
	team.header = http.Header{"Signature": genuine.header["Signature"], "X-Team": {"other"}}
	unsigned.header = http.Header{"X-Team": {aryeoTeam}}
	repeated.header = http.Header{"Signature": {genuine.header.Get("Signature"), "00"}, "X-Team": {aryeoTeam}}
	for reason, m := range map[string]message{
		"": genuine, "signature_mismatch": altered, "header_mismatch": team,
		"missing_signature": unsigned, "malformed_signature": repeated,
	} {
		for _, protocol := range protocols {
			if reason == "" {
				m = aryeo.message(t) // a copy would not be forwarded
			}
			a, got := g.send(t, protocol, m)
			wantTaken(t, protocol+", "+reason, a, got)
			one := got[0]
			verified, mark := "false", ""
			if reason == "" {
				verified, mark = "true", "aryeo"
			}
			if one.Header.Get("Webhook-Verified") != mark || one.Header.Get("X-Verified") != verified {
				t.Errorf("%s: the app got Webhook-Verified %q and verified %q; want %q and %q",
					reason, one.Header.Get("Webhook-Verified"), one.Header.Get("X-Verified"), mark, verified)
			}
			if one.Header.Get("X-Reason") != reason || a.header.Get("X-Reason") != reason {
				t.Errorf("reason at the app %q, at the sender %q; want %q", one.Header.Get("X-Reason"), a.header.Get("X-Reason"), reason)
			}
			if !bytes.Equal(one.Body, m.body) {
				t.Errorf("%s: the app got another body", reason)
			}
		}
		if reason != "" {
			g.log.refused(t, "aryeo", reason)
			sample := `caddy_verify_webhook_requests_total{name="aryeo",outcome="observed",reason="` + reason + `"}`
			if n := g.metric(t, sample); n != float64(len(protocols)) {
				t.Errorf("%s %v, want %d", sample, n, len(protocols))
			}
		}
	}

	// A forged mark on what only was observed is the worst one.
	id := newCase()
	s := g.dial(t)
	s.head("POST", "/?case="+id, append(forgedLines, "Connection: Webhook-Verified", length(2))...)
	s.write("{}")
	wantTaken(t, "forged", s.answer(), g.app.got(id))
	wantUnforged(t, g.app.got(id)[0])

	// Limits are not verification: they stay.
	a, got := g.send(t, "HTTP/1.1", message{method: "GET", path: "/"})
	wantRefused(t, "GET", http.StatusMethodNotAllowed, a, got)
	for _, chunked := range []bool{false, true} {
		a, got = g.send(t, "HTTP/2", message{path: "/", body: make([]byte, mebibyte+1), chunked: chunked})
		wantRefused(t, "too large", http.StatusRequestEntityTooLarge, a, got)
	}
	id = newCase()
	s = g.dial(t)
	s.head("POST", "/?case="+id, length(10))
	wantRefused(t, "slow", http.StatusRequestTimeout, s.answer(), g.app.got(id))
}
