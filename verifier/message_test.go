package verifier

import (
	"strings"
	"testing"
)

// TestMessage: every slot and filter. content is the signed content, written by hand;
// mac is openssl's.
func TestMessage(t *testing.T) {
	const jsonBody = `{"id":"evt_1","data":{"n":[{"k":"v\u00e9"}]},"amount":1.50,"ok":true}`
	const formBody = "b=2&a=x+y&c=%7E&a2="
	params := map[string]string{"hook": "WH-1", "braces": `{body}{timestamp}\n`}
	for _, tc := range []struct {
		message, body, content, mac string
	}{
		{message: "{body}", body: testBody,
			content: "{\"n\":0}", mac: "099751b30562e19eb3fd13f10e0751d4aa5c145225b5095155da194d17e77bee"},
		{message: "{body}", body: "",
			content: "", mac: "818f9cb88315ac08b5ef83f96650ca6f4e3dddcb4548e4879b746f56b57fa2b0"},
		{message: "{timestamp}.{body}", body: testBody,
			content: "1760000000.{\"n\":0}", mac: "a5e6ac59bf6a410d07072d1bd182062662bec60e4d1270123e91f6b4152d2457"},
		{message: "{id}.{timestamp}.{body}", body: testBody,
			content: "msg_1.1760000000.{\"n\":0}", mac: "84564193b0c881434d79c4f1bd21bc167e4a4e5bee37f52fbce155e851a6a486"},
		{message: "v0:{timestamp}:{body}", body: "a=b",
			content: "v0:1760000000:a=b", mac: "397b8f5ee58457116b60c01abd6343ded765bf5d08b8a64553ad32f33d3d2cd5"},
		{message: "[{timestamp};{body}]", body: "a=b",
			content: "[1760000000;a=b]", mac: "c0f03b59e959f3fb9ab9807412cb4d1a1d2ff0416d6ebb4865a8d7d8bf90a826"},
		{message: "{body}{timestamp}", body: testBody,
			content: "{\"n\":0}1760000000", mac: "9fd42c37940ff8b1d34dbcdbe8f437560a8cbf0ae33d443b874f56236785b77b"},
		{message: "{body}.{header:x-nonce}.{timestamp}", body: testBody,
			content: "{\"n\":0}.n0nce.1760000000", mac: "69774917568ae562ce9846adf119438845c42346a9e4b9f1547aebb52695f6aa"},
		{message: "{secret}{body}", body: testBody,
			content: "topsecret{\"n\":0}", mac: "84c3ac80ee23e578912b31a8a6784ed5dee906969777b6d966e41cb3d0a8e4aa"},
		{message: "{method}{url}{body}{timestamp}", body: testBody,
			content: "POSThttps://hooks.example.com/hooks/acme?b=2&a=1&a=0{\"n\":0}1760000000", mac: "70ebc01d93e77d7d7b405a4a88f8f674bf148ad943442501ff88fd1eebada983"},
		{message: "{url_no_query}|{body}", body: testBody,
			content: "https://hooks.example.com/hooks/acme|{\"n\":0}", mac: "4bc70a80d415365d7113ca11a940b9d67c6740765fa205a4c74c1da62a120ad1"},
		{message: "{body}{url}", body: testBody,
			content: "{\"n\":0}https://hooks.example.com/hooks/acme?b=2&a=1&a=0", mac: "8e3324ceccac9cc0c1cbbd0e53757fa028966b6287528087a18697fcfd200ae1"},
		{message: "{uri}\\n{body}", body: testBody,
			content: "/hooks/acme?b=2&a=1&a=0\n{\"n\":0}", mac: "bfbc51b8ced192e76d733a55444d4e7066b66d8abf541a983e1f9022acb10b26"},
		{message: "{path} {query} {host} {body}", body: testBody,
			content: "/hooks/acme b=2&a=1&a=0 hooks.example.com {\"n\":0}", mac: "cf780de9d993cb41731cb3d0906ef09956287cfbd4eebb37f37a38704f4041a4"},
		{message: "{timestamp}\\n{query_sorted}\\n{body|sha256|hex}", body: testBody,
			content: "1760000000\na=1&a=0&b=2\nf3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0", mac: "5461777ce4043fd5c18a36ab86ce38d36dd6474060ca307307c108f9ff436862"},
		{message: "{header:Host}.{header:x-nonce}.{body}", body: testBody,
			content: "hooks.example.com.n0nce.{\"n\":0}", mac: "cb192a3986ecb2a5903e6bf339109f25fbf8d5ed6003bc5a0ed41fe6fa570be0"},
		{message: "{json:id}:{json:data.n[0].k}:{json:amount}:{json:ok}:{body}", body: jsonBody,
			content: "evt_1:vé:1.50:true:{\"id\":\"evt_1\",\"data\":{\"n\":[{\"k\":\"v\\u00e9\"}]},\"amount\":1.50,\"ok\":true}", mac: "d017b13d6c9444e851f366c49f9ffbb9062874eeca4ab6f12feebd8a58f9ab94"},
		{message: "{form:a}|{form:c}|{body}", body: formBody,
			content: "x y|~|b=2&a=x+y&c=%7E&a2=", mac: "3492c4eca4b9425649eb166aee7fddd902026fb2c970954a294f6bc176d9dd08"},
		{message: "{url}{form_sorted}|{body}", body: "b=2&a=1&b=1&b=2",
			content: "https://hooks.example.com/hooks/acme?b=2&a=1&a=0a1b1b2|b=2&a=1&b=1&b=2", mac: "6769e99ab5dadf3bfd27234ff1f442f3527cadb6bf1a2fae7c8dbfc5e118e889"},
		{message: "{param:hook}|{body}", body: testBody,
			content: "WH-1|{\"n\":0}", mac: "f4a2a1a73723a827f51704917249fdc415483bddd9e03bcc53edd483f548f2a6"},
		{message: "{param:braces}{body}", body: testBody, // not expanded again
			content: "{body}{timestamp}\\n{\"n\":0}", mac: "d257d4d5697b6778960b9d839d897904f81b267bf57594ace9028aa5adc258be"},
		{message: "\\{body\\}\\\\\\r\\n\\t{body}", body: testBody,
			content: "{body}\\\r\n\t{\"n\":0}", mac: "82ce13f3dccce459b01934cd2a1f57e2cdf94dc976e9ef40f8842be1b278c3ab"},
		{message: "{timestamp}.{body}", body: "{timestamp} {body} {{secret}} \\n {param:hook}",
			content: "1760000000.{timestamp} {body} {{secret}} \\n {param:hook}", mac: "dfb357d6bfd78d33fb4321e84f5e1c3018662d2f935ea9d7631c94d7671319d8"},
		{message: "{header:x-braces}|{body}", body: testBody,
			content: "{body}{secret}|{\"n\":0}", mac: "1feca2d1e020743182a356c7965f19d2876e4a6aa48f5c1898f98c1520608f91"},
		{message: "{body|md5|base64}", body: testBody, // openssl dgst -md5 -binary | base64
			content: "S7ng3lAFdHtiytt/xpxYSg==", mac: "d76061762c3377ac86aa2efff49cb987dcc749af1b13752a6a2e5d308dd7ca9f"},
		{message: "{body|sha1|hex|upper}", body: testBody,
			content: "D46121FB59B3384F5A5CAD7E39A6E768E33FD5A7", mac: "7040f9f4134f979e3605f69366caec8f8aad8d30793d48ed97a2a0a1bada173b"},
		{message: "{body|sha512|hex}", body: testBody,
			content: "28e306ac7048ae42c025dd5dcb45ecc2a8c5b556278299cbc286574a6cb3cfd783b00af8f2455339454666955d09c3300a8079fd98a6c280b39d621b29477d45", mac: "a21931c6d27b46ad32225234ec7cd9a8cb9b08869236c0c964a4b3a7e9808602"},
		{message: "{body|sha256|base64}|{header:x-nonce|upper}", body: testBody,
			content: "8wE/kzufuAq22ZXnrZ2jb2g4N7odgelQyUPUARHqwvA=|N0NCE", mac: "1600c87892b6cef6c838d372b1d80ddd3803db77efb8b30c2ceab0187865d653"},
		{message: "{header:x-mixed|lower}.{id|hex}.{id|base64}.{body|crc32}.{body}", body: testBody,
			content: "mixed.6d73675f31.bXNnXzE=.3444574783.{\"n\":0}", mac: "037951b165c3f31ce1797c3efbe021cbdf19f911aa90d9ed8716d0f9644dcf03"},
	} {
		t.Run(tc.message+" "+tc.body, func(t *testing.T) {
			v := mustVerifier(t, Scheme{
				Signature:  &Signature{Header: StringList{"X-Signature"}},
				Message:    StringList{tc.message},
				Timestamp:  &Timestamp{Header: StringList{"X-Time"}, Off: !strings.Contains(tc.message, "{timestamp}")},
				DeliveryID: &DeliveryID{Header: StringList{"X-Id"}},
				PublicURL:  "https://hooks.example.com/",
				Params:     params,
			}, Key{Text: testKey})
			req := post("X-Signature", tc.mac, "X-Time", "1760000000", "X-Id", "msg_1",
				"X-Nonce", "n0nce", "X-Mixed", "MiXed", "X-Braces", "{body}{secret}")
			req.Target = "/hooks/acme?b=2&a=1&a=0"
			expect(t, v, req, tc.body, genuine)
			expect(t, v, req, tc.body+" ", SignatureMismatch)
		})
	}
}

