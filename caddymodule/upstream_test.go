package caddymodule

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	upstreamSecret = "whsec_3vXrT0mQ8KpLz5YdWn2cBfJ7hGsA9eUo"
	rotatedSecret  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	signUpstream   = `"sign_upstream":"` + upstreamSecret + `"`
)

// standardWebhooks is the signature of the specification, made without the code under
// test.
func standardWebhooks(t *testing.T, secret, id, timestamp, text string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "." + text))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// forging adds what a sender could set to look signed by the gateway.
func forging(r *http.Request) *http.Request {
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Webhook_id", "Webhook.signature"} {
		r.Header[name] = []string{"forged", "twice"}
	}
	return r
}

func TestSignUpstream(t *testing.T) {
	for name, tc := range map[string]struct{ more, id string }{
		"with a key":    {withID, "the key"},
		"without a key": {`"tolerance":"5m"`, "random"}, // equal bodies may be different deliveries
		"dedupe off":    {withID + `,"dedupe":{"off":true}`, "the key"},
	} {
		t.Run(name, func(t *testing.T) {
			g := mustProvision(t, "", timed(signUpstream, tc.more))
			a := serve(t, forging(post()), answering(500), g.handlers...) // not accepted: a copy is forwarded
			if a.err != nil {
				t.Fatal(a.err)
			}
			h := a.forward.Header
			for _, twin := range []string{"Webhook_id", "Webhook.signature"} {
				if h[twin] != nil {
					t.Errorf("the app gets %s: %q", twin, h[twin])
				}
			}
			id, timestamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
			if tc.id == "the key" && id != a.placeholder("delivery") || len(id) != 32 {
				t.Errorf("id %q, delivery %q", id, a.placeholder("delivery"))
			}
			if timestamp != strconv.FormatInt(clock.Unix(), 10) {
				t.Errorf("timestamp %q", timestamp)
			}
			for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
				if n := len(h[name]); n != 1 {
					t.Errorf("%s has %d lines", name, n)
				}
			}
			if got := h.Get("Webhook-Signature"); got != standardWebhooks(t, upstreamSecret, id, timestamp, body) {
				t.Errorf("signature %q does not verify", got)
			}
			if again := serve(t, post(), answering(500), g.handlers...); (again.forward.Header.Get("Webhook-Id") == id) != (tc.id == "the key") {
				t.Errorf("the ids of two copies: %q and %q", id, again.forward.Header.Get("Webhook-Id"))
			}
		})
	}
}

// TestNotSigned: an unverified request is never signed, and cannot arrive signed.
// Without sign_upstream the sender's headers are up to the app.
func TestNotSigned(t *testing.T) {
	g := mustProvision(t, "", timed(signUpstream, `"observe":true`))
	r := forging(post())
	r.Header.Set("X-Signature", sign("other", body))
	a := serve(t, r, accepting, g.handlers...)
	if a.err != nil || a.placeholder("verified") != "false" {
		t.Fatalf("%v", a.err)
	}
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if got := a.forward.Header.Values(name); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	a = serve(t, forging(post()), accepting, mustProvision(t, "", timed()).handlers...)
	if got := a.forward.Header.Values("Webhook-Id"); len(got) != 2 {
		t.Errorf("without sign_upstream the app gets %q", got)
	}
}

// TestSignUpstreamFile: the secret for the app rotates like the sender's, and is as
// necessary.
func TestSignUpstreamFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upstream")
	g := mustProvision(t, "", timed(`"sign_upstream":"{file.`+filepath.ToSlash(path)+`}"`))
	refresh := func() {
		t.Helper()
		look(t, g.handlers[0].keys)
	}
	signedWith := func(secret string) {
		t.Helper()
		a := serve(t, post(), accepting, g.handlers...)
		if a.err != nil {
			t.Fatal(a.err)
		}
		h := a.forward.Header
		if h.Get("Webhook-Signature") != standardWebhooks(t, secret, h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body) {
			t.Errorf("not signed with %s", secret)
		}
	}
	a := serve(t, post(), accepting, g.handlers...)
	if a.status != 503 || a.placeholder("reason") != "key_unavailable" || a.header.Get("Retry-After") == "" || a.forward != nil {
		t.Errorf("without the file: %v", a.err)
	}
	write(t, upstreamSecret+"\n", path)
	refresh()
	signedWith(upstreamSecret)
	write(t, rotatedSecret, path)
	refresh()
	signedWith(rotatedSecret)
	write(t, marker+"!", path)
	refresh()
	signedWith(rotatedSecret)
	write(t, "n9Wd4kTq2", path) // not base64 of any length, and the sender's
	refresh()
	signedWith(rotatedSecret)
	g.budgetsAreFree(t)
}

