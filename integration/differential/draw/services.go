package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// ofServices are npm's SDKs of media.mjs, payments.mjs and services.mjs.
var ofServices = []subject{
	{sdk: "@contentful/node-apps-toolkit", provider: "contentful", signs: true, body: anyText, secret: contentfulSecret, prepare: contentfulHeaders},
	{sdk: "@hygraph/utils", provider: "hygraph", signs: true, body: anyText, prepare: hygraphPairs},
	{sdk: "@imagekit/nodejs", provider: "imagekit", body: anyJSON},
	{sdk: "@kontent-ai/webhook-helper", provider: "kontent_ai", signs: true, body: anyText},
	{sdk: "@liveblocks/node", provider: "liveblocks", body: anyJSON, secret: whsecSecret, members: func(*rand.Rand, int64) []member {
		return []member{{"type", "roomCreated"}}
	}},
	{sdk: "cloudinary", provider: "cloudinary", body: anyText},
	{sdk: "filestack-js", provider: "filestack", body: anyText},
	{sdk: "imagekit", provider: "imagekit_legacy", body: anyJSON},
	{sdk: "livekit-server-sdk", provider: "livekit", body: anyJSON, prepare: livekitKey},

	{sdk: "@gr4vy/sdk", provider: "gr4vy", body: anyText},
	{sdk: "@onfido/api", provider: "onfido", body: anyJSON},
	{sdk: "@whop/sdk", provider: "whop", body: anyJSON},
	{sdk: "cashfree-pg", provider: "cashfree", body: anyJSON},
	{sdk: "dodopayments", provider: "dodo_payments", body: anyJSON, secret: whsecSecret},
	{sdk: "fedapay", provider: "fedapay", signs: true, body: anyJSON},
	{sdk: "mercadopago", provider: "mercadopago", body: anyJSON, prepare: mercadoPagoNotice},
	{sdk: "mollie-api-typescript", provider: "mollie", signs: true, body: anyText},
	{sdk: "onlinepayments-sdk-nodejs", provider: "worldline", body: anyBytes, prepare: func(r *rand.Rand, d *differential.Delivery) {
		d.Headers["X-GCS-KeyId"] = []string{text(r, "0123456789abcdef", 16)}
	}},
	{sdk: "opennode", provider: "opennode", draw: openNodeForm, craft: openNodeSigns, carried: `hashed_order=([0-9a-f]{64})`},

	{sdk: "@adyen/api-library", provider: "adyen_payments", secret: hexSecret, draw: adyenNotice, craft: adyenSigns, carried: `"hmacSignature":"([A-Za-z0-9+/]{43}=)"`, extra: adyenFields},
	{sdk: "@doist/todoist-sdk", provider: "todoist", body: anyBytes},
	{sdk: "@gohighlevel/api-client", provider: "highlevel", body: anyBytes, key: ed25519Base64},
	{sdk: "@linqapp/sdk", provider: "linq", body: anyJSON, secret: whsecSecret},
	{sdk: "@lovable.dev/webhooks-js", provider: "lovable", body: anyJSON},
	{sdk: "@moderation-api/sdk", provider: "moderation_api", body: anyJSON},
	{sdk: "@nangohq/node", provider: "nango", body: anyText},
	{sdk: "@signalwire/compatibility-api", provider: "signalwire", draw: twilioRepeated, craft: twilioSigns},
	{sdk: "@team-plain/typescript-sdk", provider: "plain", body: anyJSON, members: plainEvent},
	{sdk: "@zoom/rivet", provider: "zoom", body: canonical, members: func(*rand.Rand, int64) []member {
		return []member{{"event", "meeting.started"}, {"payload", []member{{"account_id", "abc"}}}}
	}},
	{sdk: "cronofy", provider: "cronofy", body: anyBytes},
	{sdk: "hook0-client", provider: "hook0", body: anyJSON, prepare: hook0Headers},
	{sdk: "messagebird", provider: "messagebird", body: anyBytes, prepare: statusReport, extra: []alteration{spaceInQuery}},
	{sdk: "messagebird", provider: "messagebird_jwt", body: anyBytes, prepare: randomURL},
	{sdk: "plivo", provider: "plivo_v3", secret: asciiSecret, draw: plivoForm},
	{sdk: "viber-bot", provider: "viber", body: anyBytes},
}

func contentfulSecret(r *rand.Rand) string { return text(r, alphanumeric+"-_", 64) }

// contentfulHeaders lists the headers that Contentful signs.
func contentfulHeaders(r *rand.Rand, d *differential.Delivery) {
	randomURL(r, d)
	d.Headers["X-Contentful-Topic"] = []string{"ContentManagement.Entry.publish"}
	d.Headers["X-Contentful-Signed-Headers"] = []string{"x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic"}
}

func livekitKey(r *rand.Rand, d *differential.Delivery) {
	d.Params = map[string]string{"api_key": "API" + text(r, alphanumeric, 12)}
	d.Headers["Content-Type"] = []string{"application/webhook+json"}
}

// hygraphPairs names the environment, and the order that the SDK reads.
func hygraphPairs(_ *rand.Rand, d *differential.Delivery) {
	d.Headers["Gcms-Signature"] = []string{"sign=, env=main, t="}
}

