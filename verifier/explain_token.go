package verifier

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// authWords are the words before a token that a hint may repeat. Any other text there
// may be a credential itself: a copy of the token, the one before a rotation, a user's
// password.
var authWords = []string{"Api-Key", "ApiKey", "Basic", "Bearer", "Key", "OAuth", "Secret", "Token"}

// separators divide values that a sender or a proxy joined into one line.
const separators = ",;|&"

// collectTokens looks for a token in clear text and in base64, as in Basic: alone,
// after an authentication scheme, in quotes, beside other values, or doubled.
func (s *search) collectTokens(p presented, line string) {
	s.collectToken(p, line)
	p.around, p.copies = "a list", copies(line)
	if half, ok := doubled(line); ok {
		s.collectToken(p, half)
	}
	for _, divides := range []string{separators, separators + " \t"} {
		items := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(divides, r) })
		if len(items) < 2 {
			continue
		}
		for _, item := range items[:min(len(items), maxCandidates)] {
			s.collectToken(p, item)
		}
	}
}

// collectToken presents a text, without its quotes and the word before it.
func (s *search) collectToken(p presented, text string) {
	text = strings.TrimSpace(text)
	s.presentToken(p, text)
	unquoted := func(p presented, text string) {
		if trimmed := strings.Trim(text, `"' `); trimmed != text {
			p.around = orDefault(p.around, "quotes")
			s.presentToken(p, trimmed)
		}
	}
	unquoted(p, text)
	word, rest, ok := strings.Cut(text, " ")
	if !ok || word+" " != s.v.prefix && !slices.ContainsFunc(authWords, func(w string) bool { return strings.EqualFold(w, word) }) {
		return
	}
	p.before, rest = word+" ", strings.TrimSpace(rest)
	s.presentToken(p, rest)
	unquoted(p, rest)
}

func (s *search) presentToken(p presented, text string) {
	if text == "" || len(s.presented) >= maxPresented {
		return
	}
	p.encoding, p.bytes = encUTF8, []byte(text)
	s.presented = append(s.presented, p)
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) > 0 {
		p.encoding, p.bytes = encBase64, raw
		s.presented = append(s.presented, p)
	}
}

// copies returns how many times a line repeats one value; 0 if it does not.
func copies(line string) int {
	items := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(separators, r) })
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	if len(items) > 1 && len(slices.Compact(slices.Clone(items))) == 1 {
		return len(items)
	}
	if _, ok := doubled(line); ok {
		return 2
	}
	return 0
}

// doubled returns the value of a line that consists of it and its copy, with at most
// three separators between them. The value may contain separators.
func doubled(line string) (value string, ok bool) {
	for gap := range 4 {
		n := (len(line) - gap) / 2
		if n > 0 && 2*n+gap == len(line) && line[:n] == line[n+gap:] && strings.Trim(line[n:n+gap], separators+" \t") == "" {
			return line[:n], true
		}
	}
	return "", false
}

// pastedClause finds a secret that is the text of the header instead of the token in
// it.
func (s *search) pastedClause(p *presented) string {
	prefix := s.v.prefix
	if s.noun() != "token" || p.encoding != encUTF8 {
		return ""
	}
	bare, whole := strings.CutPrefix(string(p.bytes), prefix)
	if s.v.signature.Encoding == encBase64 {
		if raw, err := base64.StdEncoding.DecodeString(bare); err == nil && strings.Contains(string(raw), ":") {
			return "the secret is user:password in base64, as the header has it: write it decoded, user:password"
		}
	}
	if whole && prefix != "" && p.before == "" {
		return fmt.Sprintf("the secret begins with the prefix %q of the header: give only the text after it", s.v.signature.Prefix)
	}
	return ""
}

// shortestHidden is the length from which a secret is searched for in a hint: a
// shorter one is part of any sentence.
const shortestHidden = 4

// hidden returns the texts that no hint may hold, in lower case: secrets of the case
// and of the others, required values and params.
func (c *Case) hidden() (texts []string) {
	add := func(scheme Scheme, keys []Key) {
		for _, k := range keys {
			if k.Kind == PublicKey {
				continue
			}
			texts = append(texts, k.Text, strings.TrimPrefix(k.Text, scheme.SecretPrefix))
			if raw, _, err := scheme.decodeSecret(k.Text); err == nil {
				texts = append(texts, string(raw))
			}
		}
		for _, h := range scheme.RequireHeader {
			texts = append(texts, h.Values...)
		}
		for name, value := range scheme.Params {
			if !strings.EqualFold(name, value) { // a placeholder, WEBHOOK_ID: the hint names the param
				texts = append(texts, value)
			}
		}
	}
	add(c.Scheme, c.Keys)
	for _, o := range c.Others {
		add(o.Scheme, o.Keys)
	}
	for i, text := range texts {
		texts[i] = strings.ToLower(strings.TrimSpace(text))
	}
	return slices.DeleteFunc(texts, func(text string) bool { return len(text) < shortestHidden })
}

