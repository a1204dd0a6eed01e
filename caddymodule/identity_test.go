package caddymodule

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// TestIdentity: what identifies a delivery, and for how long, depending on the
// sender's facts and the configuration.
func TestIdentity(t *testing.T) {
	id, both, unsigned := dedupe.Identity{ID: dedupe.IDAlone}, dedupe.Identity{ID: dedupe.IDWithBody}, dedupe.Identity{ID: dedupe.IDWithBody, Content: true}
	content, nothing := dedupe.Identity{Content: true}, dedupe.Identity{}
	for name, tc := range map[string]struct {
		config   string
		identity dedupe.Identity
		window   time.Duration
		off      bool
	}{
		"stripe":                  {`{"provider":"stripe","secret":["a"]}`, id, week, false},
		"github":                  {`{"provider":"github","secret":["a"]}`, unsigned, week, false},
		"aryeo":                   {`{"provider":"aryeo","secret":["a"]}`, content, 15 * time.Minute, false},
		"id":                      {acme(topsecret, withID), both, week, false},
		"signed id":               {acme(topsecret, signedID), both, week, false}, // nothing says that it is unique
		"no id":                   {acme(topsecret), nothing, 15 * time.Minute, true},
		"id off":                  {`{"provider":"github","secret":["a"],"delivery_id":{"off":true}}`, nothing, 15 * time.Minute, true},
		"id retried long":         {longRetry, both, 240 * time.Hour, false},
		"content retried long":    {shortRetry, content, 20 * time.Minute, false},
		"off":                     {withDedupe(`"off":true`), both, week, true},
		"key id":                  {withDedupe(`"key":"id"`), id, week, false},
		"key id+content":          {`{"provider":"stripe","secret":["a"],"dedupe":{"key":"id+content"}}`, both, week, false},
		"key content":             {withDedupe(`"key":"content"`), content, 15 * time.Minute, false},
		"key content without id":  {acme(topsecret, `"dedupe":{"key":"content"}`), content, 15 * time.Minute, false},
		"window":                  {withDedupe(`"window":"1s"`), both, time.Second, false},
		"window below the span":   {strings.Replace(longRetry, `"secret"`, `"dedupe":{"window":"48h"},"secret"`, 1), both, 48 * time.Hour, false},
		"window in nanoseconds":   {withDedupe(`"window":5`), both, 5, false},
		"window of content":       {withDedupe(`"key":"content","window":"30d"`), content, 720 * time.Hour, false},
		"time signed":             {acme(topsecret, signedTime, `"dedupe":{"key":"content"}`), content, 15 * time.Minute, false},
		"time signed, tolerance":  {acme(topsecret, signedTime, `"tolerance":"1h","dedupe":{"key":"content"}`), content, 2 * time.Hour, false},
		"tolerance beyond ids":    {acme(topsecret, withID, signedTime, `"tolerance":"120h"`), both, 240 * time.Hour, false},
		"time not checked":        {`{"provider":"elevenlabs","secret":["a"],"timestamp":{"off":true},"dedupe":{"key":"content"}}`, content, 15 * time.Minute, false},
		"elevenlabs":              {`{"provider":"elevenlabs","secret":["a"],"dedupe":{"key":"content"}}`, content, time.Hour, false},
		"window below tolerance":  {`{"provider":"elevenlabs","secret":["a"],"dedupe":{"key":"content","window":"15m"}}`, content, 15 * time.Minute, false},
		"empty object is default": {withDedupe(``), both, week, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustProvision(t, "", tc.config).handlers[0].recogniser
			if r.identity != tc.identity || r.terms.TTL != tc.window || r.off != tc.off {
				t.Errorf("got %+v for %s, off %t", r.identity, r.terms.TTL, r.off)
			}
		})
	}
}

// TestUnnamedWindow: a delivery without its usual id is remembered for less: while its
// captured copy is fresh only if no two bodies are equal.
func TestUnnamedWindow(t *testing.T) {
	for config, want := range map[string]time.Duration{
		`{"provider":"github","secret":["a"]}`:                                            15 * time.Minute,
		`{"provider":"linear","secret":["a"]}`:                                            15 * time.Minute,
		`{"provider":"linear","secret":["a"],"tolerance":"1m"}`:                           15 * time.Minute,
		acme(topsecret, withID, signedTime, `"tolerance":"1h"`):                           15 * time.Minute,
		acme(topsecret, withID, signedTime, `"tolerance":"1h","dedupe":{"window":"30m"}`): 30 * time.Minute,
	} {
		r := mustProvision(t, "", config).handlers[0].recogniser
		if r.unnamed.TTL != want {
			t.Errorf("%s: remembered for %s, want %s", config, r.unnamed.TTL, want)
		}
	}
}

