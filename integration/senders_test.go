package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A sender is someone who signs, and the lines that let a gateway verify it.
type sender struct {
	name   string // what Webhook-Verified says
	path   string
	config string // of its verify_webhook line and block, without the matcher
	key    string
	body   string
	timed  bool // the time of the attempt is signed
	tool   string
	sign   func(t testing.TB, key string, at time.Time, body []byte) http.Header
}

// message is a genuine delivery of the sender, made now, of an event of its own.
func (s sender) message(t testing.TB) message {
	m := s.deliver(t, s.key, time.Now(), fresh(s.body))
	if s.name == github.name {
		m.header.Set("X-Github-Delivery", newID()) // not signed
	}
	return m
}

var serial atomic.Int64

// newID is the id of another event.
func newID() string { return fmt.Sprintf("evt_%d", serial.Add(1)) }

// fresh makes a body that of another event: no two are copies of one delivery.
func fresh(body string) []byte {
	return []byte(strings.Replace(strings.Replace(body, "evt_1", newID(), 1), "token=x", "token="+newID(), 1))
}

// messageID is the id that a sender gives the event of a body.
func messageID(body []byte) string { return fmt.Sprintf("msg_%x", sha256.Sum256(body))[:16] }

func (s sender) deliver(t testing.TB, key string, at time.Time, body []byte) message {
	t.Helper()
	h := s.sign(t, key, at, body)
	for name, values := range h {
		if strings.Contains(strings.ToLower(name), "signature") || name == "X-Team" || name == "X-Shopify-Hmac-Sha256" {
			confideHeader(values...)
		}
	}
	return message{path: s.path, header: h, body: body}
}

// The keys of the tests. No log may ever show one.
const (
	aryeoKey     = "aryeo-key-7f2a90"
	aryeoTeam    = "aryeo-team-value-31c6"
	workspaceKey = "workspace-key-5d18"
	yapilyOldKey = "yapily-key-old-2Xc9"
	yapilyNewKey = "yapily-key-new-7Qm1"
	genericKey   = "generic-key-b3e4"
	stripeKey    = "whsec_stripe-key-90aa"
	githubKey    = "github-key-44d1"
	slackKey     = "slack-key-8f74"
	shopifyKey   = "shopify-key-0a1b"
	standardKey  = "whsec_4pXz9sQ1mVtL7cRy2HnKw0BjD5gFa8Ue"
	svixKey      = "whsec_m7Wd2KfXr9TqLz4Vy0HbN5cJgP8sAe8="
	edSeed       = "verify-webhook-integration-seed!" // 32 bytes
)

func init() {
	confide(aryeoKey, workspaceKey, yapilyOldKey, yapilyNewKey, genericKey, stripeKey, githubKey,
		slackKey, shopifyKey, standardKey, svixKey, edSeed)
	confideHeader(aryeoTeam)
}

const opensslTool = "openssl"

// A body as senders write it: spaces, escapes and a line break that a parser
// would not give back.
const jsonBody = "{\"id\" : \"evt_1\",\"note\":\"" + bodyMark + "\", \"name\":\"Ren\\u00e9e \",\"total\":12.50}\n"

var (
	aryeo = sender{name: "aryeo", path: "/hooks/aryeo", key: aryeoKey, body: jsonBody, tool: opensslTool,
		config: "aryeo {env.ARYEO_KEY} {\n require_header X-Team {env.ARYEO_TEAM} another-team\n}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"Signature": {opensslHex(t, key, body)}, "X-Team": {aryeoTeam}}
		}}
	workspace = sender{name: "x_signature", path: "/hooks/workspace", key: workspaceKey, body: jsonBody, tool: opensslTool,
		config: "x_signature {env.WORKSPACE_KEY}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"X-Signature": {opensslHex(t, key, body)}}
		}}
	yapily = sender{name: "yapily", path: "/hooks/yapily", key: yapilyOldKey, body: jsonBody, tool: opensslTool,
		config: "yapily {env.YAPILY_OLD_KEY} {env.YAPILY_NEW_KEY}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"Webhook-Signature": {opensslHex(t, key, body)}}
		}}
	generic = sender{name: "generic", path: "/hooks/generic", key: genericKey, body: jsonBody, tool: opensslTool,
		config: "{\n name generic\n secret {env.GENERIC_KEY}\n signature header X-Webhook-Signature\n delivery_id json id\n}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"X-Webhook-Signature": {opensslHex(t, key, body)}}
		}}
	stripe = sender{name: "stripe", path: "/hooks/stripe", key: stripeKey, body: jsonBody, timed: true,
		config: "stripe {env.STRIPE_KEY}",
		sign: func(t testing.TB, key string, at time.Time, body []byte) http.Header {
			ts := strconv.FormatInt(at.Unix(), 10)
			return http.Header{"Stripe-Signature": {"t=" + ts + ",v1=" + hmacHex(key, ts+"."+string(body))}}
		}}
	github = sender{name: "github", path: "/hooks/github", key: githubKey, body: jsonBody,
		config: "github {env.GITHUB_KEY}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"X-Hub-Signature-256": {"sha256=" + hmacHex(key, string(body))}}
		}}
	slack = sender{name: "slack", path: "/hooks/slack", key: slackKey, body: "token=x&text=" + bodyMark + "+%2Fdeploy", timed: true,
		config: "slack {env.SLACK_KEY}",
		sign: func(t testing.TB, key string, at time.Time, body []byte) http.Header {
			ts := strconv.FormatInt(at.Unix(), 10)
			return http.Header{"X-Slack-Request-Timestamp": {ts},
				"X-Slack-Signature": {"v0=" + hmacHex(key, "v0:"+ts+":"+string(body))}}
		}}
	shopify = sender{name: "shopify", path: "/hooks/shopify", key: shopifyKey, body: jsonBody,
		config: "shopify {env.SHOPIFY_KEY}",
		sign: func(t testing.TB, key string, _ time.Time, body []byte) http.Header {
			return http.Header{"X-Shopify-Hmac-Sha256": {base64.StdEncoding.EncodeToString(hmacBytes([]byte(key), string(body)))}}
		}}
	svix       = sender{name: "svix", path: "/hooks/svix", key: svixKey, body: jsonBody, timed: true, config: "svix {env.SVIX_KEY}", sign: standardHMAC("Svix")}
	svixAsSpec = sender{name: "svix", path: "/hooks/svix", key: svixKey, body: jsonBody, timed: true, sign: standardHMAC("Webhook")}
	standard   = sender{name: "standard_webhooks", path: "/hooks/standard", key: standardKey, body: jsonBody, timed: true,
		config: "standard_webhooks {env.STANDARD_KEY}", sign: standardHMAC("Webhook")}
	standardEd = sender{name: "standard-ed25519", path: "/hooks/standard-ed25519", key: edSeed, body: jsonBody, timed: true,
		config: "standard_webhooks {env.ED25519_KEY} {\n name standard-ed25519\n}",
		sign: func(t testing.TB, key string, at time.Time, body []byte) http.Header {
			ts := strconv.FormatInt(at.Unix(), 10)
			sum := ed25519.Sign(ed25519.NewKeyFromSeed([]byte(key)), []byte(messageID(body)+"."+ts+"."+string(body)))
			return http.Header{"Webhook-Id": {messageID(body)}, "Webhook-Timestamp": {ts},
				"Webhook-Signature": {"v1a," + base64.StdEncoding.EncodeToString(sum)}}
		}}
)

