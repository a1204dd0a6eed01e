package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonstyle"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// evidence is what the headers alone prove, in this order, if no altered check
// verified. Besides: also if the signature itself is valid.
var evidence = []struct {
	besides bool
	clause  func(*search) string
}{
	{true, (*search).otherNameClause},
	{true, (*search).linesClause},
	{false, (*search).otherSenderClause},
	{false, (*search).unsignedClause},
	{false, (*search).unpackedClause},
	{false, (*search).lengthClause},
	{false, (*search).brokenClause},
	{false, (*search).claimClause},
	{false, (*search).chainClause},
	{false, (*search).compareClause},
}

// requiredClause checks the operator's required headers, which are checked before any
// signature.
func (s *search) requiredClause() string {
	for i, h := range s.c.Scheme.RequireHeader {
		lines := s.c.Request.Header[canonicalHeader(h.Name)]
		if s.asked.check.checkRequired(s.v.required[i:i+1], nil) == nil {
			continue
		}
		switch {
		case len(lines) == 0 || lines[0] == "":
			if name := s.similar(h.Name); name != "" {
				return fmt.Sprintf("require_header expects %s, but the delivery has %s: send it under that name, or change the line", h.Name, name)
			}
			return fmt.Sprintf("require_header expects %s, but the delivery does not have it: set it at the sender, and check whether a proxy in front drops it; a request without it may be another sender's", h.Name)
		case len(lines) > 1:
			return fmt.Sprintf("header %s appears on %d lines: make the sender or the proxy in front send it only once", h.Name, len(lines))
		}
		for _, want := range h.Values {
			if clause := nearlyClause(h.Name, lines[0], want); clause != "" {
				return clause
			}
		}
		return ""
	}
	return ""
}

// nearlyClause says how a header's value differs from the configured one. It repeats
// neither, as both may be credentials.
func nearlyClause(name, got, want string) string {
	bare := func(t string) string { return strings.TrimSpace(strings.Trim(strings.TrimSpace(t), `"'`)) }
	if n := copies(got); n > 1 && strings.HasPrefix(got, want) {
		return fmt.Sprintf("header %s holds the value of require_header %d times, joined into one line: make the sender or the proxy in front send it only once", name, n)
	}
	_, token, _ := strings.Cut(got, " ")
	_, wanted, _ := strings.Cut(want, " ")
	switch {
	case bare(got) == "":
		return ""
	case bare(got) == bare(want):
		return fmt.Sprintf("header %s differs from require_header only in quotes or white space: remove them on the side that has them", name)
	case token == want:
		return fmt.Sprintf("header %s has a word before the value (Bearer, Basic): write it in require_header too", name)
	case wanted == got:
		return fmt.Sprintf("header %s comes without the word before the value (Bearer, Basic) that require_header has: take it away there", name)
	case strings.EqualFold(got, want):
		return fmt.Sprintf("header %s differs from require_header in capital and small letters alone: write it as the sender does", name)
	}
	return ""
}

// similar returns a header with nearly this name if name itself is absent.
func (s *search) similar(name string) string {
	var out []string
	for have, lines := range s.c.Request.Header {
		if have != canonicalHeader(name) && sameName(have, name) && len(lines) > 0 && httptoken.Valid(have) {
			out = append(out, have)
		}
	}
	if slices.Sort(out); len(out) > 0 {
		return out[0]
	}
	return ""
}

// otherNameClause finds a required header of the scheme under nearly its name.
func (s *search) otherNameClause() string {
	if !slices.Contains([]Reason{MissingSignature, MissingTimestamp, MissingHeader}, s.rej.Reason) {
		return ""
	}
	own := s.c.Scheme.HeaderNames()
	for _, name := range own {
		if len(s.c.Request.Header[canonicalHeader(name)]) > 0 {
			continue
		}
		have := s.similar(name)
		if have != "" && !slices.ContainsFunc(own, func(n string) bool { return canonicalHeader(n) == have }) {
			return fmt.Sprintf("the scheme reads header %s, but the delivery has %s: send it under that name (many servers drop names with _ or .), or change the scheme", name, have)
		}
	}
	return ""
}

func (s *search) linesClause() string {
	for _, name := range s.c.Scheme.HeaderNames() {
		if n := len(s.c.Request.Header[canonicalHeader(name)]); n > 1 {
			return fmt.Sprintf("header %s appears on %d lines: make the sender or the proxy in front send it only once", name, n)
		}
	}
	return ""
}

// otherSenderClause names the senders whose headers the delivery has, if none of this
// scheme's signature headers is there: GitHub's and Meta's have a header in common, and
// GitHub's has one more.
func (s *search) otherSenderClause() string {
	if s.rej.Reason != MissingSignature || len(s.v.signature.Header) == 0 {
		return ""
	}
	handlers, read := s.likely(func(o *Other) bool { return len(o.Keys) > 0 })
	senders, sent := s.likely(func(o *Other) bool {
		return len(o.Keys) == 0 && !slices.Contains(o.Scheme.Signature.Header, "Authorization") // which any sender may use
	})
	switch {
	case len(handlers) == 1 && read >= sent:
		return fmt.Sprintf("the delivery has no %s but what handler %s reads: correct the URL at the sender", s.v.signatureAt[0], handlers[0])
	case len(senders) == 0 || len(senders) > 3:
		return ""
	}
	return fmt.Sprintf("the delivery has no %s but the headers of %s: if it is from there, write that sender's name and its secret, or correct the URL at the sender", s.v.signatureAt[0], strings.Join(senders, " or "))
}

