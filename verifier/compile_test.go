package verifier

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSchemeErrors: every wrong scheme is a *SchemeError that names the field
// by its word and holds the remedy.
func TestSchemeErrors(t *testing.T) {
	duration := func(d time.Duration) *Duration { x := Duration(d); return &x }
	header := StringList{"X-H"}
	for _, tc := range []struct {
		what   string
		edit   func(*Scheme)
		field  string
		remedy []string
	}{
		{"algorithm", func(s *Scheme) { s.Algorithm = "hmac-md4" }, "algorithm", []string{`unknown algorithm`, "hmac-sha256, hmac-sha1", "ed25519"}},
		{"secret_encoding", func(s *Scheme) { s.SecretEncoding = "base32" }, "secret_encoding", []string{`"base32"`, "utf8, base64, base64url, hex"}},
		{"public_key_encoding", func(s *Scheme) { s.PublicKeyEncoding = "utf8" }, "public_key_encoding", []string{"base64, base64url, hex"}},
		{"key_derivation", func(s *Scheme) { s.KeyDerivation = "md5" }, "key_derivation", []string{"sha1, sha256"}},
		{"secret_normalize", func(s *Scheme) { s.SecretNormalize = "nfc" }, "secret_normalize", []string{"nfkd"}},

		{"no signature", func(s *Scheme) { s.Signature = nil }, "signature", []string{"signature header X-Signature"}},
		{"no signature header", func(s *Scheme) { s.Signature.Header = nil }, "signature", []string{"signature header X-Signature"}},
		{"empty signature header", func(s *Scheme) { s.Signature.Header = StringList{""} }, "signature", []string{"invalid header name"}},
		{"signature header with a colon", func(s *Scheme) { s.Signature.Header = StringList{"X:"} }, "signature", []string{"invalid header name"}},
		{"33 signature headers", func(s *Scheme) { s.Signature.Header = slices.Repeat(header, 33) }, "signature", []string{"33 headers or paths: at most 32"}},
		{"match", func(s *Scheme) { s.Signature.Match = "some" }, "signature", []string{"unknown match", "first_present, any, all"}},
		{"syntax", func(s *Scheme) { s.Signature.Syntax = "csv" }, "signature", []string{"raw, kv, list, positional, keyed_list, algorithm_prefix"}},
		{"encoding", func(s *Scheme) { s.Signature.Encoding = "utf8" }, "signature", []string{"hex, base64, base64url"}},
		{"kv without key", func(s *Scheme) { s.Signature.Syntax = "kv" }, "signature", []string{"kv needs key"}},
		{"positional without key", func(s *Scheme) { s.Signature.Syntax = "positional"; s.Signature.Names = []string{"a"} }, "signature", []string{"positional needs key"}},
		{"positional without names", func(s *Scheme) { s.Signature.Syntax = "positional"; s.Signature.Key = StringList{"a"} }, "signature", []string{"what each position means"}},
		{"positional, key not among names", func(s *Scheme) {
			s.Signature.Syntax, s.Signature.Key, s.Signature.Names = "positional", StringList{"a"}, []string{"b", "c"}
		}, "signature", []string{`"a" is not one of the names b, c`}},
		{"names with raw", func(s *Scheme) { s.Signature.Names = []string{"a"} }, "signature", []string{"names goes with positional, not with raw"}},
		{"list without accept", func(s *Scheme) { s.Signature.Syntax = "list" }, "signature", []string{"list needs accept"}},
		{"algorithm_prefix without accept", func(s *Scheme) { s.Signature.Syntax = "algorithm_prefix" }, "signature", []string{"algorithm_prefix needs accept"}},
		{"accept with raw", func(s *Scheme) { s.Signature.Accept = map[string]Algorithm{"v1": HMACSHA256} }, "signature", []string{"accept goes with list, algorithm_prefix"}},
		{"accept of an unknown algorithm", func(s *Scheme) {
			s.Signature.Syntax, s.Signature.Accept = "list", map[string]Algorithm{"v1": "none"}
		}, "signature", []string{`accept v1: unknown algorithm "none"`, "hmac-sha256"}},
		{"prefix with kv", func(s *Scheme) { s.Signature.Syntax, s.Signature.Key, s.Signature.Prefix = "kv", header, "a" }, "signature", []string{"prefix goes with raw"}},
		{"optional prefix with list", func(s *Scheme) {
			s.Signature.Syntax, s.Signature.Accept, s.Signature.PrefixOptional = "list", map[string]Algorithm{"v1": HMACSHA256}, true
		}, "signature", []string{"prefix goes with raw"}},
		{"key with raw", func(s *Scheme) { s.Signature.Key = header }, "signature", []string{"key goes with kv, positional, keyed_list"}},
		{"key with list", func(s *Scheme) {
			s.Signature.Syntax, s.Signature.Accept, s.Signature.Key = "list", map[string]Algorithm{"v1": HMACSHA256}, header
		}, "signature", []string{"key goes with kv"}},
		{"slot in prefix", func(s *Scheme) { s.Signature.Prefix = "{timestamp}=" }, "signature", []string{"only text and {param:…}"}},
		{"prefix without its param", func(s *Scheme) { s.Signature.Prefix = "{param:acc}=" }, "signature", []string{"param acc <value>"}},
		{"open brace in prefix", func(s *Scheme) { s.Signature.Prefix = "{x" }, "signature", []string{`\{`}},

		{"message without body", func(s *Scheme) { s.Message = StringList{"{method}"} }, "message", []string{"Put {body}", "body_unsigned"}},
		{"empty message", func(s *Scheme) { s.Message = StringList{""} }, "message", []string{"Put {body}"}},
		{"one of two messages without body", func(s *Scheme) { s.Message = StringList{"{body}", "{method}"} }, "message", []string{"Put {body}"}},
		{"body through crc32", func(s *Scheme) { s.Message = StringList{"{body|crc32}"} }, "message", []string{"does not cover the body"}},
		{"body in lower case", func(s *Scheme) { s.Message = StringList{"{body|lower}"} }, "message", []string{"does not cover the body"}},
		{"digest in lower case", func(s *Scheme) { s.Message = StringList{"{body|sha256|lower}"} }, "message", []string{"does not cover the body"}},
		{"crc32 of a digest", func(s *Scheme) { s.Message = StringList{"{body|sha256|crc32}"} }, "message", []string{"does not cover the body"}},
		{"form_sorted is not the body", func(s *Scheme) { s.Message = StringList{"{form_sorted}"} }, "message", []string{"does not cover the body"}},
		{"unknown slot", func(s *Scheme) { s.Message = StringList{"{bdy}"} }, "message", []string{"{bdy}", "{body}", "{header:…}"}},
		{"nested slot", func(s *Scheme) { s.Message = StringList{"{{body}}"} }, "message", []string{"unknown slot {{body}"}},
		{"placeholder of Caddy", func(s *Scheme) { s.Message = StringList{"{http.request.body}"} }, "message", []string{"unknown slot", "{body}"}},
		{"unknown filter", func(s *Scheme) { s.Message = StringList{"{body|sha3}"} }, "message", []string{`"sha3"`, "base64 base64url crc32 hex json lower md5 sha1 sha256 sha512 upper"}},
		{"empty filter", func(s *Scheme) { s.Message = StringList{"{body|}"} }, "message", []string{`unknown filter ""`}},
		{"open brace", func(s *Scheme) { s.Message = StringList{"{body} {"} }, "message", []string{`write \{`}},
		{"closing brace", func(s *Scheme) { s.Message = StringList{"{body} }"} }, "message", []string{`write \}`}},
		{"backslash at the end", func(s *Scheme) { s.Message = StringList{`{body}\`} }, "message", []string{`write \\`}},
		{"unknown escape", func(s *Scheme) { s.Message = StringList{`{body}\x`} }, "message", []string{`\x: known are \n`}},
		{"body with a name", func(s *Scheme) { s.Message = StringList{"{body:x}"} }, "message", []string{"{body} takes no name"}},
		{"header without a name", func(s *Scheme) { s.Message = StringList{"{header}{body}"} }, "message", []string{"{header:…}"}},
		{"header with an empty name", func(s *Scheme) { s.Message = StringList{"{header:}{body}"} }, "message", []string{"{header:…}"}},
		{"header with a space", func(s *Scheme) { s.Message = StringList{"{header:X Y}{body}"} }, "message", []string{"invalid header name"}},
		{"json with a wrong path", func(s *Scheme) { s.Message = StringList{"{json:a..b}{body}"} }, "message", []string{"data.id, items[0].id"}},
		{"param without a value", func(s *Scheme) { s.Message = StringList{"{param:hook}{body}"} }, "message", []string{"param hook <value>"}},
		{"param with an empty value", func(s *Scheme) {
			s.Message, s.Params = StringList{"{param:hook}{body}"}, map[string]string{"hook": ""}
		}, "message", []string{"param hook <value>"}},
		{"param with a filter", func(s *Scheme) { s.Message = StringList{"{param:hook|hex}{body}"} }, "message", []string{"takes no filters"}},
		{"timestamp without a source", func(s *Scheme) { s.Message = StringList{"{timestamp}.{body}"} }, "message", []string{"add a timestamp line"}},
		{"id without a source", func(s *Scheme) { s.Message = StringList{"{id}.{body}"} }, "message", []string{"add a delivery_id line"}},

		{"tolerance without a timestamp", func(s *Scheme) { s.Tolerance = duration(time.Minute) }, "tolerance", []string{"add one, or drop tolerance"}},
		{"tolerance zero", timedEdit(func(s *Scheme) { s.Tolerance = duration(0) }), "tolerance", []string{"timestamp off"}},
		{"tolerance negative", timedEdit(func(s *Scheme) { s.Tolerance = duration(-time.Minute) }), "tolerance", []string{"positive", "timestamp off"}},
		{"timestamp without a place", timedEdit(func(s *Scheme) { s.Timestamp.Header = nil }), "timestamp", []string{"header, kv, json, form or claim"}},
		{"timestamp in two places", timedEdit(func(s *Scheme) { s.Timestamp.JSON = "at" }), "timestamp", []string{"exactly one source"}},
		{"timestamp header", timedEdit(func(s *Scheme) { s.Timestamp.Header = StringList{"X Y"} }), "timestamp", []string{"invalid header name"}},
		{"timestamp unit", timedEdit(func(s *Scheme) { s.Timestamp.Unit = "ns" }), "timestamp", []string{"s, ms, us, rfc3339, iso8601_utc, http_date"}},
		{"timestamp kv with raw", timedEdit(func(s *Scheme) { s.Timestamp = &Timestamp{KV: "t"} }), "timestamp", []string{"syntax is raw, which has no keys"}},
		{"timestamp kv is the signature", timedEdit(func(s *Scheme) {
			s.Timestamp, s.Signature.Syntax, s.Signature.Key = &Timestamp{KV: "t"}, "kv", StringList{"t"}
		}), "timestamp", []string{"carries the signature"}},
		{"timestamp kv is no name", timedEdit(func(s *Scheme) {
			s.Timestamp, s.Signature.Syntax, s.Signature.Key, s.Signature.Names = &Timestamp{KV: "t"}, "positional", StringList{"s"}, []string{"s", "u"}
		}), "timestamp", []string{"not one of the names s, u"}},
		{"timestamp path", timedEdit(func(s *Scheme) { s.Timestamp = &Timestamp{JSON: "a."} }), "timestamp", []string{"items[0].id"}},
		{"timestamp not signed", timedEdit(func(s *Scheme) { s.Message = nil }), "timestamp", []string{"put {timestamp}", "timestamp off"}},
		{"timestamp not signed in one of two", timedEdit(func(s *Scheme) { s.Message = StringList{"{timestamp}{body}", "{body}"} }), "timestamp", []string{"timestamp off"}},
		{"timestamp in the body, which is not signed", timedEdit(func(s *Scheme) {
			s.Timestamp, s.Message, s.BodyUnsigned = &Timestamp{JSON: "at"}, StringList{"{method}"}, true
		}), "timestamp", []string{"put {timestamp}"}},
		{"one of two timestamp headers signed", timedEdit(func(s *Scheme) {
			s.Timestamp.Header, s.Message = StringList{"X-T", "X-U"}, StringList{"{header:X-T}.{body}"}
		}), "timestamp", []string{"put {timestamp}"}},

		{"id without a place", func(s *Scheme) { s.DeliveryID = &DeliveryID{} }, "delivery_id", []string{"header, json, form or claim"}},
		{"id in two places", func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: header, JSON: "id"} }, "delivery_id", []string{"exactly one source"}},
		{"id header", func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: StringList{"é"}} }, "delivery_id", []string{"invalid header name"}},
		{"id path", func(s *Scheme) { s.DeliveryID = &DeliveryID{JSON: "[x]"} }, "delivery_id", []string{"items[0].id"}},

		{"required header", func(s *Scheme) { s.RequireHeader = []RequiredHeader{{Name: "", Values: header}} }, "require_header", []string{"invalid header name"}},
		{"required without a value", func(s *Scheme) { s.RequireHeader = []RequiredHeader{{Name: "X"}} }, "require_header", []string{"* for any"}},
		{"required empty value", func(s *Scheme) { s.RequireHeader = []RequiredHeader{{Name: "X", Values: StringList{"a", ""}}} }, "require_header", []string{"an empty value"}},

		{"public_url without a scheme", func(s *Scheme) { s.PublicURL = "hooks.example.com" }, "public_url", []string{"https://hooks.example.com"}},
		{"public_url of another scheme", func(s *Scheme) { s.PublicURL = "ftp://x" }, "public_url", []string{"https://hooks.example.com"}},
		{"public_url with a path", func(s *Scheme) { s.PublicURL = "https://x/hooks" }, "public_url", []string{"no path"}},
		{"public_url with a query", func(s *Scheme) { s.PublicURL = "https://x?y=z" }, "public_url", []string{"no path"}},
		{"public_url without a host", func(s *Scheme) { s.PublicURL = "https://" }, "public_url", []string{"no path"}},
		{"public_url that is none", func(s *Scheme) { s.PublicURL = "https://[x" }, "public_url", []string{"no path"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s := bare(tc.edit)
			err := validate(s)
			schemeErr, ok := errors.AsType[*SchemeError](err)
			if !ok || schemeErr.Field != tc.field {
				t.Fatalf("got %v, want a *SchemeError of %s", err, tc.field)
			}
			for _, remedy := range tc.remedy {
				if !strings.Contains(err.Error(), remedy) {
					t.Errorf("%q does not say %q", err, remedy)
				}
			}
			const hidden = "S3cr3t-key"
			_, newErr := New(s, []Key{{Text: hidden}})
			if newErr == nil || newErr.Error() != err.Error() || strings.Contains(newErr.Error(), hidden) {
				t.Errorf("New says %v, Validate says %v", newErr, err)
			}
		})
	}

	_, err := New(bare(nil), nil)
	if schemeErr, ok := errors.AsType[*SchemeError](err); !ok || schemeErr.Field != "secret" {
		t.Errorf("no key: got %v", err)
	}
}

func timedEdit(edit func(*Scheme)) func(*Scheme) {
	return func(s *Scheme) {
		s.Message, s.Timestamp = StringList{"{timestamp}.{body}"}, &Timestamp{Header: StringList{"X-Time"}}
		edit(s)
	}
}

// TestSchemesThatHold: valid schemes that resemble the errors above.
func TestSchemesThatHold(t *testing.T) {
	for what, edit := range map[string]func(*Scheme){
		"defaults":                  nil,
		"digest of the body":        func(s *Scheme) { s.Message = StringList{"{body|sha256|base64}"} },
		"hex digest in upper case":  func(s *Scheme) { s.Message = StringList{"{body|sha256|hex|upper}"} },
		"digest of a digest":        func(s *Scheme) { s.Message = StringList{"{body|md5|hex|sha256}"} },
		"nothing of the body":       func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{"{json:id}"}, true },
		"32 headers":                func(s *Scheme) { s.Signature.Header = slices.Repeat(StringList{"X-H"}, 32) },
		"timestamp off, not signed": func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-T"}, Off: true} },
		"timestamp in the body":     func(s *Scheme) { s.Timestamp = &Timestamp{JSON: "at"} },
		"timestamp as a header slot": func(s *Scheme) {
			s.Timestamp, s.Message = &Timestamp{Header: StringList{"x-t"}}, StringList{"{header:X-T}.{body}"}
		},
		"timestamp in a signed member": func(s *Scheme) {
			s.Timestamp, s.Message, s.BodyUnsigned = &Timestamp{JSON: "a.b"}, StringList{"{json:a.b}{json:c}"}, true
		},
		"public_url with a slash and a port": func(s *Scheme) { s.PublicURL = "http://h:8080/" },
	} {
		if err := validate(bare(edit)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSchemeIsNotChanged: New does not modify the caller's data; all handlers share a
// provider's scheme.
func TestSchemeIsNotChanged(t *testing.T) {
	text := `{"signature":{"header":["x-sig","X-SIG-2"],"match":"any"},"message":"{timestamp}.{body}","timestamp":{"header":"x-time"},"tolerance":"1m0s","delivery_id":{"header":"x-id"},"require_header":[{"name":"x-team","values":"blue"}]}`
	var s Scheme
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	mustVerifier(t, s, Key{Text: testKey})
	if again, err := json.Marshal(s); err != nil || string(again) != text {
		t.Errorf("%s, %v", again, err)
	}
	if got := s.HeaderNames(); !slices.Equal(got, []string{"x-sig", "X-SIG-2", "x-time", "x-id", "x-team"}) {
		t.Errorf("HeaderNames: %q", got)
	}
}

// TestSchemeJSON: a list may be one string; durations are text or nanoseconds.
func TestSchemeJSON(t *testing.T) {
	var s Scheme
	if err := json.Unmarshal([]byte(`{"message":["a","b"],"tolerance":90000000000,"signature":{"header":"X"}}`), &s); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Message, StringList{"a", "b"}) || *s.Tolerance != Duration(90*time.Second) || !slices.Equal(s.Signature.Header, StringList{"X"}) {
		t.Errorf("got %+v", s)
	}
	for text, want := range map[string]string{
		`{"tolerance":"5 minutes"}`: "5m",
		`{"tolerance":[]}`:          "5m",
		`{"message":1}`:             "cannot unmarshal",
		`{"message":["a",1]}`:       "cannot unmarshal",
	} {
		if err := json.Unmarshal([]byte(text), new(Scheme)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParamNames(t *testing.T) {
	text := `{"message":["{param:hook_id}.{body}","{param:hook}{param:hook_id}"],"signature":{"prefix":"{param:app}="},"claims":{"iss":"{param:key?}","jti":"{uuid}"},"require_json":{"TopicArn":"{param:topic}"}}`
	var s Scheme
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	s.Params = map[string]string{"other": "{param:never}"}
	got := s.ParamNames()
	slices.Sort(got)
	if !slices.Equal(got, []string{"app", "hook", "hook_id", "key", "topic"}) {
		t.Errorf("got %q", got)
	}
}