// TestURLOfRequest: without public_url the URL is as received.
func TestURLOfRequest(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{url}{body}"} }), Key{Text: testKey})
	for _, tc := range []struct {
		host, target string
		tls          bool
		url          string
	}{
		{"h.example.com", "/a?b=c", true, "https://h.example.com/a?b=c"},
		{"h.example.com:8443", "/a", true, "https://h.example.com:8443/a"},
		{"h.example.com", "/a%2Fb%2fc?x=%20+", false, "http://h.example.com/a%2Fb%2fc?x=%20+"},
		{"[::1]:8080", "/a", false, "http://[::1]:8080/a"},
	} {
		req := post("X-Signature", macOf(testKey, tc.url+testBody))
		req.Host, req.Target, req.TLS = tc.host, tc.target, tc.tls
		expect(t, v, req, testBody, genuine)
		req.TLS = !tc.tls
		expect(t, v, req, testBody, SignatureMismatch)
	}
	v = mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.PublicURL = StringList{"{url}{body}"}, "https://public.example.com:444"
	}), Key{Text: testKey})
	req := post("X-Signature", macOf(testKey, "https://public.example.com:444/hooks/acme"+testBody))
	req.Host = "internal"
	expect(t, v, req, testBody, genuine)
}

// TestAlternatives: each message is tried; what one lacks does not affect the other.
func TestAlternatives(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{header:X-Nonce}.{body}", "{body}"} }), Key{Text: testKey})
	expect(t, v, post("X-Signature", bodyHex), testBody, genuine)
	expect(t, v, post("X-Signature", macOf(testKey, "n."+testBody), "X-Nonce", "n"), testBody, genuine)
	expect(t, v, post("X-Signature", macOf(testKey, "n."+testBody), "X-Nonce", "m"), testBody, SignatureMismatch)
	expect(t, v, post("X-Signature", macOf(testKey, "."+testBody)), testBody, MissingHeader)
}

