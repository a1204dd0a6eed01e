package verifier

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestSign: Verify accepts what Sign makes, in every syntax, and nothing altered.
// Fixed values show that Sign writes what senders write.
func TestSign(t *testing.T) {
	secret := Key{Text: testKey}
	private := Key{Text: edSeed2, Kind: PrivateKey}
	accept := map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519}
	for _, tc := range []struct {
		what   string
		scheme Scheme
		key    Key
		want   map[string]string // headers, made with openssl
	}{
		{"raw", Scheme{Signature: &Signature{}}, secret,
			map[string]string{"X-Signature": bodyHex}},
		{"raw with prefix, base64", Scheme{Signature: &Signature{Prefix: "sha256=", Encoding: "base64"}}, secret,
			map[string]string{"X-Signature": "sha256=" + bodyBase64}},
		{"raw, base64url", Scheme{Signature: &Signature{Encoding: "base64url"}}, secret,
			map[string]string{"X-Signature": bodyURL}},
		{"kv", Scheme{Signature: &Signature{Syntax: "kv", Key: StringList{"v1", "v2"}}}, secret,
			map[string]string{"X-Signature": "v1=" + bodyHex}},
		{"kv with a timestamp", Scheme{
			Signature: &Signature{Syntax: "kv", Key: StringList{"v1"}},
			Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "t"},
		}, secret, map[string]string{"X-Signature": "t=1760000000,v1=" + timedMAC}},
		{"positional", Scheme{
			Signature: &Signature{Syntax: "positional", Names: []string{"at", "sig"}, Key: StringList{"sig"}, PairSeparator: ";"},
			Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{KV: "at"},
		}, secret, map[string]string{"X-Signature": "1760000000;" + timedMAC}},
		{"list", Scheme{Signature: &Signature{Syntax: "list", Accept: accept}}, secret,
			map[string]string{"X-Signature": "v1," + bodyHex}},
		{"list, private key", Scheme{PublicKeyEncoding: "hex", Signature: &Signature{Syntax: "list", Accept: accept}}, private, nil},
		{"ed25519", Scheme{Algorithm: Ed25519, PublicKeyEncoding: "hex", Signature: &Signature{}}, private, nil},
		{"keyed_list", Scheme{Signature: &Signature{Syntax: "keyed_list"}}, Key{Label: "pub", Text: testKey},
			map[string]string{"X-Signature": "pub|" + bodyHex}},
		{"keyed_list with its key", Scheme{Signature: &Signature{Syntax: "keyed_list", Key: StringList{"k"}}}, secret,
			map[string]string{"X-Signature": "k|" + bodyHex}},
		{"algorithm_prefix", Scheme{Signature: &Signature{Syntax: "algorithm_prefix", Accept: map[string]Algorithm{"sha512": HMACSHA512, "sha256": HMACSHA256}}}, secret,
			map[string]string{"X-Signature": "sha256=" + bodyHex}},
		{"everything in headers", Scheme{
			Signature: &Signature{Header: StringList{"X-Signature", "X-Second"}, Match: "all"},
			Message:   StringList{"{timestamp}.{body}"}, Timestamp: &Timestamp{Header: StringList{"x-time", "x-other"}},
			DeliveryID:    &DeliveryID{Header: StringList{"x-id"}},
			RequireHeader: []RequiredHeader{{Name: "x-team", Values: StringList{"blue", "green"}}},
		}, secret, map[string]string{"X-Signature": timedMAC, "X-Second": timedMAC, "X-Time": "1760000000", "X-Id": "id-1", "X-Team": "blue"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			if len(tc.scheme.Signature.Header) == 0 {
				tc.scheme.Signature.Header = StringList{"X-Signature"}
			}
			v := mustVerifier(t, tc.scheme, tc.key)
			req := post()
			if err := v.Sign(req, "id-1", testNow, []byte(testBody)); err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got := req.Header[name]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			expect(t, v, req, testBody, genuine)
			expect(t, v, req, testBody+"\n", SignatureMismatch)
			expect(t, v, req, strings.Replace(testBody, "0", "1", 1), SignatureMismatch)
			other := tc.key
			other.Text = flip(other.Text)
			expect(t, mustVerifier(t, tc.scheme, other), req, testBody, SignatureMismatch)
			for name := range maps.Clone(tc.want) {
				altered := post()
				altered.Header = maps.Clone(req.Header)
				delete(altered.Header, name)
				if name != "X-Id" { // not signed here
					if got := judge(v, altered, testNow, testBody); got == genuine {
						t.Errorf("passes without %s", name)
					}
				}
			}
		})
	}
}

// TestSignKeepsSignedPairs: what is signed beside the signature comes from the caller,
// and nothing else of that header stays.
func TestSignKeepsSignedPairs(t *testing.T) {
	v := mustVerifier(t, Scheme{
		Signature: &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"sign"}},
		Message:   StringList{"{timestamp}.{kv:env}.{body}"}, Timestamp: &Timestamp{KV: "t"},
	}, Key{Text: testKey})
	mac := macOf(testKey, "1760000000.main."+testBody)
	for given, want := range map[string]string{
		"env=main":                              "env=main,t=1760000000,sign=" + mac,
		"sign=, env=main, t=":                   "sign=" + mac + ", env=main, t=1760000000",
		"t=1,sign=5a,env=main,sign=5b,x=1,junk": "t=1760000000,sign=" + mac + ",env=main",
	} {
		req := post("X-Signature", given)
		if err := v.Sign(req, "", testNow, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		if got := req.Header["X-Signature"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
		expect(t, v, req, testBody, genuine)
	}
	if err := v.Sign(post(), "", testNow, []byte(testBody)); err == nil || !strings.Contains(err.Error(), "no key env beside the signature") {
		t.Errorf("without the pair: %v", err)
	}
}

// TestSignUnits: in every unit of a timestamp.
func TestSignUnits(t *testing.T) {
	for unit, want := range map[string]string{
		"": "1760000000", "s": "1760000000", "ms": "1760000000000", "us": "1760000000000000",
		"rfc3339": "2025-10-09T08:53:20Z", "iso8601_utc": "2025-10-09T08:53:20", "http_date": "Thu, 09 Oct 2025 08:53:20 GMT",
	} {
		v := mustVerifier(t, timed(unit), Key{Text: testKey})
		req := new(Request) // even without a map of headers
		if err := v.Sign(req, "", testNow, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		if got := req.Header["X-Time"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", unit, got, want)
		}
		expect(t, v, req, testBody, genuine)
	}
}

func TestSignErrors(t *testing.T) {
	public := Key{Text: edPublic2, Kind: PublicKey}
	v := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm, s.PublicKeyEncoding = Ed25519, "hex" }), public)
	if err := v.Sign(post(), "", testNow, nil); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("public key: %v", err)
	}
	v = mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.DeliveryID = StringList{"{id}.{body}"}, &DeliveryID{Header: StringList{"X-Id"}}
	}), Key{Text: testKey})
	if err := v.Sign(post(), "", testNow, nil); err == nil {
		t.Error("signed without the id that the message needs")
	}
	if err := v.Sign(post(), "a.b", testNow, nil); err == nil {
		t.Error("signed an id that no receiver can take")
	}
}
