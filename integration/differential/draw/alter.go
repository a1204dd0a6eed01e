package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/integration/differential"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// An alteration changes a genuine delivery. apply reports whether the delivery
// has what is to be changed.
type alteration struct {
	name  string
	apply func(*drawer, *differential.Delivery) bool
}

// alterations lists those that the provider's scheme gives cause to.
func (d *drawer) alterations() []alteration {
	all := slices.Concat(ofBody, ofKey, ofSignature)
	s := d.provider.Scheme
	if s.Signature.Syntax == "kv" {
		all = slices.Concat(all, ofPairs)
	}
	if s.Signature.Syntax == "list" {
		all = slices.Concat(all, ofList)
	}
	if s.Signature.Prefix != "" {
		all = slices.Concat(all, ofPrefix)
	}
	if s.Timestamp != nil {
		all = slices.Concat(all, ofTime)
	}
	var signed template.Template
	for _, text := range s.Message {
		t, _ := template.Parse(text) // the scheme compiles
		signed = append(signed, t...)
	}
	if s.DeliveryID != nil && signed.Has(template.ID) {
		all = slices.Concat(all, ofID)
	}
	if signed.Some(func(f *template.Facts) bool { return f.Path }) {
		all = slices.Concat(all, ofURL)
	}
	return slices.Concat(all, d.extra)
}

func bodyAlteration(name string, f func(d *drawer, body []byte) []byte) alteration {
	return alteration{name, func(d *drawer, t *differential.Delivery) bool {
		body := f(d, bytes.Clone(t.Bytes()))
		if body == nil {
			return false
		}
		t.SetBytes(body)
		return true
	}}
}

var ofBody = []alteration{
	bodyAlteration("a bit of the body flipped", func(d *drawer, body []byte) []byte {
		if len(body) == 0 {
			return nil
		}
		body[d.r.IntN(len(body))] ^= 1
		return body
	}),
	bodyAlteration("a space after the body", func(_ *drawer, body []byte) []byte { return append(body, ' ') }),
	bodyAlteration("a line break before the body", func(_ *drawer, body []byte) []byte { return append([]byte("\n"), body...) }),
	bodyAlteration("half of the body", func(_ *drawer, body []byte) []byte {
		if len(body) < 2 {
			return nil
		}
		return body[:len(body)/2]
	}),
	bodyAlteration("no body any more", func(_ *drawer, body []byte) []byte {
		if len(body) == 0 {
			return nil
		}
		return []byte{}
	}),
}

var ofKey = []alteration{{"another key", func(d *drawer, t *differential.Delivery) bool {
	switch {
	case d.key != nil:
		t.PublicKey = d.key(d.r).public
	case d.secret != nil:
		t.Secret = d.secret(d.r)
	default:
		t.Secret = textSecret(d.r)
	}
	return true
}}}

// editValue changes the first signature header that is there, or the signature
// in the body.
func editValue(f func(d *drawer, value string) string) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		if d.carried != "" {
			found := regexp.MustCompile(d.carried).FindStringSubmatchIndex(t.Body)
			if found == nil {
				return false
			}
			value := t.Body[found[2]:found[3]]
			changed := f(d, value)
			t.Body = t.Body[:found[2]] + changed + t.Body[found[3]:]
			return changed != value
		}
		name := signatureHeader(d, t)
		value := t.Headers[name][0]
		changed := f(d, value)
		t.Headers[name] = []string{changed}
		return changed != value
	}
}

func signatureHeader(d *drawer, t *differential.Delivery) string {
	return headerOf(t, d.provider.Scheme.Signature.Header)
}

// headerOf returns the spelling of one of names in the headers, "" if none.
func headerOf(t *differential.Delivery, names []string) string {
	for _, name := range names {
		for present := range t.Headers {
			if strings.EqualFold(present, name) {
				return present
			}
		}
	}
	return ""
}

// mac splits a header's value before the (last) signature in it.
func mac(value string) (before, signature string) {
	bare := strings.TrimRight(value, "=")
	at := strings.LastIndexAny(bare, ",=: |") + 1
	return value[:at], value[at:]
}

// editMAC changes the signature alone.
func editMAC(f func(d *drawer, signature string) string) func(*drawer, *differential.Delivery) bool {
	return editValue(func(d *drawer, value string) string {
		before, signature := mac(value)
		return before + f(d, signature)
	})
}

// wrong changes one character in the middle: the last of base64 may hold no bits.
func wrong(_ *drawer, s string) string {
	b := []byte(s)
	if i := len(b) / 2; b[i] != '1' {
		b[i] = '1'
	} else {
		b[i] = '0'
	}
	return string(b)
}

