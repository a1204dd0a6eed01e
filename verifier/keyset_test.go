package verifier

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

const (
	profileA = "https://a.example/.well-known/ucp"
	profileB = "https://b.example/.well-known/ucp"
)

// keySets is a scheme of two senders with a key set each.
func keySets() Scheme {
	return bare(func(s *Scheme) {
		s.Algorithm = Ed25519
		s.KeySet = &KeySet{Header: "Ucp-Agent", Member: "profile"}
		s.KeySource = &KeySource{Sets: []string{profileA, profileB}}
	})
}

// ownSet makes a key, and the set with it under the id "k".
func ownSet(t *testing.T) (string, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`, private
}

// TestKeySet: a delivery is verified with the keys of the set that it names and no
// others, and names one that the receiver trusts or is refused before any fetch.
func TestKeySet(t *testing.T) {
	setA, a := ownSet(t)
	setB, b := ownSet(t)
	_, stranger := ownSet(t)
	v := mustVerifier(t, keySets(), Key{Kind: PublicKey, Text: setA, ID: profileA}, Key{Kind: PublicKey, Text: setB, ID: profileB})
	sign := func(key ed25519.PrivateKey) string { return hex.EncodeToString(ed25519.Sign(key, []byte(testBody))) }
	for name, tc := range map[string]struct {
		key    ed25519.PrivateKey
		agents []string
		want   string
		fetch  string // the address that the caller may fetch
	}{
		"a":                          {key: a, agents: []string{`profile="` + profileA + `"`}, want: genuine},
		"b":                          {key: b, agents: []string{`profile="` + profileB + `"`}, want: genuine},
		"with another member":        {key: b, agents: []string{`version="1" , profile="` + profileB + `"	, other=1`}, want: genuine},
		"a as b":                     {key: a, agents: []string{`profile="` + profileB + `"`}, want: string(SignatureMismatch), fetch: profileB},
		"b as a":                     {key: b, agents: []string{`profile="` + profileA + `"`}, want: string(SignatureMismatch), fetch: profileA},
		"a stranger as a":            {key: stranger, agents: []string{`profile="` + profileA + `"`}, want: string(SignatureMismatch), fetch: profileA},
		"a stranger's own":           {key: stranger, agents: []string{`profile="https://attacker.example/.well-known/ucp"`}, want: string(MalformedSignature)},
		"unnamed":                    {key: a, want: string(MissingHeader)},
		"empty":                      {key: a, agents: []string{""}, want: string(MissingHeader)},
		"two lines":                  {key: a, agents: []string{`profile="` + profileA + `"`, `profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"two profiles":               {key: a, agents: []string{`profile="` + profileB + `", profile="` + profileA + `"`}, want: string(MalformedSignature)},
		"another member":             {key: a, agents: []string{`profiles="` + profileA + `"`}, want: string(MalformedSignature)},
		"in capitals":                {key: a, agents: []string{`profile="` + strings.ToUpper(profileA) + `"`}, want: string(MalformedSignature)},
		"not a string":               {key: a, agents: []string{`profile=` + profileA}, want: string(MalformedSignature)},
		"a token":                    {key: a, agents: []string{`profile=a`}, want: string(MalformedSignature)},
		"a list":                     {key: a, agents: []string{`profile=("` + profileA + `")`}, want: string(MalformedSignature)},
		"true":                       {key: a, agents: []string{`profile`}, want: string(MalformedSignature)},
		"no dictionary":              {key: a, agents: []string{profileA}, want: string(MalformedSignature)},
		"an address inside another":  {key: a, agents: []string{`profile="` + profileA + `?x"`}, want: string(MalformedSignature)},
		"with a slash at the end":    {key: a, agents: []string{`profile="` + profileA + `/"`}, want: string(MalformedSignature)},
		"a plain address":            {key: a, agents: []string{`profile="` + strings.Replace(profileA, "https", "http", 1) + `"`}, want: string(MalformedSignature)},
		"an address behind another":  {key: a, agents: []string{`profile="` + profileA + ` ` + profileB + `"`}, want: string(MalformedSignature)},
		"with a parameter":           {key: b, agents: []string{`profile="` + profileB + `";version="1"`}, want: string(MalformedSignature)},
		"a's in a parameter":         {key: b, agents: []string{`v=1;profile="` + profileA + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's in one behind":          {key: b, agents: []string{`profile="` + profileB + `";profile="` + profileA + `"`}, want: string(MalformedSignature)},
		"a's in a longer name":       {key: b, agents: []string{`x-profile="` + profileA + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's in a longer name, last": {key: b, agents: []string{`profile="` + profileB + `", profile2="` + profileA + `"`}, want: string(MalformedSignature)},
		"b's in a longer name":       {key: b, agents: []string{`x-profile="` + profileB + `", profile="` + profileA + `"`}, want: string(MalformedSignature)},
		"a's in a list":              {key: b, agents: []string{`a=("` + profileA + `"), profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's in a text":              {key: b, agents: []string{`a="profile=` + profileA + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's in a quoted text":       {key: b, agents: []string{`profile="` + profileB + `", a="PROFILE=\"a\""`}, want: string(MalformedSignature)},
		"a's under another name":     {key: b, agents: []string{`agent="` + profileA + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's in capitals":            {key: b, agents: []string{`agent="` + strings.ToUpper(profileA) + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"a's without a scheme":       {key: b, agents: []string{`profile="` + profileB + `", agent="//a.example/"`}, want: string(MalformedSignature)},
		"b's twice":                  {key: b, agents: []string{`agent="` + profileB + `", profile="` + profileB + `"`}, want: string(MalformedSignature)},
		"longer than any dictionary": {key: a, agents: []string{`profile="` + profileA + `", x="` + strings.Repeat("x", 17<<10) + `"`}, want: string(MalformedSignature)},
	} {
		headers := []string{"X-Signature", sign(tc.key)}
		for _, agent := range tc.agents {
			headers = append(headers, "UCP-Agent", agent)
		}
		_, err := deliver(v, post(headers...), testNow, testBody)
		rej, _ := errors.AsType[*Rejection](err)
		switch {
		case rej == nil && tc.want != genuine:
			t.Errorf("%s: genuine, want %s", name, tc.want)
		case rej != nil && (string(rej.Reason) != tc.want || rej.UnknownKey != (tc.fetch != "") || rej.UnknownKey && rej.KeyID != tc.fetch):
			t.Errorf("%s: %s, fetch %t %q, want %s, %q", name, rej, rej.UnknownKey, rej.KeyID, tc.want, tc.fetch)
		}
	}
}

// TestKeySetOfHTTPSignature: keyid selects within the set that the delivery names.
func TestKeySetOfHTTPSignature(t *testing.T) {
	setA, a := ownSet(t)
	setB, _ := ownSet(t) // has a key "k" too
	scheme := keySets()
	scheme.Signature, scheme.Message = &Signature{Header: StringList{"Signature"}, Syntax: syntaxHTTPSignature}, nil
	scheme.HTTPSignature = &HTTPSignature{Components: StringList{"content-digest"}}
	scheme.Timestamp = &Timestamp{KV: "created"}
	v := mustVerifier(t, scheme, Key{Kind: PublicKey, Text: setA, ID: profileA}, Key{Kind: PublicKey, Text: setB, ID: profileB})
	signer := mustVerifier(t, scheme, Key{Kind: PrivateKey, Text: base64.StdEncoding.EncodeToString(a.Seed()), ID: "k"})
	for agent, want := range map[string]string{profileA: genuine, profileB: string(SignatureMismatch)} {
		req := post("UCP-Agent", `profile="`+agent+`"`)
		if err := signer.Sign(req, "", testNow, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		expect(t, v, req, testBody, want)
	}
}

func TestKeySetErrors(t *testing.T) {
	many := make([]string, maxSets+1)
	for i := range many {
		many[i] = profileA
	}
	for name, tc := range map[string]struct {
		edit func(*Scheme)
		want string
	}{
		"no header":      {func(s *Scheme) { s.KeySet = &KeySet{Member: "profile"} }, "key_set: "},
		"no member":      {func(s *Scheme) { s.KeySet = &KeySet{Header: "X"} }, "key_set: "},
		"no header name": {func(s *Scheme) { s.KeySet = &KeySet{Header: "X Y", Member: "p"} }, "key_set: "},
		"no place":       {func(s *Scheme) { s.KeySet = nil }, "key_source: sets needs key_set"},
		"both":           {func(s *Scheme) { s.KeySource.JWKS = profileA }, "key_source: needs exactly one"},
		"plain":          {func(s *Scheme) { s.KeySource.Sets = []string{"http://a.example/ucp"} }, "key_source: sets: write https"},
		"too many":       {func(s *Scheme) { s.KeySource.Sets = many }, "key_source: 65 sets"},
		"a secret":       {func(s *Scheme) { s.Algorithm = HMACSHA256 }, "key_source: hmac-sha256"},
	} {
		s := keySets()
		tc.edit(&s)
		if err := validate(s); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// FuzzKeySet: whatever the header says, only a trusted address is ever fetched, and a
// delivery passes only under its own sender's.
func FuzzKeySet(f *testing.F) {
	for _, agent := range []string{`profile="` + profileA + `"`, `profile="` + profileB + `";x`, `profile=("` + profileA + `")`, `profile="` + profileA + `\"", profile=1`, ``, `profile`, `a=1,profile="x"`} {
		f.Add(agent)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	set := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}]}`
	v, err := New(keySets(), []Key{{Kind: PublicKey, Text: set, ID: profileA}})
	if err != nil {
		f.Fatal(err)
	}
	signature := hex.EncodeToString(ed25519.Sign(private, []byte(testBody)))
	f.Fuzz(func(t *testing.T, agent string) {
		_, err := deliver(v, post("X-Signature", signature, "UCP-Agent", agent), testNow, testBody)
		rej, _ := errors.AsType[*Rejection](err)
		switch {
		case rej == nil && (!strings.Contains(agent, `"`+profileA+`"`) || strings.Count(agent, "profile") > 1 || strings.Count(agent, "https:") > 1):
			t.Fatalf("%q passes", agent)
		case rej != nil && rej.UnknownKey && rej.KeyID != profileB:
			t.Fatalf("%q lets %q be fetched", agent, rej.KeyID)
		}
	})
}
