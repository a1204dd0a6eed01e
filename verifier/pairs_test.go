package verifier

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// TestJSONPairs: the first content and the one with null follow the examples in
// MyFatoorah's documentation.
func TestJSONPairs(t *testing.T) {
	const malformed = string(MalformedSignature)
	for name, tc := range map[string]struct{ body, want string }{
		"documented":                {`{"EventType":4,"Data":{"SupplierCode":11,"SupplierName":"test webhok 10","SupplierMobile":"123456","SupplierStatus":"REJECTED","KycFeedback":{"Comments":"missing documents"}}}`, "SupplierCode=11,SupplierMobile=123456,SupplierName=test webhok 10,SupplierStatus=REJECTED"},
		"any case":                  {`{"Data":{"b":"2","A":"1","C":"3"}}`, "A=1,b=2,C=3"},
		"null":                      {`{"Data":{"CustomerMobile":"96512345678","CustomerEmail":null,"CreatedDate":"04032021211555"}}`, "CreatedDate=04032021211555,CustomerEmail=,CustomerMobile=96512345678"},
		"numbers as written":        {`{"Data":{"a":1.50,"b":-0,"c":true}}`, "a=1.50,b=-0,c=true"},
		"escapes":                   {`{"Data":{"\u0061":"\u00e4\n"}}`, "a=ä\n"},
		"equals signs, a comma":     {`{"Data":{"a":"x=y","b":"x,y"}}`, "a=x=y,b=x,y"},
		"others beside":             {`{"Data":{"a":"1"},"Event":"x","data2":{"a":"2"}}`, "a=1"},
		"a pair in a text":          {`{"Data":{"a":"1,b=2"}}`, malformed},
		"a pair after some":         {`{"Data":{"a":"1,,x,b=2"}}`, malformed},
		"a name with =":             {`{"Data":{"a=1,b":"2"}}`, malformed},
		"a name with a comma":       {`{"Data":{"a,b":"2"}}`, malformed},
		"no name":                   {`{"Data":{"":"2"}}`, malformed},
		"an object":                 {`{"Data":{"a":{"b":1}}}`, malformed},
		"an array":                  {`{"Data":{"a":[]}}`, malformed},
		"an omitted object":         {`{"Data":{"KycFeedback":[1],"a":1}}`, "a=1"},
		"twins":                     {`{"Data":{"a":"1","a":"2"}}`, malformed},
		"the same twice":            {`{"Data":{"a":"1","a":"1"}}`, malformed},
		"hidden twins":              {`{"Data":{"a":"1","\u0061":"2"}}`, malformed},
		"twins in another case":     {`{"Data":{"a":"1","A":"2"}}`, malformed},
		"twins in another fold":     {`{"Data":{"k":"1","\u212a":"2"}}`, malformed},
		"null twins":                {`{"Data":{"a":"1","a":null}}`, malformed},
		"omitted twins":             {`{"Data":{"a":"1","KycFeedback":1,"KycFeedback":2}}`, malformed},
		"an omitted one's case":     {`{"Data":{"a":"1","KycFeedback":1,"kycfeedback":2}}`, malformed},
		"twin objects":              {`{"Data":{"a":"1"},"Data":{"a":"2"}}`, malformed},
		"hidden twin objects":       {`{"Data":{"a":"1"},"\u0044ata":{"a":"2"}}`, malformed},
		"twin objects, other case":  {`{"Data":{"a":"1"},"data":{"a":"2"}}`, malformed},
		"no such object":            {`{"data":{"a":"1"}}`, malformed},
		"nothing there":             {`{"Event":"x"}`, malformed},
		"null in its place":         {`{"Data":null}`, malformed},
		"a text in its place":       {`{"Data":"a=1"}`, malformed},
		"an array in its place":     {`{"Data":[{"a":"1"}]}`, malformed},
		"text behind":               {`{"Data":{"a":"1"}}{}`, malformed},
		"cut off":                   {`{"Data":{"a":"1"}`, malformed},
		"a trailing comma":          {`{"Data":{"a":"1",}}`, malformed},
		"invalid UTF-8":             {"{\"Data\":{\"a\":\"\xff\"}}", malformed},
		"a lone surrogate":          {`{"Data":{"a":"\ud83d"}}`, malformed},
		"more members than anybody": {`{"Data":{` + manyMembers(1001) + `}}`, malformed},
		"nothing":                   {``, malformed},
	} {
		if got := content(t, "{json_pairs:Data,KycFeedback}", tc.body); got != tc.want && !(tc.want == malformed && strings.HasPrefix(got, malformed)) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := content(t, "{json_pairs:Data}", `{"Data":{`+manyMembers(1000)+`}}`); strings.HasPrefix(got, malformed) {
		t.Errorf("a thousand members: %s", got)
	}
}

func manyMembers(n int) string {
	var all []string
	for i := range n {
		all = append(all, `"m`+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26)+`":0`)
	}
	return strings.Join(all, ",")
}

