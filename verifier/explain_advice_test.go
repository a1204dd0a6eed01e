package verifier_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var adviceOption = regexp.MustCompile(`(message) "((?:[^"\\]|\\.)*)"|(timestamp) (off|header \S+|kv \S+)( ms| us| rfc3339)?|(delivery_id) header (\S+)`)

// TestAdvisedMessagesStart follows each advice about another message: a handler with
// those options starts, and one whose timestamp is given up is said to do so.
func TestAdvisedMessagesStart(t *testing.T) {
	followed, untimed, impossible := 0, 0, 0
	for id, c := range catalogueCases(t) {
		c.Request.Header = maps.Clone(c.Request.Header)
		c.Request.Header["X-Sent-Timestamp"] = []string{"1760000000000"}
		c.Request.Header["X-Sent-Id"] = []string{"evt_7"}
		for _, clause := range verifier.MessageAdvice(t, c) {
			_, advice, found := strings.Cut(clause, "write: ")
			if !found {
				impossible++
				continue
			}
			options, _, _ := strings.Cut(advice, ": then ")
			scheme := c.Scheme.With(overrides(options))
			if _, err := verifier.Compile(scheme); err != nil {
				t.Errorf("%s: %s: %v", id, clause, err)
			}
			followed++
			if off := scheme.Timestamp != nil && scheme.Timestamp.Off && !c.Scheme.Timestamp.Off; off != strings.Contains(clause, "the age of deliveries is not checked") {
				t.Errorf("%s: the timestamp is off: %t, which the hint does not say: %s", id, off, clause)
			} else if off {
				untimed++
			}
		}
	}
	t.Log(followed, untimed, impossible)
	if followed < 1000 || untimed < 100 || impossible < 100 {
		t.Errorf("%d advices followed, %d without a timestamp, %d impossible", followed, untimed, impossible)
	}
}

// overrides parses the options of an advice as the Caddyfile does.
func overrides(options string) (s verifier.Scheme) {
	for _, m := range adviceOption.FindAllStringSubmatch(options, -1) {
		kind, value, _ := strings.Cut(m[4], " ")
		switch {
		case m[1] != "":
			s.Message = verifier.StringList{strings.ReplaceAll(m[2], `\"`, `"`)}
		case m[6] != "":
			s.DeliveryID = &verifier.DeliveryID{Header: verifier.StringList{m[7]}}
		case kind == "off":
			s.Timestamp = &verifier.Timestamp{Off: true}
		case kind == "kv":
			s.Timestamp = &verifier.Timestamp{KV: value, Unit: strings.TrimSpace(m[5])}
		default:
			s.Timestamp = &verifier.Timestamp{Header: verifier.StringList{value}, Unit: strings.TrimSpace(m[5])}
		}
	}
	return s
}

// TestExplainClaims signs tokens with the right key whose claims are not those of the
// delivery.
func TestExplainClaims(t *testing.T) {
	const body = `{"id":"evt_7"}`
	digest := sha256.Sum256([]byte(body))
	inHex, inBase64 := fmt.Sprintf("%x", digest), base64.StdEncoding.EncodeToString(digest[:])
	for _, tc := range []struct{ provider, claims, param, want string }{
		{"livekit", `{"iss":"API1","nbf":1760000000,"exp":1760000300}`, "", "has no claim sha256, so it does not cover the body"},
		{"livekit", `{"iss":"API1","nbf":1500000000,"exp":1500000300}`, "", "has no claim sha256, so it does not cover the body"},
		{"livekit", `{"iss":"API1","nbf":1760000000,"exp":1760000300,"sha256":"` + inHex + `"}`, "", "its claim sha256 is that of another body"},
		{"livekit", `{"iss":"API1","nbf":1760000000,"exp":1760000300,"sha256":"` + inBase64 + `"}`, "API2", "its claim iss is not param api_key"},
		{"netlify", `{"iss":"netlify"}`, "", "has no claim sha256, so it does not cover the body"},
		{"netlify", `{"sha256":"` + inHex + `"}`, "", "has no claim iss: it is not the token of such a delivery"},
		{"netlify", `{"iss":"someone","sha256":"` + inHex + `"}`, "", "its claim iss is that of another delivery or sender"},
	} {
		p, err := providers.Get(tc.provider)
		if err != nil {
			t.Fatal(err)
		}
		c := verifier.Case{Scheme: p.Scheme, Keys: []verifier.Key{{Text: "the-right-key-of-14"}}, Body: []byte(body), Now: time.Unix(1760000000, 0)}
		if tc.param != "" {
			c.Scheme.Params = map[string]string{"api_key": tc.param}
		}
		send := func(key string) string {
			signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(tc.claims))
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(signed))
			c.Request = &verifier.Request{Method: "POST", Header: map[string][]string{
				p.Scheme.Signature.Header[0]: {signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))},
			}}
			e, err := verifier.Explain(t.Context(), c)
			if err != nil || e.Genuine {
				t.Fatalf("%s: %+v, %v", tc.claims, e, err)
			}
			return e.Hint
		}
		if hint := send("the-right-key-of-14"); !strings.HasPrefix(hint, "the token is signed with this key, but "+tc.want) {
			t.Errorf("%s, %s: got %q, want %q", tc.provider, tc.claims, hint, tc.want)
		}
		if hint := send("another-key-of-14-b"); strings.Contains(hint, "this key") {
			t.Errorf("%s, %s, signed with another key: %q", tc.provider, tc.claims, hint)
		}
	}
}