// TestRecompressed: if the body is signed before compression, compressing a captured
// delivery again makes no new one.
func TestRecompressed(t *testing.T) {
	g := running(t, "", acme(topsecret, `"body_decoded":true`, `"dedupe":{"key":"content"}`))
	packed := func(level int) string {
		var b strings.Builder
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	deliver := func(coding, text string) outcome {
		r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/acme", strings.NewReader(text))
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", body))
		if coding != "" {
			r.Header.Set("Content-Encoding", coding)
		}
		return g.send(r, answering(200))
	}
	deliver("gzip", packed(gzip.BestSpeed)).isForwarded(t)
	for coding, text := range map[string]string{"gzip": packed(gzip.NoCompression), "": body} {
		if o := deliver(coding, text); o.forward != nil || o.header.Get("Webhook-Duplicate") == "" {
			t.Errorf("coding %q: forwarded %t, %v", coding, o.forward != nil, o.header)
		}
	}
}

// at is a genuine delivery of acme by URL, with the given body.
func at(url, text string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, url, strings.NewReader(text))
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", text))
	r.Header.Set("X-Acme", sign("a", text))
	return r
}

// TestScope: a configured name is the scope; without one, provider, host and path
// are, normalized as Caddy's matchers compare them.
func TestScope(t *testing.T) {
	named := strings.Replace(longRetry, "{", `{"name":"billing",`, 1)
	key := func(config, url string) string {
		t.Helper()
		a := serve(t, at(url, body), accepting, mustProvision(t, "", config).handlers...)
		if a.err != nil || a.placeholder("delivery") == "" {
			t.Fatalf("%s: %v", url, a.err)
		}
		return a.placeholder("delivery")
	}
	want := dedupe.NewKey(string(dedupe.RouteScope("acme_inc", "hooks.example.com", "/hooks/acme")), "acme_inc", "id+content", "evt_1", digest(body)).String()
	for _, same := range []string{
		"http://hooks.example.com/hooks/acme", "http://HOOKS.example.com:8080/hooks/acme?a=b", "http://hooks.example.com./Hooks/acme/",
		"http://hooks.example.com/hooks/%61cme",
	} {
		if got := key(longRetry, same); got != want {
			t.Errorf("%s is another scope", same)
		}
		if got := key(named, same); got != key(named, "http://other.example.com/") || got == want {
			t.Errorf("%s: named, the address counts, or the name does not", same)
		}
	}
	for _, other := range []string{"http://other.example.com/hooks/acme", "http://hooks.example.com/hooks/bravo", "http://hooks.example.com/"} {
		if key(longRetry, other) == want {
			t.Errorf("%s is the same scope", other)
		}
	}
}

// hook is a delivery of body to a preset, as github and shopify sign.
func hook(header, signature string, more ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://hooks.example.com/hooks/x", strings.NewReader(body))
	r.Header.Set(header, signature)
	for i := 0; i < len(more); i += 2 {
		r.Header.Add(more[i], more[i+1])
	}
	return r
}

// TestExactCopies: if the signature does not cover the id, exact copies are blocked,
// copies without the id are not forwarded repeatedly, and copies under another id or
// event pass.
func TestExactCopies(t *testing.T) {
	g := running(t, "", `{"provider":"github","secret":["n9Wd4kTq2"]}`)
	const id, event = "X-GitHub-Delivery", "X-GitHub-Event"
	for i, tc := range []struct {
		headers []string
		forward bool
	}{
		{[]string{id, "1", event, "push"}, true},
		{[]string{id, "1", event, "push"}, false},
		{[]string{id, "1 ", event, "push"}, false},
		{[]string{id, "1", event, "Push"}, true},
		{[]string{id, "2", event, "push"}, true},
		{[]string{id, "1", event, "ping"}, true},
		{[]string{id, "1", event, "push", event, "ping"}, true},
		{[]string{event, "push"}, true},
		{[]string{event, "push"}, false},
		{[]string{id, "", event, "push"}, false},
		{[]string{id, " ", event, "push"}, false},
		{nil, true},
		{nil, false},
	} {
		o := g.send(hook("X-Hub-Signature-256", "sha256="+sign("n9Wd4kTq2", body), tc.headers...), answering(200))
		if o.err != nil || (o.forward != nil) != tc.forward {
			t.Errorf("%d, %q: forwarded %t, %v", i, tc.headers, o.forward != nil, o.err)
		}
	}
}