// doubled sets the signature header's lines.
func doubled(lines func(good, bad string) []string) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		name := signatureHeader(d, t)
		if name == "" {
			return false
		}
		good := t.Headers[name][0]
		before, signature := mac(good)
		t.Headers[name] = lines(good, before+wrong(d, signature))
		return true
	}
}

func setHeader(names func(d *drawer) []string, f func(lines []string) []string) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		name := headerOf(t, names(d))
		if name == "" {
			return false
		}
		if t.Headers[name] = f(t.Headers[name]); len(t.Headers[name]) == 0 {
			delete(t.Headers, name)
		}
		return true
	}
}

func signatureNames(d *drawer) []string { return d.provider.Scheme.Signature.Header }

func none([]string) []string { return nil }

func empty([]string) []string { return []string{""} }

func twice(lines []string) []string { return append(lines, lines[0]) }

var ofSignature = []alteration{
	{"one character of the signature changed", editMAC(wrong)},
	{"signature cut short", editMAC(func(_ *drawer, s string) string { return s[:len(s)-4] })},
	{"signature too long", editMAC(func(_ *drawer, s string) string { return s + "0a" })},
	{"signature empty", setHeader(signatureNames, empty)},
	{"no signature", setHeader(signatureNames, none)},
	{"signature in capitals", func(d *drawer, t *differential.Delivery) bool {
		return hexadecimal(d) && editMAC(func(_ *drawer, s string) string { return strings.ToUpper(s) })(d, t)
	}},
	{"signature without padding", editMAC(func(d *drawer, s string) string { return strings.TrimRight(s, "=") })},
	{"signature in the other base64 alphabet", editMAC(func(d *drawer, s string) string {
		return strings.NewReplacer("+", "-", "/", "_", "-", "+", "_", "/").Replace(s)
	})},
	{"signature in another encoding", editMAC(func(d *drawer, s string) string {
		if hexadecimal(d) {
			raw, _ := hex.DecodeString(s)
			return base64.StdEncoding.EncodeToString(raw)
		}
		raw, _ := base64.StdEncoding.DecodeString(s)
		return hex.EncodeToString(raw)
	})},
	{"signature header twice, the same", doubled(func(good, bad string) []string { return []string{good, good} })},
	{"signature header twice, the first wrong", doubled(func(good, bad string) []string { return []string{bad, good} })},
	{"signature header twice, the second wrong", doubled(func(good, bad string) []string { return []string{good, bad} })},
}

func hexadecimal(d *drawer) bool {
	encoding := d.provider.Scheme.Signature.Encoding
	return encoding == "" || encoding == "hex"
}

// ofPairs: t=1492774577,v1=5257a8…
var ofPairs = []alteration{
	{"a wrong signature beside the right one, before it", editValue(func(d *drawer, value string) string {
		before, signature := mac(value)
		key, separator := d.provider.Scheme.Signature.Key[0], pairSeparator(d)
		return before + wrong(d, signature) + separator + key + "=" + signature
	})},
	{"a wrong signature beside the right one, behind it", editValue(func(d *drawer, value string) string {
		_, signature := mac(value)
		return value + pairSeparator(d) + d.provider.Scheme.Signature.Key[0] + "=" + wrong(d, signature)
	})},
	{"an unknown key behind the others", editValue(func(d *drawer, value string) string { return value + pairSeparator(d) + "v7=abc" })},
	{"the signature under an unknown key", editValue(func(d *drawer, value string) string {
		return strings.Replace(value, d.provider.Scheme.Signature.Key[0]+"=", "v7=", 1)
	})},
	{"a space behind the separator", editValue(func(d *drawer, value string) string {
		return strings.ReplaceAll(value, pairSeparator(d), pairSeparator(d)+" ")
	})},
	{"the time twice, the second another", editPairTime(func(d *drawer, value, time string) string {
		return value + pairSeparator(d) + d.provider.Scheme.Timestamp.KV + "=1" + time[1:len(time)-1] + "7"
	})},
	{"the time twice, the first another", editPairTime(func(d *drawer, value, time string) string {
		return d.provider.Scheme.Timestamp.KV + "=1" + time[1:len(time)-1] + "7" + pairSeparator(d) + value
	})},
}

func editPairTime(f func(d *drawer, value, time string) string) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		if ts := d.provider.Scheme.Timestamp; ts == nil || ts.KV == "" {
			return false
		}
		time, _ := timeText(d, t)
		return editValue(func(d *drawer, value string) string { return f(d, value, time) })(d, t)
	}
}

func pairSeparator(d *drawer) string {
	if s := d.provider.Scheme.Signature.PairSeparator; s != "" {
		return s
	}
	return ","
}

