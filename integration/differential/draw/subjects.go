package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// A subject is an SDK asked about one provider.
type subject struct {
	sdk, provider string
	signs         bool                                        // the SDK can sign
	body          bodies                                      // what it can be given
	secret        func(*rand.Rand) string                     // default: textSecret
	members       func(*rand.Rand, int64) []member            // that an event must have at a time
	prepare       func(*rand.Rand, *differential.Delivery)    // what must be there before it is signed
	craft         func(*differential.Delivery, keyPair) error // signs what verifier.Sign cannot
	draw          func(*rand.Rand, *differential.Delivery)    // the whole body, in place of the styles
	key           func(*rand.Rand) keyPair                    // of asymmetric schemes
	carried       string                                      // pattern of the signature, one group, where the body carries it
	extra         []alteration                                // beside those that follow from the scheme

	oracle *oracle
}

// golang reports whether the SDK is a Go module, whose path begins with a host.
func (s *subject) golang() bool {
	host, _, _ := strings.Cut(s.sdk, "/")
	return strings.Contains(host, ".") && !strings.HasPrefix(host, "@")
}

var subjects = slices.Concat(ofNPM, ofServices, ofGo)

var ofNPM = []subject{
	{sdk: "@adyen/api-library", provider: "adyen", signs: true, body: anyText, secret: hexSecret},
	{sdk: "@anthropic-ai/sdk", provider: "anthropic", body: anyJSON, secret: whsecSecret},
	{sdk: "@clerk/backend", provider: "clerk", body: anyJSON, secret: whsecSecret},
	{sdk: "@dropbox/sign", provider: "dropbox_sign", draw: dropboxSign, craft: dropboxSignSigns, carried: `event_hash%22%3A%22([0-9a-f]{64})`},
	{sdk: "@easypost/api", provider: "easypost", body: anyJSON, extra: []alteration{integerWeight}},
	{sdk: "@elevenlabs/elevenlabs-js", provider: "elevenlabs", body: anyJSON},
	{sdk: "@hubspot/api-client", provider: "hubspot", signs: true, body: anyText, prepare: randomURL},
	{sdk: "@hubspot/api-client", provider: "hubspot_v1", signs: true, body: anyText},
	{sdk: "@hubspot/api-client", provider: "hubspot_v2", signs: true, body: anyText, prepare: randomURL},
	{sdk: "@line/bot-sdk", provider: "line", body: anyBytes},
	{sdk: "@linear/sdk", provider: "linear", body: anyJSON, members: func(_ *rand.Rand, now int64) []member {
		return []member{{"webhookTimestamp", now * 1000}}
	}},
	{sdk: "@mux/mux-node", provider: "mux", body: anyText},
	{sdk: "@notionhq/client", provider: "notion", signs: true, body: anyBytes},
	{sdk: "@octokit/webhooks-methods", provider: "github", signs: true, body: anyText},
	{sdk: "@paddle/paddle-node-sdk", provider: "paddle", body: anyText},
	{sdk: "@polar-sh/sdk", provider: "polar", body: anyJSON, secret: polarSecret, members: func(r *rand.Rand, _ int64) []member {
		return []member{{"type", []string{"order.paid", "subscription.revoked"}[r.IntN(2)]}}
	}, extra: []alteration{decodedSecret}},
	{sdk: "@sanity/webhook", provider: "sanity", signs: true, body: anyText},
	{sdk: "@sendgrid/eventwebhook", provider: "sendgrid", body: anyText, key: ecdsaKey, craft: sendgridSigns},
	{sdk: "@shopify/shopify-api", provider: "shopify", body: anyText, prepare: shopifyHeaders},
	{sdk: "@sinch/sdk-client", provider: "sinch_app", signs: true, body: anyText, secret: base64Secret, prepare: sinchApp},
	{sdk: "@sinch/sdk-client", provider: "sinch_conversation", signs: true, body: anyText},
	{sdk: "@sinch/sdk-client", provider: "sinch_numbers", body: anyText},
	{sdk: "@slack/bolt", provider: "slack", body: anyText},
	{sdk: "@tryfinch/finch-api", provider: "finch", signs: true, body: anyText, secret: base64Secret},
	{sdk: "@workos-inc/node", provider: "workos", signs: true, body: anyText},
	{sdk: "acuityscheduling", provider: "acuity", body: anyText},
	{sdk: "box-node-sdk", provider: "box", body: anyText},
	{sdk: "braintree", provider: "braintree", signs: true, secret: asciiSecret, draw: braintreeBody, carried: `%7C([0-9a-f]{40})`, extra: []alteration{otherPublicKey, withoutNewline, beyondASCII}},
	{sdk: "chargebee", provider: "chargebee", body: anyText, secret: basicSecret},
	{sdk: "coinbase-commerce-node", provider: "coinbase_commerce", signs: true, body: anyJSON, members: func(r *rand.Rand, _ int64) []member {
		return []member{{"id", 1 + r.IntN(100)}, {"event", []member{{"id", text(r, alphanumeric, 12)}, {"type", "charge:created"}}}}
	}},
	{sdk: "crisp-api", provider: "crisp", body: canonical},
	{sdk: "discord-interactions", provider: "discord", body: anyBytes, key: ed25519Hex},
	{sdk: "fathom-typescript", provider: "fathom", body: anyJSON, secret: whsecSecret},
	{sdk: "gocardless-nodejs", provider: "gocardless", body: anyBytes},
	{sdk: "lithic", provider: "lithic", body: anyJSON, secret: whsecSecret},
	{sdk: "modern-treasury", provider: "modern_treasury", signs: true, body: anyText},
	{sdk: "openai", provider: "openai", body: anyText, secret: whsecSecret, extra: []alteration{bareSecret, plainSecret}},
	{sdk: "orb-billing", provider: "orb", signs: true, body: anyText},
	{sdk: "plivo", provider: "plivo_v2", body: anyText, secret: asciiSecret, prepare: plivoNonce},
	{sdk: "pusher", provider: "pusher", body: anyJSON, members: func(_ *rand.Rand, now int64) []member {
		return []member{{"time_ms", now * 1000}}
	}, prepare: pusherHeaders},
	{sdk: "razorpay", provider: "razorpay", body: anyText},
	{sdk: "replicate", provider: "replicate", body: anyText, secret: whsecSecret},
	{sdk: "resend", provider: "resend", body: anyJSON, secret: whsecSecret},
	{sdk: "retell-sdk", provider: "retell", signs: true, body: anyText},
	{sdk: "smartcar", provider: "smartcar", signs: true, body: canonical},
	{sdk: "square", provider: "square", body: anyText, prepare: randomURL},
	{sdk: "standardwebhooks", provider: "standard_webhooks", signs: true, body: anyJSON, secret: whsecSecret},
	{sdk: "standardwebhooks", provider: "polar", signs: true, body: anyJSON, secret: polarSecret},
	{sdk: "standardwebhooks", provider: "bigcommerce", signs: true, body: anyJSON, secret: asciiSecret, extra: []alteration{beyondASCII}},
	{sdk: "stream-chat", provider: "getstream", body: anyBytes},
	{sdk: "stripe", provider: "stripe", signs: true, body: anyText},
	{sdk: "svix", provider: "svix", signs: true, body: anyJSON, secret: whsecSecret},
	{sdk: "telnyx", provider: "telnyx", body: anyJSON, key: ed25519Base64},
	{sdk: "twilio", provider: "twilio", signs: true, draw: twilioRepeated, extra: twilioPorts},
	{sdk: "webflow-api", provider: "webflow", body: anyText},
}