// TestAnotherEventSwallowsNothing: replaying a delivery that the app did not accept,
// under an event that the app answers but ignores, or under its own as an app that
// compares it exactly does not know it, does not affect the sender's retry.
func TestAnotherEventSwallowsNothing(t *testing.T) {
	for name, key := range map[string]string{
		"by default": "", "key content": `"key":"content"`, "key id": `"key":"id"`, "key id+content": `"key":"id+content"`,
	} {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", `{"provider":"shopify","secret":["n9Wd4kTq2"],"signature":{"header":"X-Hub"},"dedupe":{`+key+`}}`)
			attempt := func(topic string, status int, more ...string) outcome {
				return g.send(hook("X-Hub", sign("n9Wd4kTq2", body), append(more, "X-Shopify-Webhook-Id", "1", "X-Shopify-Topic", topic)...), answering(status))
			}
			attempt("orders/paid", 503).isForwarded(t)
			attempt("app/unknown", 200).isForwarded(t)
			attempt("ORDERS/PAID", 200).isForwarded(t)
			attempt("orders/paid\u00a0", 200).isForwarded(t)
			attempt("orders/paid", 200, "X_Shopify_Topic", "app/unknown").isForwarded(t) // CGI makes one of both
			attempt("orders/paid", 200).isForwarded(t)
			if o := attempt("orders/paid", 200); o.forward != nil {
				t.Error("a copy of what was taken is forwarded")
			}
		})
	}
}

// TestAnotherMethodSwallowsNothing: the same for an unsigned method. A signed method,
// or the only accepted one, does not count.
func TestAnotherMethodSwallowsNothing(t *testing.T) {
	const several = `"methods":["POST","PUT"]`
	for name, c := range map[string]struct {
		config string
		signed string // before the body
		counts bool
	}{
		"unsigned":      {several, "", true},
		"signed":        {several + `,"message":"{method}.{body}"`, "POST.", false},
		"one method":    {`"methods":["POST"]`, "", false},
		"preset's":      {`"provider":"x_signature"`, "", true},
		"preset's, one": {`"provider":"x_signature","methods":["POST"]`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", acme(topsecret, `"dedupe":{"key":"content"}`, c.config))
			attempt := func(method string, status int) outcome {
				r := hook("X-Signature", sign("n9Wd4kTq2", c.signed+body))
				r.Method = method
				return g.send(r, answering(status))
			}
			attempt("POST", 503).isForwarded(t)
			if o := attempt("PUT", 200); (o.forward != nil) != c.counts {
				t.Errorf("another method is forwarded: %t", o.forward != nil)
			}
			attempt("POST", 200).isForwarded(t)
			if o := attempt("POST", 200); o.forward != nil {
				t.Error("a copy of what was taken is forwarded")
			}
		})
	}
}

// TestPinnedEvent: nobody can choose an event that the configuration requires, and if
// bodies differ the id is not needed either.
func TestPinnedEvent(t *testing.T) {
	g := running(t, "", `{"provider":"github","secret":["n9Wd4kTq2"],"require_header":[{"name":"x-github-event","values":["push"]}],"dedupe":{"key":"content"}}`)
	send := func(more ...string) outcome {
		return g.send(hook("X-Hub-Signature-256", "sha256="+sign("n9Wd4kTq2", body), more...), answering(200))
	}
	send("X-GitHub-Event", "push", "X-GitHub-Delivery", "1").isForwarded(t)
	for _, id := range []string{"1", "2", ""} {
		if o := send("X-GitHub-Event", "push", "X-GitHub-Delivery", id); o.forward != nil || o.err != nil {
			t.Errorf("id %q: forwarded %t, %v", id, o.forward != nil, o.err)
		}
	}
	if o := send("X-GitHub-Event", "ping", "X-GitHub-Delivery", "1"); o.forward != nil || o.err == nil {
		t.Error("another event is taken")
	}
}

// TestPinnedContentType: Content-Type is neither signed nor part of the identity, so
// copies cannot pass under another one. If required, it cannot affect a retry either.
func TestPinnedContentType(t *testing.T) {
	g := running(t, "", `{"provider":"github","secret":["n9Wd4kTq2"],"require_header":[{"name":"Content-Type","values":["application/json"]}]}`)
	attempt := func(contentType string, status int) outcome {
		return g.send(hook("X-Hub-Signature-256", "sha256="+sign("n9Wd4kTq2", body), "X-GitHub-Event", "push", "X-GitHub-Delivery", "1", "Content-Type", contentType), answering(status))
	}
	attempt("application/json", 503).isForwarded(t)
	if o := attempt("text/plain", 200); o.forward != nil || o.err == nil {
		t.Error("another type, which the app answers and ignores, is taken")
	}
	attempt("application/json", 200).isForwarded(t)
	if o := attempt("application/json", 200); o.forward != nil || o.err != nil {
		t.Errorf("a copy of what was taken: forwarded %t, %v", o.forward != nil, o.err)
	}
}

