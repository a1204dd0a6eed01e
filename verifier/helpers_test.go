package verifier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// Known answers of these tests come from outside the package. Where a comment
// says openssl, the value was made with OpenSSL 3.0.19:
//
//	printf %s CONTENT | openssl dgst -sha256 -hmac KEY
//
// (-binary | openssl base64 for base64). macOf is the standard library's HMAC,
// for messages that a test puts together; Sign proves nothing about Verify and
// is used for that nowhere but in sign_test.go, fuzz_test.go and negatives.

var testNow = time.Unix(1760000000, 0)

const (
	testKey  = "topsecret"
	testBody = `{"n":0}`

	// openssl, testKey over testBody. The base64 has both characters that the
	// alphabets differ in, and padding.
	bodyHex    = "099751b30562e19eb3fd13f10e0751d4aa5c145225b5095155da194d17e77bee"
	bodyBase64 = "CZdRswVi4Z6z/RPxDgdR1KpcFFIltQlRVdoZTRfne+4="
	bodyURL    = "CZdRswVi4Z6z_RPxDgdR1KpcFFIltQlRVdoZTRfne-4"
)

func macOf(key, content string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(content))
	return hex.EncodeToString(m.Sum(nil))
}

// post returns a request with headers given as name, value, name, value. A repeated
// name adds a header line.
func post(headers ...string) *Request {
	req := &Request{Method: "POST", Target: "/hooks/acme", Host: "hooks.example.com", Header: make(map[string][]string)}
	for i := 0; i < len(headers); i += 2 {
		name := textproto.CanonicalMIMEHeaderKey(headers[i])
		req.Header[name] = append(req.Header[name], headers[i+1])
	}
	return req
}

const genuine = "genuine"

// judge returns "genuine" or the reason of the rejection, as in a gateway.
func judge(v *Verifier, req *Request, now time.Time, body string) string {
	verdict, err := deliver(v, req, now, body)
	if rej, ok := errors.AsType[*Rejection](err); ok {
		if verdict != (Verdict{}) {
			return "a verdict beside a rejection"
		}
		return string(rej.Reason)
	}
	if err != nil {
		return "not a *Rejection: " + err.Error()
	}
	return genuine
}

func deliver(v *Verifier, req *Request, now time.Time, body string) (Verdict, error) {
	j, err := v.Judge(req, []byte(body), now)
	return j.Verdict, err
}

func expect[R ~string](t *testing.T, v *Verifier, req *Request, body string, want R) {
	t.Helper()
	if got := judge(v, req, testNow, body); got != string(want) {
		t.Errorf("got %s, want %s (headers %q, body %q)", got, want, req.Header, body)
	}
}

// bare is the default scheme (hex of the body in X-Signature), changed by edit.
func bare(edit func(*Scheme)) Scheme {
	s := Scheme{Signature: &Signature{Header: StringList{"X-Signature"}}}
	if edit != nil {
		edit(&s)
	}
	return s
}

// validate compiles a scheme for its error.
func validate(s Scheme) error {
	_, err := Compile(s)
	return err
}

func signsID(s Scheme) bool {
	r, err := Compile(s)
	return err == nil && r.SignsID()
}

func rejection(t *testing.T, err error) *Rejection {
	t.Helper()
	rej, ok := errors.AsType[*Rejection](err)
	if !ok {
		t.Fatalf("got %v, want a *Rejection", err)
	}
	return rej
}

func flip(hexText string) string {
	if strings.HasPrefix(hexText, "0") {
		return "1" + hexText[1:]
	}
	return "0" + hexText[1:]
}
