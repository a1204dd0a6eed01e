package verifier

import (
	"encoding/base64"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"sync"
)

// Redacted replaces a text that must not be shown: see Verifier.Redact.
const Redacted = "(redacted)"

// shortestSecret is the shortest secret that is searched for, in bytes.
const shortestSecret = 4

// Redact returns a text of a sender's as it may be printed or logged: Redacted if it
// holds one of the verifier's secrets, in plain, hex or base64, a required header's
// value or a param, and the text itself otherwise. Upper and lower case count alike,
// because names of headers change theirs. Secrets of fewer than 4 bytes are not found.
func (v *Verifier) Redact(text string) string {
	if v.holdsSecret(text, func(string) bool { return false }) {
		return Redacted
	}
	return text
}

// silence returns a rejection whose detail may be printed and logged. Some name a header
// or component that the request lists: senders are configured with secret and signature
// in the wrong place.
func (v *Verifier) silence(rej *Rejection) *Rejection {
	if !holdsSignature(rej.Detail) && !v.holdsSecret(rej.Detail, isWord) {
		return rej
	}
	quiet := *rej
	quiet.Detail = "the reason would repeat a secret or signature that the request holds in the wrong place"
	return &quiet
}

// holdsSecret reports whether a text holds a secret, a required value or a param, except
// ordinary ones.
func (v *Verifier) holdsSecret(text string, ordinary func(string) bool) bool {
	v.hidden.once.Do(func() { v.hidden.texts = v.hiddenTexts() })
	text = strings.ToLower(text)
	return slices.ContainsFunc(v.hidden.texts, func(hidden string) bool { return strings.Contains(text, hidden) && !ordinary(hidden) })
}

// hidden are the texts that no detail may hold: made for the first refusal, because
// every later one asks for them.
type hidden struct {
	once  sync.Once
	texts []string // in lower case
}

// hiddenTexts returns the secrets in every encoding, required values and params.
func (v *Verifier) hiddenTexts() (texts []string) {
	add := func(all ...string) {
		for _, text := range all {
			if len(text) >= shortestSecret {
				texts = append(texts, strings.ToLower(text))
			}
		}
	}
	for i := range v.keys {
		k := &v.keys[i]
		if k.text == "" {
			continue
		}
		for _, secret := range [][]byte{[]byte(strings.TrimSpace(k.text)), k.secret[:min(k.length, len(k.secret))]} {
			plain := base64.RawStdEncoding.EncodeToString(secret)
			add(string(secret), hex.EncodeToString(secret), plain, urlAlphabet.Replace(plain))
		}
	}
	for _, h := range v.scheme.RequireHeader {
		add(h.Values...)
	}
	for name, value := range v.scheme.Params {
		if !strings.EqualFold(name, value) { // a placeholder, WEBHOOK_ID
			add(value)
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// urlAlphabet turns base64 into base64url.
var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// isWord reports whether a secret may be a word of a detail's own: signature, timestamp.
func isWord(hidden string) bool {
	return len(hidden) < 16 && strings.Trim(hidden, "abcdefghijklmnopqrstuvwxyz") == ""
}

// holdsSignature reports whether a detail holds what may be a signature: 20 characters
// of hex or base64 in a row, digits and letters. No name of a header or member is like
// that.
func holdsSignature(detail string) bool {
	for run := range runsOf(detail) {
		if len(run) >= shortestSignature && strings.ContainsAny(run, "0123456789") && strings.ContainsAny(run, "abcdefABCDEF") {
			return true
		}
	}
	return false
}

// isSignature reports whether an id holds the text of a signature of the delivery, which
// would sign a copy for anyone who reads it.
func (c *Check) isSignature(id string) bool {
	for _, name := range c.v.signatureAt.headers() {
		for _, line := range c.req.Header[name] {
			for run := range runsOf(line) {
				if len(run) >= shortestSignature && containsFold(id, run) {
					return true
				}
			}
		}
	}
	return false
}

// shortestSignature is the length of the shortest text that may be a signature.
const shortestSignature = 20

// runsOf splits a text into runs of the characters of hex and base64.
func runsOf(text string) iter.Seq[string] {
	return strings.FieldsFuncSeq(text, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '+' || r == '/' || r == '_')
	})
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
