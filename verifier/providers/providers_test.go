package providers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// TestEveryVectorSaysItsProof: nobody guesses it from the words of the source.
func TestEveryVectorSaysItsProof(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for i := range p.Vectors {
			if proof := p.Vectors[i].Proof; !slices.Contains(Proofs, proof) {
				t.Errorf("%s.json: vectors[%d]: proof %q is none of %q", p.ID, i, string(proof), Proofs)
			}
		}
	}
}

// TestWhoReadsTheAnswer: those who use the app's response to ordinary deliveries, such as
// the next step of a call or what to show to a user, and those who use that to a few
// other requests. All others use none.
func TestWhoReadsTheAnswer(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	var toAll, toSome []string
	for _, p := range all {
		switch {
		case p.ReadsAnswer:
			toAll = append(toAll, p.ID)
		case p.ReadsAnswerTo != "":
			toSome = append(toSome, p.ID)
		}
	}
	if want := []string{
		"bandwidth", "discord", "hubspot_v2", "plivo_v2", "plivo_v3", "signalwire",
		"signalwire_relay", "sinch_app", "slack", "supabase_auth", "teams_outgoing", "telegram", "telnyx", "twilio", "vapi", "vonage",
	}; !slices.Equal(toAll, want) {
		t.Errorf("to ordinary deliveries: %q, want %q", toAll, want)
	}
	if want := []string{
		"airship", "bolt", "commercelayer", "contentful", "envoy", "fastspring", "frameio", "front",
		"fusionauth", "fusionauth_public_key", "getstream", "helpscout", "hubspot", "lark", "lithic",
		"messagebird", "messagebird_jwt", "meta", "monday_apps", "okta", "paddle_classic", "persona",
		"plain", "retell", "saleor", "shopify", "stripe", "upstash_qstash", "viber", "wix", "workos",
	}; !slices.Equal(toSome, want) {
		t.Errorf("to some requests: %q, want %q", toSome, want)
	}
}

