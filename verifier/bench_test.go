package verifier

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
	"time"
)

// The body of every benchmark: 1 KiB.
var benchBody = []byte(`{"id":"evt_1","data":"` + strings.Repeat("x", 1024-24) + `"}`)

var benchNow = time.Unix(1614265330, 0)

func mustVerifier(tb testing.TB, s Scheme, keys ...Key) *Verifier {
	tb.Helper()
	v, err := New(s, keys)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func benchSchemes(tb testing.TB) map[string]struct {
	v       *Verifier
	req     *Request
	content string // precedes the body in the signed content
} {
	tb.Helper()
	bare := mustVerifier(tb, Scheme{Signature: &Signature{Header: StringList{"X-Signature"}}}, Key{Text: "secret"})
	stripe := mustVerifier(tb, Scheme{
		Signature: &Signature{Header: StringList{"Stripe-Signature"}, Syntax: "kv", Key: StringList{"v1"}},
		Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"}, DeliveryID: &DeliveryID{JSON: "id"},
	}, Key{Text: "secret"})
	standard := mustVerifier(tb, Scheme{
		SecretEncoding: "base64", SecretPrefix: "whsec_",
		Signature: &Signature{Header: StringList{"webhook-signature"}, Syntax: "list", Encoding: "base64",
			Accept: map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519}},
		Message: StringList{"{id}.{timestamp}.{body}"}, Timestamp: &Timestamp{Header: StringList{"webhook-timestamp"}},
		DeliveryID: &DeliveryID{Header: StringList{"webhook-id"}},
	}, Key{Text: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	out := make(map[string]struct {
		v       *Verifier
		req     *Request
		content string
	})
	for name, s := range map[string]struct {
		v       *Verifier
		content string
	}{"body": {bare, ""}, "stripe": {stripe, "1614265330."}, "standard_webhooks": {standard, "msg_1.1614265330."}} {
		req := &Request{Method: "POST"}
		if err := s.v.Sign(req, "msg_1", benchNow, benchBody); err != nil {
			tb.Fatal(err)
		}
		if name == "standard_webhooks" { // the genuine candidate is the last of three
			h := req.Header["Webhook-Signature"]
			h[0] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= " + h[0]
		}
		out[name] = struct {
			v       *Verifier
			req     *Request
			content string
		}{s.v, req, s.content}
	}
	return out
}

// BenchmarkVerify compares Verify with a bare HMAC-SHA256 over the same bytes with a
// reused hash: the lower bound for any verifier.
func BenchmarkVerify(b *testing.B) {
	for _, name := range []string{"body", "stripe", "standard_webhooks"} {
		s := benchSchemes(b)[name]
		b.Run(name+"/bare", func(b *testing.B) {
			content := append([]byte(s.content), benchBody...)
			h := hmac.New(sha256.New, []byte("secret"))
			sum := make([]byte, 0, 32)
			b.ReportAllocs()
			for b.Loop() {
				h.Reset()
				h.Write(content)
				sum = h.Sum(sum[:0])
			}
		})
		b.Run(name+"/verify", func(b *testing.B) {
			check, _, err := s.v.Open(s.req, benchNow)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := check.Verify(benchBody); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen measures the work before the body is read.
func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{"body", "stripe", "standard_webhooks"} {
		s := benchSchemes(b)[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.v.Open(s.req, benchNow); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
