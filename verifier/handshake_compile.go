package verifier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

func (v *Rules) compileHandshakes() error {
	for i := range v.scheme.Handshakes {
		h, err := v.compileHandshake(&v.scheme.Handshakes[i])
		if e, ok := errors.AsType[*SchemeError](err); ok {
			return e // the user forgot a param; the rule is correct
		}
		if err != nil {
			return wrong("handshake", "rule %d: %v", i+1, err)
		}
		v.handshakes = append(v.handshakes, *h)
	}
	return nil
}

func (v *Rules) compileHandshake(rule *Handshake) (*handshake, error) {
	h := &handshake{methods: rule.When.Method, status: rule.Respond.Status, signed: rule.When.Signature}
	if len(h.methods) == 0 {
		h.methods = []string{"POST"}
	}
	if h.status == 0 {
		h.status = 200
	}
	var err error
	if h.when, err = v.conditions(rule.When.HandshakeFields, false); err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	require, err := v.conditions(rule.Require, true)
	if err != nil {
		return nil, fmt.Errorf("require: %w", err)
	}
	for _, cond := range require {
		r := required{source: cond.source, any: cond.any}
		for _, value := range cond.values {
			r.allow(value)
		}
		h.require = append(h.require, r)
	}
	deliveries := slices.ContainsFunc(h.methods, func(m string) bool { return slices.Contains(deliveryMethods, m) })
	switch {
	case h.status < 200 || h.status > 299:
		return nil, fmt.Errorf("respond: status %d: write a 2xx", h.status)
	case h.signed != "" && h.signed != noSignature && h.signed != anySignature:
		return nil, fmt.Errorf("when: signature: write %s or %s, or leave it out", noSignature, anySignature)
	case h.signed != "" && rule.Signed:
		return nil, errors.New("when: signature: drop it: a signed handshake is signed as deliveries are")
	case h.signed == anySignature && v.scheme.KeySource != nil:
		return nil, fmt.Errorf("when: signature: %s does not work with key_source: a signature that no known key matches may belong to a delivery whose key is not fetched yet; write %s", anySignature, noSignature)
	case len(h.when) == 0 && (deliveries || rule.Signed):
		return nil, errors.New("when: does not distinguish it from a delivery: name a query parameter, header or JSON path that only the handshake has")
	}
	if err := v.compileResponse(h, rule); err != nil {
		return nil, err
	}
	if err := h.compileVisit(rule); err != nil {
		return nil, err
	}
	inBody := h.signed != "" || // known after Open
		slices.ContainsFunc(slices.Concat(h.when, require), func(c condition) bool { return c.inBody() }) ||
		slices.ContainsFunc(h.inputs, func(in input) bool { return in.inBody() })
	switch {
	case rule.Signed:
		h.stage = verified
	case inBody:
		h.stage = byBody
	}
	return h, v.checkOracle(h)
}

