package verifier

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fuzzSchemes are one scheme per syntax and encoding, all with the same key.
func fuzzSchemes(tb testing.TB) []*Verifier {
	accept := map[string]Algorithm{"v1": HMACSHA256, "v1a": Ed25519, "sha1": HMACSHA1, "sha512": HMACSHA512}
	var out []*Verifier
	for _, encoding := range []string{"hex", "base64", "base64url"} {
		for _, match := range []string{"any", "first_present", "all"} {
			for _, sig := range []Signature{
				{Syntax: "raw"},
				{Syntax: "raw", Prefix: "sha256=", PrefixOptional: true},
				{Syntax: "kv", Key: StringList{"v1", "v2"}},
				{Syntax: "list", Accept: accept},
				{Syntax: "positional", Names: []string{"t", "v1", "x"}, Key: StringList{"v1"}},
				{Syntax: "keyed_list"},
				{Syntax: "algorithm_prefix", Accept: accept},
			} {
				sig.Header, sig.Match, sig.Encoding = StringList{"X-A", "X-B"}, match, encoding
				s := Scheme{Signature: &sig, PublicKeyEncoding: "hex"}
				if sig.Syntax == "kv" || sig.Syntax == "positional" {
					s.Timestamp, s.Message = &Timestamp{KV: "t"}, StringList{"{timestamp}.{body}"}
				}
				keys := []Key{{Text: "a key that no fuzzer guesses: 5f0d7c1e"}}
				if len(sig.Accept) > 0 {
					keys = append(keys, Key{Text: edPublic2, Kind: PublicKey})
				}
				out = append(out, mustVerifier(tb, s, keys...))
			}
		}
	}
	return out
}

// FuzzSignatureHeader: for any signature headers, nothing panics, candidates are
// limited, and only a genuine signature is accepted.
func FuzzSignatureHeader(f *testing.F) {
	verifiers := fuzzSchemes(f)
	for i := range verifiers {
		for _, value := range []string{
			"", bodyHex, bodyBase64, bodyURL, "sha256=" + bodyHex, "sha1=" + bodyHex[:40], "sha512=" + body512Hex,
			"t=1760000000,v1=" + bodyHex + ",v0=x", "v1," + bodyBase64 + " v1a," + edSig2, "v1, v1a, v2,x",
			"1760000000," + bodyHex + ",x,y", "a|" + bodyHex + "&b|" + bodyBase64, ",=|& \t", "v1=" + strings.Repeat("0", 128),
			strings.Repeat("v1=00,", 40), strings.Repeat("v1,AA ", 40), "t=1,t=1", "=====", "\xff\x00",
		} {
			f.Add(uint8(i), value, value)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b string) {
		v := verifiers[int(which)%len(verifiers)]
		check, _, err := v.Open(post("X-A", a, "X-B", b), testNow)
		if err != nil {
			rejection(t, err)
			return
		}
		if check.count < 1 || check.count > maxCandidates || len(check.more) > maxCandidates {
			t.Fatalf("%d candidates", check.count)
		}
		verdict, _, err := check.Verify([]byte("a body that nobody signed"))
		if err == nil || verdict != (Verdict{}) {
			t.Fatalf("%q and %q verify", a, b)
		}
		if rej := rejection(t, err); rej.Reason != SignatureMismatch {
			t.Fatalf("got %v", rej)
		}
	})
}

// FuzzTemplate: what compiles can be filled from any request.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		"{body}", "{id}.{timestamp}.{body}", "v0:{timestamp}:{body}", `\{{body|sha256|hex}\}\n`, "{header:X-A|lower}{json:a[0].b|hex|base64}",
		"{form:x}{form_sorted}{query_sorted}{param:p}", "{url}{url_no_query}{uri}{path}{query}{host}{method}{secret}{body|md5|crc32}",
		"{param:p}{param:p}", "{header:Host}{body}", "é{body}\x00", "{json_pairs:a[0],c}", "{form_pairs:a}", "{json_is:a[0].b=1}{body|base64}{timestamp}", "{json_lines:a,b}",
	} {
		f.Add(text, "value {body} \\", []byte(`{"a":[{"b":1}]}`))
	}
	f.Fuzz(func(t *testing.T, text, value string, body []byte) {
		v, err := New(bare(func(s *Scheme) {
			s.Message, s.Params, s.BodyUnsigned = StringList{text}, map[string]string{"p": value}, true
			s.DeliveryID, s.Timestamp = &DeliveryID{Form: "a"}, &Timestamp{JSON: "a", Off: true}
		}), []Key{{Text: testKey}})
		if err != nil {
			return
		}
		req := post("X-Signature", wrongHex, "X-A", value)
		req.Target = value
		check, _, err := v.Open(req, testNow)
		if err != nil {
			rejection(t, err)
			return
		}
		if _, _, err := check.Verify(body); err == nil {
			t.Fatal("verifies")
		}
		check.DeliveryID(body)
	})
}

