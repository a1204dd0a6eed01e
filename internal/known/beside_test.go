package known_test

import (
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/known"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// perAttempt are the signed headers that differ in each attempt, besides timestamp and
// id: retries are one delivery under any value.
var perAttempt = map[string][]string{
	"integrated_finance": {"X-Webhook-Key-Version", "X-Webhook-Request-Id"},
	"lark":               {"X-Lark-Request-Nonce"},
	"lob":                {"Lob-Signature-Timestamp"},
	"moov":               {"X-Nonce", "X-Timestamp"},
	"paypal":             {"Paypal-Transmission-Id"},
	"plivo_v2":           {"X-Plivo-Signature-V2-Nonce"},
	"plivo_v3":           {"X-Plivo-Signature-V3-Nonce"},
	"quicknode":          {"X-Qn-Nonce", "X-Qn-Timestamp"},
	"wechat_pay":         {"Wechatpay-Nonce"},
}

// TestWhatIsSignedBesideTheBodyCounts: in every preset, another signed method or header
// makes another delivery of the same body, unless a signed id identifies it alone; the
// next attempt does not.
func TestWhatIsSignedBesideTheBodyCounts(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	signed := make(map[string][]string) // what each preset signs
	for _, p := range all {
		var names []string
		for _, text := range p.Scheme.Messages() {
			parsed, err := template.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parsed {
				switch part.Slot {
				case template.Method:
					names = append(names, "method")
				case template.Header, template.SignedHeaders:
					names = append(names, part.Arg)
				}
			}
		}
		for _, name := range p.Scheme.SignedComponents() {
			switch {
			case name == "@method":
				names = append(names, "method")
			case name[0] != '@' && name != "content-digest":
				names = append(names, name)
			}
		}
		if len(names) == 0 || p.ID == "mercadopago" { // whose ts is no timestamp, so it cannot be signed here
			continue
		}
		slices.Sort(names)
		signed[p.ID] = slices.Compact(names)
		t.Run(p.ID, func(t *testing.T) { signsBeside(t, p, signed[p.ID]) })
	}
	for _, id := range []string{"contentful", "fal", "hubspot", "hubspot_v2", "integrated_finance", "keygen", "moov", "paypal", "plivo_v2", "plivo_v3", "qi_tech", "rfc9421", "sinch_app", "sinch_conversation", "truelayer"} {
		if signed[id] == nil {
			t.Errorf("%s was not tried", id)
		}
	}
}

func signsBeside(t *testing.T, p *providers.Provider, names []string) {
	v := signer(t, p)
	facts := known.Facts(p, rules(p), p.Methods)
	now := time.Unix(1760000000, 0)
	key := func(after time.Duration, edit func(*verifier.Request)) dedupe.Key {
		t.Helper()
		req := &verifier.Request{Method: "POST", Target: "/hooks/x", Host: "hooks.example.com", TLS: true, Header: map[string][]string{}}
		for _, name := range names {
			if canonical := textproto.CanonicalMIMEHeaderKey(name); canonical != "Method" {
				req.Header[canonical] = []string{"first"}
			}
		}
		if p.ID == "contentful" {
			req.Header["X-Contentful-Signed-Headers"] = []string{"x-contentful-signed-headers,x-contentful-timestamp"}
		}
		edit(req)
		at := now.Add(after)
		body := []byte(`{"id":"evt_1"}`)
		if p.ID == "plivo_v3" {
			body = []byte("a=1")
		}
		if err := v.Sign(req, "delivery-1", at, body); err != nil {
			t.Fatal(err)
		}
		check, _, err := v.Open(req, at)
		if err == nil {
			_, _, err = check.Verify(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		id, _ := check.DeliveryID(body)
		identity := dedupe.Identity{Content: true} // as with key content
		if facts.HasID && p.Scheme.DeliveryID.JSON == "" {
			identity = dedupe.Identity{ID: dedupe.IDWithBody}
		}
		key, ok := identity.Key("x", p.ID, dedupe.Delivery{ID: id, Content: check.Content(body)})
		if !ok {
			t.Fatal("nothing identifies the delivery")
		}
		return key
	}
	first := key(0, func(*verifier.Request) {})
	if key(time.Second, func(*verifier.Request) {}) != first {
		t.Error("a retry is another delivery")
	}
	var own []string // of what counts in its own way, or never
	if ts := p.Scheme.Timestamp; ts != nil {
		own = append(own, ts.Header...)
	}
	if id := p.Scheme.DeliveryID; id != nil {
		own = append(own, id.Header...)
	}
	for _, name := range names {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if p.ID == "contentful" && canonical != "Method" || slices.ContainsFunc(own, func(name string) bool { return strings.EqualFold(name, canonical) }) {
			continue
		}
		other := key(time.Second, func(r *verifier.Request) {
			if canonical == "Method" {
				r.Method = "DELETE"
				return
			}
			r.Header[canonical] = []string{"second"}
		})
		if same := other == first; same != slices.Contains(perAttempt[p.ID], canonical) {
			t.Errorf("%s: the same delivery under another value: %t", name, same)
		}
	}
}

// signer returns a verifier of the preset's message that can sign: where the sender has
// a key pair, with a secret instead.
func signer(t *testing.T, p *providers.Provider) *verifier.Verifier {
	t.Helper()
	s := p.Scheme
	s.Params = p.ExampleParams()
	if !p.UsesSecret() {
		s.Algorithm, s.PublicKeyEncoding, s.KeyID, s.KeySource = verifier.HMACSHA256, "", nil, nil
		signature := *s.Signature
		if len(signature.Accept) > 0 {
			name := "HS256"
			if signature.Syntax == "http_signature" {
				name = "hmac-sha256"
			}
			signature.Accept = map[string]verifier.Algorithm{name: verifier.HMACSHA256}
		}
		s.Signature = &signature
	}
	secret := p.ExampleSecret()
	if secret == "" {
		secret = "example"
	}
	v, err := verifier.New(s, []verifier.Key{{Text: secret}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