// TestReadsAnswerTo: what is not a noun phrase of one line is refused, as is a file that
// says both.
func TestReadsAnswerTo(t *testing.T) {
	const phrase = "reads_answer_to: write a noun phrase of at most 100 characters"
	for fields, want := range map[string]string{
		`"reads_answer_to":""`:                                  "",
		`"reads_answer":true,"reads_answer_to":""`:              "",
		`"reads_answer_to":"inline hooks"`:                      "",
		`"reads_answer_to":"` + strings.Repeat("ü", 100) + `"`:  "",
		`"reads_answer_to":"` + strings.Repeat("ü", 101) + `"`:  phrase,
		`"reads_answer_to":"inline hooks."`:                     phrase,
		`"reads_answer_to":" inline hooks"`:                     phrase,
		`"reads_answer_to":"inline\nhooks"`:                     phrase,
		`"reads_answer":true,"reads_answer_to":"inline hooks"`:  "reads_answer and reads_answer_to: keep one",
		`"reads_answer":false,"reads_answer_to":"inline hooks"`: "",
	} {
		_, err := Parse("acme.json", []byte(`{"id":"a","scheme":{"signature":{"header":"X"}},`+fields+`}`))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), "provider file acme.json: "+want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"unknown field":      {"{\"id\": \"a\",\n\"colour\": 1}", `provider file acme.json: line 2: unknown field "colour"`},
		"near a field":       {"{\"id\": \"a\",\n\"scheme\": {\n\"signatur\": 1}}", `line 3: unknown field "signatur" of scheme: did you mean "signature"?`},
		"not JSON":           {"{\n\"id\": }", "line 2: invalid character"},
		"wrong type":         {`{"id": 1}`, "line 1: id: write a text in double quotes"},
		"known elsewhere":    {"{\"id\": \"span\",\n\"retry\": {\n\"header\": \"X\"}}", `line 3: unknown field "header" of retry: known are schedule, span`},
		"in a list":          {"{\"id\": \"a\", \"sources\": [\n{},\n{\"link\": \"X\"}]}", `line 3: unknown field "link" of sources[1]: known are proves, read, url`},
		"in a map":           {"{\"id\": \"a\", \"scheme\": {\"claims\": {\n\"a\": 1}}}", `line 2: scheme.claims.a: write a text in double quotes`},
		"in a handshake":     {"{\"id\": \"a\", \"handshake\": [{\"when\": {\n\"methd\": {}}}]}", `line 2: unknown field "methd" of handshake[0].when: did you mean "method"?`},
		"no text or list":    {"{\"id\": \"a\",\n\"event_header\": {}}", `line 2: event_header: write a text in double quotes, or a list of such`},
		"no list":            {"\n{\"id\": \"a\",\n\"aliases\": \"b\"}", `line 3: aliases: write a list: […]`},
		"no object":          {"{\"id\": \"a\",\n\"retry\": \"daily\"}", `line 2: retry: write an object: {…}`},
		"no duration":        {"{\"id\": \"a\",\n\"retry\": {\"span\": \"3 days\"}}", `line 2: retry.span: write a duration such as`},
		"no boolean":         {"{\"id\": \"a\",\n\"unique_id\": \"true\"}", `line 2: unique_id: write true or false, without quotes`},
		"no number":          {"{\"id\": \"a\",\n\"max_body\": \"1\"}", `line 2: max_body: write a whole number, without quotes`},
		"a list alone":       {`["a"]`, `line 1: write an object: {…}`},
		"two objects":        {`{"id":"a","scheme":{"signature":{"header":"X"}}}{}`, "more text after"},
		"bad id":             {`{"id":"A b"}`, `id "A b": give it an id of lower-case letters`},
		"no signature":       {`{"id":"a"}`, "scheme: signature: missing"},
		"long place of key":  {`{"id":"a","key":{"where":"` + strings.Repeat("x", 301) + `"},"scheme":{"signature":{"header":"X"}}}`, "key: where"},
		"two lines on keys":  {`{"id":"a","key":{"rotation":"a\nb"},"scheme":{"signature":{"header":"X"}}}`, "key: rotation"},
		"two lines of key":   {`{"id":"a","key":{"where":"a\nb"},"scheme":{"signature":{"header":"X"}}}`, "key: where"},
		"empty prefix":       {`{"id":"a","key":{"prefix":""},"scheme":{"signature":{"header":"X"}}}`, `key: prefix ""`},
		"prefix of words":    {`{"id":"a","key":{"prefix":"begins with"},"scheme":{"signature":{"header":"X"}}}`, `key: prefix "begins with"`},
		"short length":       {`{"id":"a","key":{"min_length":-1},"scheme":{"signature":{"header":"X"}}}`, "key: min_length -1"},
		"negative wait":      {`{"id":"a","answer_within":"-1s","scheme":{"signature":{"header":"X"}}}`, "answer_within"},
		"status 410":         {`{"id":"a","reject_status":410,"scheme":{"signature":{"header":"X"}}}`, "reject_status 410"},
		"event no header":    {`{"id":"a","event_header":["X-A","X B"],"scheme":{"signature":{"header":"X"}}}`, `event_header "X B": write a header's name`},
		"origin no header":   {`{"id":"a","event_header":"X-A","origin_header":["X B"],"scheme":{"signature":{"header":"X"}}}`, `origin_header "X B": write a header's name`},
		"retry no header":    {`{"id":"a","retry_header":["X-A","X B"],"scheme":{"signature":{"header":"X"}}}`, `retry_header "X B": write a header's name`},
		"event empty":        {`{"id":"a","event_header":"","scheme":{"signature":{"header":"X"}}}`, `event_header "": write`},
		"event misspelt":     {"{\"id\":\"a\",\n\"event_heder\":\"X\"}", `did you mean "event_header"?`},
		"no such date":       {`{"id":"a","scheme":{"signature":{"header":"X"}},"sources":[{"read":"2026-02-28"},{"read":"2026-02-29"}]}`, `sources[1]: read "2026-02-29": write the date on which the source was read as YYYY-MM-DD`},
		"date of another":    {`{"id":"a","scheme":{"signature":{"header":"X"}},"sources":[{"read":"29.11.2026"}]}`, `sources[0]: read "29.11.2026": write`},
		"date with a time":   {`{"id":"a","scheme":{"signature":{"header":"X"}},"sources":[{"read":"2026-11-29T10:00:00Z"}]}`, `sources[0]: read "2026-11-29T10:00:00Z": write`},
		"varies is no path":  {`{"id":"a","scheme":{"signature":{"header":"X"},"varies":"a..b"}}`, "scheme: varies: write a JSON path"},
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
	for _, id := range []string{"Stripe", "STRIPE", "Cisco_Webex"} {
		if p, err := Get(id); err != nil || !strings.EqualFold(p.ID, strings.TrimPrefix(strings.ToLower(id), "cisco_")) {
			t.Errorf("%s: %v, %v", id, p, err)
		}
	}
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

// TestStrongestProof: of the genuine vectors alone the strongest proof counts.
func TestStrongestProof(t *testing.T) {
	for _, tc := range []struct {
		vectors []Vector
		want    Proof
		words   string
	}{
		{nil, "", "none"},
		{[]Vector{{Expect: "genuine"}}, "", "none"},
		{[]Vector{{Proof: OpenSSL, Expect: "genuine"}}, OpenSSL, "openssl"},
		{[]Vector{{Proof: Construction, Expect: "genuine"}, {Proof: VendorSDK, Expect: "genuine"}, {Proof: Library, Expect: "genuine"}}, VendorSDK, "vendor SDK"},
		{[]Vector{{Proof: Construction, Expect: "genuine"}, {Proof: VendorDoc, Expect: "signature_mismatch"}}, Construction, "construction"},
	} {
		p := &Provider{Vectors: tc.vectors}
		if got := p.Proof(); got != tc.want || got.String() != tc.words {
			t.Errorf("%v: %q (%s), want %q", tc.vectors, string(got), got, string(tc.want))
		}
	}
}

// TestExamples: the example keys are keys of their schemes.
func TestExamples(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	signable := 0
	for _, p := range all {
		scheme := p.Scheme
		scheme.Params = p.ExampleParams()
		for _, key := range []verifier.Key{{Text: p.ExampleSecret()}, {Text: p.ExamplePublicKey(), Kind: verifier.PublicKey}} {
			if key.Text == "" {
				continue
			}
			if _, err := verifier.New(scheme, []verifier.Key{key}); err != nil {
				t.Errorf("%s: example key: %v", p.ID, err)
			}
		}
		if p.ExampleSecret() == "" && p.ExamplePublicKey() == "" {
			t.Errorf("%s: no example key", p.ID)
		}
		if p.Signable() {
			signable++
		}
	}
	if signable < len(all)/2 {
		t.Errorf("%d of %d can be signed", signable, len(all))
	}
}

// TestAliases: an alias is found without reading the whole catalogue, and is the
// provider itself.
func TestAliases(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, p := range all {
		for _, alias := range append([]string{p.ID}, p.Aliases...) {
			seen++
			if got, err := Get(alias); err != nil || got != p {
				t.Errorf("Get(%s) = %p, %v; want %s %p", alias, got, err, p.ID, p)
			}
		}
	}
	if seen == len(all) {
		t.Error("no provider has an alias")
	}
}

// TestProviderRoundTrip: a configuration that holds a provider is read again.
func TestProviderRoundTrip(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.json", data)
		if err != nil {
			t.Errorf("%v in %s", err, data)
			continue
		}
		if written, err := json.Marshal(again); err != nil || string(written) != string(data) {
			t.Errorf("%s: %s became %s, %v", p.ID, data, written, err)
		}
	}
}

