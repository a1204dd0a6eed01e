package main

import (
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
)

// A known difference between our verdict and an SDK's: one of names, of one of
// sdks (all, if there are none), where the SDK says expect.
type knownDifference struct {
	names  []string
	expect string
	sdks   []string
	why    string
}

// difference says why our verdict is not the SDK's, "" if nobody has found out yet.
func difference(s *subject, d *differential.Delivery) string {
	err := d.Judge(s.provider)
	if d.Expect == differential.Genuine && err != nil && strings.Contains(err.Error(), foreign) {
		return otherFormat
	}
	for _, k := range known {
		if slices.Contains(k.names, d.Name) && k.expect == d.Expect && (len(k.sdks) == 0 || slices.Contains(k.sdks, s.sdk)) {
			return k.why
		}
	}
	if d.Expect == differential.Genuine && err != nil && strings.Contains(err.Error(), ambiguous) {
		return movable
	}
	if len(d.Bytes()) == 0 && d.Expect == differential.Refused && slices.Contains(emptyRefusers, s.sdk) {
		return "the SDK calls an empty body a missing argument; its signature is right"
	}
	return ""
}

// ambiguous is part of our words for a body that could belong to the URL before it.
const ambiguous = "the end of the URL"

// foreign is part of our words for a text that is none of the sender's bodies.
const foreign = "but it is no delivery"

const otherFormat = "the text is neither JSON nor XML, as all bodies of the sender are: its key signs other texts too, which are no deliveries"

// movable is said of texts that were drawn, and that no sender posts.
const movable = "the URL and what follows are signed without a boundary; a body or first name that could be the end of the URL is refused here"

var emptyRefusers = []string{
	"@octokit/webhooks-methods", "@sanity/webhook", "@shopify/shopify-api", "replicate", "github.com/PagerDuty/go-pagerduty",
}

// untimed are the SDKs that do not look at a delivery's time at all.
var untimed = []string{
	"@dropbox/sign", "@hygraph/utils", "@sanity/webhook", "@sendgrid/eventwebhook", "@sinch/sdk-client", "@zoom/rivet", "cashfree-pg", "discord-interactions", "filestack-js", "imagekit", "pusher",
	"replicate", "webflow-api", "github.com/buildkite/go-buildkite/v4", "github.com/bwmarrin/discordgo", "github.com/mailgun/mailgun-go/v4", "github.com/sendgrid/sendgrid-go",
}

// Where we refuse what the SDK accepts.
var stricter = []knownDifference{
	{
		names: []string{
			"signature header twice, the same", "signature header twice, the first wrong", "signature header twice, the second wrong",
			"time header twice, the same", "id header twice, the same",
		},
		why: "a header with one value is one line: of two lines the app may read the other one",
	},
	{
		names: []string{"a zero before the time", "a plus before the time", "a fraction behind the time", "letters behind the time"},
		why:   "the SDK reads a number and signs its own text of it; here one instant has one text, and the text that was sent is signed",
	},
	{names: []string{"a second too old", "four days old"}, sdks: untimed, why: "the SDK does not look at the time; the catalogue's tolerance bounds replays"},
	{names: []string{"a second too far ahead"}, why: "the SDK bounds the age alone, or nothing; the tolerance here holds both ways"},
	{
		names: []string{"the time twice, the second another", "the time twice, the first another"},
		why:   "the SDK takes one of the two; a time given twice is malformed here",
	},
	{
		names: []string{"signature too long"},
		sdks:  []string{"@adyen/api-library", "@gohighlevel/api-client", "@line/bot-sdk", "@sendgrid/eventwebhook", "box-node-sdk", "chargebee", "messagebird", "openai"},
		why:   "JavaScript's decoder of base64 drops what follows the padding; a signature has one length here",
	},
	{
		names: []string{"the signature under an unknown key", "the signature under an unknown version", "the signature without a version"},
		sdks:  []string{"@liveblocks/node", "@workos-inc/node", "openai", "replicate", "github.com/buildkite/go-buildkite/v4", "github.com/openai/openai-go/v3"},
		why:   "the SDK does not ask what the signature is called; here only the scheme's own name counts",
	},
	{
		names: []string{"a space after the body", "a line break before the body"},
		sdks:  []string{"@zoom/rivet", "crisp-api", "smartcar"},
		why:   "the SDK parses the body and signs its own writing of it; here the bytes that were sent are signed",
	},
	{
		names: []string{"a weight that lost its fraction on the way"}, sdks: []string{"@easypost/api"},
		why: "the SDK puts .0 back behind a weight that a JSON parser shortened (EasyPost/easypost-node issue 467); the bytes that EasyPost sends have it",
	},
	{
		names: []string{"signed by the decoded bytes of a whsec_ secret"}, sdks: []string{"@polar-sh/sdk"},
		why: "the SDK tries a secret as text and as base64; Polar signs with the text",
	},
	{
		names: []string{"signed by the text of a secret without whsec_"},
		sdks:  []string{"openai", "github.com/openai/openai-go/v3"},
		why:   "the SDK takes a secret without whsec_ for the key's bytes, we for their base64; OpenAI's secrets have whsec_",
	},
	{
		names: []string{"the payload without its last line break"}, sdks: []string{"braintree"},
		why: "the SDK tries the payload with a line break behind it, for frameworks that trim fields; the body here is as it was sent",
	},
	{
		names: []string{"a secret beyond ASCII"}, sdks: []string{"braintree", "standardwebhooks"},
		why: "the SDK reads the secret as Latin-1; secrets are UTF-8 here, and the vendors' are ASCII",
	},
	{
		names: []string{"genuine 11: no body"}, sdks: []string{"@sinch/sdk-client"},
		why: "for a request without body the SDK signs no MD5; Sinch's callbacks have one",
	},
	{
		names: []string{"genuine 11: no body"}, sdks: []string{"@hygraph/utils"},
		why: "for a request without body the SDK signs no member Body; Hygraph's deliveries have one",
	},
	{
		names: []string{"signature empty"}, sdks: []string{"@moderation-api/sdk"},
		why: "the SDK verifies nothing if the signature's header is empty, so anybody can forge a delivery; here it is refused",
	},
	{
		names: []string{"signed with escapes that the URL lacks"}, sdks: []string{"twilio"},
		why: "the SDK also tries the URL as JavaScript's URL class writes it, with %27 for an apostrophe; here its query is as received or as encodeURIComponent writes it",
	},
	{
		names: []string{"a second too old"}, sdks: []string{"messagebird"},
		why: "the SDK gives the token's exp five seconds more",
	},
	{
		names: []string{"a second too old"}, sdks: []string{"livekit-server-sdk"},
		why: "the SDK looks at the token's exp alone; the catalogue's tolerance bounds replays",
	},
	{
		names: []string{"signature in the other base64 alphabet"}, sdks: []string{"livekit-server-sdk", "messagebird"},
		why: "the SDK decodes either alphabet; a JSON Web Signature is in base64url (RFC 7515) and read so here",
	},
}

