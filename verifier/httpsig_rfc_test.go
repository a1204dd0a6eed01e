package verifier

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// rfcCreated is when the examples of RFC 9421 Appendix B were signed.
var rfcCreated = time.Unix(1618884473, 0)

const (
	// RFC 9421 Appendix B.1.
	rfcSecret  = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
	rfcEd25519 = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
	rfcP256    = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ=="
	rfcRSA     = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB"

	rfcBody = `{"hello": "world"}`
)

// ofRFC9421 is the scheme with these components, changed by edit.
func ofRFC9421(edit func(*Scheme), components ...string) Scheme {
	s := Scheme{
		Signature:     &Signature{Header: StringList{"Signature"}, Syntax: "http_signature"},
		HTTPSignature: &HTTPSignature{Components: components},
	}
	if edit != nil {
		edit(&s)
	}
	return s
}

// rfcRequest is the test-request of Appendix B.2.
func rfcRequest(input, signature string) *Request {
	req := post("Date", "Tue, 20 Apr 2021 02:07:55 GMT", "Content-Type", "application/json", "Content-Length", "18",
		"Content-Digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
		"Signature-Input", input, "Signature", signature)
	req.Target, req.Host, req.TLS = "/foo?param=Value&Pet=dog", "example.com", true
	return req
}

// TestHTTPSignatureOfTheRFC: the requests of RFC 9421 Appendix B.2 and B.3 verify
// with the keys of B.1. Those that do not cover the digest verify only with
// body_unsigned.
func TestHTTPSignatureOfTheRFC(t *testing.T) {
	for _, tc := range []struct {
		section          string
		algorithm        Algorithm
		key              Key
		input, signature string
		components       StringList
	}{
		{"B.2.1", RSAPSSSHA512, Key{Text: rfcRSA, Kind: PublicKey},
			`sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"`,
			`sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:`,
			nil},
		{"B.2.2", RSAPSSSHA512, Key{Text: rfcRSA, Kind: PublicKey},
			`sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"`,
			`sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:`,
			StringList{"@authority", "content-digest", `@query-param;name="Pet"`}},
		{"B.2.3", RSAPSSSHA512, Key{Text: rfcRSA, Kind: PublicKey},
			`sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"`,
			`sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:`,
			StringList{"@method", "content-digest", "content-type", "date"}},
		{"B.2.5", HMACSHA256, Key{Text: rfcSecret},
			`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			`sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:`,
			StringList{"@authority"}},
		{"B.2.6", Ed25519, Key{Text: rfcEd25519, Kind: PublicKey},
			`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			`sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:`,
			StringList{"@method", "@path"}},
	} {
		t.Run(tc.section, func(t *testing.T) {
			covers := slices.Contains(tc.components, "content-digest")
			scheme := ofRFC9421(func(s *Scheme) {
				s.Algorithm, s.SecretEncoding, s.BodyUnsigned = tc.algorithm, "base64", !covers
				if len(tc.components) == 0 {
					s.HTTPSignature.Components = StringList{"@method"}
				}
			}, tc.components...)
			v := mustVerifier(t, scheme, tc.key)
			req := rfcRequest(tc.input, tc.signature)
			want := genuine
			if len(tc.components) == 0 { // a signature that covers nothing is never accepted
				want = string(MalformedSignature)
			}
			if got := judge(v, req, rfcCreated, rfcBody); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if covers {
				if got := judge(v, req, rfcCreated, rfcBody+" "); got != string(SignatureMismatch) {
					t.Errorf("another body: got %s", got)
				}
			}
			scheme.BodyUnsigned, scheme.HTTPSignature = false, nil
			if got := judge(mustVerifier(t, scheme, tc.key), req, rfcCreated, rfcBody); got != string(MalformedSignature) {
				t.Errorf("passes by the default components: %s", got)
			}
		})
	}
}

// TestHTTPSignatureTransformed: the changes in transit of Appendix B.4.
func TestHTTPSignatureTransformed(t *testing.T) {
	v := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Ed25519, true }, "@method", "@path", "@authority"),
		Key{Text: rfcEd25519, Kind: PublicKey})
	original := func() *Request {
		req := post("Date", "Fri, 15 Jul 2022 14:24:55 GMT", "Accept", "application/json", "Accept", "*/*",
			"Signature-Input", `transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"`,
			"Signature", `transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:`)
		req.Method, req.Host, req.Target, req.TLS = "GET", "example.org", "/demo?name1=Value1&Name2=value2", true
		return req
	}
	for what, tc := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"as sent":         {func(*Request) {}, genuine},
		"more":            {func(r *Request) { r.Target += "&param=added"; r.Header["Accept-Language"] = []string{"en"} }, genuine},
		"lines joined":    {func(r *Request) { r.Header["Accept"] = []string{"application/json, */*"} }, genuine},
		"default port":    {func(r *Request) { r.Host = "Example.ORG:443" }, genuine},
		"white space":     {func(r *Request) { r.Header["Accept"] = []string{" application/json\t", "*/* "} }, genuine},
		"another method":  {func(r *Request) { r.Method = "POST" }, string(SignatureMismatch)},
		"another host":    {func(r *Request) { r.Host = "example.com" }, string(SignatureMismatch)},
		"another port":    {func(r *Request) { r.Host = "example.org:80" }, string(SignatureMismatch)},
		"another path":    {func(r *Request) { r.Target = "/Demo" }, string(SignatureMismatch)},
		"lines exchanged": {func(r *Request) { slices.Reverse(r.Header["Accept"]) }, string(SignatureMismatch)},
		"a line less":     {func(r *Request) { r.Header["Accept"] = r.Header["Accept"][:1] }, string(SignatureMismatch)},
		"no such header":  {func(r *Request) { delete(r.Header, "Accept") }, string(MissingHeader)},
		"an end of line":  {func(r *Request) { r.Header["Accept"] = []string{"application/json\n*/*"} }, string(MalformedSignature)},
	} {
		req := original()
		tc.change(req)
		if got := judge(v, req, rfcCreated, ""); got != tc.want {
			t.Errorf("%s: got %s, want %s", what, got, tc.want)
		}
	}
}