// TestSameSecret: however it is written, the app's secret is none of the sender's.
func TestSameSecret(t *testing.T) {
	bare := strings.TrimPrefix(upstreamSecret, "whsec_")
	for _, inbound := range []string{upstreamSecret, bare} {
		for _, ours := range []string{upstreamSecret, bare} {
			config := `{"provider":"standard_webhooks","secret":["` + inbound + `"],"sign_upstream":"` + ours + `"}`
			if _, err := provision(t, "", config); err == nil || !strings.Contains(err.Error(), "this secret is also one of the sender's") {
				t.Errorf("%s: %v", config, err)
			}
		}
	}
}

// TestSameKeyBytes: nor is it the sender's in another encoding, in which an answer to
// a handshake (the CRC of X) would be a signature for the app.
func TestSameKeyBytes(t *testing.T) {
	const text = "tw-consumer-secret-0123456789abcd"
	ours := "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
	padded := "whsec_" + base64.StdEncoding.EncodeToString([]byte(text+"\x00"))
	for _, config := range []string{
		`{"provider":"x_twitter","secret":["` + text + `"],"sign_upstream":"` + ours + `"}`,
		`{"provider":"x_twitter","secret":["another-secret-of-the-sender","` + text + `"],"sign_upstream":"` + padded + `"}`,
		acme(`"secret":["`+hex.EncodeToString([]byte(text))+`"],"secret_encoding":"hex"`, `"sign_upstream":"`+ours+`"`),
	} {
		if _, err := provision(t, "", config); err == nil || !strings.Contains(err.Error(), "this secret is also one of the sender's") {
			t.Errorf("%s: %v", config, err)
		}
	}
	g := mustProvision(t, "", `{"name":"a","provider":"github","secret":["a-secret-of-its-own"],"sign_upstream":"`+ours+`"}`, `{"name":"b","provider":"x_twitter","secret":["`+text+`"]}`)
	found := g.app.sharedSecrets()
	if len(found) != 1 || !strings.HasPrefix(found[0].Message, "sign_upstream is the secret of another handler's sender") {
		t.Errorf("over two handlers: %v", found)
	}
}

// TestJSONWithoutATypeReachesTheAppAsJSON: where only members are signed, an app must not
// read the body as anything else.
func TestJSONWithoutATypeReachesTheAppAsJSON(t *testing.T) {
	const body = ` {"token":"n9Wd4kTq2x7","x":"&a=2&"}`
	for name, c := range map[string]struct {
		config, sent string
		want         []string
	}{
		"a member":       {`{"provider":"aircall","secret":["n9Wd4kTq2x7"]}`, "", []string{"application/json"}},
		"of a type":      {`{"provider":"aircall","secret":["n9Wd4kTq2x7"]}`, "text/plain", []string{"text/plain"}},
		"the whole body": {acme(topsecret), "", nil},
	} {
		g := mustProvision(t, "", c.config)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", body))
		if c.sent != "" {
			r.Header.Set("Content-Type", c.sent)
		}
		a := serve(t, r, accepting, g.handlers...)
		if a.err != nil || a.forward == nil {
			t.Fatalf("%s: %d %v", name, a.status, a.err)
		}
		if got := a.forward.Header["Content-Type"]; !slices.Equal(got, c.want) {
			t.Errorf("%s: the app gets %q, want %q", name, got, c.want)
		}
	}
}

// TestSignedRoutingHeadersReachTheApp: what the signature covers is the sender's
// word. A twin of its name is not, nor is any of it where observe lets through
// what is not genuine.
func TestSignedRoutingHeadersReachTheApp(t *testing.T) {
	for observed, want := range map[bool][]string{false: {"/signed"}, true: nil} {
		g := mustProvision(t, "", acme(topsecret, `"observe":true,"message":"{header:X-Original-Url}.{body}"`))
		r := post()
		r.Header.Set("X-Original-Url", "/signed")
		r.Header["X_original_url"] = []string{"/forged"}
		r.Header.Set("X-Rewrite-Url", "/forged")
		r.Header["Script_name"], r.Header["Path-Info"] = []string{"/forged"}, []string{"/forged"} // gunicorn
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", "/signed."+body))
		if observed {
			r.Header.Set("X-Signature", sign("other", "/signed."+body))
		}
		a := serve(t, r, accepting, g.handlers...)
		if a.err != nil || a.forward == nil {
			t.Fatalf("%d %v", a.status, a.err)
		}
		h := a.forward.Header
		if got := h["X-Original-Url"]; !slices.Equal(got, want) || h["X_original_url"] != nil || h["X-Rewrite-Url"] != nil || h["Script_name"] != nil || h["Path-Info"] != nil {
			t.Errorf("observed %t: the app gets %v", observed, h)
		}
	}
}