// FuzzTimestamp: a parsed unix time formats to the same text, any other form to the
// same instant; none outside the tolerance is fresh.
func FuzzTimestamp(f *testing.F) {
	for _, unit := range []string{"s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"} {
		for _, text := range []string{
			"1760000000", "1760000000000", "1760000000000000", "999999999999999999", "0", "-1", "+1", "01", "1.5", "1e9", "Infinity", "NaN", "",
			"2025-10-09T08:53:20Z", "2025-10-09T08:53:20+02:00", "2025-10-09T08:53:20.123456789", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
			"Thu, 09 Oct 2025 08:53:20 GMT",
		} {
			f.Add(unit, text)
		}
	}
	f.Fuzz(func(t *testing.T, unit, text string) {
		if !slices.Contains([]string{"s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"}, unit) {
			unit = "s"
		}
		at, err := parseTimestamp(text, unit)
		if err != nil {
			return
		}
		switch unit {
		case "s", "ms", "us":
			if got := formatTimestamp(at, unit); got != text {
				t.Fatalf("%q in %s is written as %q", text, unit, got)
			}
		default:
			if at.Year() > 0 && at.UTC().Year() > 0 && at.UTC().Year() < 10000 {
				if again, err := parseTimestamp(formatTimestamp(at, unit), unit); err != nil || !again.Equal(at.Truncate(time.Second)) {
					t.Fatalf("%q in %s: %v, %v", text, unit, again, err)
				}
			}
		}
		v := mustVerifier(t, timed(unit), Key{Text: testKey})
		_, _, err = v.Open(post("X-Time", text, "X-Signature", wrongHex), testNow)
		away := math.Abs(float64(at.Unix())-float64(testNow.Unix())) > DefaultTolerance.Seconds()+1
		if err == nil && away {
			t.Fatalf("%q in %s is fresh", text, unit)
		}
	})
}