func hmac256(key, content string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(content))
	return m.Sum(nil)
}

func mercadoPagoNotice(r *rand.Rand, d *differential.Delivery) {
	d.URL += "?data.id=" + text(r, "0123456789", 9) + "&type=payment"
	d.Headers["X-Request-Id"] = []string{text(r, "0123456789abcdef-", 36)}
	d.Headers["X-Signature"] = []string{fmt.Sprint("ts=", d.Now)}
}

func openNodeForm(r *rand.Rand, d *differential.Delivery) {
	d.Headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	d.Params = map[string]string{"id": text(r, "0123456789abcdef-", 36)}
	d.Body = "id=" + d.Params["id"] + "&status=paid&description=" + url.QueryEscape(sentence(r)) + "&hashed_order=SIGNATURE"
}

func openNodeSigns(d *differential.Delivery, _ keyPair) error {
	sign(d, d.Params["id"])
	d.Params = nil
	return nil
}

// adyenNotice holds one item; merchants choose the reference, colons in it or not.
func adyenNotice(r *rand.Rand, d *differential.Delivery) {
	reference := []string{"order-1", "shop:order:1", `back\slash`, "Grüße 1"}[r.IntN(4)]
	d.Headers["Content-Type"] = []string{"application/json"}
	d.Params = map[string]string{"signed": fmt.Sprintf("psp%d::Acme:%s:%d:EUR:AUTHORISATION:true", d.Now, reference, d.Now%10000)}
	d.SetBytes(compact([]member{{"live", "false"}, {"notificationItems", [][]member{{{"NotificationRequestItem", []member{
		{"additionalData", []member{{"hmacSignature", "SIGNATURE"}}},
		{"amount", []member{{"currency", "EUR"}, {"value", d.Now % 10000}}},
		{"eventCode", "AUTHORISATION"},
		{"merchantAccountCode", "Acme"},
		{"merchantReference", reference},
		{"originalReference", ""},
		{"pspReference", fmt.Sprint("psp", d.Now)},
		{"reason", sentence(r)},
		{"success", "true"},
	}}}}}}))
}

func adyenSigns(d *differential.Delivery, _ keyPair) error {
	key, err := hex.DecodeString(d.Secret)
	if err != nil {
		return err
	}
	signature := base64.StdEncoding.EncodeToString(hmac256(string(key), d.Params["signed"]))
	d.Body = strings.Replace(d.Body, "SIGNATURE", signature, 1)
	d.Params = nil
	return nil
}

// plainEvent holds what the SDK's JSON Schema asks for.
func plainEvent(r *rand.Rand, now int64) []member {
	id := func(kind string) string { return kind + "_" + text(r, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 26) }
	at := time.Unix(now, 0).UTC().Format("2006-01-02T15:04:05.000Z")
	actor := []member{{"actorType", "system"}, {"system", "plain"}}
	return []member{
		{"timestamp", at}, {"workspaceId", id("w")}, {"id", id("pEv")}, {"type", "customer.customer_deleted"},
		{"payload", []member{{"eventType", "customer.customer_deleted"}, {"previousCustomer", []member{
			{"id", id("c")}, {"fullName", sentence(r)}, {"shortName", nil}, {"externalId", nil},
			{"email", []member{{"email", "someone@example.com"}, {"isVerified", false}, {"verifiedAt", nil}}},
			{"customerGroupMemberships", []string{}},
			{"createdAt", at}, {"createdBy", actor}, {"updatedAt", at}, {"updatedBy", actor},
		}}}},
		{"webhookMetadata", []member{
			{"webhookTargetId", id("whTarget")}, {"webhookTargetVersion", "2026-02-27"}, {"webhookDeliveryAttemptId", id("whAttempt")},
			{"webhookDeliveryAttemptNumber", 1}, {"webhookDeliveryAttemptTimestamp", at},
		}},
	}
}

func statusReport(r *rand.Rand, d *differential.Delivery) {
	if r.IntN(2) == 0 {
		d.URL += "?status=delivered&id=" + text(r, "0123456789abcdef", 12) + "&reference=%C3%A9%2B"
	}
}

func hook0Headers(r *rand.Rand, d *differential.Delivery) {
	d.Headers["X-Event-Id"] = []string{text(r, "0123456789abcdef-", 36)}
	d.Headers["X-Event-Type"] = []string{"billing.invoice.paid"}
}

// plivoForm repeats names, and asks for the parameters of the URL too.
func plivoForm(r *rand.Rand, d *differential.Delivery) {
	d.URL = "https://hooks.example.com/hooks/" + text(r, alphanumeric, 6)
	if r.IntN(2) == 0 {
		d.URL += "?b=2&a=1"
	}
	d.Headers["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	d.Headers["X-Plivo-Signature-V3-Nonce"] = []string{text(r, "0123456789", 20)}
	form := url.Values{"CallUUID": {text(r, "0123456789abcdef-", 36)}, "From": {"+14155550100"}}
	for range r.IntN(4) {
		form.Add(text(r, alphanumeric, 3), sentence(r))
	}
	if r.IntN(3) == 0 {
		form["Media"] = []string{"b", "a"}
	}
	d.Body = form.Encode()
}
