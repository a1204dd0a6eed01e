package verifier

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestHTTPSignedIDIsOne: HTTP/2 passes on blanks around a value. The signature does
// not cover them, so they would turn an old delivery's id into a new one.
func TestHTTPSignedIDIsOne(t *testing.T) {
	scheme := ofRFC9421(func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}} }, "@method", "@target-uri", "content-digest", "x-id")
	v := mustVerifier(t, scheme, Key{Text: testKey})
	req := httpPost(signedLines+"\"x-id\": evt_1\n", `("@method" "@target-uri" "content-digest" "x-id");created=1760000000`)
	req.Header["X-Id"] = []string{"evt_1"}
	expect(t, v, req, testBody, genuine)
	for _, blanks := range []string{" evt_1", "evt_1 ", "\tevt_1", "evt_1\t "} {
		req.Header["X-Id"] = []string{blanks}
		expect(t, v, req, testBody, MalformedSignature)
	}
}

// TestHostIsNoPath: HTTP/2 allows a path in :authority. The boundary between host and
// path would be unsigned, and the path determines the route.
func TestHostIsNoPath(t *testing.T) {
	input := `("@method" "@target-uri" "content-digest");created=1760000000`
	rfc := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	hmac := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{url}\\n{body}"} }), Key{Text: testKey})
	host := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{host}{path}\\n{body}"} }), Key{Text: testKey})
	claim := mustVerifier(t, jwt(func(s *Scheme) { s.Claims["url"] = "{url|sha256|hex}" }), Key{Text: testKey})
	url := "http://hooks.example.com/hooks/acme"
	// openssl dgst -sha256 of url
	const digestOfURL = "205b798b61f048631e1a6cd4d18efd62cab6890b653c22fb8d6cbd581782781d"
	for _, tc := range []struct {
		v   *Verifier
		req *Request
	}{
		{rfc, httpPost(signedLines, input)},
		{hmac, post("X-Signature", macOf(testKey, url+"\n"+testBody))},
		{host, post("X-Signature", macOf(testKey, "hooks.example.com/hooks/acme\n"+testBody))},
		{claim, post("X-Signature", token(hs256, claimsOf(`"url":"`+digestOfURL+`",`)))},
	} {
		expect(t, tc.v, tc.req, testBody, genuine)
		tc.req.Host, tc.req.Target = "hooks.example.com/hooks", "/acme"
		expect(t, tc.v, tc.req, testBody, MalformedSignature)
	}
	behind := mustVerifier(t, ofRFC9421(func(s *Scheme) { s.PublicURL = "http://hooks.example.com" }), Key{Text: testKey})
	req := httpPost(signedLines, input)
	req.Host = "inside/x"
	expect(t, behind, req, testBody, genuine)
}

// TestHTTPSignatureWork: the cost of unsigned requests. Each of these once took up to
// 3 s and allocated many times its size.
func TestHTTPSignatureWork(t *testing.T) {
	const long = 500 << 10
	v := mustVerifier(t, ofRFC9421(nil), Key{Text: testKey})
	signatures := func(count int, list string, headers ...string) *Request {
		inputs, sums := make([]string, count), make([]string, count)
		for i := range count {
			inputs[i] = fmt.Sprintf("s%d=%s;created=1760000000", i, list)
			sums[i] = fmt.Sprintf("s%d=:%s:", i, bodyBase64)
		}
		return post(append(headers, "Signature-Input", strings.Join(inputs, ","), "Signature", strings.Join(sums, ","))...)
	}
	with := func(req *Request, change func(*Request)) *Request { change(req); return req }
	var digests strings.Builder
	for i := 0; digests.Len() < 15<<10; i++ {
		fmt.Fprintf(&digests, "a%d, ", i)
	}
	members := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"x";key="a%d"`, i)
		}
		return "(" + strings.Join(list, " ") + ")"
	}
	few := `("content-digest" "@query-param";name="x")`
	for what, req := range map[string]*Request{
		"a long header":          signatures(8, `("x")`, "X", strings.Repeat("x", long)),
		"many lines":             signatures(8, `("x")`, slices.Repeat([]string{"X", "abcde"}, long/10)...),
		"a long host":            with(signatures(8, `("@scheme" "@authority" "@target-uri")`), func(r *Request) { r.Host = strings.Repeat("x", long) }),
		"a long path":            with(signatures(8, `("@target-uri")`), func(r *Request) { r.Target = "/" + strings.Repeat("x", long) }),
		"a query of many":        with(signatures(8, `("@query-param";name="x")`), func(r *Request) { r.Target = "/?" + strings.Repeat("a&", long/2) }),
		"a query cut short":      with(signatures(8, `("@query-param";name="x")`), func(r *Request) { r.Target = "/?" + strings.Repeat("a&", long/2) + "%" }),
		"a digest of many kinds": signatures(8, few, "Content-Digest", digests.String()+"b"),
		"a long dictionary":      post("Signature", strings.Repeat(digests.String(), 4)+"b", "Signature-Input", strings.Repeat(digests.String(), 4)+"b"),
		"members of a long one":  signatures(8, members(64), "X", digests.String()[:4000]+"b"),
		"many signatures":        signatures(9, signedList, "Content-Digest", "sha-256=:"+digest256+":"),
	} {
		t.Run(what, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			expect(t, v, req, testBody, MalformedSignature)
			runtime.ReadMemStats(&after)
			if made := after.TotalAlloc - before.TotalAlloc; made > 1<<20 {
				t.Errorf("%d bytes made of it", made)
			}
		})
	}
	expect(t, v, signatures(8, signedList, "Content-Digest", "sha-256=:"+digest256+":"), testBody, SignatureMismatch)
}
