package check

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var benchNow = time.Unix(1_700_000_000, 0)

// A benched delivery of a sender is genuine, and comes with the least work that
// anybody must do to know it: the digests of the body, and one MAC over the
// signed content with a hash that is used again.
type benched struct {
	*trial
	group   string // where signature and slots are: see groups
	mac     hash.Hash
	digests []hash.Hash
	content []byte
	// The signature itself is in the body: Verify reads it, once for each Open.
	readsBody bool
}

// groups of senders: signature and signed fields in headers and body; in the URL,
// a form or JSON besides; in a JSON Web Signature; in RFC 9421's form.
var groups = []string{"headers", "url+form+json", "jws", "http message signatures"}

// BenchmarkEveryHMAC verifies a delivery of every sender that signs with HMAC,
// 1 KiB where its scheme says how to sign one and the first known answer of the
// file where it does not. "×bare" is Verify's time in units of the least work,
// measured in turns with it; ns/op is Verify's, open-ns what comes before the
// body.
func BenchmarkEveryHMAC(b *testing.B) {
	for _, group := range groups {
		b.Run(group, func(b *testing.B) {
			for _, p := range withHMAC(b) {
				t := bench(b, p)
				if t.group != group {
					continue
				}
				b.Run(p.ID, func(b *testing.B) {
					verify := t.verify(b)
					ratio := fastest(verify) / fastest(t.bare)
					for range 7 { // the least of several turns: other work on the machine only adds
						ratio = min(ratio, fastest(verify)/fastest(t.bare))
					}
					open := fastest(func() { t.v.Open(t.req, t.now) })
					allocs := testing.AllocsPerRun(100, t.whole(b))
					for b.Loop() {
						verify()
					}
					b.ReportMetric(ratio, "×bare")
					b.ReportMetric(open, "open-ns")
					b.ReportMetric(allocs, "allocs/delivery")
				})
			}
		})
	}
}

// TestNoAllocations: a delivery whose signature and signed fields are in
// headers and body is verified without an allocation, whoever sends it.
func TestNoAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool allocates under the race detector")
	}
	tried := 0
	for _, p := range withHMAC(t) {
		b := bench(t, p)
		if b.group != "headers" {
			continue
		}
		tried++
		if n := testing.AllocsPerRun(50, b.whole(t)); n != 0 {
			t.Errorf("%s: %v allocations", p.ID, n)
		}
	}
	if tried < 100 {
		t.Errorf("%d senders tried", tried)
	}
}

// withHMAC lists the senders that sign with HMAC and a shared secret.
func withHMAC(tb testing.TB) []*providers.Provider {
	tb.Helper()
	all, err := providers.All()
	if err != nil {
		tb.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p *providers.Provider) bool {
		return !slices.ContainsFunc(p.Algorithms(), func(a verifier.Algorithm) bool { return strings.HasPrefix(string(a), "hmac-") })
	})
}

// fastest returns the nanoseconds of a call, in the fastest of some rounds.
func fastest(call func()) float64 {
	const rounds, calls = 24, 32
	best := time.Duration(1<<63 - 1)
	for range rounds {
		start := time.Now()
		for range calls {
			call()
		}
		best = min(best, time.Since(start))
	}
	return float64(best) / calls
}

func (t *benched) verify(tb testing.TB) func() {
	if t.readsBody {
		return t.whole(tb)
	}
	check, _, err := t.v.Open(t.req, t.now)
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		if _, _, err := check.Verify(t.body); err != nil {
			tb.Fatal(err)
		}
	}
}

// whole is a delivery from its headers to the verdict.
func (t *benched) whole(tb testing.TB) func() {
	return func() {
		check, _, err := t.v.Open(t.req, t.now)
		if err != nil {
			tb.Fatal(err)
		}
		if _, _, err := check.Verify(t.body); err != nil {
			tb.Fatal(err)
		}
	}
}

var sum [sha512.Size]byte

func (t *benched) bare() {
	for _, d := range t.digests {
		d.Reset()
		d.Write(t.body)
		d.Sum(sum[:0])
	}
	t.mac.Reset()
	t.mac.Write(t.content)
	t.mac.Sum(sum[:0])
}