// TestOptionalParams: a handshake that names an optional param waits for it, one
// that names another is asked for.
func TestOptionalParams(t *testing.T) {
	websub, err := Get("websub")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(websub.Handshakes(nil)); n != 1 {
		t.Errorf("%d handshakes without params, want 1", n)
	}
	if n := len(websub.Handshakes(map[string]string{"unsubscribe": "x"})); n != 2 {
		t.Errorf("%d handshakes with unsubscribe, want 2", n)
	}
	scheme := websub.Scheme
	scheme.Handshakes = websub.Handshakes(nil)
	if _, err := verifier.Compile(scheme); err == nil || !strings.Contains(err.Error(), "param topic <value>") {
		t.Errorf("got %v, want an error that names param topic", err)
	}
}

// FuzzParse: no file makes it panic. FuzzRun of package check runs what it reads.
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
		Parse("fuzz.json", data)
	})
}

// TestSearch finds a word in id, name, alias and category.
func TestSearch(t *testing.T) {
	for word, want := range map[string][]string{
		"tripe": {"stripe"}, "amazon sns": {"aws_sns", "aws_sns_v1"}, "CISCO_webex": {"webex"}, "qqq": {}, "ayments": {"alipay", "stripe", "mollie"},
	} {
		found, err := Search(word)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, p := range found {
			ids = append(ids, p.ID)
		}
		for _, id := range want {
			if !slices.Contains(ids, id) {
				t.Errorf("%q: no %s in %q", word, id, ids)
			}
		}
		if len(ids) > len(want) && word != "ayments" {
			t.Errorf("%q: %q, want %q", word, ids, want)
		}
	}
}