// conditions compiles fields in a fixed order.
func (v *Rules) conditions(f HandshakeFields, params bool) ([]condition, error) {
	var out []condition
	for _, group := range []struct {
		kind   place
		fields map[string]StringList
	}{{inQuery, f.Query}, {inHeader, f.Header}, {inJSON, f.JSON}, {inForm, f.Form}} {
		for _, name := range slices.Sorted(maps.Keys(group.fields)) {
			p, err := newSource(group.kind, name)
			if err != nil {
				return nil, err
			}
			c := condition{source: p}
			if len(group.fields[name]) == 0 {
				return nil, fmt.Errorf("%s: no value: name the values that it may have, or *", p)
			}
			for _, value := range group.fields[name] {
				c.any = c.any || value == "*"
				if name, ok := strings.CutPrefix(value, "{param:"); ok && params {
					if value, err = v.param(strings.TrimSuffix(name, "}")); err != nil {
						return nil, err
					}
				} else if value == "" || strings.ContainsAny(value, "{}") {
					return nil, fmt.Errorf("%s: a value is text, or * for any; in require it may be {param:name}", p)
				}
				c.values = append(c.values, value)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func (v *Rules) param(name string) (string, error) {
	if value := v.scheme.Params[name]; value != "" {
		return value, nil
	}
	return "", wrong("handshake", "{param:%s} has no value: give it with: param %s <value>, or leave the sender's handshakes to the app with: handshake off", name, name)
}

// parseSource reads query:name, header:Name, json:path or form:name.
func parseSource(text string) (source, error) {
	word, name, _ := strings.Cut(text, ":")
	kind := map[string]place{"query": inQuery, "header": inHeader, "json": inJSON, "form": inForm}[word]
	if kind == 0 || name == "" {
		return source{}, errSource
	}
	return newSource(kind, name)
}

var errSource = errors.New("unknown source: write query:name, header:Name, json:path or form:name")

func (v *Rules) compileResponse(h *handshake, rule *Handshake) (err error) {
	r := &rule.Respond
	patterns := make(map[string]*regexp.Regexp)
	for source, text := range rule.Pattern {
		p, err := parseSource(source)
		if err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
		if patterns[p.String()], err = regexp.Compile(`\A(?:` + text + `)\z`); err != nil {
			return fmt.Errorf("pattern: %s: %w", source, err)
		}
	}
	for name, text := range r.Header {
		name = canonicalHeader(name)
		if !slices.ContainsFunc(h.when, func(c condition) bool { return c.kind == inHeader && c.name == name }) {
			return fmt.Errorf("respond: header %s: only a header named in when can be answered", name)
		}
		if h.header == nil {
			h.header = make(map[string]answerText)
		}
		if h.header[name], err = v.answerText(h, text, func(s string) string { return s }); err != nil {
			return fmt.Errorf("respond: header %s: %w", name, err)
		}
		for _, part := range h.header[name] {
			if strings.ContainsFunc(part.literal, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return fmt.Errorf("respond: header %s: a header cannot hold a control character", name)
			}
		}
	}
	switch {
	case r.Text != "" && len(r.JSON) > 0:
		return errors.New("respond: text or json, not both")
	case r.Text != "":
		h.contentType = "text/plain; charset=utf-8"
		h.body, err = v.answerText(h, r.Text, func(s string) string { return s })
	case len(r.JSON) > 0:
		h.contentType = "application/json"
		h.body, err = v.answerJSON(h, r.JSON)
	}
	if err != nil {
		return fmt.Errorf("respond: %w", err)
	}
	if h.status == 204 && h.contentType != "" {
		return errors.New("respond: 204 has no body")
	}
	for i := range h.inputs {
		name := h.inputs[i].String()
		h.inputs[i].pattern = patterns[name]
		delete(patterns, name)
	}
	for name := range patterns {
		return fmt.Errorf("pattern: the answer does not use %s", name)
	}
	return nil
}

// answerText parses a text into slots and literals; literals are written as escape
// does.
func (v *Rules) answerText(h *handshake, text string, escape func(string) string) (answerText, error) {
	var t answerText
	literal := func(s string) {
		if s != "" {
			t = append(t, answerPart{literal: escape(s)})
		}
	}
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		literal(before)
		if !found {
			break
		}
		slot, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, errors.New("a { without its }")
		}
		text = after
		if name, ok := strings.CutPrefix(slot, "param:"); ok {
			value, err := v.param(name)
			if err != nil {
				return nil, err
			}
			literal(value)
			continue
		}
		part := answerPart{}
		if source, ok := strings.CutPrefix(slot, "hmac:"); ok {
			slot, part.hmac, _ = strings.Cut(source, "|")
			if err := known("respond", "encoding", part.hmac, encHex, encBase64, encBase64URL); err != nil {
				return nil, fmt.Errorf("{hmac:%s}: end it in |hex, |base64 or |base64url", slot)
			}
		}
		p, err := parseSource(slot)
		if err != nil {
			return nil, fmt.Errorf("{%s}: %w, or {param:name}, or {hmac:SOURCE|hex}", slot, err)
		}
		if part.input = slices.IndexFunc(h.inputs, func(in input) bool { return in.String() == p.String() }); part.input < 0 {
			part.input = len(h.inputs)
			h.inputs = append(h.inputs, input{source: p})
		}
		t = append(t, part)
	}
	return t, nil
}

// answerJSON makes one template of a JSON text whose strings are templates. Slot
// texts need no escaping (see allows).
func (v *Rules) answerJSON(h *handshake, raw json.RawMessage) (answerText, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, err
	}
	var t answerText
	for text := compact.Bytes(); len(text) > 0; {
		if text[0] != '"' {
			end := bytes.IndexByte(text, '"')
			if end < 0 {
				end = len(text)
			}
			t = append(t, answerPart{literal: string(text[:end])})
			text = text[end:]
			continue
		}
		word, rest, err := jsonpath.CutString(text)
		if err != nil {
			return nil, err
		}
		parts, err := v.answerText(h, word, escapeJSON)
		if err != nil {
			return nil, err
		}
		t = slices.Concat(t, answerText{{literal: `"`}}, parts, answerText{{literal: `"`}})
		text = rest
	}
	return t, nil
}

func escapeJSON(text string) string {
	quoted, _ := json.Marshal(text) // cannot fail for a string
	return string(quoted[1 : len(quoted)-1])
}

// checkOracle refuses HMACs that no key could make, and requires a pattern for what a
// stranger can get signed, so that nobody obtains the signature of a delivery.
func (v *Rules) checkOracle(h *handshake) error {
	for _, part := range slices.Concat(append(slices.Collect(maps.Values(h.header)), h.body)...) {
		if part.hmac == "" {
			continue
		}
		if !slices.ContainsFunc(v.algorithms, func(a Algorithm) bool { return facts[a].hash != nil && !facts[a].plain }) {
			return fmt.Errorf("respond: {hmac:…}: the scheme's algorithm is %s, not an HMAC", join(v.algorithms))
		}
		if v.signature.isJWS() || v.http != nil { // they do not sign v.messages: see isChallenge
			return fmt.Errorf("respond: {hmac:…}: with the syntax %s the answer to a stranger could be the signature of a delivery: leave this handshake to the app", v.signature.Syntax)
		}
		in := h.inputs[part.input]
		if h.stage == verified && v.provesInput(in) {
			continue
		}
		if in.pattern == nil {
			return fmt.Errorf("pattern: missing for %s: anyone could get any text signed; describe the form of the sender's challenges", in.source)
		}
		v.challenges = append(v.challenges, in)
	}
	return nil
}

// provesInput reports whether the signature of a signed handshake covers the input.
// An attacker who captured a handshake could otherwise replace the input at will.
func (v *Rules) provesInput(in input) bool {
	return in.inBody() && v.everyMessage(template.Template.CoversBody)
}
