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

// A greeting is a sender's request that is not a delivery.
type greeting struct {
	method, path, query string
	header              http.Header
	body                string
}

// greet sends a greeting and returns the response and what the app got of it.
func (g *gateway) greet(t testing.TB, protocol string, m greeting) (answer, []arrival) {
	t.Helper()
	id := newCase()
	target := "http://" + g.address + m.path + "?case=" + id
	if m.query != "" {
		target += "&" + m.query
	}
	r, err := http.NewRequestWithContext(t.Context(), m.method, target, strings.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	if m.header != nil {
		r.Header = m.header.Clone()
	}
	return g.do(t, g.client(protocol), r), g.app.got(id)
}

// handshakeProvider returns a provider for a Caddyfile: an id of the catalogue, or a
// file for one that is not in it.
func handshakeProvider(t testing.TB, id string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "verifier", "providers", "testdata", "handshake", id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		return id
	}
	return filepath.ToSlash(file)
}

const (
	metaToken = "meta-verify-token-5c90"
	xKey      = "x-consumer-secret-20d7"
	zoomKey   = "zoom-secret-token-11be"
)

func signedAsSlack(key, prefix, name, body string) http.Header {
	ts := strconv.FormatInt(time.Now().Unix(), 10)
	return http.Header{"Content-Type": {"application/json"}, name + "-Request-Timestamp": {ts},
		prefix + "-Signature": {"v0=" + hmacHex(key, "v0:"+ts+":"+body)}}
}