// bench makes a genuine delivery of a sender: signed here where that is possible
// (speed needs no proof from elsewhere), else the first known answer.
func bench(tb testing.TB, p *providers.Provider) *benched {
	tb.Helper()
	t := &benched{trial: signedHere(p), group: "headers"}
	if t.trial == nil {
		i := slices.IndexFunc(p.Vectors, func(v providers.Vector) bool { return v.Expect == providers.Genuine && v.Secret != "" })
		var err error
		if t.trial, err = newTrial(p, &p.Vectors[i]); err != nil {
			tb.Fatal(err)
		}
	}
	s := &p.Scheme
	messages := s.Message
	if len(messages) == 0 {
		messages = verifier.StringList{"{body}"}
	}
	inBody := len(s.Signature.Header) == 0 || s.Timestamp != nil && s.Timestamp.JSON != "" || s.BodyDecoded && t.req.Header["Content-Encoding"] != nil
	for _, slot := range slots.FindAllString(strings.Join(messages, ""), -1) {
		name, _, _ := strings.Cut(strings.Trim(slot, "{}"), "|")
		name, _, _ = strings.Cut(name, ":")
		if !slices.Contains([]string{"body", "timestamp", "id", "header", "secret", "param", "kv"}, name) ||
			name == "id" && s.DeliveryID.JSON+s.DeliveryID.Form != "" {
			inBody = true
		}
	}
	switch {
	case strings.HasPrefix(s.Signature.Syntax, "jw"):
		t.group = "jws"
	case !slices.Contains([]string{"", "raw", "kv", "list", "positional", "keyed_list", "algorithm_prefix"}, s.Signature.Syntax):
		t.group = "http message signatures"
	case inBody:
		t.group = "url+form+json"
	}
	t.readsBody = s.Signature.Form != "" || len(s.Signature.JSON) > 0
	t.fill(messages[0])
	hashes := map[verifier.Algorithm]func() hash.Hash{verifier.HMACSHA1: sha1.New, verifier.HMACSHA384: sha512.New384, verifier.HMACSHA512: sha512.New, verifier.HMACMD5: md5.New}
	algorithm := p.Algorithms()[slices.IndexFunc(p.Algorithms(), func(a verifier.Algorithm) bool { return strings.HasPrefix(string(a), "hmac-") })]
	if hashes[algorithm] == nil {
		hashes[algorithm] = sha256.New
	}
	t.mac = hmac.New(hashes[algorithm], []byte("secret"))
	return t
}

// signedHere returns a delivery of 1 KiB, nil where its scheme cannot be signed.
func signedHere(p *providers.Provider) *trial {
	if !p.Signable() {
		return nil
	}
	scheme := p.Scheme
	scheme.Params = p.ExampleParams()
	v, err := verifier.New(scheme, []verifier.Key{{Text: p.ExampleSecret()}})
	if err != nil {
		return nil
	}
	t := &trial{v: v, now: benchNow, body: []byte(`{"id":"evt_1","data":"` + strings.Repeat("x", 1024-24) + `"}`)}
	t.req = &verifier.Request{Method: http.MethodPost, Header: make(map[string][]string), Host: "hooks.example.com", Target: "/hooks/" + p.ID, TLS: true}
	if len(p.Methods) > 0 {
		t.req.Method = p.Methods[0]
	}
	if v.Sign(t.req, "example-delivery", benchNow, t.body) != nil || t.run() != providers.Genuine {
		return nil
	}
	return t
}

var slots = regexp.MustCompile(`\{[^{}]+\}`)

// fill writes a content of about the length of the signed one: how much is hashed
// matters, and not what. Digests of the body are part of the least work.
func (t *benched) fill(message string) {
	t.content = slots.ReplaceAllFunc([]byte(message), func(slot []byte) []byte {
		name, chain, filtered := strings.Cut(string(slot[1:len(slot)-1]), "|")
		digest, _, _ := strings.Cut(chain, "|")
		if name != "body" || !filtered {
			if name == "body" {
				return t.body
			}
			return []byte("1700000000000")
		}
		switch digest {
		case "sha1":
			t.digests = append(t.digests, sha1.New())
		case "sha512":
			t.digests = append(t.digests, sha512.New())
		case "md5":
			t.digests = append(t.digests, md5.New())
		case "json":
			return t.body
		default:
			t.digests = append(t.digests, sha256.New())
		}
		return []byte(strings.Repeat("0", 2*t.digests[len(t.digests)-1].Size()))
	})
}
