package verifier_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"net/textproto"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

const (
	// worst is the longest body that gateways accept by default.
	worst = 1 << 20
	// Allowed in addition to four times the bytes of a delivery. A quarter of the
	// body still shows, with margin.
	spare   = 1 << 20
	quarter = 4
)

// repeat fills a size with copies of a text.
func repeat(text string, size int) string { return strings.Repeat(text, size/len(text)) }

// worstTexts are texts of about a size with as many parts as possible, in case each
// part costs something: forms, JSON, XML, multipart bodies, lists and pairs of
// headers.
func worstTexts(size int) []string {
	var wide strings.Builder
	for i := 0; wide.Len() < size-20; i++ {
		fmt.Fprintf(&wide, `"%x":%d,`, i, i&7)
	}
	return []string{
		repeat("&", size), repeat("a&", size), repeat("=", size), repeat("=&", size), repeat("a=1&b=2&", size), repeat("%41", size), repeat("%41=%41&", size), repeat("+", size),
		repeat("[", size), repeat(`{"a":`, size), "[" + repeat("1,", size) + "1]", "[" + repeat("1e1,", size) + "1]", `{` + repeat(`"id":1,`, size) + `"id":1}`, "{" + wide.String() + `"z":0}`,
		"[" + repeat(`"\u00e9",`, size) + "0]", "[" + repeat(`{"a":[]},`, size) + "0]", repeat(" ", size), `{` + repeat(`"\u0061":"",`, size) + `"b":0}`,
		repeat("\x01", size), repeat("\"", size), repeat("\\", size), repeat("\xff", size), repeat("\r\n", size), repeat("<a>", size), repeat("a", size),
		repeat("--b\r\n\r\n", size) + "--b--", repeat("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n", size) + "--b--",
		"--b\r\n" + repeat("a:\r\n", size) + "\r\n--b--", repeat("--b\r\nContent-Disposition: form-data"+repeat(";a=b", 400)+"\r\n\r\n", size) + "--b--",
		repeat(",", size), repeat(".", size), repeat("a=b,", size), repeat("v1,a ", size), repeat("v1=00,", size), repeat("a,b,", size), repeat("a;b=c; ", size), repeat("sig1=(\"a\");x,", size),
		"sig1=(" + repeat(`"a" `, size) + ");created=1", repeat("(", size), repeat(";a:", size), repeat("9", size), "eyJhbGciOiJIUzI1NiJ9." + repeat("A", size) + ".A",
	}
}

// worstBodies are worst texts, also compressed.
func worstBodies(size int) (bodies [][]byte) {
	for _, text := range worstTexts(size) {
		bodies = append(bodies, []byte(text))
	}
	noise := make([]byte, size-1024)
	rand.New(rand.NewSource(1)).Read(noise)
	return append(bodies, packed(make([]byte, 8<<20)), packed(make([]byte, 9<<20)), packed(noise))
}

// worstAround are worst texts around the content of a genuine body.
func worstAround(genuine []byte, size int) (bodies [][]byte) {
	inner, object := bytes.CutPrefix(bytes.TrimSpace(genuine), []byte("{"))
	for _, filler := range []string{"0,", `{"a":[]},`, `"\u00e9",`, "1e1,"} {
		if object {
			bodies = append(bodies, fmt.Appendf(nil, `{"zz":[%s0],%s`, repeat(filler, size), inner))
		}
	}
	if object {
		bodies = append(bodies, fmt.Appendf(nil, `{%s%s`, repeat(`"zz":1,`, size), inner))
	} else if bytes.IndexByte(genuine, '=') > 0 {
		for _, filler := range []string{"&", "a&", "=&", "%41&", "a=%41&"} {
			bodies = append(bodies, fmt.Appendf(nil, "%s&%s", genuine, repeat(filler, size)))
		}
	}
	return append(bodies, append(bytes.Clone(genuine), repeat("\n", size)...))
}

