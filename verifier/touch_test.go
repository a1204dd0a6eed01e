package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// TestTouchingSlots: two slots are named if bytes of a delivery can move from one to the
// other, and only then: every way to split what is signed is tried.
func TestTouchingSlots(t *testing.T) {
	now := time.Unix(1764513600, 0)
	timed := func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-Time"}} }
	unit := func(unit string) func(*Scheme) {
		return func(s *Scheme) { s.Timestamp = &Timestamp{Header: StringList{"X-Time"}, Unit: unit} }
	}
	formatted := func(s *Scheme) { s.BodyFormat = StringList{"json"} }
	inside := func(s *Scheme) { s.BodyUnsigned = true }
	const form, object = "dry=1&n=5", `{"a":"1","b":"2"}`
	for name, c := range map[string]struct {
		message string
		texts   []string // of the slots
		body    string   // if no slot holds it
		edit    func(*Scheme)
		want    string
	}{
		"header and form":    {message: "{header:X-A}{body}", texts: []string{"2026", form}, want: "{header:X-A} {body}"},
		"lower case":         {message: "{header:X-A|lower}{body}", texts: []string{"ab", form}, want: "{header:X-A|lower} {body}"},
		"header behind":      {message: "{body}{header:X-A}", texts: []string{form, "9f"}, want: "{body} {header:X-A}"},
		"query":              {message: "{query:q}{body}", texts: []string{"ab", form}, want: "{query:q} {body}"},
		"two headers":        {message: "{header:X-A}{header:X-B}{body}", texts: []string{"ab", "c", object}, want: "{header:X-A} {header:X-B}"},
		"beside a digest":    {message: "{header:X-A}{header:X-B}{body|sha256|hex}", texts: []string{"ab", "c", ""}, body: form, want: "{header:X-A} {header:X-B}"},
		"before the method":  {message: "{method}{header:X-A}{body}", texts: []string{"POST", "ab", form}, want: "{header:X-A} {body}"},
		"time between":       {message: "{id}{timestamp}{body}", texts: []string{"ab", "1764513600", "at=1764513600&n=5"}, edit: timed, want: "{id} {body}"},
		"zone of a time":     {message: "{timestamp}{body}", texts: []string{"2025-11-30T14:40:00Z", form}, edit: unit("iso8601_utc"), want: "{timestamp} {body}"},
		"JSON and a header":  {message: "{body}{header:X-A}", texts: []string{object, "9f"}, edit: formatted, want: "{body} {header:X-A}"},
		"members":            {message: "{json:a}{json:b}", texts: []string{"12", "3"}, edit: inside, want: "{json:a} {json:b}"},
		"text between":       {message: "{header:X-A}.{body}", texts: []string{"2026", "a.b=1"}},
		"text, body, text":   {message: "{header:X-A}.{body}.{header:X-B}", texts: []string{"20", "a.b=1", "26"}},
		"a digest":           {message: "{header:X-A}{body|sha256|hex}", texts: []string{"ab", ""}, body: form},
		"secret between":     {message: "{header:X-A}{secret}{body}", texts: []string{"ab", testKey, form}},
		"time":               {message: "{timestamp}{body}", texts: []string{"1764513600", "12&n=5"}, edit: timed},
		"time with a zone":   {message: "{timestamp}{body}", texts: []string{"2025-11-30T14:40:00Z", "Z12&n=5"}, edit: unit("rfc3339")},
		"time behind":        {message: "{body}{timestamp}", texts: []string{"n=5", "1764513600"}, edit: timed},
		"header of the time": {message: "{header:X-Time}{body}", texts: []string{"1764513600", "12&n=5"}, edit: timed},
		"JSON behind":        {message: "{header:X-A}{body}", texts: []string{"ab", object}, edit: formatted},
		"JSON behind a time": {message: "{id}{timestamp}{body}", texts: []string{"ab", "1764513600", `{"at":1764513600}`}, edit: func(s *Scheme) { timed(s); formatted(s) }},
		"required header":    {message: "{header:X-A}{body}", texts: []string{"ab", form}, edit: func(s *Scheme) { s.RequireHeader = []RequiredHeader{{Name: "X-A", Values: []string{"ab"}}} }},
		"members of a body":  {message: "{header:X-A}{json:a}{json:b}{body}", texts: []string{"ab", "1", "2", object}},
		"member in a body":   {message: "{body}{json:a}", texts: []string{object, "1"}},
	} {
		scheme := bare(func(s *Scheme) {
			s.Message, s.DeliveryID = StringList{c.message}, &DeliveryID{Header: StringList{"X-Id"}}
			if c.edit != nil {
				c.edit(s)
			}
		})
		v := mustVerifier(t, scheme, Key{Text: testKey})
		first, second := v.Touching()
		if got := strings.TrimSpace(first + " " + second); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		parts, err := template.Parse(c.message)
		if err != nil {
			t.Fatal(err)
		}
		signed, texts := "", c.texts
		for i := range parts {
			if parts[i].Slot == template.Body && len(parts[i].Filters) > 0 {
				digest := sha256.Sum256([]byte(c.body))
				parts[i] = template.Part{Literal: hex.EncodeToString(digest[:])}
				texts = texts[:len(texts)-1]
			}
			if parts[i].Slot == template.None {
				signed += parts[i].Literal
				continue
			}
			signed, texts = signed+texts[0], texts[1:]
		}
		mac, all := macOf(testKey, signed), make(map[string]bool)
		eachSplit(parts, signed, nil, func(texts []string) {
			req, body := splitRequest(parts, texts, c.body)
			req.Header["X-Signature"] = []string{mac}
			if judge(v, req, now, body) == genuine {
				all[fmt.Sprint(req.Target, req.Header, body)] = true
			}
		})
		if len(all) == 0 || (len(all) > 1) != (c.want != "") {
			t.Errorf("%s: %d deliveries with the message %q are genuine", name, len(all), signed)
		}
	}
}