// likely returns the others of a kind most of whose headers are in the delivery, and
// how many these are. One handler may be in several places.
func (s *search) likely(kind func(*Other) bool) (names []string, most int) {
	has := func(name string) bool { return len(s.c.Request.Header[canonicalHeader(name)]) > 0 }
	for i := range s.c.Others {
		o := &s.c.Others[i]
		if o.Scheme.Signature == nil || !slices.ContainsFunc(o.Scheme.Signature.Header, has) || !kind(o) {
			continue
		}
		if ts := o.Scheme.Timestamp; ts != nil && len(ts.Header) > 0 && !slices.ContainsFunc(ts.Header, has) ||
			o.Scheme.SignedComponents() != nil && !has(headerInput) {
			continue
		}
		n := 0
		for _, name := range o.Scheme.HeaderNames() {
			if has(name) && !strings.HasPrefix(name, "Content-") {
				n++
			}
		}
		switch {
		case n > most:
			names, most = []string{o.Name}, n
		case n == most && !slices.Contains(names, o.Name):
			names = append(names, o.Name)
		}
	}
	return names, most
}

func (s *search) unsignedClause() string {
	if s.rej.Reason != MissingSignature || len(s.v.signature.Header) == 0 {
		return ""
	}
	for name := range s.c.Request.Header {
		if soundsSigned(name) {
			return ""
		}
	}
	if slices.ContainsFunc(s.presented, func(p presented) bool {
		return p.encoding != encUTF8 && slices.Contains([]int{20, 32, 48, 64}, len(p.bytes)) // as long as a signature
	}) {
		return ""
	}
	return fmt.Sprintf("this delivery is not signed: it has no header %s or similar: set the secret at the sender, and check that no proxy in front drops the header", strings.Join(s.v.signature.Header, " or "))
}

// unpackedClause finds bodies that do not match their Content-Encoding.
func (s *search) unpackedClause() string {
	lines := s.c.Request.Header["Content-Encoding"]
	if s.rej.Reason != SignatureMismatch || len(lines) != 1 || !strings.EqualFold(lines[0], "gzip") ||
		len(s.c.Body) == 0 || bytes.HasPrefix(s.c.Body, []byte("\x1f\x8b")) {
		return ""
	}
	return "Content-Encoding says gzip, but the body is no longer compressed: something in front unpacked it; pass it on untouched, since the sender may have signed the compressed bytes"
}

// lengthClause finds bodies that lost or gained bytes.
func (s *search) lengthClause() string {
	if s.rej.Reason != SignatureMismatch {
		return ""
	}
	lines := s.c.Request.Header["Content-Length"]
	if len(lines) == 1 {
		n, err := strconv.ParseUint(lines[0], 10, 63)
		switch {
		case err != nil || n == uint64(len(s.c.Body)):
		case len(s.c.Body) == 0:
			return fmt.Sprintf("the body is empty, but Content-Length says %d bytes: something read it before it was verified; %s", n, rawBytes)
		default:
			return fmt.Sprintf("the body has %d bytes, but Content-Length says %d: it was altered or cut off after the sender wrote it; %s", len(s.c.Body), n, rawBytes)
		}
	}
	return ""
}

// brokenClause finds bodies that are not the JSON that they should be.
func (s *search) brokenClause() string {
	kind, _, _ := strings.Cut(strings.ToLower(strings.Join(s.c.Request.Header["Content-Type"], ",")), ";")
	kind = strings.TrimSpace(kind)
	if s.rej.Reason != SignatureMismatch || !s.signs(template.Template.HasBody) || kind != "application/json" && !strings.HasSuffix(kind, "+json") ||
		len(s.c.Request.Header["Content-Encoding"]) > 0 || json.Valid(s.c.Body) {
		return ""
	}
	if len(s.c.Body) == 0 {
		return "the body is empty, but Content-Type says JSON: something read it before it was verified or saved; " + rawBytes
	}
	return "the body is not whole, or altered: Content-Type says JSON, and it does not parse as that; " + rawBytes
}

// apiKeys are prefixes of API keys. Some senders sign with their API key, most have a
// separate signing secret.
var apiKeys = []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "sk-", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xapp-", "shpat_", "SG.", "AKIA"}

// nothingShown begins hints that only suggest a check and name no cause.
const nothingShown = "nothing shows the cause; "