func packed(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(text)
	w.Close()
	return b.Bytes()
}

// preset is a provider with one of its genuine deliveries.
type preset struct {
	v     *verifier.Verifier
	req   *verifier.Request
	now   time.Time
	body  []byte
	names []string
}

// presetKeys is the number of keys of each preset: nothing may be parsed once per
// key.
const presetKeys = 2

func presets(tb testing.TB) map[string]preset {
	all, err := providers.All()
	if err != nil {
		tb.Fatal(err)
	}
	out := make(map[string]preset)
	for _, p := range all {
		i := slices.IndexFunc(p.Vectors, func(vec providers.Vector) bool { return vec.Expect == "genuine" })
		if i < 0 {
			tb.Errorf("%s: no genuine delivery", p.ID)
			continue
		}
		vec := p.Vectors[i]
		scheme := p.Scheme
		scheme.Params = p.ExampleParams()
		maps.Copy(scheme.Params, vec.Params)
		scheme.Handshakes = p.Handshakes(scheme.Params)
		key := verifier.Key{Text: vec.Secret}
		if vec.PublicKey != "" {
			key = verifier.Key{Text: vec.PublicKey, Kind: verifier.PublicKey}
		}
		v, err := verifier.New(scheme, slices.Repeat([]verifier.Key{key}, presetKeys))
		if err != nil {
			tb.Errorf("%s: %v", p.ID, err)
			continue
		}
		req := &verifier.Request{Method: vec.Method, Target: "/hooks/a", Host: "hooks.example.com", Header: make(map[string][]string)}
		for name, value := range vec.Headers {
			req.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
		}
		if u, err := url.Parse(vec.URL); err == nil && vec.URL != "" {
			req.Target, req.Host, req.TLS = u.RequestURI(), u.Host, u.Scheme == "https"
		}
		body := []byte(vec.Body)
		if vec.BodyBase64 != nil {
			body = vec.BodyBase64
		}
		names := append(scheme.HeaderNames(), "Content-Type", "Content-Encoding", "Content-Digest")
		out[p.ID] = preset{v, req, time.Unix(vec.Now, 0), body, names}
	}
	return out
}

// allocated returns the bytes that f allocates. No other test may run in parallel.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// tooDear says in what respect an unauthenticated delivery costs too much, or "". The
// limits are four times its bytes and a little memory, ten times its HMAC for each
// key through hashes, and ten times its bytes through parsers. A gzip stream may hold
// fifty times its bytes, or 64 KiB.
func tooDear(p preset, req *verifier.Request, body []byte, spare int, cost *verifier.Cost) string {
	size := len(body) + len(req.Target)
	for name, lines := range req.Header {
		for _, line := range lines {
			size += len(name) + len(line)
		}
	}
	*cost = verifier.Cost{}
	var err error
	memory := allocated(func() { err = arrive(p.v, req, p.now, body) })
	work := size
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		work = max(5*work, 64<<10/10)
	}
	var rej *verifier.Rejection
	switch {
	case memory > 4*size+spare:
		return fmt.Sprintf("%d KiB allocated for %d KiB (%v)", memory>>10, size>>10, err)
	case cost.Hashed > 10*presetKeys*work+4096 || cost.Read > 10*work:
		return fmt.Sprintf("%d KiB hashed, %d KiB read for %d KiB (%v)", cost.Hashed>>10, cost.Read>>10, size>>10, err)
	case cost.Public > verifier.MaxPublic*presetKeys:
		return fmt.Sprintf("%d checks with public keys", cost.Public)
	case errors.As(err, &rej) && len(rej.Detail) > verifier.MaxDetail:
		return fmt.Sprintf("a detail of %d bytes", len(rej.Detail))
	}
	return ""
}

