package providers

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestVectors runs every known answer of every provider. The answers come from
// vendors' documents, their SDKs or openssl: see each vector's source.
func TestVectors(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("the catalogue is empty")
	}
	for _, p := range all {
		genuine := 0
		for i, vec := range p.Vectors {
			if vec.Expect == "genuine" {
				genuine++
			}
			if got := vec.run(p); got != vec.Expect {
				t.Errorf("%s.json: vector %d (%s): got %s, want %s", p.ID, i, vec.Source, got, vec.Expect)
			}
		}
		if genuine == 0 {
			t.Errorf("%s.json: no genuine vector: nothing shows that real deliveries pass", p.ID)
		}
	}
}

// run returns "genuine" or the reason of the rejection.
func (vec *Vector) run(p *Provider) string {
	_, err := vec.check(p)
	if err == nil {
		return "genuine"
	}
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok {
		return string(rej.Reason)
	}
	return err.Error()
}

func (vec *Vector) check(p *Provider) (verifier.Verdict, error) {
	key := verifier.Key{Text: vec.Secret}
	if vec.PublicKey != "" {
		key = verifier.Key{Text: vec.PublicKey, Kind: verifier.PublicKey}
	}
	scheme := p.Scheme
	scheme.Params = vec.Params
	v, err := verifier.New(scheme, []verifier.Key{key})
	if err != nil {
		return verifier.Verdict{}, err
	}
	req, body := vec.request()
	if err := v.Required(req.Header); err != nil {
		return verifier.Verdict{}, err
	}
	check, err := v.Open(req, time.Unix(vec.Now, 0))
	if err != nil {
		return verifier.Verdict{}, err
	}
	return check.Verify(body)
}

func (vec *Vector) request() (*verifier.Request, []byte) {
	req := &verifier.Request{Method: vec.Method, Header: make(map[string][]string)}
	for name, value := range vec.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		req.Header[name] = append(req.Header[name], value)
	}
	if u, err := url.Parse(vec.URL); err == nil && vec.URL != "" {
		req.Host, req.Target, req.TLS = u.Host, u.RequestURI(), u.Scheme == "https"
	}
	if vec.BodyBase64 != nil {
		return req, vec.BodyBase64
	}
	return req, []byte(vec.Body)
}

// TestAlterations takes every genuine vector and changes one thing at a time:
// each change must be refused.
func TestAlterations(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for i, vec := range p.Vectors {
			if vec.Expect != "genuine" {
				continue
			}
			for name, alter := range alterations(p) {
				altered := vec
				altered.Headers = maps.Clone(vec.Headers)
				if !alter(&altered) {
					continue
				}
				if got := altered.run(p); got == "genuine" {
					t.Errorf("%s.json: vector %d passes with %s", p.ID, i, name)
				}
			}
		}
	}
}

// alterations returns changes that every scheme must notice. Each reports
// whether it applies to the vector.
func alterations(p *Provider) map[string]func(*Vector) bool {
	s := p.Scheme
	all := map[string]func(*Vector) bool{
		"a byte added to the body": func(v *Vector) bool {
			if s.BodyUnsigned {
				return false
			}
			_, body := v.request()
			v.BodyBase64 = append(slices.Clone(body), ' ')
			return true
		},
		"a bit of the body flipped": func(v *Vector) bool {
			_, body := v.request()
			if len(body) == 0 || s.BodyUnsigned {
				return false
			}
			v.BodyBase64 = slices.Clone(body)
			v.BodyBase64[len(body)/2] ^= 1
			return true
		},
		"another secret": func(v *Vector) bool {
			if v.Secret == "" {
				return false
			}
			prefix, rest := "", v.Secret
			if s.SecretPrefix != "" && strings.HasPrefix(rest, s.SecretPrefix) {
				prefix, rest = s.SecretPrefix, rest[len(s.SecretPrefix):]
			}
			if s.SecretEncoding == "base64" {
				raw, err := base64.StdEncoding.DecodeString(rest)
				if err != nil {
					return false
				}
				raw[0] ^= 1
				v.Secret = prefix + base64.StdEncoding.EncodeToString(raw)
				return true
			}
			v.Secret = prefix + rest + "x"
			return true
		},
		"no signature": func(v *Vector) bool {
			for _, name := range s.Signature.Header {
				deleteHeader(v.Headers, name)
			}
			switch sig := s.Signature; {
			case sig.Query != "":
				v.URL = strings.Replace(v.URL, sig.Query+"=", "x=", 1)
			case sig.Form != "":
				v.Body = strings.Replace(v.Body, sig.Form+"=", "x=", 1)
			case sig.JSON != "":
				v.Body, v.BodyBase64 = "{}", nil
			}
			return true
		},
	}
	if s.Timestamp != nil && !s.Timestamp.Off {
		step := int64(3600)
		if s.Tolerance != nil {
			step += 2 * int64(time.Duration(*s.Tolerance).Seconds()) // a vector may use it up
		}
		all["a clock far ahead"] = func(v *Vector) bool { v.Now += step; return true }
		all["a clock far behind"] = func(v *Vector) bool { v.Now -= step; return true }
		all["another time"] = func(v *Vector) bool { return appendFirst(v.Headers, s.Timestamp.Header, "1") }
	}
	if s.DeliveryID != nil && slices.ContainsFunc(s.Message, func(m string) bool { return strings.Contains(m, "{id}") }) {
		all["another id"] = func(v *Vector) bool { return appendFirst(v.Headers, s.DeliveryID.Header, "x") }
	}
	return all
}