// keysInEnv are the variables that the configurations name. Keys written into a
// Caddyfile would appear in Caddy's own debug log, which prints configurations.
func keysInEnv() []string {
	return []string{
		"ARYEO_KEY=" + aryeoKey, "ARYEO_TEAM=" + aryeoTeam, "WORKSPACE_KEY=" + workspaceKey,
		"YAPILY_OLD_KEY=" + yapilyOldKey, "YAPILY_NEW_KEY=" + yapilyNewKey, "GENERIC_KEY=" + genericKey,
		"STRIPE_KEY=" + stripeKey, "GITHUB_KEY=" + githubKey, "SLACK_KEY=" + slackKey, "SHOPIFY_KEY=" + shopifyKey,
		"STANDARD_KEY=" + standardKey, "SVIX_KEY=" + svixKey, "ED25519_KEY=" + edPublicKey(),
	}
}

// senders are all that the shared gateway knows.
var senders = []sender{aryeo, workspace, yapily, generic, stripe, github, slack, shopify, svix, svixAsSpec, standard, standardEd}

// standardHMAC signs as Standard Webhooks v1 says, with headers of a prefix.
func standardHMAC(prefix string) func(testing.TB, string, time.Time, []byte) http.Header {
	return func(t testing.TB, key string, at time.Time, body []byte) http.Header {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
		if err != nil {
			t.Fatal(err)
		}
		ts := strconv.FormatInt(at.Unix(), 10)
		sum := hmacBytes(raw, messageID(body)+"."+ts+"."+string(body))
		return http.Header{prefix + "-Id": {messageID(body)}, prefix + "-Timestamp": {ts},
			prefix + "-Signature": {"v1," + base64.StdEncoding.EncodeToString(sum)}}
	}
}

// otherKey is a well-formed key of the sender's kind that the gateway does not know.
func (s sender) otherKey() string {
	switch s.key {
	case edSeed:
		return "another-integration-seed-of-32-b"
	case svixKey, standardKey:
		return "whsec_YW5vdGhlci1zdGFuZGFyZC1rZXktMDEyMzQ="
	}
	return s.key + "x"
}

func edPublicKey() string {
	public := ed25519.NewKeyFromSeed([]byte(edSeed)).Public().(ed25519.PublicKey)
	return "whpk_" + base64.StdEncoding.EncodeToString(public)
}

func hmacBytes(key []byte, content string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(content))
	return m.Sum(nil)
}

func hmacHex(key, content string) string { return hex.EncodeToString(hmacBytes([]byte(key), content)) }

// opensslHex signs with the openssl command, as the founding documents do.
func opensslHex(t testing.TB, key string, body []byte) string {
	t.Helper()
	needs(t, opensslTool)
	cmd := exec.Command(opensslTool, "dgst", "-sha256", "-hmac", key)
	cmd.Stdin = bytes.NewReader(body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl dgst: %v", err)
	}
	_, sum, ok := strings.Cut(strings.TrimSpace(string(out)), "= ") // SHA2-256(stdin)= 5257a8…
	if !ok || len(sum) != 64 {
		t.Fatalf("openssl dgst printed %q", out)
	}
	return sum
}