// TestSignedFieldsInBody: ambiguous fields are refused.
func TestSignedFieldsInBody(t *testing.T) {
	for _, tc := range []struct {
		message, body, content string
		want                   Reason
	}{
		{"{json:id}|{body}", `{"id":"a"}`, `a|{"id":"a"}`, genuine},
		{"{json:id}|{body}", `{"id":"a","id":"b"}`, `a|{"id":"a","id":"b"}`, MalformedSignature},
		{"{json:id}|{body}", `{"id":null}`, `|{"id":null}`, MalformedSignature},
		{"{json:id}|{body}", `{"id":["a"]}`, `a|{"id":["a"]}`, MalformedSignature},
		{"{json:id}|{body}", `{}`, `|{}`, MalformedSignature},
		{"{json:id}|{body}", `no json`, `|no json`, MalformedSignature},
		{"{json:id}|{body}", `{"id":"a|b"}`, `a|b|{"id":"a|b"}`, MalformedSignature},
		{"{form:a}|{body}", "a=1", "1|a=1", genuine},
		{"{form:a}|{body}", "a=1&a=2", "1|a=1&a=2", MalformedSignature},
		{"{form:a}|{body}", "a=1&%61=2", "1|a=1&%61=2", MalformedSignature},
		{"{form:a}|{body}", "a=", "|a=", MalformedSignature},
		{"{form:a}|{body}", "b=1", "|b=1", MalformedSignature},
		{"{form:a}|{body}", "a=1&b=%zz", "1|a=1&b=%zz", MalformedSignature},
		{"{form_sorted}|{body}", "%", "|%", MalformedSignature},
		{"{form_sorted}|{body}", "", "|", genuine},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{tc.message} }), Key{Text: testKey})
		expect(t, v, post("X-Signature", macOf(testKey, tc.content)), tc.body, tc.want)
	}
}

