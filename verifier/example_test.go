package verifier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// GitHub's documentation has these values for testing an implementation:
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func Example() {
	scheme := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Hub-Signature-256"}, Prefix: "sha256="}}
	v, err := verifier.New(scheme, []verifier.Key{{Text: "It's a Secret to Everybody"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := &verifier.Request{Method: "POST", Header: map[string][]string{
		"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
	}}
	_, err = v.Judge(req, []byte("Hello, World!"), time.Now())
	fmt.Println(err)
	_, err = v.Judge(req, []byte("Hello, world!"), time.Now())
	fmt.Println(err)
	// Output:
	// <nil>
	// signature_mismatch: no key matches the signature
}

// stripe signs as Stripe does: a timestamp and signatures in one header.
var stripe = verifier.Scheme{
	Signature:  &verifier.Signature{Header: verifier.StringList{"Stripe-Signature"}, Syntax: "kv", Key: verifier.StringList{"v1"}},
	Message:    verifier.StringList{"{timestamp}.{body}"},
	Timestamp:  &verifier.Timestamp{KV: "t"},
	DeliveryID: &verifier.DeliveryID{JSON: "id"},
}

// stripeEvent is what stripe-go's GenerateTestSignedPayload makes with the secret
// whsec_test_secret at the time 1492774577.
var (
	stripeEvent = []byte(`{"id":"evt_test_webhook","object":"event"}`)
	stripeTime  = time.Unix(1492774577, 0)
)

func stripeRequest() *verifier.Request {
	return &verifier.Request{Method: "POST", Header: map[string][]string{
		"Stripe-Signature": {"t=1492774577,v1=88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a"},
	}}
}

// A scheme with a timestamp and an id in the body.
func ExampleVerifier_Judge() {
	v, err := verifier.New(stripe, []verifier.Key{{Text: "whsec_test_secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := v.Judge(stripeRequest(), stripeEvent, stripeTime.Add(time.Minute))
	fmt.Println(j.ID, j.Verdict.Timestamp.UTC(), err)
	// Output: evt_test_webhook 2017-04-21 11:36:17 +0000 UTC <nil>
}

// A server that reads the body only if the headers are acceptable.
func ExampleVerifier_Open() {
	v, err := verifier.New(stripe, []verifier.Key{{Text: "whsec_test_secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	check, answer, err := v.Open(stripeRequest(), stripeTime)
	if err != nil || answer != nil {
		fmt.Println("not a delivery:", answer, err)
		return
	}
	body := stripeEvent // read here
	verdict, answer, err := check.Verify(body)
	if err != nil || answer != nil {
		fmt.Println("not a delivery:", answer, err)
		return
	}
	id, signed := check.DeliveryID(body)
	fmt.Println(verdict.Key, id, signed)
	// Output: 1 evt_test_webhook true
}

// During a rotation both secrets are accepted. The verdict names the one that
// matched.
func ExampleNew_rotation() {
	v, err := verifier.New(stripe, []verifier.Key{
		{Label: "new", Text: "whsec_the_next_one"},
		{Label: "old", Text: "whsec_test_secret"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := v.Judge(stripeRequest(), stripeEvent, stripeTime)
	fmt.Println(j.Verdict.Key, err)
	// Output: old <nil>
}

// A provider's scheme with a public key: Standard Webhooks with the key pair of
// Svix's README.
func ExampleNew_publicKey() {
	p, err := providers.Get("standard_webhooks")
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := verifier.New(p.Scheme, []verifier.Key{{Kind: verifier.PublicKey, Text: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="}})
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := v.Judge(&verifier.Request{Method: "POST", Header: map[string][]string{
		"Webhook-Id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
		"Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
	}}, []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0))
	fmt.Println(j.ID, err)
	// Output: msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
}

// Schemes are data: this is how provider files write them.
func ExampleScheme() {
	var scheme verifier.Scheme
	err := json.Unmarshal([]byte(`{
		"signature": {"header": "Stripe-Signature", "syntax": "kv", "key": "v1"},
		"message": "{timestamp}.{body}",
		"timestamp": {"kv": "t"}
	}`), &scheme)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := verifier.New(scheme, []verifier.Key{{Text: "whsec_test_secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = v.Judge(stripeRequest(), stripeEvent, stripeTime)
	fmt.Println(err)
	// Output: <nil>
}

// Compile reports errors of a scheme, not the first delivery.
func ExampleCompile() {
	_, err := verifier.Compile(verifier.Scheme{
		Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}},
		Message:   verifier.StringList{"{timestamp}"},
		Timestamp: &verifier.Timestamp{Header: verifier.StringList{"X-Time"}},
	})
	var wrong *verifier.SchemeError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Field)
	}
	// Output: message
}

// Compiled rules say what a signature proves. An attacker who captured a delivery can
// change the rest and resend it.
func ExampleRules() {
	rules, err := verifier.Compile(stripe)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("id:", rules.SignsID())
	fmt.Println("body:", rules.SignsContent())
	fmt.Println("path:", rules.SignsPath())
	fmt.Println("User-Agent:", rules.SignsHeader("User-Agent"))
	// Output:
	// id: true
	// body: true
	// path: false
	// User-Agent: false
}

// New reports an unusable key without quoting it.
func ExampleKeyError() {
	_, err := verifier.New(stripe, []verifier.Key{{Text: "whsec_test_secret"}, {Label: "next", Text: "whsec_"}})
	var bad *verifier.KeyError
	if errors.As(err, &bad) {
		fmt.Println(bad.Label+":", bad.Problem)
	}
	// Output: next: the secret is only a prefix: copy the whole secret
}

// Every refusal has one reason of a closed list.
func ExampleRejection() {
	v, err := verifier.New(stripe, []verifier.Key{{Text: "whsec_test_secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	reason := func(req *verifier.Request, body string, now time.Time) {
		_, err := v.Judge(req, []byte(body), now)
		var rejected *verifier.Rejection
		if errors.As(err, &rejected) {
			fmt.Println(rejected.Reason, rejected.Skew)
		}
	}
	reason(&verifier.Request{Method: "POST"}, string(stripeEvent), stripeTime)
	reason(stripeRequest(), "{}", stripeTime)
	reason(stripeRequest(), string(stripeEvent), stripeTime.Add(time.Hour))
	// Output:
	// missing_signature 0s
	// signature_mismatch 0s
	// stale_timestamp 1h0m0s
}

// Some senders first check the address. The request is from Meta's documentation:
// https://developers.facebook.com/docs/graph-api/webhooks/getting-started
func ExampleAnswer() {
	p, err := providers.Get("meta")
	if err != nil {
		fmt.Println(err)
		return
	}
	scheme := p.Scheme
	scheme.Params = map[string]string{"verify_token": "meatyhamhock"}
	scheme.Handshakes = p.Handshakes(scheme.Params)
	v, err := verifier.New(scheme, []verifier.Key{{Text: "the app's secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	j, err := v.Judge(&verifier.Request{
		Method: "GET", Target: "/hook?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=meatyhamhock",
	}, nil, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(j.Answer.Status, j.Answer.Body)
	// Output: 200 1158201444
}

// Sign makes deliveries for tests, and for apps behind a gateway.
func ExampleVerifier_Sign() {
	v, err := verifier.New(stripe, []verifier.Key{{Text: "whsec_test_secret"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := &verifier.Request{Method: "POST"}
	if err := v.Sign(req, "", stripeTime, stripeEvent); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(req.Header["Stripe-Signature"][0])
	// Output: t=1492774577,v1=88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a
}

// A saved delivery does not verify: an editor added a line break at its end. The
// signature is openssl's, over {"n":0}.
func ExampleExplain() {
	e, err := verifier.Explain(context.Background(), verifier.Case{
		Scheme: verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Signature"}}},
		Keys:   []verifier.Key{{Text: "topsecret"}},
		Request: &verifier.Request{Method: "POST", Header: map[string][]string{
			"X-Signature": {"099751b30562e19eb3fd13f10e0751d4aa5c145225b5095155da194d17e77bee"},
		}},
		Body: []byte("{\"n\":0}\n"),
		Now:  time.Now(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Reason)
	fmt.Println(e.Hint)
	// Output:
	// signature_mismatch
	// the sender signed the body without the line break at its end: something added it (an editor, echo, a proxy); verify the raw bytes, before anything parses or saves them
}
