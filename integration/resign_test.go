package integration

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const upstreamKey = "whsec_dXBzdHJlYW0tc2lnbmluZy1rZXktMDEyMzQ1Njc="

func init() { confide(upstreamKey) }

// standardCheck is an app's check of Standard Webhooks, which knows nothing of
// ours: HMAC-SHA256 over id.timestamp.body.
func standardCheck(t testing.TB, key string, h http.Header, body []byte) bool {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if len(h.Values(name)) != 1 {
			return false
		}
	}
	at, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		return false
	}
	sum := hmacBytes(raw, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+"."+string(body))
	return h.Get("Webhook-Signature") == "v1,"+base64.StdEncoding.EncodeToString(sum)
}

// TestSignUpstream: the app checks one scheme for all senders, and nothing of
// theirs can pass for it.
func TestSignUpstream(t *testing.T) {
	t.Parallel()
	var site strings.Builder
	resigned := []sender{stripe, github, standard, svix, slack, generic}
	for _, s := range resigned {
		block := "{\n"
		if i := strings.Index(s.config, "{\n"); i >= 0 {
			block = s.config[i:]
		}
		site.WriteString("verify_webhook " + s.path + " " + strings.TrimSuffix(s.config, block) + " " + strings.TrimSuffix(block, "}") + "\nsign_upstream {env.UPSTREAM_KEY}\n}\n")
	}
	site.WriteString("verify_webhook /observe stripe {env.STRIPE_KEY} {\nname observing\nobserve\nsign_upstream {env.UPSTREAM_KEY}\n}\nreverse_proxy APP")
	g := start(t, setup{site: site.String(), env: []string{"UPSTREAM_KEY=" + upstreamKey}})
	for _, s := range resigned {
		t.Run(s.name, func(t *testing.T) {
			id, m := newCase(), s.message(t)
			if s.path != standard.path && s.path != svix.path { // which sign with these
				m.header["Webhook-Id"] = []string{"forged", "twice"}
				m.header["Webhook-Timestamp"] = []string{"1"}
				m.header["Webhook-Signature"] = []string{"v1,Zm9yZ2Vk"}
			}
			refuse := true
			g.app.answer(id, func(w http.ResponseWriter, _ *http.Request) {
				if refuse {
					w.WriteHeader(http.StatusInternalServerError)
				}
			})
			g.do(t, g.h2, g.request(t, id, m))
			refuse = false
			g.do(t, g.h1, g.request(t, id, m))
			got := g.app.got(id)
			if len(got) != 2 {
				t.Fatalf("the app was called %d times, want twice", len(got))
			}
			for _, one := range got {
				if !standardCheck(t, upstreamKey, one.Header, one.Body) {
					t.Errorf("the app's check fails: %v", one.Header)
				}
				if key := one.Header.Get("Webhook-Delivery"); key != "" && one.Header.Get("Webhook-Id") != key {
					t.Errorf("Webhook-Id %q, want the delivery's key %q", one.Header.Get("Webhook-Id"), key)
				}
			}
			// What nothing identifies may be two events with one body.
			known, same := got[0].Header.Get("Webhook-Delivery") != "", got[0].Header.Get("Webhook-Id") == got[1].Header.Get("Webhook-Id")
			if same != known {
				t.Errorf("the delivery is identified: %t, its two attempts have one id: %t", known, same)
			}
		})
	}

	id, m := newCase(), stripe.message(t)
	m.path = "/observe"
	m.body = append(m.body, ' ')
	m.header["Webhook-Id"] = []string{"forged"}
	m.header["Webhook-Timestamp"] = []string{strconv.FormatInt(time.Now().Unix(), 10)}
	m.header["Webhook-Signature"] = []string{"v1,Zm9yZ2Vk"}
	g.do(t, g.h1, g.request(t, id, m))
	for _, one := range g.app.got(id) {
		for name := range one.Header {
			if name == "Webhook-Id" || name == "Webhook-Timestamp" || name == "Webhook-Signature" {
				t.Errorf("unverified, and the app got %s: %q", name, one.Header[name])
			}
		}
	}
	if n := len(g.app.got(id)); n != 1 {
		t.Errorf("observe: the app was called %d times, want once", n)
	}
}

// TestSignUpstreamSecrets: a sender's secret must not sign for the gateway.
func TestSignUpstreamSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, line := range map[string]string{
		"the sender's own":            "verify_webhook standard_webhooks {env.STANDARD_KEY} {\nsign_upstream {env.STANDARD_KEY}\n}",
		"one of several":              "verify_webhook standard_webhooks {env.SVIX_KEY} {env.STANDARD_KEY} {\nsign_upstream {env.STANDARD_KEY}\n}",
		"the same, written otherwise": "verify_webhook standard_webhooks {env.STANDARD_KEY} {\nsign_upstream {env.STANDARD_BARE}\n}",
		"unset":                       "verify_webhook github {env.GITHUB_KEY} {\nsign_upstream {env.NOT_SET_ANYWHERE}\n}",
		"no value":                    "verify_webhook github {env.GITHUB_KEY} {\nsign_upstream\n}",
		"not base64":                  "verify_webhook github {env.GITHUB_KEY} {\nsign_upstream {env.GITHUB_KEY}\n}",
	} {
		path := filepath.Join(dir, strings.ReplaceAll(what, " ", "_"))
		if err := os.WriteFile(path, []byte("http://:1 {\n"+line+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := caddy(t, dir, []string{"STANDARD_BARE=" + strings.TrimPrefix(standardKey, "whsec_")}, "validate", "--adapter", "caddyfile", "--config", path)
		if err == nil || !strings.Contains(out, "sign_upstream") {
			t.Errorf("%s: accepted, or an error that does not name the option: %v\n%s", what, err, out)
		}
		for _, key := range []string{standardKey, strings.TrimPrefix(standardKey, "whsec_"), githubKey} {
			if strings.Contains(out, key) {
				t.Errorf("%s: the output holds a secret:\n%s", what, out)
			}
		}
	}
}