// TestMessageSplitsOneWay: an attacker divides the signed content of a genuine
// delivery differently. The MAC is genuine; only the division is new.
func TestMessageSplitsOneWay(t *testing.T) {
	type cut struct{ id, time, header, target, body string }
	for _, tc := range []struct {
		what, message, unit string
		off                 bool
		genuine, forged     cut
	}{
		{what: "the delimiter in an id", message: "{id}.{timestamp}.{body}",
			genuine: cut{id: "a", time: "1760000000", body: `1760000001.x`},
			forged:  cut{id: "a.1760000000", time: "1760000001", body: "x"}},
		{what: "the delimiter in an id, a later one", message: "{timestamp}.{id}.{body}",
			genuine: cut{time: "1760000000", id: "a", body: `{"f":1.5}`},
			forged:  cut{time: "1760000000", id: `a.{"f":1`, body: `5}`}},
		{what: "a piece of JSON as an id that touches", message: "{id}{timestamp}{body}",
			genuine: cut{id: "a", time: "1700000000", body: `{"at":1760000000,"x":1}`},
			forged:  cut{id: `a1700000000{"at":`, time: "1760000000", body: `,"x":1}`}},
		{what: "the same without a timestamp", message: "{id}{body}",
			genuine: cut{id: "a", body: `{"x":"y"}`},
			forged:  cut{id: `a{"x":`, body: `"y"}`}},
		{what: "a digit of a body that ends in one", message: "{body}{timestamp}", // to a time 292 years away
			genuine: cut{body: "total=4", time: "1760000000"},
			forged:  cut{body: "total=", time: "41760000000"}},
		{what: "digits to the body, unchecked time", message: "{body}{timestamp}", off: true,
			genuine: cut{body: "total=4", time: "1760000000"},
			forged:  cut{body: "total=41", time: "760000000"}},
		{what: "digits from the body, unchecked time", message: "{body}{timestamp}", off: true,
			genuine: cut{body: "total=42", time: "1760000000"},
			forged:  cut{body: "total=4", time: "21760000000"}},
		{what: "digits to the front of the body, unchecked time", message: "{timestamp}{body}", off: true, unit: "ms",
			genuine: cut{time: "1760000000123", body: "4=total"},
			forged:  cut{time: "17600000001234", body: "=total"}},
		{what: "a literal that is a digit, unchecked time", message: "{timestamp}0{body}", off: true,
			genuine: cut{time: "1760000000", body: "01=total"},
			forged:  cut{time: "176000000", body: "001=total"}},
		{what: "the end of a body as a header", message: "{body}.{header:X-Extra}",
			genuine: cut{body: "a=1&b=2.5", header: "x"},
			forged:  cut{body: "a=1&b=2", header: "5.x"}},
		{what: "the end of a body as a header that touches", message: "{body}{header:X-Extra}",
			genuine: cut{body: `{"a":"b"}`, header: "x"},
			forged:  cut{body: `{"a":`, header: `"b"}x`}},
		{what: "the end of a body over two headers", message: "{body}.{id}{header:X-Extra}",
			genuine: cut{body: "a=2.5", id: "x", header: "y"},
			forged:  cut{body: "a=2", id: "5.x", header: "y"}},
		{what: "an id before the last delimiter", message: "{body}.{id}.{timestamp}",
			genuine: cut{body: "a=2.5", id: "x", time: "1760000000"},
			forged:  cut{body: "a=2", id: "5.x", time: "1760000000"}},
		{what: "the front of a body in the query", message: "{uri}{body}",
			genuine: cut{target: "/h?v=2", body: `{"a":{"b":1}}`},
			forged:  cut{target: `/h?v=2{"a":`, body: `{"b":1}}`}},
		{what: "the front of a body in the query behind a literal", message: "{uri}|{body}",
			genuine: cut{target: "/h?v=2", body: `a|b`},
			forged:  cut{target: `/h?v=2|a`, body: `b`}},
		{what: "the end of a body in the path", message: "{body}{path}",
			genuine: cut{body: `{"u":"a/b"}`, target: "/h"},
			forged:  cut{body: `{"u":"a`, target: `/b"}/h`}},
		{what: "the front of an XML body in the query", message: "{query}{body}",
			genuine: cut{target: "/h?v=2", body: `<a><b/></a>`},
			forged:  cut{target: `/h?v=2<a>`, body: `<b/></a>`}},
		{what: "a fraction of a zoneless time", message: "{timestamp}.{body}", unit: "iso8601_utc",
			genuine: cut{time: "2025-10-09T08:53:20", body: `5.{"a":1}`},
			forged:  cut{time: "2025-10-09T08:53:20.5", body: `{"a":1}`}},
		{what: "a zone of a zoneless time", message: "{timestamp}-{body}", unit: "iso8601_utc",
			genuine: cut{time: "2025-10-09T08:53:20", body: `00:00-x`},
			forged:  cut{time: "2025-10-09T08:53:20-00:00", body: `x`}},
		{what: "two headers that touch, before a delimiter", message: "{header:X-Extra}{id}.{body}",
			genuine: cut{header: "a", id: "b", body: "c.d"},
			forged:  cut{header: "a", id: "b.c", body: "d"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			v := mustVerifier(t, bare(func(s *Scheme) {
				s.Message = StringList{tc.message}
				if strings.Contains(tc.message, "{timestamp}") {
					s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Unit: tc.unit, Off: tc.off}
				}
				s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}}
			}), Key{Text: testKey})
			fill := func(c cut) (content string, req *Request) {
				path, query, _ := strings.Cut(c.target, "?")
				content = strings.NewReplacer("{id}", c.id, "{timestamp}", c.time, "{header:X-Extra}", c.header,
					"{uri}", c.target, "{path}", path, "{query}", query, "{body}", c.body).Replace(tc.message)
				req = post("X-Signature", macOf(testKey, content), "X-Id", c.id, "X-Time", c.time, "X-Extra", c.header)
				req.Target = c.target
				return content, req
			}
			was, original := fill(tc.genuine)
			is, forged := fill(tc.forged)
			if was != is {
				t.Fatalf("not the same content: %q and %q", was, is)
			}
			if tc.genuine.time == "" || strings.HasPrefix(tc.genuine.time, "176") || strings.HasPrefix(tc.genuine.time, "2025") {
				expect(t, v, original, tc.genuine.body, genuine)
			}
			if got := judge(v, forged, testNow, tc.forged.body); got == genuine {
				t.Errorf("%q passes as %+v", was, tc.forged)
			}
		})
	}
}

