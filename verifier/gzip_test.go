package verifier

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func gzipped(t *testing.T, text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBodySignedBeforeCompression: the decompressed body of exactly one gzip stream
// is signed; other codings are refused.
func TestBodySignedBeforeCompression(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) { s.BodyDecoded = true }), Key{Text: testKey})
	var text strings.Builder
	for i := range maxDecoded >> 10 { // which gzip makes 24 times smaller
		fmt.Fprintf(&text, "%-1024s", macOf(testKey, strconv.Itoa(i)))
	}
	packed, long := gzipped(t, testBody), text.String()+"0"
	small := strings.Repeat("0", smallDecoded)
	flagged := func(flag byte, more string) string {
		return packed[:3] + string([]byte{flag}) + packed[4:10] + more + packed[10:]
	}
	for _, tc := range []struct{ what, coding, body, content, want string }{
		{"plain", "", testBody, testBody, genuine},
		{"packed", "gzip", packed, testBody, genuine},
		{"packed, in capitals", "GZIP", packed, testBody, genuine},
		{"another body", "gzip", gzipped(t, testBody+" "), testBody, "signature_mismatch"},
		{"packed, signed as sent", "gzip", packed, packed, "signature_mismatch"},
		{"packed, and its header lost", "", packed, testBody, genuine},
		{"packed, its header lost, signed as sent", "", packed, packed, "signature_mismatch"},
		{"cut short, and its header lost", "", packed[:len(packed)-1], testBody, "malformed_signature"},
		{"longer, and its header lost", "", gzipped(t, long), long, "malformed_signature"},
		{"plain, and called packed", "gzip", testBody, testBody, "malformed_signature"},
		{"another coding", "br", packed, testBody, "malformed_signature"},
		{"two codings", "gzip, gzip", packed, testBody, "malformed_signature"},
		{"cut short", "gzip", packed[:len(packed)-1], testBody, "malformed_signature"},
		{"more behind it", "gzip", packed + "x", testBody, "malformed_signature"},
		{"two streams", "gzip", packed + packed, testBody + testBody, "malformed_signature"},
		{"empty stream behind it", "gzip", packed + gzipped(t, ""), testBody, "malformed_signature"},
		{"the longest", "gzip", gzipped(t, long[1:]), long[1:], genuine},
		{"longer", "gzip", gzipped(t, long), long, "malformed_signature"},
		{"called a text", "gzip", flagged(1, ""), testBody, "malformed_signature"},
		{"with a checksum of its header", "gzip", flagged(2, "\x00\x00"), testBody, "malformed_signature"},
		{"with an extra field", "gzip", flagged(4, "\x05\x00&a=b&"), testBody, "malformed_signature"},
		{"with a file name", "gzip", flagged(8, "&a=b&\x00"), testBody, "malformed_signature"},
		{"with a file name, and its header lost", "", flagged(8, "&a=b&\x00"), testBody, "malformed_signature"},
		{"with a comment", "", flagged(16, "&a=b&\x00"), testBody, "malformed_signature"},
		{"with a reserved flag", "gzip", flagged(32, ""), testBody, "malformed_signature"},
		{"little in few bytes", "gzip", gzipped(t, small), small, genuine},
		{"more in few bytes", "gzip", gzipped(t, small+"0"), small + "0", "malformed_signature"},
	} {
		req := post("X-Signature", macOf(testKey, tc.content))
		if tc.coding != "" {
			req.Header["Content-Encoding"] = []string{tc.coding}
		}
		if got := judge(v, req, testNow, tc.body); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.what, got, tc.want)
		}
	}
	expect(t, v, post("X-Signature", bodyHex, "Content-Encoding", "gzip", "Content-Encoding", "gzip"), packed, MalformedSignature)
	for kind, want := range map[string]string{"application/json": genuine, "text/plain": genuine, "application/x-www-form-urlencoded": "malformed_signature", "application/x-www-form-urlencoded;x": "malformed_signature", "multipart/form-data; boundary=b": "malformed_signature"} {
		expect(t, v, post("X-Signature", bodyHex, "Content-Type", kind), packed, want)
		expect(t, v, post("X-Signature", bodyHex, "Content-Type", kind, "Content-Encoding", "gzip"), packed, want)
	}
	expect(t, v, post("X-Signature", bodyHex, "Content-Type", "application/x-www-form-urlencoded"), testBody, genuine)
	plain := mustVerifier(t, bare(nil), Key{Text: testKey})
	expect(t, plain, post("X-Signature", bodyHex, "Content-Encoding", "gzip"), packed, SignatureMismatch)
}

// TestDecompressionIsBounded: a stranger's few bytes are not decompressed into many.
func TestDecompressionIsBounded(t *testing.T) {
	cost := CountCosts(t)
	v := mustVerifier(t, bare(func(s *Scheme) { s.BodyDecoded = true }), Key{Text: testKey})
	bomb := gzipped(t, strings.Repeat("0", maxDecoded))
	*cost = Cost{}
	expect(t, v, post("X-Signature", bodyHex, "Content-Encoding", "gzip"), bomb, MalformedSignature)
	if most := maxRatio*len(bomb) + 1<<10; cost.Hashed == 0 || cost.Hashed > most {
		t.Errorf("%d bytes hashed for %d, more than %d", cost.Hashed, len(bomb), most)
	}
	if n := len(gunzip([]byte(bomb))); n > maxRatio*len(bomb) {
		t.Errorf("explaining: %d bytes for %d", n, len(bomb))
	}
}