var ofGo = []subject{
	{sdk: "code.gitea.io/sdk/gitea", provider: "gitea", body: anyBytes},
	{sdk: "github.com/PagerDuty/go-pagerduty", provider: "pagerduty", body: anyBytes},
	{sdk: "github.com/buildkite/go-buildkite/v4", provider: "buildkite", body: anyBytes},
	{sdk: "github.com/bwmarrin/discordgo", provider: "discord", body: anyBytes, key: ed25519Hex},
	{sdk: "github.com/google/go-github/v74", provider: "github", body: anyBytes},
	{sdk: "github.com/line/line-bot-sdk-go/v8", provider: "line", body: anyBytes},
	{sdk: "github.com/mailgun/mailgun-go/v4", provider: "mailgun", draw: mailgunBody, craft: mailgunSigns, carried: `"signature":"([0-9a-f]{64})"`},
	{sdk: "github.com/openai/openai-go/v3", provider: "openai", body: anyBytes, secret: whsecSecret, extra: []alteration{bareSecret, plainSecret}},
	{sdk: "github.com/sendgrid/sendgrid-go", provider: "sendgrid", body: anyBytes, key: ecdsaKey, craft: sendgridSigns},
	{sdk: "github.com/slack-go/slack", provider: "slack", body: anyBytes},
	{sdk: "github.com/standard-webhooks/standard-webhooks/libraries", provider: "standard_webhooks", signs: true, body: anyBytes, secret: whsecSecret},
	{sdk: "github.com/stripe/stripe-go/v82", provider: "stripe", signs: true, body: anyBytes},
	{sdk: "github.com/svix/svix-webhooks", provider: "svix", signs: true, body: anyBytes, secret: whsecSecret},
	{sdk: "github.com/twilio/twilio-go", provider: "twilio", draw: twilioSingle, craft: twilioSigns, extra: twilioPorts},
}