// FuzzSignVerify: for random schemes, a delivery signed by Sign is accepted, but not
// after one bit of the body is flipped.
func FuzzSignVerify(f *testing.F) {
	for i := range uint32(64) {
		f.Add(i*0x9e3779b1, []byte(`{"id":"evt_1","a":[1,2]}`), "msg_1", "topsecret", uint16(i*7))
	}
	f.Add(uint32(0), []byte{}, "", "k", uint16(0))
	f.Add(uint32(1), []byte{0xff, 0}, "a.b", "\x00", uint16(3))
	f.Fuzz(func(t *testing.T, choice uint32, body []byte, id, secret string, bit uint16) {
		v, err := randomScheme(choice, secret)
		if err != nil {
			if _, ok := errors.AsType[*KeyError](err); !ok {
				t.Fatalf("scheme %#x: %v", choice, err)
			}
			return
		}
		req := post()
		req.Target = "/hooks/acme?v=2"
		if err := v.Sign(req, id, testNow, body); err != nil {
			return // the message needs an id that is missing or not allowed
		}
		check, _, err := v.Open(req, testNow)
		if err != nil {
			t.Fatalf("scheme %#x: %v (%q)", choice, err, req.Header)
		}
		if _, _, err := check.Verify(body); err != nil {
			t.Fatalf("scheme %#x: %v (%q)", choice, err, req.Header)
		}
		if len(body) == 0 {
			return
		}
		altered := bytes.Clone(body)
		altered[int(bit/8)%len(body)] ^= 1 << (bit % 8)
		check, _, err = v.Open(req, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := check.Verify(altered); err == nil {
			t.Fatalf("scheme %#x: an altered body passes", choice)
		}
	})
}

// privateKeys makes a key for each asymmetric algorithm, once, in hex of PKCS #8.
var privateKeys = sync.OnceValue(func() map[Algorithm]string {
	keys := make(map[Algorithm]string)
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	for a, f := range facts {
		var key any
		switch p := f.public.(type) {
		case ecdsaAlgorithm:
			key, _ = ecdsa.GenerateKey(p.curve, rand.Reader)
		case rsaAlgorithm:
			key = r
		case ed25519Algorithm:
			_, key, _ = ed25519.GenerateKey(rand.Reader)
		default:
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		keys[a] = hex.EncodeToString(der)
	}
	return keys
})

// randomScheme derives each part from some bits of choice.
func randomScheme(choice uint32, secret string) (*Verifier, error) {
	pick := func(n uint32) uint32 {
		got := choice % n
		choice = choice/n ^ choice<<27
		return got
	}
	s := bare(nil)
	sig, key := s.Signature, Key{Text: secret}
	algorithms := slices.DeleteFunc(slices.Clone(Algorithms), func(a Algorithm) bool { return a == Token })
	s.Algorithm = algorithms[pick(uint32(len(algorithms)))]
	s.PublicKeyEncoding = "hex"
	s.AllowWeak = true
	if s.Algorithm.asymmetric() {
		key = Key{Text: privateKeys()[s.Algorithm], Kind: PrivateKey}
	}
	sig.Syntax = []string{"raw", "kv", "list", "positional", "keyed_list", "algorithm_prefix"}[pick(6)]
	sig.Encoding = []string{"hex", "base64", "base64url", "base64-hex"}[pick(4)]
	if n := facts[s.Algorithm].size; n == 0 || n > maxSignature {
		sig.Encoding = "hex"
	}
	sig.Match = []string{"any", "first_present", "all"}[pick(3)]
	sig.Header = StringList{"X-Signature", "X-Second"}[:1+pick(2)]
	switch sig.Syntax {
	case "raw":
		sig.Prefix = []string{"", "sha256=", "é "}[pick(3)]
	case "kv":
		sig.Key = StringList{"v1"}
	case "positional":
		sig.Names, sig.Key = []string{"t", "v1"}, StringList{"v1"}
	case "list", "algorithm_prefix":
		sig.Accept = map[string]Algorithm{"v1": s.Algorithm, "old": HMACSHA1}
	}
	s.Message = StringList{[]string{
		"{body}", "{timestamp}.{body}", "{id}.{timestamp}.{body}", "{body}{timestamp}", "{timestamp}{body}", "{id}{timestamp}{body}",
		"{method}{url}{body}{timestamp}", "{body|sha256|hex}|{timestamp}", "{body}.{id}.{timestamp}", "v1:{timestamp}:{body}", "{secret}{body}",
	}[pick(11)]}
	if facts[s.Algorithm].plain {
		s.Message[0] = "{secret}{body}"
	}
	unit := []string{"s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"}[pick(6)]
	switch {
	case !strings.Contains(s.Message[0], "{timestamp}"):
	case sig.Syntax == "kv" && unit != "http_date", sig.Syntax == "positional" && unit != "http_date": // http_date contains a comma
		s.Timestamp = &Timestamp{KV: "t", Unit: unit}
	default:
		s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Unit: unit}
	}
	s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}}
	s.KeyDerivation = []string{"", "sha1", "sha256"}[pick(3)]
	return New(s, []Key{key})
}

// TestRandomSchemes: the generator of FuzzSignVerify covers what it should.
func TestRandomSchemes(t *testing.T) {
	seen := make(map[string]bool)
	for i := range uint32(4096) {
		v, err := randomScheme(i*0x9e3779b1, testKey)
		if err != nil {
			t.Fatal(err)
		}
		sig := v.signature
		for _, what := range []string{sig.Syntax, sig.Encoding, sig.Match, string(v.scheme.Algorithm), v.scheme.Message[0], v.timestamp.Unit} {
			seen[what] = true
		}
	}
	if len(seen) != 6+4+3+19+11+6+1 {
		t.Errorf("reaches %d: %q", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}