// quotable reports whether a hint may repeat text that precedes a signature: neither
// does it hold a secret nor is it a part of one.
func (s *search) quotable(text string) bool {
	text = strings.ToLower(text)
	label := strings.TrimRight(text, "=:., ")
	return !slices.ContainsFunc(s.hidden, func(hidden string) bool {
		return strings.Contains(text, hidden) || len(label) >= shortestHidden && strings.Contains(hidden, label)
	})
}

// silent returns a hint without a secret as it is, and "" for any other: names of
// headers and parameters are the sender's text too. A short word of letters alone
// (secret, signature) may be the hint's own.
func (s *search) silent(hint string) string {
	text := strings.ToLower(hint)
	if slices.ContainsFunc(s.hidden, func(hidden string) bool {
		word := len(hidden) < 16 && strings.Trim(hidden, "abcdefghijklmnopqrstuvwxyz") == ""
		return !word && strings.Contains(text, hidden)
	}) {
		return ""
	}
	return hint
}

// claimClause finds a JWT that is signed with one of the keys and whose claims are not
// those of this delivery.
func (s *search) claimClause() string {
	if len(s.v.claims) == 0 || s.rej.Reason != SignatureMismatch {
		return ""
	}
	v := s.v.copy()
	v.claims, v.required, v.tolerance = nil, nil, math.MaxInt64
	c := Check{v: v, req: s.c.Request, now: s.c.Now}
	rej := c.open()
	if rej == nil {
		_, rej = c.verify(s.c.Body)
	}
	if rej != nil && rej.Reason != StaleTimestamp && rej.Reason != FutureTimestamp { // exp and nbf are checked after the signature
		return ""
	}
	for i := range s.v.claims {
		claim := &s.v.claims[i]
		if c.checkClaim(claim, s.c.Body) == nil {
			continue
		}
		return "the token is signed with this key, but " + s.claimFault(claim, c.jws.claims)
	}
	return ""
}

// claimFault says what is wrong with a claim, and what to do.
func (s *search) claimFault(claim *claim, claims []byte) string {
	covers := claim.want.CoversBody()
	_, err := claim.texts(claims)
	written, _ := template.Parse(s.v.scheme.Claims[claim.name]) // with the names of params
	param := slices.IndexFunc(written, func(p template.Part) bool { return p.Slot == template.Param })
	switch {
	case err == jsonpath.ErrNoValue && covers:
		return fmt.Sprintf("has no claim %s, so it does not cover the body: it is not the token of a delivery (an access token is signed with the same key): make the sender's webhook sign the request, and nothing in front replace its token", claim.name)
	case err == jsonpath.ErrNoValue:
		return fmt.Sprintf("has no claim %s: it is not the token of such a delivery (an access token is signed with the same key)", claim.name)
	case covers:
		return fmt.Sprintf("its claim %s is that of another body: something altered the body, or the token belongs to another delivery; %s", claim.name, rawBytes)
	case param >= 0:
		return fmt.Sprintf("its claim %s is not param %s: compare the param with the sender's value", claim.name, written[param].Arg)
	}
	return fmt.Sprintf("its claim %s is that of another delivery or sender: compare what arrives here with what was sent", claim.name)
}

// chainClause says what to do about certificates that are not trusted.
func (s *search) chainClause() string {
	if s.v.x5c == nil || s.rej.Reason != SignatureMismatch {
		return ""
	}
	c := Check{v: s.v, req: s.c.Request, now: s.c.Now}
	if c.open() != nil {
		return ""
	}
	if _, rej := c.verify(s.c.Body); rej == nil || c.jws == nil {
		return ""
	}
	switch {
	case c.jws.distrust == errOtherRoot && len(s.c.Keys) > 0 && len(s.v.x5c.pins) > 0:
		return "the delivery's certificates lead to another root than that of public_key: remove the line to trust the sender's own root; if they lead elsewhere too, the delivery is not this sender's"
	case c.jws.distrust == errOtherRoot:
		return "the delivery's certificates lead to a root that is not the sender's: test tools and simulators sign with a root of their own, which public_key can name on a test site"
	case c.jws.distrust == errExpired:
		return "a certificate of the delivery was not valid when it was signed: check the clock of this machine if the delivery is new"
	}
	return ""
}