func deleteHeader(h map[string]string, name string) {
	maps.DeleteFunc(h, func(k, _ string) bool { return strings.EqualFold(k, name) })
}

// appendFirst lengthens the first of the headers that is present: the one that counts.
func appendFirst(h map[string]string, names []string, more string) bool {
	for _, name := range names {
		for k := range h {
			if strings.EqualFold(k, name) {
				h[k] += more
				return true
			}
		}
	}
	return false
}

// TestFiles holds every file to the form that contributors are asked for.
func TestFiles(t *testing.T) {
	names, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(name, data)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.ID+".json" != name {
			t.Errorf("%s: id is %q: file and id must agree", name, p.ID)
		}
		for what, missing := range map[string]bool{
			"name": p.Name == "", "sources": len(p.Sources) == 0, "confidence": p.Confidence == "", "vectors": len(p.Vectors) == 0,
		} {
			if missing {
				t.Errorf("%s: %s is missing", name, what)
			}
		}
		for i, vec := range p.Vectors {
			if vec.Source == "" {
				t.Errorf("%s: vector %d has no source", name, i)
			}
			if vec.Expect != "genuine" && !slices.Contains(verifier.Reasons, verifier.Reason(vec.Expect)) {
				t.Errorf("%s: vector %d expects %q, which is no verdict", name, i, vec.Expect)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"unknown field":      {"{\"id\": \"a\",\n\"colour\": 1}", `provider file acme.json: line 2: unknown field "colour"`},
		"not JSON":           {"{\n\"id\": }", "line 2: invalid character"},
		"wrong type":         {`{"id": 1}`, "line 1: json: cannot unmarshal number"},
		"two objects":        {`{"id":"a","scheme":{"signature":{"header":"X"}}}{}`, "more text after"},
		"bad id":             {`{"id":"A b"}`, `id "A b": give it an id of lower-case letters`},
		"no signature":       {`{"id":"a"}`, "scheme: signature: missing"},
		"status 410":         {`{"id":"a","reject_status":410,"scheme":{"signature":{"header":"X"}}}`, "reject_status 410"},
		"slot without param": {`{"id":"a","scheme":{"signature":{"header":"X"},"message":"{param:hook}{body}"}}`, "{param:hook} has no value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("acme.json", []byte(tc.file))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	if p, err := Get("stripe"); err != nil || p.Name != "Stripe" {
		t.Errorf("Get(stripe) = %v, %v", p, err)
	}
	if _, err := Get("strpe"); err == nil || !strings.Contains(err.Error(), `did you mean "stripe"?`) {
		t.Errorf("Get(strpe): %v", err)
	}
	if _, err := Get("acme"); err == nil || !strings.Contains(err.Error(), "./acme.json") {
		t.Errorf("Get(acme): %v", err)
	}
}

func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("*.json")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("fuzz.json", data)
		if err != nil {
			return
		}
		for _, vec := range p.Vectors {
			vec.run(p) // must not panic, whatever the file says
		}
	})
}