// compareClause names what only the operator can compare, if the signature is
// well-formed and no mistake was found.
func (s *search) compareClause() string {
	if s.rej.Reason != SignatureMismatch {
		return ""
	}
	for i, k := range s.c.Keys {
		for _, prefix := range apiKeys {
			if k.Kind == Secret && strings.HasPrefix(k.Text, prefix) {
				return fmt.Sprintf("%ssecret %s begins like an API key (%s…): if the sender shows a signing secret for this webhook (whsec_… or the like), give that one", nothingShown, orDefault(k.Label, strconv.Itoa(i+1)), prefix)
			}
		}
	}
	for _, text := range s.v.scheme.Messages() {
		t, _ := template.Parse(text)
		if i := slices.IndexFunc(t, func(p template.Part) bool { return p.Slot == template.Param }); i >= 0 {
			return fmt.Sprintf("%sthe sender also signs the value of param %s: compare it with the one that the sender shows for this webhook (the value of another webhook or of a simulator gives another signature)", nothingShown, t[i].Arg)
		}
	}
	if s.signs(signsOrigin) || s.signs(signsTarget) {
		return nothingShown + "the sender also signs the URL that it calls: compare the one registered there with what arrives here (scheme, host, port, path, query), which a proxy in front may rewrite: see public_url; if they are equal, compare the secret"
	}
	return s.sortedClause()
}

// leastSorted is the number of members whose alphabetical order is hardly chance, and
// maxSorted the longest body that is looked at.
const (
	leastSorted = 4
	maxSorted   = 16 << 10
)

// sortedClause names the trace of a parser that no altered check can undo: members in
// alphabetical order, in which many libraries write them.
func (s *search) sortedClause() string {
	var members map[string]json.RawMessage
	if !s.signs(template.Template.HasBody) || len(s.c.Body) > maxSorted ||
		json.Unmarshal(s.c.Body, &members) != nil || len(members) < leastSorted {
		return ""
	}
	text := jsonstyle.Parse(s.c.Body)
	write := func(t jsonstyle.Text) []byte {
		return t.Append(nil, jsonstyle.Spaces[0], jsonstyle.Escapes[0], len(s.c.Body)+1)
	}
	if !bytes.Equal(write(text), write(text.Sorted())) {
		return ""
	}
	return nothingShown + "the JSON has its keys in alphabetical order: if this sender writes another one, something parsed and re-serialized the body, which cannot be undone here: " + rawBytes + "; if not, compare the secret"
}

// timeClause checks the timestamp's unit, which its text shows, and, if the signature
// is valid otherwise, the clocks.
func (s *search) timeClause(matched, besides bool) string {
	text, unit := s.asked.check.timestamp, s.v.timestamp.Unit
	if s.v.statesMessage() && matched && (s.rej.Reason == StaleTimestamp || s.rej.Reason == FutureTimestamp) {
		return s.ageClause(s.rej.Skew, besides)
	}
	if s.v.scheme.Timestamp == nil || s.v.timestamp.Off || text == "" ||
		!matched && s.rej.Reason == MissingSignature { // it may be another sender's
		return ""
	}
	t, err := parseTimestamp(text, unit)
	if err != nil || !plausible(t) {
		actual := unitOf(text)
		if actual == "" {
			return ""
		}
		return fmt.Sprintf("the timestamp (%s) is in %s, but the scheme says %s: write %s there, or correct the sender", s.v.timestampAt, unitNames[actual], unitNames[unit], actual)
	}
	if !matched {
		return ""
	}
	return s.ageClause(s.c.Now.Sub(t), besides)
}

// ageClause says why the timestamp is outside the tolerance; "" if it is inside.
func (s *search) ageClause(skew time.Duration, besides bool) string {
	ahead := -max(skew, -math.MaxInt64)
	size := max(skew, ahead).Round(time.Second)
	if size <= s.v.tolerance {
		return ""
	}
	but := "the signature is right, but "
	if besides {
		but = "besides, "
	}
	zone := ""
	if size <= 14*time.Hour+time.Minute && (size+time.Minute)%(30*time.Minute) <= 2*time.Minute && size > 29*time.Minute {
		zone = fmt.Sprintf("; %s is a whole time zone: local time may have been written where the scheme means UTC", size.Round(30*time.Minute))
	}
	if skew < 0 {
		return fmt.Sprintf("%sits timestamp is %s ahead: this machine's clock is that much behind, or the sender's ahead; set both by NTP%s", but, size, zone)
	}
	return fmt.Sprintf("%sit was made %s ago, and tolerance is %s: a retry that keeps its first time (set tolerance to the sender's retry span), a replay, or, if it happens with every delivery, a clock: this machine's is ahead or the sender's behind%s", but, size, s.v.tolerance, zone)
}

// plausible reports whether a time can be that of a delivery: unix times in the wrong
// unit are far outside.
func plausible(t time.Time) bool { return t.Year() > 2000 && t.Year() < 2200 }

var unitNames = map[string]string{
	"s": "seconds", "ms": "milliseconds", "us": "microseconds", "rfc3339": "RFC 3339",
	"iso8601_utc": "ISO 8601 without a zone", "http_date": "the form of HTTP dates",
}

// unitOf returns the only unit in which text is a plausible time.
func unitOf(text string) string {
	for _, unit := range []string{"s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"} {
		if t, err := parseTimestamp(text, unit); err == nil && plausible(t) {
			return unit
		}
	}
	return ""
}