// TestNamesAppearOnceInAHint: a handler with a provider's name is one sender, however
// often it is listed.
func TestNamesAppearOnceInAHint(t *testing.T) {
	const key, body = "the-right-key-of-14", `{"id":"evt_7"}`
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	meta := verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Hub-Signature-256"}, Prefix: "sha256="}}
	keys := []verifier.Key{{Text: key}}
	c := verifier.Case{
		Scheme: verifier.Scheme{Signature: &verifier.Signature{Header: verifier.StringList{"X-Nobody"}}}, Keys: keys, Body: []byte(body), Now: time.Unix(1760000000, 0),
		Request: &verifier.Request{Method: "POST", Header: map[string][]string{"X-Hub-Signature-256": {fmt.Sprintf("sha256=%x", mac.Sum(nil))}}},
		Others:  []verifier.Other{{Name: "meta", Scheme: meta, Keys: keys}, {Name: "meta", Scheme: meta, Keys: keys}, {Name: "github", Scheme: meta}, {Name: "meta", Scheme: meta}},
	}
	e, err := verifier.Explain(t.Context(), c)
	if err != nil || !strings.Contains(e.Hint, "meta or github") || strings.Count(e.Hint, "meta") != 1 {
		t.Errorf("%q, %v", e.Hint, err)
	}
	c.Keys = []verifier.Key{{Text: "another-key-of-14-b"}} // only the headers tell now
	for i := range c.Others {
		c.Others[i].Scheme.Signature = &verifier.Signature{Header: verifier.StringList{"X-Acme-Signature"}}
	}
	c.Others = c.Others[:2]
	c.Request.Header = map[string][]string{"X-Acme-Signature": {strings.Repeat("ab", 32)}}
	if e, err = verifier.Explain(t.Context(), c); err != nil || !strings.Contains(e.Hint, "but what handler meta reads") {
		t.Errorf("%q, %v", e.Hint, err)
	}
}

var signatureOption = regexp.MustCompile(`write: signature header (\S+)(?: (kv|list) (\S+))?(?: (base64|base64url|base64-hex))?(?: prefix "([^"]*)")?$`)

// TestAdvisedHeaderVerifies: with the advised option, a delivery whose signature header
// was renamed is genuine.
func TestAdvisedHeaderVerifies(t *testing.T) {
	followed := 0
	for id, c := range catalogueCases(t) {
		sig := c.Scheme.Signature
		if e, err := verifier.Explain(t.Context(), c); err != nil || !e.Genuine || sig == nil || len(sig.Header) != 1 || sig.Syntax == "jws" {
			continue
		}
		own := textproto.CanonicalMIMEHeaderKey(sig.Header[0])
		c.Request.Header["Acme-Signature"] = c.Request.Header[own]
		delete(c.Request.Header, own)
		c.Others = nil
		e, err := verifier.Explain(t.Context(), c)
		m := signatureOption.FindStringSubmatch(e.Hint)
		if err != nil || m == nil {
			t.Logf("%s: %s, %v", id, e.Hint, err)
			continue
		}
		s := &verifier.Signature{Header: verifier.StringList{m[1]}, Encoding: m[4], Prefix: m[5]}
		switch m[2] {
		case "kv":
			s.Syntax, s.Key = "kv", verifier.StringList{m[3]}
		case "list":
			s.Syntax, s.Accept = "list", map[string]verifier.Algorithm{m[3]: sig.Accept[m[3]]}
		}
		c.Scheme = c.Scheme.With(verifier.Scheme{Signature: s})
		if again, err := verifier.Explain(t.Context(), c); err != nil || !again.Genuine {
			t.Errorf("%s: %s: %s %s, %v", id, e.Hint, again.Reason, again.Detail, err)
		}
		followed++
	}
	t.Log(followed, "followed")
	if followed < 180 {
		t.Errorf("%d followed", followed)
	}
}