func polarSecret(r *rand.Rand) string { return "polar_whs_" + text(r, alphanumeric, 20) }

func randomURL(r *rand.Rand, d *differential.Delivery) {
	d.URL = "https://hooks.example.com/hooks/" + text(r, alphanumeric, 6)
	switch r.IntN(3) {
	case 0:
		d.URL += "?v=2&state=" + text(r, alphanumeric, 4)
	case 1:
		d.URL += "/a%20b?q=%C3%A9+x"
	}
}

func shopifyHeaders(r *rand.Rand, d *differential.Delivery) {
	d.Headers["X-Shopify-Topic"] = []string{"orders/create"}
	d.Headers["X-Shopify-Shop-Domain"] = []string{"shop.example.com"}
	d.Headers["X-Shopify-API-Version"] = []string{"2026-07"}
	d.Headers["X-Shopify-Webhook-Id"] = []string{text(r, alphanumeric, 20)}
}

func sinchApp(r *rand.Rand, d *differential.Delivery) {
	randomURL(r, d)
	d.URL, _, _ = strings.Cut(d.URL, "?")
	d.Headers["Content-Type"] = []string{"application/json; charset=utf-8"}
	d.Params = map[string]string{"app_key": text(r, alphanumeric+"-", 24)}
}

func plivoNonce(r *rand.Rand, d *differential.Delivery) {
	d.URL = "https://hooks.example.com/hooks/" + text(r, alphanumeric, 6)
	if r.IntN(2) == 0 {
		d.URL += "?v=2"
	}
	d.Headers["X-Plivo-Signature-V2-Nonce"] = []string{text(r, "0123456789", 20)}
}

func pusherHeaders(r *rand.Rand, d *differential.Delivery) {
	d.Headers["X-Pusher-Key"] = []string{text(r, alphanumeric, 12)}
	d.Headers["Content-Type"] = []string{"application/json"}
}

// braintreeBody leaves the choice of the sample to the SDK's side.
func braintreeBody(r *rand.Rand, d *differential.Delivery) {
	d.Params = map[string]string{"public_key": text(r, "abcdefghijklmnopqrstuvwxyz0123456789", 16)}
	d.Headers["Draw"] = []string{fmt.Sprint(r.IntN(1000))}
	d.Headers["Draw-Id"] = []string{text(r, alphanumeric, 8)}
}

