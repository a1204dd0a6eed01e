package caddymodule

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/attempt"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// retried is a handler whose sender marks its retries.
func retried(more ...string) string {
	return "{" + strings.Join(append([]string{
		`"name":"acme","provider":{"id":"acme_inc","name":"Acme","unique_id":true,"retry_header":["X-Retry-Num","X-Retry-Reason"],"scheme":{"signature":{"header":"X-Signature"},"delivery_id":{"json":"id"}}}`,
		topsecret,
	}, more...), ",") + "}"
}

// retry is a delivery that says that it is a retry.
func retry(text, signature string) *http.Request {
	r := postOf(text)
	r.Header.Set("X-Signature", signature)
	for _, name := range []string{"X-Retry-Num", "X-Retry-Reason", "X_retry_num", "X!Retry-Num"} {
		r.Header[name] = []string{"1"}
	}
	r.Header.Set("X-Retry-Number", "1") // another name
	return r
}

func postOf(text string) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", strings.NewReader(text))
	r.RequestURI, r.RemoteAddr = "/hooks/acme", "192.0.2.1:1234"
	return r
}

// TestAppsGetNoRetryHeaders from an inbox: it retries what the app has not accepted, and
// anybody can make a captured delivery a retry. Without one, or where the header is
// checked, the app gets what was sent.
func TestAppsGetNoRetryHeaders(t *testing.T) {
	all := []string{"X!Retry-Num", "X-Retry-Num", "X-Retry-Number", "X-Retry-Reason", "X_retry_num"}
	const signed = `"message":"{header:X-Retry-Num}.{body}"`
	for name, c := range map[string]struct {
		option, text, signed string
		alone, withInbox     []string
	}{
		"a delivery":       {"", body, body, all, []string{"X-Retry-Number"}},
		"by its content":   {`"dedupe":{"key":"content"}`, `{"a":1}`, `{"a":1}`, all, []string{"X-Retry-Number"}},
		"dedupe off":       {`"dedupe":{"off":true}`, body, body, all, nil},
		"no id":            {"", `{"a":1}`, `{"a":1}`, all, all},
		"nothing unique":   {`"delivery_id":{"off":true}`, body, body, all, all},
		"required":         {`"require_header":[{"name":"x-retry-num","values":["1"]}]`, body, body, []string{"X-Retry-Num", "X-Retry-Number", "X-Retry-Reason"}, []string{"X-Retry-Num", "X-Retry-Number"}},
		"signed":           {signed, body, "1." + body, []string{"X-Retry-Num", "X-Retry-Number", "X-Retry-Reason"}, []string{"X-Retry-Num", "X-Retry-Number"}},
		"only observed":    {`"observe":true`, body, "another text", all, all},
		"genuine, observe": {`"observe":true`, body, body, all, []string{"X-Retry-Number"}},
	} {
		var options []string
		if c.option != "" {
			options = []string{c.option}
		}
		for with, want := range map[string][]string{"alone": c.alone, "with an inbox": c.withInbox} {
			if want == nil {
				continue
			}
			t.Run(name+", "+with, func(t *testing.T) {
				var forward *http.Request
				sent := retry(c.text, sign("n9Wd4kTq2", c.signed))
				if with == "alone" {
					forward = serve(t, sent, accepting, mustProvision(t, "", retried(options...)).handlers...).forward
				} else {
					forward = withInbox(t, options...).send(sent, answering(200)).forward
				}
				if forward == nil {
					t.Fatal("not forwarded")
				}
				if got := retryHeaders(forward); !slices.Equal(got, want) {
					t.Errorf("the app gets %q, want %q", got, want)
				}
			})
		}
	}
}

func retryHeaders(r *http.Request) (names []string) {
	for name := range r.Header {
		if strings.Contains(strings.ToLower(name), "retry") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestARetryOfWhatTheInboxOwes reaches the app as the delivery that it is: a 2xx for what
// it drops would settle what is stored.
func TestARetryOfWhatTheInboxOwes(t *testing.T) {
	g := withInbox(t)
	first := postOf(body)
	first.Header.Set("X-Signature", sign("n9Wd4kTq2", body))
	if o := g.send(first, answering(503)); o.header.Get("Webhook-Stored") != "true" {
		t.Fatalf("not stored: %v", o.header)
	}
	o := g.send(retry(body, sign("n9Wd4kTq2", body)), answering(503))
	if o.forward == nil {
		t.Fatalf("the app does not get the retry: %v", o.header)
	}
	if got := retryHeaders(o.forward); !slices.Equal(got, []string{"X-Retry-Number"}) {
		t.Errorf("the app gets %q", got)
	}
}

// TestRetriesThatNothingIdentifiesKeepTheirHeaders, also at a handler with an inbox, which
// names them by chance: each copy reaches the app, which alone can tell a retry.
func TestRetriesThatNothingIdentifiesKeepTheirHeaders(t *testing.T) {
	const text = `{"a":1}`
	g := withInbox(t)
	o := g.send(retry(text, sign("n9Wd4kTq2", text)), answering(200))
	if o.forward == nil {
		t.Fatalf("the app does not get it: %v", o.header)
	}
	all := []string{"X!Retry-Num", "X-Retry-Num", "X-Retry-Number", "X-Retry-Reason", "X_retry_num"}
	if got := retryHeaders(o.forward); !slices.Equal(got, all) {
		t.Errorf("the app gets %q, want %q", got, all)
	}
	if got := attemptOfAStored(t, g, "", text); !slices.Equal(got, all) {
		t.Errorf("stored: the app gets %q, want %q", got, all)
	}
}

// withInbox runs retried with an inbox.
func withInbox(t *testing.T, more ...string) *gateway {
	t.Helper()
	config, err := json.Marshal(map[string]any{"inbox": map[string]any{"inbox": "bolt", "path": filepath.Join(t.TempDir(), "inbox.db")}})
	if err != nil {
		t.Fatal(err)
	}
	g := running(t, string(config), retried(append(more, keepingInbox)...))
	g.awaitInbox()
	return g
}

// TestAttemptsOfAStoredRetry: the inbox keeps what was received, and the app does not get
// all of it.
func TestAttemptsOfAStoredRetry(t *testing.T) {
	if got := attemptOfAStored(t, withInbox(t), "evt_1", body); !slices.Equal(got, []string{"X-Retry-Number"}) {
		t.Errorf("the app gets %q", got)
	}
}

// attemptOfAStored lists the retry headers that the app gets from the inbox.
func attemptOfAStored(t *testing.T, g *gateway, id, text string) (got []string) {
	t.Helper()
	r := retry(text, sign("n9Wd4kTq2", text))
	stored := &inbox.Delivery{
		Key: inbox.Key{3}, Queue: inbox.Queue{Handler: "acme"}, ID: id, Method: http.MethodPost, Host: r.Host, Target: r.RequestURI,
		Header: r.Header.Clone(), Body: []byte(text), Received: clock,
	}
	back := &attempt.Return{Attempt: &inbox.Attempt{Delivery: stored, Entry: inbox.Entry{Key: stored.Key, Queue: stored.Queue, Attempts: 1}}}
	app := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		got = retryHeaders(r)
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	w := newWire()
	if err := g.handlers[0].again(back, w, caddyhttp.PrepareRequest(postOf(text), caddy.NewReplacer(), w, nil), app); err != nil {
		t.Fatal(err)
	}
	return got
}