// TestHTTPSignatureThroughProxy: Appendix B.3, where the app's server sees another
// authority than the sender, and public_url names the sender's.
func TestHTTPSignatureThroughProxy(t *testing.T) {
	const cert = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
	scheme := ofRFC9421(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = ECDSAP256SHA256Raw, true }, "@path", "@query", "client-cert")
	for publicURL, want := range map[string]string{"https://service.internal.example": genuine, "": string(SignatureMismatch)} {
		scheme.PublicURL = publicURL
		req := rfcRequest(`ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`,
			`ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:`)
		req.Header["Client-Cert"] = []string{cert}
		if got := judge(mustVerifier(t, scheme, Key{Text: rfcP256, Kind: PublicKey}), req, rfcCreated, rfcBody); got != want {
			t.Errorf("public_url %q: got %s, want %s", publicURL, got, want)
		}
	}
}

// TestHTTPSignatureOfOthers: random requests signed by another implementation verify,
// but not after a change of a body byte, a header or the target.
func TestHTTPSignatureOfOthers(t *testing.T) {
	text, err := os.ReadFile("testdata/http-message-signatures/signed.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Keys map[string]struct {
			Secret    string `json:"secret"`
			PublicKey string `json:"public_key"`
		} `json:"keys"`
		Requests []struct {
			Alg, Method, URL string
			Created          int64
			Headers          map[string]StringList
			Body             []byte
		} `json:"requests"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Requests) < 60 {
		t.Fatalf("only %d requests", len(file.Requests))
	}
	for i, r := range file.Requests {
		scheme := ofRFC9421(func(s *Scheme) { s.SecretEncoding = "base64" }, "content-digest")
		for algorithm, alg := range httpAlgorithms {
			if alg == r.Alg {
				scheme.Algorithm = algorithm
			}
		}
		key := Key{Text: file.Keys[r.Alg].Secret}
		if key.Text == "" {
			key = Key{Text: file.Keys[r.Alg].PublicKey, Kind: PublicKey}
		}
		v := mustVerifier(t, scheme, key)
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(r.Created, 0)
		request := func() *Request {
			req := post()
			req.Method, req.Host, req.Target, req.TLS = r.Method, u.Host, u.RequestURI(), u.Scheme == "https"
			for name, lines := range r.Headers {
				req.Header[canonicalHeader(name)] = slices.Clone(lines)
			}
			return req
		}
		if _, err := deliver(v, request(), now, string(r.Body)); err != nil {
			t.Errorf("request %d by %s: %v (%s)", i, r.Alg, err, r.Headers["Signature-Input"])
			continue
		}
		if got := judge(v, request(), now, string(r.Body)+"x"); got != string(SignatureMismatch) {
			t.Errorf("request %d, a longer body: got %s", i, got)
		}
		input := r.Headers["Signature-Input"][0]
		for name := range r.Headers {
			req := request()
			req.Header[canonicalHeader(name)][0] += " ;x=x"
			covered := strings.Contains(input, `"`+strings.ToLower(name)+`"`) || strings.HasPrefix(name, "Signature")
			if got := judge(v, req, now, string(r.Body)); (got == genuine) == covered {
				t.Errorf("request %d, another %s: got %s (%s)", i, name, got, input)
			}
		}
		req := request()
		req.Method += "X"
		if got := judge(v, req, now, string(r.Body)); (got == genuine) == strings.Contains(input, `"@method"`) {
			t.Errorf("request %d, another method: got %s (%s)", i, got, input)
		}
		req = request()
		req.Target = strings.Replace(req.Target, "/", "/x", 1)
		if got := judge(v, req, now, string(r.Body)); (got == genuine) == (strings.Contains(input, `"@path"`) || strings.Contains(input, `"@target-uri"`)) {
			t.Errorf("request %d, another path: got %s (%s)", i, got, input)
		}
	}
}

func base64MAC(key, content string) string {
	raw, _ := decodeString(macOf(key, content), encHex)
	return base64.StdEncoding.EncodeToString(raw)
}
