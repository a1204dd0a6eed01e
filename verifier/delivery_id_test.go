package verifier

import "testing"

// TestSignedID: an id counts as signed only if it can be recovered from the message:
// literals end it and everything before it, it is next to no slot, and no body
// precedes it.
func TestSignedID(t *testing.T) {
	header := &DeliveryID{Header: StringList{"X-Id"}}
	inJSON := &DeliveryID{JSON: "data.id"}
	inForm := &DeliveryID{Form: "id"}
	for _, tc := range []struct {
		message string
		id      *DeliveryID
		signed  bool
	}{
		{"{body}", header, false},
		{"{id}.{timestamp}.{body}", header, true},
		{"{header:x-id}.{timestamp}.{body}", header, true},
		{"v1.{id}.{timestamp}.{body}", header, true},
		{"{timestamp}.{id}.{body}", header, true},
		{"{method}\\n{uri}\\n{id}\\n{body}", header, true},
		{"{id}.{body|sha256|hex}.{timestamp}", header, true},
		{"{id}{timestamp}{body}", header, false},   // touches
		{"{id}{timestamp}.{body}", header, false},  // touches
		{"{timestamp}{id}.{body}", header, false},  // touches
		{"{timestamp}.{id}{body}", header, false},  // touches
		{"{timestamp}.{body}.{id}", header, false}, // follows the body
		{"{body}.{id}.{timestamp}", header, false},
		{"{body|sha256|hex}.{timestamp}.{id}", header, false}, // nothing ends it
		{"{uri}.{id}.{timestamp}.{body}", header, false},      // a URI may hold dots
		{"{host}:{id}:{timestamp}:{body}", header, false},
		{"{uri}|{id}|{timestamp}|{body}", header, true}, // but no bars
		{"{form_sorted}.{id}.{timestamp}.{body}", header, false},
		{"{id|sha256|hex}.{timestamp}.{body}", header, false}, // proves a digest, not the text
		{"{id|lower}.{timestamp}.{body}", header, false},
		{"{header:X-Other}.{timestamp}.{body}", header, false},

		{"{body}", inJSON, true},
		{"{timestamp}{body}", inJSON, true},
		{"{body|sha256|hex}", inJSON, true},
		{"{json:data.id}.{timestamp}.", inJSON, true},
		{"{id}.{timestamp}.", inJSON, true},
		{"{json:data.id}{timestamp}", inJSON, false},
		{"{timestamp}{id}", inJSON, true}, // ten digits, and all the rest
		{"v1:{timestamp}{json:data.id}", inJSON, true},
		{"{timestamp}{json:data.id}{method}", inJSON, false},
		{"{method}{timestamp}{id}", inJSON, false},
		{"{json:time}{id}", inJSON, false},
		{"{json:id}.{timestamp}.", inJSON, false},
		{"{body|crc32}.{timestamp}", inJSON, false},
		{"{timestamp}", inJSON, false},

		{"{body}", inForm, true},
		{"{form:id}.{timestamp}.", inForm, true},
		{"{form:id}{timestamp}", inForm, false},
		{"{form:other}.{timestamp}.", inForm, false},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) {
			s.Message, s.DeliveryID, s.BodyUnsigned = StringList{tc.message}, tc.id, true
			s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Off: true}
		}), Key{Text: testKey})
		if v.idSigned != tc.signed {
			t.Errorf("%s, id %+v: signed is %v", tc.message, *tc.id, v.idSigned)
		}
	}
	// with alternatives, the weakest counts
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.DeliveryID = StringList{"{id}.{body}", "{body}"}, header
	}), Key{Text: testKey})
	if v.idSigned {
		t.Error("an alternative without the id, and still signed")
	}
	// of two headers the message names one
	v = mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.DeliveryID = StringList{"{header:X-Id}.{body}"}, &DeliveryID{Header: StringList{"X-Other", "X-Id"}}
	}), Key{Text: testKey})
	if v.idSigned {
		t.Error("another header may be the id, and still signed")
	}
}

// TestDeliveryID: an ambiguous id is no id, and no reason to refuse a delivery that
// does not need it.
func TestDeliveryID(t *testing.T) {
	inJSON, inForm := &DeliveryID{JSON: "data.id"}, &DeliveryID{Form: "id"}
	for _, tc := range []struct {
		id         *DeliveryID
		body, want string
	}{
		{inJSON, `{"data":{"id":"a"}}`, "a"},
		{inJSON, `{"data":{"id":12}}`, "12"},
		{inJSON, `{"data":{"id":12.50}}`, "12.50"},
		{inJSON, `{"data":{"id":""}}`, ""},
		{inJSON, `{"data":{"id":null}}`, ""},
		{inJSON, `{"data":{"id":{}}}`, ""},
		{inJSON, `{"data":{"id":["a"]}}`, ""},
		{inJSON, `{"data":[{"id":"a"}]}`, ""},
		{inJSON, `{"data":{"id":"a","id":"a"}}`, ""},
		{inJSON, `{"data":{"id":"a"}} x`, ""},
		{inJSON, `not JSON`, ""},
		{inJSON, ``, ""},
		{inForm, "id=a&x=y", "a"},
		{inForm, "x=y&id=a%26b", "a&b"},
		{inForm, "id=a&id=a", ""},
		{inForm, "id=a&i%64=b", ""},
		{inForm, "id=a&x=%", ""},
		{inForm, "id=", ""},
		{inForm, "", ""},
	} {
		v := mustVerifier(t, bare(func(s *Scheme) { s.DeliveryID = tc.id }), Key{Text: testKey})
		id, signed := acceptedID(t, v, post("X-Signature", macOf(testKey, tc.body)), tc.body)
		if id != tc.want || signed != (tc.want != "") {
			t.Errorf("%s: got %q, signed %v, want %q", tc.body, id, signed, tc.want)
		}
	}

	s := bare(func(s *Scheme) { s.DeliveryID = &DeliveryID{Header: StringList{"webhook-id", "svix-id"}} })
	v := mustVerifier(t, s, Key{Text: testKey})
	for _, tc := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{"Webhook-Id", "a"}, "a"},
		{[]string{"Svix-Id", "b"}, "b"},
		{[]string{"Webhook-Id", "", "Svix-Id", "b"}, "b"},
		{[]string{"Svix-Id", "b", "Webhook-Id", "a"}, "a"},
	} {
		id, signed := acceptedID(t, v, post(append(tc.headers, "X-Signature", bodyHex)...), testBody)
		if id != tc.want || signed {
			t.Errorf("%q: got %q, signed %v", tc.headers, id, signed)
		}
	}
	s.DeliveryID.Off = true
	v = mustVerifier(t, s, Key{Text: testKey})
	if id, signed := acceptedID(t, v, post("Webhook-Id", "a", "X-Signature", bodyHex), testBody); id != "" || signed {
		t.Errorf("off: got %q, signed %v", id, signed)
	}
	// an id that the message needs
	v = mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.DeliveryID = StringList{"{id}.{body}"}, inJSON
	}), Key{Text: testKey})
	for _, body := range []string{`{"data":{}}`, `{"data":{"id":"a","id":"b"}}`, `x`} {
		expect(t, v, post("X-Signature", macOf(testKey, "."+body)), body, MissingHeader)
	}
}

func acceptedID(t *testing.T, v *Verifier, req *Request, body string) (string, bool) {
	t.Helper()
	check, _, err := v.Open(req, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := check.Verify([]byte(body)); err != nil {
		t.Fatal(err)
	}
	return check.DeliveryID([]byte(body))
}