// TestSlotsHoldWhatSendersSend: the rules above refuse nothing that real senders
// send.
func TestSlotsHoldWhatSendersSend(t *testing.T) {
	for _, tc := range []struct {
		what, message, unit, time, id, target, body, content string
	}{
		{"Orb: colons round an ISO time", "v1:{timestamp}:{body}", "iso8601_utc", "2025-10-09T08:53:20.123456", "", "", testBody,
			"v1:2025-10-09T08:53:20.123456:" + testBody},
		{"an ISO time with Z before a point", "{timestamp}.{body}", "iso8601_utc", "2025-10-09T08:53:20Z", "", "", testBody,
			"2025-10-09T08:53:20Z." + testBody},
		{"an ISO time behind a body", "{body}.{timestamp}", "iso8601_utc", "2025-10-09T08:53:20.5", "", "", "a.b", "a.b.2025-10-09T08:53:20.5"},
		{"a fraction in RFC 3339 before a point", "{id}.{timestamp}.{body}", "rfc3339", "2025-10-09T08:53:20.5Z", "a", "", testBody,
			"a.2025-10-09T08:53:20.5Z." + testBody},
		{"Twitch: id, RFC 3339 time and body touch", "{id}{timestamp}{body}", "rfc3339", "2025-10-09T08:53:20.592Z", "78e0b2c1-8b1a-4e2f-a8a0-0c2a", "", testBody,
			"78e0b2c1-8b1a-4e2f-a8a0-0c2a2025-10-09T08:53:20.592Z" + testBody},
		{"base64 id that touches", "{id}{body}", "", "", "n_Q+/9-==", "", testBody, "n_Q+/9-==" + testBody},
		{"Square: points and brackets in a URL", "{uri}{body}", "", "", "", "/a.b/c;d=e?f[0]=g,h&i=%7B%22&j=é", testBody,
			"/a.b/c;d=e?f[0]=g,h&i=%7B%22&j=é" + testBody},
		{"a point after a URL that holds some", "{uri}.{body}", "", "", "", "/a.b?c=1.5", testBody, "/a.b?c=1.5." + testBody},
		{"braces in an id that no body follows", "{id}{body|sha256|hex}", "", "", "{a}", "", testBody,
			// printf %s '{"n":0}' | openssl dgst -sha256
			"{a}" + bodySHA256},
	} {
		t.Run(tc.what, func(t *testing.T) {
			v := mustVerifier(t, bare(func(s *Scheme) {
				s.Message = StringList{tc.message}
				s.DeliveryID = &DeliveryID{Header: StringList{"X-Id"}}
				if tc.unit != "" {
					s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Unit: tc.unit}
				}
			}), Key{Text: testKey})
			req := post("X-Signature", macOf(testKey, tc.content), "X-Id", tc.id, "X-Time", tc.time)
			req.Target = tc.target
			expect(t, v, req, tc.body, genuine)
		})
	}
}

