package main

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// Alterations that one SDK alone gives cause to.

// integerWeight signs a body whose weight is written with ".0" and sends it
// without: the SDK puts that back before it verifies.
var integerWeight = alteration{"a weight that lost its fraction on the way", func(d *drawer, t *differential.Delivery) bool {
	t.SetBytes([]byte(`{"result":{"weight":17.0},"id":"evt_1"}`))
	if err := d.signOurselves(t); err != nil {
		return false
	}
	t.SetBytes([]byte(`{"result":{"weight":17},"id":"evt_1"}`))
	return true
}}

// decodedSecret signs with the bytes that whsec_ and base64 encode.
var decodedSecret = alteration{"signed by the decoded bytes of a whsec_ secret", func(d *drawer, t *differential.Delivery) bool {
	key := text(d.r, alphanumeric, 24)
	t.Secret = key
	if err := d.signOurselves(t); err != nil {
		return false
	}
	t.Secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	return true
}}

// bareSecret is a secret that does not begin with whsec_: plain bytes, or base64?
var bareSecret = alteration{"a secret without whsec_", func(_ *drawer, t *differential.Delivery) bool {
	t.Secret = strings.TrimPrefix(t.Secret, "whsec_")
	return true
}}

// plainSecret signs with the text of a secret that is also valid base64.
var plainSecret = alteration{"signed by the text of a secret without whsec_", func(d *drawer, t *differential.Delivery) bool {
	key := base64Secret(d.r)
	t.Secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	if err := d.signOurselves(t); err != nil {
		return false
	}
	t.Secret = key
	return true
}}

// beyondASCII is a secret that UTF-8 and Latin-1 write differently.
var beyondASCII = alteration{"a secret beyond ASCII", func(d *drawer, t *differential.Delivery) bool {
	t.Secret = "clé-" + t.Secret
	t.Headers["Draw"], t.Headers["Draw-Id"] = []string{"1"}, []string{"id"} // for Braintree's samples
	return d.signBySDK(t) == nil
}}

var otherPublicKey = alteration{"signed under another public key", func(_ *drawer, t *differential.Delivery) bool {
	t.Body = regexp.MustCompile(`bt_signature=[a-z0-9]+`).ReplaceAllString(t.Body, "bt_signature=other")
	return true
}}

var withoutNewline = alteration{"the payload without its last line break", func(_ *drawer, t *differential.Delivery) bool {
	form, err := url.ParseQuery(t.Body)
	if err != nil {
		return false
	}
	form.Set("bt_payload", strings.TrimRight(form.Get("bt_payload"), "\n"))
	t.Body = form.Encode()
	return true
}}

// adyenFields are members of the item that are signed.
var adyenFields = []alteration{
	bodyAlteration("another amount", func(_ *drawer, body []byte) []byte {
		return bytes.Replace(body, []byte(`"value":`), []byte(`"value":1`), 1)
	}),
	bodyAlteration("another event", func(_ *drawer, body []byte) []byte {
		return bytes.Replace(body, []byte("AUTHORISATION"), []byte("REFUND"), 1)
	}),
	bodyAlteration("a success that fails", func(_ *drawer, body []byte) []byte {
		return bytes.Replace(body, []byte(`"success":"true"`), []byte(`"success":"false"`), 1)
	}),
}

// spaceInQuery is a form-encoded query: the SDK re-encodes it, with %20.
var spaceInQuery = alteration{"a space in the query, written as +", func(d *drawer, t *differential.Delivery) bool {
	t.URL = "https://hooks.example.com/hooks/messagebird?reference=a+b"
	return d.signOurselves(t) == nil
}}

var twilioPorts = []alteration{
	{"signed with the standard port in the URL", func(_ *drawer, t *differential.Delivery) bool {
		sent := t.URL
		t.URL = strings.Replace(t.URL, "hooks.example.com", "hooks.example.com:443", 1)
		err := twilioSignsAll(t)
		t.URL = sent
		return err == nil
	}},
	{"signed without the port that the URL has", func(_ *drawer, t *differential.Delivery) bool {
		err := twilioSignsAll(t)
		t.URL = strings.Replace(t.URL, "hooks.example.com", "hooks.example.com:8443", 1)
		return err == nil
	}},
	{"signed with escapes that the URL lacks", func(_ *drawer, t *differential.Delivery) bool {
		if twilioDigest(t) {
			return false
		}
		t.URL = "https://hooks.example.com/hooks/twilio?who=O%27Brien"
		err := twilioSignsAll(t)
		t.URL = "https://hooks.example.com/hooks/twilio?who=O'Brien"
		return err == nil
	}},
	{"a form where the URL has a digest of JSON", func(_ *drawer, t *differential.Delivery) bool {
		if !twilioDigest(t) {
			return false
		}
		t.Body = "CallSid=CA1"
		return true
	}},
}

func twilioSignsAll(t *differential.Delivery) error {
	// A form with a repeated name would need the values of all its lines.
	if strings.Contains(t.Body, "Media=") {
		t.Body = "CallSid=CA1&From=%2B14155550100"
	}
	return twilioSigns(t, keyPair{})
}
