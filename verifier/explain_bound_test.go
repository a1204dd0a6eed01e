package verifier

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// forgedCases are unsigned deliveries of 64 KiB that make Explain try as much as
// possible.
func forgedCases() map[string]Case {
	const size = 64 << 10
	fill := func(head, item, tail string) []byte {
		return []byte(head + strings.Repeat(item, (size-len(head)-len(tail))/len(item)) + tail)
	}
	prose := fill(`{"z":[`, `{"b":"Zoë / <3 & \"you\"","a":[1,2.50,null]},`, `0],"a":"\u00e9"}`)
	ordinary := fill(`{"z":[`, `{"b":"Zoë","url":"https://shop.invalid/","a":[1,2.50,null]},`, `0],"a":true}`)
	dense := fill("[", `"","\n",0,`, `"é/<&'"]`)
	nested := []byte(`["é/<&'",` + strings.Repeat(`{"b":[`, 2000) + "0" + strings.Repeat(`]}`, 2000) + "]")
	nested = append(nested, strings.Repeat(" ", size-len(nested))...)
	form := fill("a=%C3%A4", "&k=x+y%2A", "")
	forged := strings.Repeat("5a", 32)
	key := []Key{{Text: "whsec_c2VjcmV0LW9mLXRoZS1zZW5kZXI="}}
	keys := []Key{key[0], {Text: " another one "}, {Text: "6b6579"}, {Text: `"quoted"`}}
	many := post("X-Signature", forged, "X-Timestamp", explainNow, "X-Time", explainNow, "X-Event-Id", "evt_1", "X-Request-Id", "r1")
	for i, n := range []int{16, 20, 48, 64} {
		many.Header[fmt.Sprintf("X-Signature-%d", i)] = []string{strings.Repeat("ab", n)}
	}
	for i := range 200 {
		many.Header[fmt.Sprintf("X-Sign-Junk-%d", i)] = []string{strings.Repeat(forged+",", 20)}
	}
	url := bare(func(s *Scheme) { s.Message = StringList{"{url}{body}"} })
	proxied := post("X-Signature", forged, "X-Forwarded-Host", "a.example", "X-Original-Host", "b.example:8443", "Forwarded", "host=c.example", "X-Forwarded-Uri", "/x?y=1")
	proxied.Target = "/Hooks/%61cme?token=%41"
	var others []Other
	for i := range 40 {
		others = append(others, Other{Name: fmt.Sprint("p", i), Scheme: bare(func(s *Scheme) { s.Message = StringList{fmt.Sprintf("%d{body}", i)} })})
	}
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ecDER, _ := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsDER, _ := x509.MarshalPKIXPublicKey(&rs.PublicKey)
	public := func(a Algorithm, key []byte, signature []byte) Case {
		return Case{Scheme: bare(func(s *Scheme) { s.Algorithm = a }), Keys: []Key{{Text: base64.StdEncoding.EncodeToString(key), Kind: PublicKey}},
			Request: post("X-Signature", hex.EncodeToString(signature)), Body: prose, Now: testNow}
	}
	ecSignature, _ := ecdsa.SignASN1(rand.Reader, ec, make([]byte, 48))
	digest := sha256.Sum256([]byte("something else"))
	rsSignature, _ := rsa.SignPKCS1v15(nil, rs, 5, digest[:])
	return map[string]Case{
		"ordinary":     {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: ordinary, Now: testNow},
		"json":         {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: prose, Now: testNow},
		"dense json":   {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: dense, Now: testNow},
		"nested json":  {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: nested, Now: testNow},
		"1 MiB":        {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: bytes.Repeat(ordinary, 16), Now: testNow},
		"form":         {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: form, Now: testNow},
		"many headers": {Scheme: bare(nil), Keys: key, Request: many, Body: prose, Now: testNow},
		"many keys":    {Scheme: url, Keys: keys, Request: proxied, Body: prose, Now: testNow, Others: others},
		"sha512":       {Scheme: bare(func(s *Scheme) { s.Algorithm = HMACSHA512 }), Keys: keys, Request: post("X-Signature", forged+forged), Body: prose, Now: testNow},
		"gzip bomb":    {Scheme: bare(nil), Keys: key, Request: post("X-Signature", forged), Body: []byte(zipped(strings.Repeat("0", 10<<20))), Now: testNow},
		"ed25519":      public(Ed25519, ed, make([]byte, 64)),
		"p384":         public(ECDSAP384SHA384, ecDER, ecSignature),
		"rsa":          public(RSAPKCS1v15SHA256, rsDER, rsSignature),
	}
}

// searched runs the search for a forged delivery and returns it.
func searched(tb testing.TB, ctx context.Context, c Case) (*search, string) {
	tb.Helper()
	v := mustVerifier(tb, c.Scheme, c.Keys...)
	rej := v.check(c.Request, c.Now, c.Body)
	if rej == nil {
		tb.Fatal("genuine")
	}
	s := newSearch(ctx, v, &c, rej)
	return s, s.hint()
}

func TestExplainIsBounded(t *testing.T) {
	for name, c := range forgedCases() {
		s, hint := searched(t, t.Context(), c)
		t.Logf("%-12s %3d trials, %5.2f MiB", name, s.trials, float64(s.cost)/(1<<20))
		if hint != "" && !strings.HasPrefix(hint, nothingShown) {
			t.Errorf("%s: a false cause: %s", name, hint)
		}
		if s.trials > maxTrials || s.cost > s.limit || name != "1 MiB" && s.cost > maxCost || s.cost > maxLarge || len(s.presented) > maxPresented {
			t.Errorf("%s: %d trials, cost %d, %d candidates", name, s.trials, s.cost, len(s.presented))
		}
		if (name == "ordinary" || name == "form") && s.refused {
			t.Errorf("%s: the bound leaves mistakes of an ordinary delivery untried", name)
		}
	}
}

func TestExplainEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, hint := searched(t, ctx, forgedCases()["json"])
	if s.trials != 0 || hint != "" {
		t.Errorf("%d trials after the end, hint %q", s.trials, hint)
	}
}

// BenchmarkExplain measures the worst case; the limit is 50 ms.
func BenchmarkExplain(b *testing.B) {
	for name, c := range forgedCases() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Explain(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