// arrive handles a delivery as a gateway does.
func arrive(v *verifier.Verifier, req *verifier.Request, now time.Time, body []byte) error {
	check, answer, err := v.Open(req, now)
	if answer != nil || err != nil {
		return err
	}
	if _, _, err = check.Verify(body); err == nil {
		check.DeliveryID(body)
		check.Content(body)
	}
	return err
}

// FuzzBounds looks for a more expensive delivery than those of the table, in the
// presets that parse bodies and headers most.
func FuzzBounds(f *testing.F) {
	cost := verifier.CountCosts(f)
	all := presets(f)
	ids := []string{"adyen_payments", "airship", "apple_app_store", "aws_sns", "contentful", "dropbox_sign", "hook0", "hygraph", "mandrill", "mercadopago", "mollie", "paddle_classic", "plaid", "plivo_v3", "rfc9421", "standard_webhooks", "stripe", "truelayer", "twilio", "ucp", "wix"}
	for i := range ids {
		for _, text := range worstTexts(64) {
			f.Add(uint8(i), "application/x-www-form-urlencoded", text, text, uint16(1000))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, kind, text, header string, times uint16) {
		p := all[ids[int(i)%len(ids)]]
		req := *p.req
		req.Header = maps.Clone(p.req.Header)
		req.Header["Content-Type"] = []string{kind}
		if header != "" {
			req.Header[textproto.CanonicalMIMEHeaderKey(p.names[int(times)%len(p.names)])] = []string{strings.Repeat(header, min(int(times), 16<<10/len(header)))}
		}
		for _, body := range [][]byte{
			[]byte(strings.Repeat(text, int(times)%256)),
			append(bytes.Clone(p.body), strings.Repeat(text, int(times)%256)...),
			append([]byte(strings.Repeat(text, int(times)%256)), p.body...),
		} {
			if problem := tooDear(p, &req, body, spare, cost); problem != "" {
				t.Errorf("%s: %s", ids[int(i)%len(ids)], problem)
			}
		}
	})
}

// TestBoundsOfBodies: no body costs much more than its HMAC, in any preset.
func TestBoundsOfBodies(t *testing.T) {
	if verifier.RaceDetector {
		t.Skip("counts nothing that the race detector could change, ten times slower")
	}
	cost := verifier.CountCosts(t)
	bodies := worstBodies(worst / quarter)
	for id, p := range presets(t) {
		types := [][]string{nil, {"application/json"}, {"application/x-www-form-urlencoded"}, {"multipart/form-data; boundary=b"}}
		for i, body := range slices.Concat(bodies, worstAround(p.body, worst/quarter)) {
			req := *p.req
			req.Header = maps.Clone(p.req.Header)
			if own := p.req.Header["Content-Type"]; i%4 != 0 || own == nil {
				req.Header["Content-Type"] = types[i%4]
			}
			if problem := tooDear(p, &req, body, spare/quarter, cost); problem != "" {
				t.Errorf("%s, body %.24q…: %s", id, body, problem)
			}
		}
	}
}

// TestBoundsOfHeaders: nor does any header or URL, whatever the server's limit.
func TestBoundsOfHeaders(t *testing.T) {
	if verifier.RaceDetector {
		t.Skip("counts nothing that the race detector could change, ten times slower")
	}
	cost := verifier.CountCosts(t)
	texts := slices.Concat(worstTexts(16<<10), worstTexts(168<<10))
	for id, p := range presets(t) {
		for _, text := range texts {
			for _, name := range p.names {
				req := *p.req
				req.Header = maps.Clone(p.req.Header)
				req.Header[textproto.CanonicalMIMEHeaderKey(name)] = []string{text}
				if problem := tooDear(p, &req, p.body, spare, cost); problem != "" {
					t.Errorf("%s, %s: %.24q…: %s", id, name, text, problem)
				}
			}
			req := *p.req
			req.Target = "/hooks/a?" + text
			if problem := tooDear(p, &req, p.body, spare, cost); problem != "" {
				t.Errorf("%s, ?%.24q…: %s", id, text, problem)
			}
		}
	}
}