// eachSplit calls try with every way to split text into the parts.
func eachSplit(parts template.Template, text string, before []string, try func([]string)) {
	switch {
	case len(parts) == 0 && text == "":
		try(before)
	case len(parts) == 0:
	case parts[0].Slot == template.None:
		if rest, ok := strings.CutPrefix(text, parts[0].Literal); ok {
			eachSplit(parts[1:], rest, append(before, ""), try)
		}
	default:
		for i := range len(text) + 1 {
			eachSplit(parts[1:], text[i:], append(before, text[:i]), try)
		}
	}
}

// splitRequest is a delivery whose slots have these texts.
func splitRequest(parts template.Template, texts []string, body string) (*Request, string) {
	req, members := post(), make(map[string]string)
	for i, p := range parts {
		switch p.Slot {
		case template.Header:
			req.Header[p.Arg] = []string{texts[i]}
		case template.ID:
			req.Header["X-Id"] = []string{texts[i]}
		case template.Timestamp:
			req.Header["X-Time"] = []string{texts[i]}
		case template.QueryParam:
			req.Target = "/hooks/acme?q=" + url.QueryEscape(texts[i])
		case template.JSON:
			members[p.Arg] = texts[i]
		case template.Body:
			body = texts[i]
		}
	}
	if len(members) > 0 && !parts.HasBody() {
		data, _ := json.Marshal(members)
		body = string(data)
	}
	return req, body
}

// TestTouchingSlotsOfTheURL: the route settles the path, and a check of the body where a
// URL before it ends.
func TestTouchingSlotsOfTheURL(t *testing.T) {
	for message, want := range map[string]string{
		"{url}{body}": "", "{uri}{header:X-A}{body}": "", "{method}{path}{query}{body}": "", "{url}{form_sorted}": "", "{host}{body|sha256|hex}": "",
		"{header:X-A|hex}{header:X-B|hex}{body|sha256|hex}": "{header:X-A|hex} {header:X-B|hex}", "{header:X-A}{url_form_sorted}": "", "{query}{header:X-A}.{body}": "{query} {header:X-A}",
		"{header:X-A}{body_digest:d|sha256|hex}{header:X-B}{query}": "{header:X-A} {header:X-B}",
	} {
		rules, err := Compile(bare(func(s *Scheme) { s.Message, s.BodyUnsigned = StringList{message}, true }))
		if err != nil {
			t.Errorf("%s: %v", message, err)
			continue
		}
		if first, second := rules.Touching(); strings.TrimSpace(first+" "+second) != want {
			t.Errorf("%s: %q %q, want %q", message, first, second, want)
		}
	}
}