// Where we accept what the SDK refuses.
var laxer = []knownDifference{
	{names: []string{"signature in capitals"}, why: "the SDK compares text; hex is decoded here and the bytes compared"},
	{
		names: []string{"signature without padding", "signature in the other base64 alphabet"},
		why:   "the SDK compares text or requires padded standard base64; either alphabet is decoded here, padded or not, and the bytes compared",
	},
	{
		names: []string{"a wrong signature beside the right one, before it", "a wrong signature beside the right one, behind it"},
		sdks:  []string{"@elevenlabs/elevenlabs-js", "@paddle/paddle-node-sdk", "@sanity/webhook", "@workos-inc/node", "hook0-client", "imagekit", "mercadopago", "retell-sdk", "github.com/buildkite/go-buildkite/v4"},
		why:   "the SDK reads one signature; here any may match, as while a sender changes its secret",
	},
	{
		names: []string{"an unknown key behind the others"}, sdks: []string{"@sanity/webhook", "retell-sdk", "github.com/buildkite/go-buildkite/v4"},
		why: "the SDK requires the header to the letter; a key that a sender adds later is skipped here",
	},
	{
		names: []string{"a space behind the separator"},
		why:   "the SDK allows no space between pairs; it is skipped here",
	},
	{
		names: []string{"as old as is allowed", "as far ahead as is allowed"}, sdks: []string{"@linear/sdk", "@paddle/paddle-node-sdk"},
		why: "the SDK's tolerance is narrower than the span of the retries or an ordinary clock's error; here it is wider, and dedupe keeps off what is sent again",
	},
	{
		names: []string{"as old as is allowed"}, sdks: []string{"@contentful/node-apps-toolkit"},
		why: "the SDK's 300 s end before their last second",
	},
	{
		names: []string{"as old as is allowed"}, sdks: []string{"messagebird"},
		why: "the SDK allows 100 s, or what the token says; a retry keeps its first time, so the tolerance here spans the retries",
	},
	{
		names: []string{"a space in the query, written as +"}, sdks: []string{"messagebird"},
		why: "the SDK decodes and re-encodes the query, a space as %20 (its counterpart in Go as +); here the query is signed as it was received",
	},
	{
		names: []string{"another method"}, sdks: []string{"plivo"},
		why: "the SDK knows GET and POST alone; the method is not signed, and methods says here which are let in",
	},
	{
		names: []string{"as far ahead as is allowed"}, sdks: []string{"box-node-sdk"},
		why: "the SDK refuses any time ahead of its clock; clocks may differ by the tolerance here",
	},
	{
		names: []string{"signed under another public key"}, sdks: []string{"braintree"},
		why: "the SDK picks its own public key's signature first; here any may match, and only the private key makes one that does",
	},
	{
		names: []string{"a secret without whsec_"}, sdks: []string{"openai", "github.com/openai/openai-go/v3"},
		why: "the SDK takes a secret without whsec_ for the key's bytes, we for their base64; OpenAI's secrets have whsec_",
	},
	{
		names: []string{"genuine 12: no body"}, sdks: []string{"@hygraph/utils"},
		why: "for a request without body the SDK signs no member Body; Hygraph's deliveries have one",
	},
	{
		names: []string{"genuine 12: no body"}, sdks: []string{"@sinch/sdk-client"},
		why: "for a request without body the SDK signs no MD5; Sinch's callbacks have one",
	},
}

var known = func() []knownDifference {
	for i := range stricter {
		stricter[i].expect = differential.Genuine
	}
	for i := range laxer {
		laxer[i].expect = differential.Refused
	}
	return slices.Concat(stricter, laxer)
}()