// twilioSingle is a form without repeated names, or JSON with its digest in the URL.
func twilioSingle(r *rand.Rand, d *differential.Delivery) {
	randomURL(r, d)
	if r.IntN(3) == 0 {
		twilioJSON(r, d)
		return
	}
	d.Headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	form := url.Values{"CallSid": {"CA" + text(r, "0123456789abcdef", 32)}, "From": {"+14155550100"}}
	for range r.IntN(5) {
		form.Set(text(r, alphanumeric, 5), sentence(r))
	}
	if r.IntN(4) == 0 {
		form.Set("Empty", "")
	}
	d.Body = form.Encode()
}

func twilioJSON(r *rand.Rand, d *differential.Delivery) {
	d.Headers["Content-Type"] = []string{"application/json"}
	d.SetBytes(compact(event(r)))
	sum := sha256.Sum256(d.Bytes())
	separator := "?"
	if strings.Contains(d.URL, "?") {
		separator = "&"
	}
	d.URL += separator + "bodySHA256=" + hex.EncodeToString(sum[:])
}

// twilioRepeated repeats names, also with the same value.
func twilioRepeated(r *rand.Rand, d *differential.Delivery) {
	twilioSingle(r, d)
	if twilioDigest(d) || r.IntN(2) == 0 {
		return
	}
	d.Body += "&Media=b&Media=a&Media=b&" + url.QueryEscape("Médias[]") + "=" + url.QueryEscape(sentence(r))
}

func twilioDigest(d *differential.Delivery) bool { return strings.Contains(d.URL, "bodySHA256=") }

func twilioSigns(d *differential.Delivery, _ keyPair) error {
	content := d.URL
	if !twilioDigest(d) {
		form, err := url.ParseQuery(d.Body)
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(form) {
			content += name + form.Get(name)
		}
	}
	m := hmac.New(sha1.New, []byte(d.Secret))
	m.Write([]byte(content))
	d.Headers["X-Twilio-Signature"] = []string{base64.StdEncoding.EncodeToString(m.Sum(nil))}
	return nil
}

func mailgunBody(r *rand.Rand, d *differential.Delivery) {
	d.Headers["Content-Type"] = []string{"application/json"}
	d.SetBytes(compact([]member{
		{"signature", []member{{"timestamp", fmt.Sprint(d.Now)}, {"token", text(r, "0123456789abcdef", 50)}, {"signature", "SIGNATURE"}}},
		{"event-data", event(r)},
	}))
}

func mailgunSigns(d *differential.Delivery, _ keyPair) error {
	_, after, _ := strings.Cut(d.Body, `"token":"`)
	sign(d, fmt.Sprint(d.Now)+after[:50])
	return nil
}

func dropboxSign(r *rand.Rand, d *differential.Delivery) {
	kinds := []string{"signature_request_sent", "signature_request_viewed", "callback_test"}
	d.Headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	d.Params = map[string]string{"kind": kinds[r.IntN(len(kinds))]}
	d.Body = "json=" + url.QueryEscape(string(compact([]member{
		{"event", []member{{"event_type", d.Params["kind"]}, {"event_time", fmt.Sprint(d.Now)}, {"event_hash", "SIGNATURE"}}},
		{"account_guid", text(r, "0123456789abcdef", 40)},
		{"note", sentence(r)},
	})))
}

func dropboxSignSigns(d *differential.Delivery, _ keyPair) error {
	sign(d, fmt.Sprint(d.Now)+d.Params["kind"])
	d.Params = nil
	return nil
}

// sign puts the hex HMAC-SHA256 of content where the body waits for it.
func sign(d *differential.Delivery, content string) {
	m := hmac.New(sha256.New, []byte(d.Secret))
	m.Write([]byte(content))
	d.Body = strings.Replace(d.Body, "SIGNATURE", hex.EncodeToString(m.Sum(nil)), 1)
}