// TestTwinsOfCheckedHeaders: a server that equates characters of names would read an
// unsigned twin of a header that was signed, or had to have a value.
func TestTwinsOfCheckedHeaders(t *testing.T) {
	g := mustProvision(t, "", acme(topsecret, `"require_header":[{"name":"Content-Type","values":"application/json"}],"message":"{header:X-Event}.{body}"`))
	r := post()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Event", "push")
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "push."+body))
	for _, twin := range []string{"Content!Type", "Content_Type", "X!Event", "x_event", "X~Signature"} {
		r.Header[twin] = []string{"ping"}
	}
	r.Header["X-Events"] = []string{"other"}
	a := serve(t, r, accepting, g.handlers...)
	if a.err != nil || a.forward == nil {
		t.Fatalf("%d %v", a.status, a.err)
	}
	if h := a.forward.Header; strings.Contains(fmt.Sprint(h), "ping") || h.Get("X-Event") != "push" || h.Get("Content-Type") != "application/json" || h.Get("X-Events") != "other" {
		t.Errorf("the app gets %v", h)
	}
}

// TestTwinsOfHeadersByWhichAnAppReads the body, the event or the tenant: what was verified
// under the name is not what the twin says.
func TestTwinsOfHeadersByWhichAnAppReads(t *testing.T) {
	source, _ := json.Marshal(map[string]any{"source": "file", "secret": []string{secretsOf(t, map[string]string{"acme": "9f31c0a2d47be58690f1c3a5d7e9b826"}) + "/{tenant}"}})
	g := mustProvision(t, "", `{"provider":"github","tenant":"{http.request.header.X-Account}","tenants":`+string(source)+"}")
	own := map[string]string{
		"Content-Type": "application/json", "Content-Encoding": "identity", "Content-Range": "bytes 0-1/2", "Content-Transfer-Encoding": "binary",
		"X-Github-Event": "push", "X-Account": "acme", "X-Hub-Signature-256": "sha256=" + sign("9f31c0a2d47be58690f1c3a5d7e9b826", body),
	}
	r := post()
	for name, value := range own {
		r.Header.Set(name, value)
	}
	for _, name := range []string{"Content!Type", "content_type", "Content!Length", "Content~Encoding", "Transfer!Encoding", "Content'Transfer-Encoding", "Content|Range", "X!Github-Event", "X!Account"} {
		r.Header[name] = []string{"twin"}
	}
	a := serve(t, r, accepting, g.handlers...)
	if a.err != nil || a.forward == nil {
		t.Fatalf("%d %v", a.status, a.err)
	}
	if h := a.forward.Header; strings.Contains(fmt.Sprint(h), "twin") || h.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("the app gets %v", h)
	}
	for name, value := range own {
		if got := a.forward.Header[name]; !slices.Equal(got, []string{value}) {
			t.Errorf("%s: the app gets %q, want %q", name, got, value)
		}
	}
}

// TestHostHeadersOfStrangers: only a trusted proxy says by which host an app was called.
func TestHostHeadersOfStrangers(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		g := mustProvision(t, "", acme(topsecret))
		r := post()
		for _, name := range []string{"Forwarded", "X-Original-Host", "X_host", "X-Forwarded-Server", "X-Http-Host-Override"} {
			r.Header[name] = []string{"host=other.example.com"}
		}
		r.Header.Set("X-Original-Method", "DELETE")
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", body))
		w := httptest.NewRecorder()
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
		caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, proxied)
		var got http.Header
		if err := g.handlers[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			got = r.Header
			return accepting(w, r)
		})); err != nil || got == nil {
			t.Fatal(err)
		}
		n := 0
		for name := range got {
			if strings.Contains(strings.ToLower(name), "host") || strings.HasPrefix(name, "Forwarded") || strings.HasSuffix(name, "-Server") {
				n++
			}
		}
		if want := map[bool]int{true: 5}[proxied]; n != want || got["X-Original-Method"] != nil {
			t.Errorf("by a trusted proxy: %t: the app gets %v", proxied, got)
		}
	}
}

// TestCompressedBodyWithoutAType: no app takes the bytes of a compressed body, which are
// not signed, for a form.
func TestCompressedBodyWithoutAType(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	g := mustProvision(t, "", acme(topsecret, `"body_decoded":true`))
	for kind, want := range map[string]string{"": "application/octet-stream", "application/json": "application/json"} {
		r := post()
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(packed.Bytes())), int64(packed.Len())
		r.Header.Set("X-Signature", sign("n9Wd4kTq2", body))
		if r.Header.Del("Content-Type"); kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		a := serve(t, r, answering(200), g.handlers...)
		if a.err != nil {
			t.Fatal(a.err)
		}
		if got := a.forward.Header["Content-Type"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%q becomes %q", kind, got)
		}
	}
}