// ofList: v1,g0hM9S… v1a,hnO3f9…
var ofList = []alteration{
	{"a wrong signature beside the right one, before it", editValue(func(d *drawer, value string) string {
		before, signature := mac(value)
		return before + wrong(d, signature) + " " + value
	})},
	{"a wrong signature beside the right one, behind it", editValue(func(d *drawer, value string) string {
		before, signature := mac(value)
		return value + " " + before + wrong(d, signature)
	})},
	{"an unknown version beside the right one", editValue(func(_ *drawer, value string) string { return "v9,abc " + value })},
	{"the signature under an unknown version", editValue(func(_ *drawer, value string) string { return strings.Replace(value, "v1", "v9", 1) })},
	{"the signature without a version", editValue(func(_ *drawer, value string) string { _, s := mac(value); return s })},
}

var ofPrefix = []alteration{
	{"signature without its prefix", editValue(func(_ *drawer, value string) string { _, s := mac(value); return s })},
	{"prefix in capitals", editValue(func(_ *drawer, value string) string {
		before, s := mac(value)
		return strings.ToUpper(before) + s
	})},
}

// timeText returns the time as the delivery says it, and a way to replace it.
func timeText(d *drawer, t *differential.Delivery) (string, func(string)) {
	ts := d.provider.Scheme.Timestamp
	if name := headerOf(t, ts.Header); name != "" {
		return t.Headers[name][0], func(s string) { t.Headers[name] = []string{s} }
	}
	if ts.KV == "" {
		return "", nil
	}
	name := signatureHeader(d, t)
	value := t.Headers[name][0]
	found := regexp.MustCompile(`(?:^|[,; ])` + ts.KV + `=([0-9]+)`).FindStringSubmatchIndex(value)
	return value[found[2]:found[3]], func(s string) {
		t.Headers[name] = []string{value[:found[2]] + s + value[found[3]:]}
	}
}

func editTime(f func(text string) string) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		text, set := timeText(d, t)
		if set == nil || strings.Trim(text, "0123456789") != "" {
			return false
		}
		set(f(text))
		return true
	}
}

// late moves the clock from the time of the delivery.
func late(by func(tolerance time.Duration) time.Duration) func(*drawer, *differential.Delivery) bool {
	return func(d *drawer, t *differential.Delivery) bool {
		tolerance := 5 * time.Minute
		if s := d.provider.Scheme.Tolerance; s != nil {
			tolerance = time.Duration(*s)
		}
		t.Now += int64(by(tolerance) / time.Second)
		return true
	}
}

func timeNames(d *drawer) []string { return d.provider.Scheme.Timestamp.Header }

var ofTime = []alteration{
	{"the time a second later", editTime(func(s string) string {
		digit := s[len(s)-1]
		return s[:len(s)-1] + string('0'+(digit-'0'+1)%10)
	})},
	{"a zero before the time", editTime(func(s string) string { return "0" + s })},
	{"a plus before the time", editTime(func(s string) string { return "+" + s })},
	{"a fraction behind the time", editTime(func(s string) string { return s + ".0" })},
	{"letters behind the time", editTime(func(s string) string { return s + "abc" })},
	{"no time", setHeader(timeNames, none)},
	{"time header twice, the same", setHeader(timeNames, twice)},
	{"as old as is allowed", late(func(tolerance time.Duration) time.Duration { return tolerance })},
	{"a second too old", late(func(tolerance time.Duration) time.Duration { return tolerance + time.Second })},
	{"as far ahead as is allowed", late(func(tolerance time.Duration) time.Duration { return -tolerance })},
	{"a second too far ahead", late(func(tolerance time.Duration) time.Duration { return -tolerance - time.Second })},
	{"four days old", late(func(time.Duration) time.Duration { return 96 * time.Hour })},
}

func idNames(d *drawer) []string { return d.provider.Scheme.DeliveryID.Header }

var ofID = []alteration{
	{"another id", setHeader(idNames, func(lines []string) []string { return []string{lines[0] + "x"} })},
	{"no id", setHeader(idNames, none)},
	{"id header twice, the same", setHeader(idNames, twice)},
}

func editURL(f func(url string) string) func(*drawer, *differential.Delivery) bool {
	return func(_ *drawer, t *differential.Delivery) bool {
		changed := f(t.URL)
		if changed == t.URL {
			return false
		}
		t.URL = changed
		return true
	}
}

var ofURL = []alteration{
	{"another path", editURL(func(u string) string { return strings.Replace(u, "/hooks/", "/hooks2/", 1) })},
	{"another host", editURL(func(u string) string { return strings.Replace(u, "hooks.example.com", "hooks.example.net", 1) })},
	{"http instead of https", editURL(func(u string) string { return strings.Replace(u, "https://", "http://", 1) })},
	{"more in the query", editURL(func(u string) string {
		if strings.Contains(u, "?") {
			return u + "&more=1"
		}
		return u + "?more=1"
	})},
	{"another method", func(_ *drawer, t *differential.Delivery) bool { t.Method = "PUT"; return true }},
}