// printf %s '{"n":0}' | openssl dgst -sha256
const bodySHA256 = "f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0"

// TestURLDoesNotPassAsQuery: one message signs the query, another the URL; a signed
// URL sent as the query is refused.
func TestURLDoesNotPassAsQuery(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{query_sorted}\\n{body}", "{url}\\n{body}"} }), Key{Text: testKey})
	req := func(target, content string) *Request {
		r := post("X-Signature", macOf(testKey, content+"\n"+testBody))
		r.Target, r.TLS = target, true
		return r
	}
	const signed = "https://hooks.example.com/hooks/acme"
	expect(t, v, req("/hooks/acme", signed), testBody, genuine)
	expect(t, v, req("/hooks/acme?a=1&b=2", "a=1&b=2"), testBody, genuine)
	expect(t, v, req("/hooks/acme?"+signed, signed), testBody, MalformedSignature)
	expect(t, v, req("/hooks/acme?"+signed, signed+"?"+signed), testBody, genuine)
}

// TestTwoWaysAreNamed: the operator learns which field holds which character.
func TestTwoWaysAreNamed(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{json:item.a}:{json:item.b}"}, true }), Key{Text: testKey})
	body := `{"item":{"a":"x:y","b":"z"}}`
	_, err := deliver(v, post("X-Signature", macOf(testKey, "x:y:z")), testNow, body)
	if got := rejection(t, err).Detail; !strings.Contains(got, "item.a of the body, which is signed, holds ':'") {
		t.Errorf("got %q", got)
	}
}

