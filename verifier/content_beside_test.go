package verifier

import (
	"testing"
	"time"
)

// TestContentHoldsWhatIsSignedBesideTheBody: deliveries with one body are different if
// their signed method, headers or keys are; attempts of one delivery are the same.
func TestContentHoldsWhatIsSignedBesideTheBody(t *testing.T) {
	alter := func(name, value string) func(*Request) { return func(r *Request) { r.Header[name] = []string{value} } }
	topic, nonce := alter("X-Topic", "deleted"), alter("X-Nonce", "2")
	method := func(r *Request) { r.Method = "DELETE" }
	later := func(r *Request) { delete(r.Header, "X-Signature") } // only the time of Sign differs
	rfc9421 := func() *Signature {
		return &Signature{Syntax: syntaxHTTPSignature, Header: StringList{"Signature"}}
	}
	for name, tc := range map[string]struct {
		edit  func(*Scheme)
		alter func(*Request)
		same  bool
	}{
		"method":            {func(s *Scheme) { s.Message = StringList{"{method}.{body}"} }, method, false},
		"method, filtered":  {func(s *Scheme) { s.Message = StringList{"{method|lower} {body}"} }, method, false},
		"method, unsigned":  {nil, method, true},
		"header":            {func(s *Scheme) { s.Message = StringList{"{header:x-topic}.{body}"} }, topic, false},
		"header's digest":   {func(s *Scheme) { s.Message = StringList{"{header:X-Topic|sha256|hex}.{body}"} }, topic, false},
		"header, unsigned":  {nil, topic, true},
		"header of another": {func(s *Scheme) { s.Message = StringList{"{header:X-Nonce}.{body}"} }, topic, true},
		"URL's digest": {func(s *Scheme) { s.Message = StringList{"{url|sha256|hex}.{body}"} },
			func(r *Request) { r.Target = "/?other=1" }, false},
		"path, lower": {func(s *Scheme) { s.Message = StringList{"{path|lower} {body}"} }, func(r *Request) { r.Target = "/other" }, false},
		"listed":      {listed, topic, false},
		"listed host": {listed, func(r *Request) { r.Host = "other.example.com" }, true},
		"a nonce": {func(s *Scheme) {
			s.Message, s.Varies = StringList{"{header:X-Nonce}.{header:X-Topic}.{body}"}, StringList{"header:x-nonce"}
		}, nonce, true},
		"a topic beside a nonce": {func(s *Scheme) {
			s.Message, s.Varies = StringList{"{header:X-Nonce}.{header:X-Topic}.{body}"}, StringList{"header:x-nonce"}
		}, topic, false},
		"a nonce of the list": {func(s *Scheme) { listed(s); s.Varies = StringList{"header:X-Topic"} }, topic, true},
		"the timestamp":       {func(s *Scheme) { *s = timed(""); s.Message = StringList{"{header:X-Time}.{body}"} }, later, true},
		"the timestamp, off":  {func(s *Scheme) { *s = timed(""); s.Timestamp.Off = true }, later, true},
		"Date":                {func(s *Scheme) { s.Message = StringList{"{header:date}.{body}"} }, alter("Date", "Tue"), true},
		"the id": {func(s *Scheme) {
			s.Message, s.DeliveryID = StringList{"{header:X-Nonce}.{body}"}, &DeliveryID{Header: StringList{"X-Nonce"}}
		}, nonce, true},
		"the key's id":     {func(s *Scheme) { s.Message, s.KeyID = StringList{"{header:X-Nonce}.{body}"}, &KeyID{Header: "X-Nonce"} }, nonce, true},
		"RFC 9421, method": {func(s *Scheme) { s.Signature = rfc9421() }, method, false},
		"RFC 9421, header": {func(s *Scheme) {
			s.Signature, s.HTTPSignature = rfc9421(), &HTTPSignature{Components: StringList{"x-topic", "content-digest"}}
		}, topic, false},
		"RFC 9421, nonce": {func(s *Scheme) {
			s.Signature, s.HTTPSignature, s.Varies = rfc9421(), &HTTPSignature{Components: StringList{"x-nonce", "date", "content-digest"}}, StringList{"header:X-Nonce"}
		}, nonce, true},
		"RFC 9421, parameter": {func(s *Scheme) {
			s.Signature, s.HTTPSignature = rfc9421(), &HTTPSignature{Components: StringList{`@query-param;name="a"`, "content-digest"}}
		}, func(r *Request) { r.Target = "/?a=2" }, false},
		"RFC 9421, authority": {func(s *Scheme) {
			s.Signature, s.HTTPSignature = rfc9421(), &HTTPSignature{Components: StringList{"@authority", "content-digest"}}
		}, func(r *Request) { r.Host = "other.example.com" }, true},
		"JWT, URL":    {jwtOf("{url|sha256|hex}"), func(r *Request) { r.Target = "/?a=2" }, false},
		"JWT, method": {jwtOf("{method}"), method, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := mustVerifier(t, bare(tc.edit), Key{Text: testKey})
			content := func(alter func(*Request), after time.Duration) string {
				req := post("X-Topic", "created", "X-Nonce", "1", "X-List", "x-list,x-time,x-topic,host", "X-Time", "0", "Date", "Mon")
				req.Target = "/?a=1"
				if alter != nil {
					alter(req)
				}
				if err := v.Sign(req, "", testNow.Add(after), []byte(testBody)); err != nil {
					t.Fatal(err)
				}
				return contentOf(t, v, req, testBody)
			}
			first := content(nil, 0)
			if first == "" || content(nil, time.Second) != first {
				t.Error("the next attempt is another delivery")
			}
			if got := content(tc.alter, time.Second); (got == first) != tc.same {
				t.Errorf("the same: %t; %q and %q", got == first, first, got)
			}
		})
	}
}

func listed(s *Scheme) {
	s.Timestamp = &Timestamp{Header: StringList{"X-Time"}}
	s.Message = StringList{"{signed_headers:X-List}\n{body}"}
}

func jwtOf(claim string) func(*Scheme) {
	return func(s *Scheme) {
		s.Signature = &Signature{Header: StringList{"X-Signature"}, Syntax: syntaxJWT}
		s.Claims = map[string]string{"of": claim, "digest": "{body|sha256|hex}"}
	}
}

// TestContentHoldsKeysBesideTheSignature: they are signed with it.
func TestContentHoldsKeysBesideTheSignature(t *testing.T) {
	for name, varies := range map[string]StringList{"counts": nil, "varies": {"kv:env"}} {
		v := mustVerifier(t, bare(func(s *Scheme) {
			s.Signature = &Signature{Header: StringList{"X-Signature"}, Syntax: "kv", Key: StringList{"v1"}}
			s.Message, s.Varies = StringList{"{kv:env}.{body}"}, varies
		}), Key{Text: testKey})
		content := func(env string) string {
			return contentOf(t, v, post("X-Signature", "v1="+macOf(testKey, env+"."+testBody)+",env="+env), testBody)
		}
		if got := content("live") == content("test"); got != (varies != nil) {
			t.Errorf("%s: the same: %t", name, got)
		}
	}
}

func TestVariesBesideRefused(t *testing.T) {
	for _, text := range []string{"header:", "kv:", "header:a b", "header: X"} {
		if err := validate(bare(func(s *Scheme) { s.Varies = StringList{text} })); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