// TestFormPairs: the first content follows the example in Alipay's documentation.
func TestFormPairs(t *testing.T) {
	const malformed = string(MalformedSignature)
	for body, want := range map[string]string{
		"total_amount=2.00&body=%E5%A4%A7%E4%B9%90%E9%80%8F2.1&sign=x&notify_time=2016-07-19+14%3A10%3A49&sign_type=RSA2": "body=大乐透2.1&notify_time=2016-07-19 14:10:49&total_amount=2.00",
		"b=2&a=1&B=3":           malformed, // read as one by some
		"b=2&a=1&_=":            "_=&a=1&b=2",
		"a=&sign=1":             "a=",
		"sign=1&sign_type=2":    "",
		"a=x%3Dy&b=x%26y":       "a=x=y&b=x&y",
		"a=1%26b%3D2":           malformed,
		"a=1%26x%26b%3D2":       malformed,
		"a%3D1=2":               malformed,
		"a%26b=2":               malformed,
		"=2":                    malformed,
		"a=1&a=2":               malformed,
		"a=1&a=1":               malformed,
		"a=1&sign=1&sign=2":     malformed,
		"a=1&Sign=1&sign=2":     malformed,
		"a=1&sign%5B%5D=1&sign": malformed,
		"a=%zz":                 malformed,
	} {
		if got := content(t, "{form_pairs:sign,sign_type}", body); got != want && !(want == malformed && strings.HasPrefix(got, malformed)) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// TestFormPairsUnderAnotherType: an app that reads the body otherwise would read fields
// that nobody signed.
func TestFormPairsUnderAnotherType(t *testing.T) {
	v := mustVerifier(t, Scheme{Signature: &Signature{Form: "sign"}, Message: StringList{"{form_pairs:sign}"}, BodyUnsigned: true}, Key{Text: testKey})
	body := "a=1&b=2&sign=" + macOf(testKey, "a=1&b=2")
	expect(t, v, post(), body, genuine)
	expect(t, v, post("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), body, genuine)
	for _, other := range []string{"application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=utf-7"} {
		expect(t, v, post("Content-Type", other), body, MalformedSignature)
	}
	expect(t, v, post(), strings.Replace(body, "a=1", "a=2", 1), SignatureMismatch)
	expect(t, v, post(), strings.Replace(body, "a=1", "a=1&c=3", 1), SignatureMismatch)
}

func TestPairsErrors(t *testing.T) {
	for message, want := range map[string]string{
		"{json_pairs}":                 "needs a name",
		"{json_pairs:}":                "needs a name",
		"{json_pairs:,a}":              "write {form_pairs:",
		"{json_pairs:a,}":              "write {form_pairs:",
		"{json_pairs:a,b,,c}":          "write {form_pairs:",
		"{json_pairs:a[*]}":            "write {form_pairs:",
		"{json_pairs:a.}":              "write {form_pairs:",
		"{json_pairs:a}{json:c}":       "must be the whole message",
		"v1{json_pairs:a}":             "must be the whole message",
		"{json_pairs:a|sha256}":        "must be the whole message",
		"{form_pairs}":                 "needs a name",
		"{form_pairs:a,}":              "write {form_pairs:",
		"{form_pairs:a}{secret}":       "must be the whole message",
		"{form_pairs:a|hex}":           "must be the whole message",
		"{timestamp}.{form_pairs:a}":   "must be the whole message",
		"{form_pairs:a}{form_pairs:b}": "must be the whole message",
	} {
		err := validate(Scheme{Signature: &Signature{Form: "s"}, Message: StringList{message}, BodyUnsigned: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", message, err, want)
		}
	}
	for _, message := range []string{"{json_pairs:a}", "{form_pairs:sign}"} {
		if err := validate(bare(func(s *Scheme) { s.Message = StringList{message} })); err == nil {
			t.Errorf("%s is taken to cover the body", message)
		}
	}
}

// TestFormPairsAndIDs: what is left out of the message is not signed.
func TestFormPairsAndIDs(t *testing.T) {
	s := Scheme{Signature: &Signature{Form: "sign"}, Message: StringList{"{form_pairs:sign,sign_type}"}, BodyUnsigned: true}
	for field, want := range map[string]bool{"notify_id": true, "sign_type": false} {
		s.DeliveryID = &DeliveryID{Form: field}
		if signsID(s) != want {
			t.Errorf("%s: signed: %t, want %t", field, !want, want)
		}
	}
}

// FuzzPairs: what two bodies are signed as differs if their fields do.
func FuzzPairs(f *testing.F) {
	f.Add("a", "1", "b", "2", "a", "1,b=2", "c", "")
	f.Add("a", "1", "b", "2", "a", "1&b=2", "", "")
	f.Add("a", "x,y", "b", "2", "a", "x", "y,b", "2")
	f.Add("a", "=", "a=", "", "a", "", "A", "x")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i string) {
		object := func(pairs map[string]string) string {
			text, err := json.Marshal(map[string]any{"Data": pairs})
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		form := func(pairs map[string]string) string {
			values := make(url.Values)
			for name, value := range pairs {
				values.Set(name, value)
			}
			return values.Encode()
		}
		one, other := map[string]string{a: b, c: d}, map[string]string{e: g, h: i}
		if object(one) != object(other) { // invalid UTF-8 becomes one character
			if text := content(t, "{json_pairs:Data}", object(one)); text == content(t, "{json_pairs:Data}", object(other)) && !strings.HasPrefix(text, string(MalformedSignature)) {
				t.Fatalf("%s and %s are signed alike: %q", object(one), object(other), text)
			}
		}
		if form(one) != form(other) {
			if text := content(t, "{form_pairs:sign}", form(one)); text == content(t, "{form_pairs:sign}", form(other)) && !strings.HasPrefix(text, string(MalformedSignature)) && one["sign"]+other["sign"] == "" {
				t.Fatalf("%s and %s are signed alike: %q", form(one), form(other), text)
			}
		}
	})
}

// TestJSONIs: each message is for its own kind of deliveries. Otherwise who has seen one
// of a kind could present it as another, with members that nobody signed.
func TestJSONIs(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.Message, s.BodyUnsigned = StringList{"{json_is:kind=1}a={json:a},b={json:b?}", "{json_is:kind=2}c={json:c}"}, true
	}), Key{Text: testKey})
	for _, tc := range []struct {
		body, signed string
		want         string
	}{
		{`{"kind":1,"a":"x"}`, "a=x,b=", genuine},
		{`{"kind":"1","a":"x","b":"y"}`, "a=x,b=y", genuine},
		{`{"kind":2,"c":"x"}`, "c=x", genuine},
		{`{"kind":2,"a":"x","c":"z"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"kind":1,"a":"x","c":"z"}`, "c=z", string(SignatureMismatch)},
		{`{"kind":3,"a":"x"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"kind":null,"a":"x"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"a":"x"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"kind":1,"kind":1,"a":"x"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"kind":1,"Kind":2,"a":"x"}`, "a=x,b=", string(SignatureMismatch)},
		{`{"kind":1,"a":"x","a":"x"}`, "a=x,b=", string(MalformedSignature)},
		{`{"kind":1,"a":"x","c":1,"c":2}`, "a=x,b=", string(MalformedSignature)}, // what the other message signs
		{`{"kind":1,"a":"x","c":1,"C":2}`, "a=x,b=", string(MalformedSignature)},
		{`{"kind":1,"a":"x","d":1,"d":2}`, "a=x,b=", genuine}, // never signed
	} {
		expect(t, v, post("X-Signature", macOf(testKey, tc.signed)), tc.body, tc.want)
	}
	for body, want := range map[string]string{`{"kind":3,"a":"x"}`: "none of the kinds", `{"kind":1,"a":"x"}`: "no key matches"} {
		_, err := deliver(v, post("X-Signature", wrongHex), testNow, body)
		if rej := rejection(t, err); !strings.Contains(rej.Detail, want) {
			t.Errorf("%s: %s", body, rej)
		}
	}
	for message, want := range map[string]string{
		"{json_is:}{body}": "needs a name", "{json_is:a}{body}": "write {json_is:", "{json_is:=1}{body}": "write {json_is:", "{json_is:a=}{body}": "write {json_is:",
		"{json_is:a=1|hex}{body}": "takes no filters",
	} {
		if err := validate(bare(func(s *Scheme) { s.Message = StringList{message} })); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", message, err)
		}
	}
}