// TestTextUnderItsType: a Content-Type that is not signed cannot make another text of
// what is; one that is signed is the sender's word, one that is listed the operator's. A
// token proves no text.
func TestTextUnderItsType(t *testing.T) {
	types := func(lines ...string) *Request {
		req := post("X-Signature", bodyHex)
		req.Header["Content-Type"] = lines
		return req
	}
	v := mustVerifier(t, bare(nil), Key{Text: testKey})
	for _, harmless := range [][]string{nil, {""}, {"json"}, {"a b"}, {"application/json"}, {"application/json; charset=UTF-8"}, {"text/plain; charset=windows-1252"}} {
		expect(t, v, types(harmless...), testBody, genuine)
	}
	for _, other := range [][]string{{"application/json; charset=utf-7"}, {"application/json; charset=unicode_escape"}, {"application/json; charset=utf-8; charset=utf-7"}, {"a b; charset=hz"}, {"application/json", "application/json"}, {"multipart/form-data; boundary=b"}} {
		expect(t, v, types(other...), testBody, MalformedSignature)
	}
	signed := mustVerifier(t, bare(func(s *Scheme) { s.Message = StringList{"{header:Content-Type}\\n{body}"} }), Key{Text: testKey})
	expect(t, signed, post("X-Signature", macOf(testKey, "text/xml; charset=utf-16\n"+testBody), "Content-Type", "text/xml; charset=utf-16"), testBody, genuine)
	listed := mustVerifier(t, bare(func(s *Scheme) {
		s.RequireHeader = []RequiredHeader{{Name: "content-type", Values: StringList{"application/json; charset=shift_jis"}}}
	}), Key{Text: testKey})
	expect(t, listed, types("application/json; charset=shift_jis"), testBody, genuine)
	expect(t, listed, types("application/json; charset=utf-7"), testBody, HeaderMismatch)
	const lettered = `{"name":"Müller"}`
	latin := post("X-Signature", macOf(testKey, lettered), "Content-Type", "application/json; charset=iso-8859-1")
	expect(t, v, latin, lettered, MalformedSignature)
	listed = mustVerifier(t, bare(func(s *Scheme) {
		s.RequireHeader = []RequiredHeader{{Name: "Content-Type", Values: StringList{"application/json; charset=iso-8859-1"}}}
	}), Key{Text: testKey})
	expect(t, listed, latin, lettered, genuine)
	const feed = "<?xml version=\"1.0\" encoding=\"Shift_JIS\"?><title>\x83\\</title>"
	for charset, want := range map[string]Reason{"Shift_JIS": genuine, "gbk": MalformedSignature, "utf-7": MalformedSignature} {
		expect(t, v, post("X-Signature", macOf(testKey, feed), "Content-Type", "application/atom+xml; charset="+charset), feed, want)
	}
	token := mustVerifier(t, bare(func(s *Scheme) { s.Algorithm, s.BodyUnsigned = Token, true }), Key{Text: testKey})
	expect(t, token, post("X-Signature", testKey, "Content-Type", "text/xml; charset=utf-16"), testBody, genuine)

	for covered, want := range map[string]string{"@method": string(MalformedSignature), "content-type": genuine} {
		v := mustVerifier(t, ofRFC9421(nil, "content-digest", covered), Key{Text: testKey})
		req := post("Content-Type", "text/xml; charset=utf-16")
		if err := v.Sign(req, "", testNow, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		expect(t, v, req, testBody, want)
	}
}