// TestHandshakes: senders get the expected response, and nobody else gets their text
// repeated.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	confide(xKey, zoomKey)
	var site strings.Builder
	site.WriteString("handle /hooks/* {\n")
	for id, more := range map[string]string{
		"woocommerce": "{env.X_KEY}", "bitbucket_server": "{env.X_KEY}", "mandrill": "{env.X_KEY}",
		"slack": "{env.SLACK_KEY}", "zoom": "{env.ZOOM_KEY}", "x_twitter": "{env.X_KEY}", "okta": "{env.X_KEY} {\n reject_status 401\n}", "ms_graph": "{env.X_KEY}",
		"meta": "{env.X_KEY} {\n param verify_token {env.META_TOKEN}\n}",
	} {
		site.WriteString("verify_webhook /hooks/" + id + " " + handshakeProvider(t, id) + " " + more + "\n")
	}
	site.WriteString("verify_webhook /hooks/off slack {env.SLACK_KEY} {\n name off\n handshake off\n}\n reverse_proxy APP\n}\n")
	g := start(t, setup{site: site.String(), env: append(keysInEnv(), "ZOOM_KEY="+zoomKey, "X_KEY="+xKey, "META_TOKEN="+metaToken)})

	const text, object = "text/plain; charset=utf-8", "application/json"
	slackBody := `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd","type":"url_verification"}`
	zoomBody := `{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680}`
	crc := "MGNlZjI0MzEtOGJjZi00ZmEyLWIyMmItYjE5YTRhMGY2MzUy"
	metaGet := func(challenge, token string) greeting {
		return greeting{method: "GET", path: "/hooks/meta", query: "hub.mode=subscribe&hub.challenge=" + challenge + "&hub.verify_token=" + token}
	}
	slackPost := func(key, body string) greeting {
		return greeting{method: "POST", path: "/hooks/slack", body: body, header: signedAsSlack(key, "X-Slack", "X-Slack", body)}
	}
	zoomPost := func(key, body string) greeting {
		return greeting{method: "POST", path: "/hooks/zoom", body: body, header: signedAsSlack(key, "X-Zm", "X-Zm", body)}
	}
	get := func(path, query string) greeting { return greeting{method: "GET", path: path, query: query} }
	oktaGet := func(value string) greeting {
		return greeting{method: "GET", path: "/hooks/okta", header: http.Header{"X-Okta-Verification-Challenge": {value}}}
	}
	graph := func(token string) greeting {
		return greeting{method: "POST", path: "/hooks/ms_graph", query: "validationToken=" + token}
	}
	form := func(path, body string, header ...string) greeting {
		m := greeting{method: "POST", path: path, body: body, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
		if len(header) > 0 {
			m.header.Set(header[0], header[1])
		}
		return m
	}
	xAnswer := base64.StdEncoding.EncodeToString(hmacBytes([]byte(xKey), crc))

	for name, tc := range map[string]struct {
		m           greeting
		status      int
		body        string
		contentType string
	}{
		"slack":                {slackPost(slackKey, slackBody), 200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd", text},
		"slack, unsigned":      {greeting{method: "POST", path: "/hooks/slack", body: slackBody}, 401, "", ""},
		"slack, other key":     {slackPost("other", slackBody), 401, "", ""},
		"slack, script":        {slackPost(slackKey, strings.Replace(slackBody, "3eZ", "<script>", 1)), 401, "", ""},
		"slack, 10 KiB":        {slackPost(slackKey, strings.Replace(slackBody, "3eZ", strings.Repeat("a", 10<<10), 1)), 401, "", ""},
		"zoom":                 {zoomPost(zoomKey, zoomBody), 200, `{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"` + opensslHex(t, zoomKey, []byte("qgg8vlvZRS6UYooatFL8Aw")) + `"}`, object},
		"zoom, unsigned":       {greeting{method: "POST", path: "/hooks/zoom", body: zoomBody}, 401, "", ""},
		"zoom, JSON":           {zoomPost(zoomKey, strings.Replace(zoomBody, "qgg8", `a\",\"b\":\"`, 1)), 401, "", ""},
		"meta":                 {metaGet("1158201444", metaToken), 200, "1158201444", text},
		"meta, wrong token":    {metaGet("1158201444", metaToken+"x"), 401, "", ""},
		"meta, no token":       {metaGet("1158201444", ""), 401, "", ""},
		"meta, token twice":    {metaGet("1158201444", metaToken+"&hub.verify_token="+metaToken), 401, "", ""},
		"meta, script":         {metaGet("%3Cscript%3Ealert(1)%3C/script%3E", metaToken), 401, "", ""},
		"meta, line break":     {metaGet("1%0d%0aSet-Cookie:%20a=b", metaToken), 401, "", ""},
		"meta, 10 KiB":         {metaGet(strings.Repeat("1", 10<<10), metaToken), 401, "", ""},
		"meta, no handshake":   {get("/hooks/meta", "hub.mode=list"), 405, "", ""},
		"meta, DELETE":         {greeting{method: "DELETE", path: "/hooks/meta"}, 405, "", ""},
		"meta, unsigned POST":  {greeting{method: "POST", path: "/hooks/meta", body: "{}"}, 401, "", ""},
		"x":                    {get("/hooks/x_twitter", "crc_token="+crc+"&nonce=abc"), 200, `{"response_token":"sha256=` + xAnswer + `"}`, object},
		"x, a body for token":  {get("/hooks/x_twitter", "crc_token=%7B%22for_user_id%22%3A%221%22%7D"), 401, "", ""},
		"x, a token for body":  {greeting{method: "POST", path: "/hooks/x_twitter", body: crc, header: http.Header{"X-Twitter-Webhooks-Signature": {"sha256=" + xAnswer}}}, 401, "", ""},
		"okta":                 {oktaGet("MzQ0YzY2NzItNDk4Yi00NDU5"), 200, `{"verification":"MzQ0YzY2NzItNDk4Yi00NDU5"}`, object},
		"okta, JSON":           {oktaGet(`a","b":"c`), 401, "", ""},
		"okta, 10 KiB":         {oktaGet(strings.Repeat("a", 10<<10)), 401, "", ""},
		"ms_graph":             {graph("Validation%3a+Testing+client+application+reachability+Request-Id%3a+522a8e7e"), 200, "Validation: Testing client application reachability Request-Id: 522a8e7e", text},
		"ms_graph, markup":     {graph("%3Cimg+src%3Dx+onerror%3Dalert(1)%3E"), 401, "", ""},
		"ms_graph, line break": {graph("a%0d%0a%0d%0ab"), 401, "", ""},
		"slack, ssl_check":     {form("/hooks/slack", "ssl_check=1&token=x"), 200, "", ""},
		"slack, a command":     {form("/hooks/slack", "command=%2Fa&token=x"), 401, "", ""},
		"ping, form":           {form("/hooks/woocommerce", "webhook_id=7"), 200, "", ""},
		"ping, forged":         {form("/hooks/woocommerce", "webhook_id=7", "X-WC-Webhook-Signature", base64.StdEncoding.EncodeToString(hmacBytes([]byte("other"), "webhook_id=7"))), 401, "", ""},
		"ping, header":         {greeting{method: "POST", path: "/hooks/bitbucket_server", body: `{"test": true}`, header: http.Header{"X-Event-Key": {"diagnostics:ping"}}}, 200, "", ""},
		"ping, other key":      {form("/hooks/mandrill", "mandrill_events=%5B%5D", "X-Mandrill-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 200, "", ""},
		"event, other key":     {form("/hooks/mandrill", "mandrill_events=%5B1%5D", "X-Mandrill-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 401, "", ""},
		"off, unsigned":        {greeting{method: "POST", path: "/hooks/off", body: slackBody}, 401, "", ""},
	} {
		for _, protocol := range protocols {
			what := name + ", " + protocol
			a, got := g.greet(t, protocol, tc.m)
			if a.status != tc.status || a.body != tc.body || a.header.Get("Content-Type") != tc.contentType || len(got) != 0 {
				t.Errorf("%s: answered %d %q %q, app called %d times; want %d %q %q, never", what, a.status, a.header.Get("Content-Type"), a.body, len(got), tc.status, tc.contentType, tc.body)
			}
			if tc.status == 200 && a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: header %v", what, a.header)
			}
			if a.header.Get("Set-Cookie") != "" || a.header.Get("Webhook-Delivery") != "" || a.header.Get("Webhook-Duplicate") != "" {
				t.Errorf("%s: header %v", what, a.header)
			}
		}
	}

	// With handshake off the app gets signed requests, and deliveries arrive as
	// usual.
	off := slackPost(slackKey, slackBody)
	off.path = "/hooks/off"
	a, got := g.greet(t, "HTTP/1.1", off)
	wantTaken(t, "handshake off", a, got)
	event := `{"type":"event_callback","event_id":"Ev1","text":"url_verification"}`
	a, got = g.greet(t, "HTTP/1.1", slackPost(slackKey, event))
	wantTaken(t, "an event", a, got)
	sample := `caddy_verify_webhook_requests_total{name="slack",outcome="handshake",reason=""}`
	if n := g.metric(t, sample); n != float64(2*len(protocols)) { // url_verification and ssl_check
		t.Errorf("%s %v, want %d", sample, n, 2*len(protocols))
	}
}