// TestEventPlaceholder: {http.verify_webhook.event} is the event header's text, only
// for verified deliveries, limited to the size of a label.
func TestEventPlaceholder(t *testing.T) {
	g := mustProvision(t, "", `{"provider":"shopify","secret":["n9Wd4kTq2"],"signature":{"header":"X-Hub"}}`)
	for _, tc := range []struct {
		signed  bool
		headers []string
		want    string
	}{
		{true, []string{"X-Shopify-Topic", "orders/paid"}, "orders/paid"},
		{true, []string{"X-Shopify-Topic", " Push Hook\t"}, "Push Hook"},
		{true, []string{"Shopify-Topic", "Product"}, "Product"},
		{true, []string{"Shopify-Topic", "b", "X-Shopify-Topic", "a"}, "a"},
		{true, []string{"X-Shopify-Topic", "a", "X-Shopify-Topic", "b"}, ""},
		{true, []string{"X-Shopify-Topic", "a\tb\x1b[0m{env.HOME}é"}, "a?b?[0m{env.HOME}?"},
		{true, []string{"X-Shopify-Topic", strings.Repeat("é", 200)}, strings.Repeat("?", 64)},
		{true, nil, ""},
		{false, []string{"X-Shopify-Topic", "orders/paid"}, ""},
	} {
		signature := sign("n9Wd4kTq2", body)
		if !tc.signed {
			signature = sign("other", body)
		}
		a := serve(t, hook("X-Hub", signature, tc.headers...), accepting, g.handlers...)
		if got := a.placeholder("event"); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.headers, got, tc.want)
		}
	}
}

// TestASignedMethodOrTopicSwallowsNothing: genuine deliveries with the same body and
// id, signed with another method, header or key, are forwarded; copies are not.
func TestASignedMethodOrTopicSwallowsNothing(t *testing.T) {
	const id = `"delivery_id":{"json":"id"}`
	hubspot := func(r *http.Request, value string) {
		const events = `[{"eventId":5}]`
		at := fmt.Sprint(clock.UnixMilli())
		mac, _ := hex.DecodeString(sign("n9Wd4kTq2", value+"http://hooks.example.com/hooks/x"+events+at))
		r.Method, r.Body = value, io.NopCloser(strings.NewReader(events))
		r.Header.Set("X-HubSpot-Request-Timestamp", at)
		r.Header.Set("X-HubSpot-Signature-v3", base64.StdEncoding.EncodeToString(mac))
	}
	for name, tc := range map[string]struct {
		config string
		sign   func(r *http.Request, value string)
	}{
		"method": {acme(topsecret, id, `"methods":["POST","PUT","DELETE"],"message":"{method}.{url}.{body}"`), func(r *http.Request, value string) {
			r.Method = value
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", value+".http://hooks.example.com/hooks/x."+body))
		}},
		"header": {acme(topsecret, id, `"message":"{header:X-Topic}.{body}"`), func(r *http.Request, value string) {
			r.Header.Set("X-Topic", value)
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", value+"."+body))
		}},
		"header, key content": {acme(topsecret, `"dedupe":{"key":"content"}`, `"message":"{header:X-Topic}.{body}"`), func(r *http.Request, value string) {
			r.Header.Set("X-Topic", value)
			r.Header.Set("X-Signature", sign("n9Wd4kTq2", value+"."+body))
		}},
		"kv": {acme(topsecret, id, `"signature":{"header":"X-Signature","syntax":"kv","key":"v1"},"message":"{kv:env}.{body}"`), func(r *http.Request, value string) {
			r.Header.Set("X-Signature", "v1="+sign("n9Wd4kTq2", value+"."+body)+",env="+value)
		}},
		"hubspot":              {`{"provider":"hubspot","secret":["n9Wd4kTq2"]}`, hubspot},
		"hubspot, key content": {`{"provider":"hubspot","secret":["n9Wd4kTq2"],"dedupe":{"key":"content"}}`, hubspot},
	} {
		t.Run(name, func(t *testing.T) {
			g := running(t, "", tc.config)
			for i, value := range []string{"POST", "DELETE", "POST", "DELETE", "PUT"} {
				r := hook("X-Other", "1")
				tc.sign(r, value)
				o := g.send(r, answering(200))
				if want := i < 2 || value == "PUT"; (o.forward != nil) != want || o.err != nil {
					t.Errorf("%d, %s: forwarded %t, %v", i, value, o.forward != nil, o.err)
				}
			}
		})
	}
}
