package known_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var spaceless = regexp.MustCompile(`" :`)

// TestNothingPassesForASignedMember: where the signature covers members or fields
// and not the body, no other of a name that some reader takes for the same passes
// beside them, in any preset.
func TestNothingPassesForASignedMember(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]int)
	for _, p := range all {
		if rules(p).SignsContent() {
			continue
		}
		var members, fields []string
		for _, text := range p.Scheme.Messages() {
			parsed, err := template.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parsed {
				switch part.Slot {
				case template.JSON:
					members = append(members, part.Arg)
				case template.JSONLines:
					for _, m := range part.Members {
						members = append(members, m.Name)
					}
				case template.Form:
					fields = append(fields, part.Arg)
				}
			}
		}
		if p.Scheme.BodyForm != "" {
			fields = append(fields, p.Scheme.BodyForm)
		}
		if s := p.Scheme.Signature; len(s.JSON) > 0 && s.Form == "" {
			members = append(members, s.JSON...)
		}
		for i := range p.Vectors {
			vec := &p.Vectors[i]
			if vec.Expect != "genuine" {
				continue
			}
			c := capture(t, p, vec)
			for _, path := range members {
				for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]*?", r) }) {
					for _, twin := range []string{strings.ToUpper(step[:1]) + step[1:], strings.ToUpper(step), strings.NewReplacer("s", "ſ", "k", "K", "i", "İ").Replace(step)} {
						if twin == step {
							continue
						}
						for _, added := range []string{`"` + twin + `":[],"` + step + `":`, `"\u00` + hex(twin[0]) + twin[1:] + `":"x","` + step + `":`} {
							evil := c.clone()
							evil.body = bytes.Replace(spaceless.ReplaceAll(c.body, []byte(`":`)), []byte(`"`+step+`":`), []byte(added), 1)
							if twin[0] >= 0x80 || !bytes.Contains(evil.body, []byte(added)) {
								continue
							}
							tried[p.ID]++
							refused(t, p, evil, added)
						}
					}
				}
			}
			if strings.HasPrefix(c.contentType(), "multipart/") {
				continue
			}
			for _, name := range fields {
				for _, twin := range []string{strings.Replace(name, "_", ".", 1), strings.Replace(name, "_", "+", 1), "+" + name, name + "%00", name + "%5B%5D", name + "%5Ba%5D", "%5B" + name + "%5D", strings.ToUpper(name), strings.ReplaceAll(name, "s", "%C5%BF")} {
					if twin == name {
						continue
					}
					for _, body := range []string{string(c.body) + "&" + twin + "=evil", twin + "=evil&" + string(c.body)} {
						tried[p.ID]++
						evil := c.clone()
						evil.body = []byte(body)
						refused(t, p, evil, twin)
					}
				}
			}
		}
	}
	t.Log(tried)
	for _, id := range []string{"adyen_payments", "dropbox_sign", "braintree", "travis", "aws_sns", "aircall"} {
		if tried[id] == 0 {
			t.Errorf("%s: no twin was tried", id)
		}
	}
}

func hex(c byte) string { return string([]byte{"0123456789abcdef"[c>>4], "0123456789abcdef"[c&15]}) }

func (c *captured) contentType() string {
	if lines := c.req.Header["Content-Type"]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

func refused(t *testing.T, p *providers.Provider, c *captured, what string) {
	t.Helper()
	if _, _, err := c.key(p); err == nil {
		t.Errorf("%s: passes with %s", p.ID, what)
	}
}

// TestAnEncodedFormIsRefused: where fields of a form are all that is signed, an app that
// undoes a Content-Encoding would read another form, in a stream before them.
func TestAnEncodedFormIsRefused(t *testing.T) {
	for _, id := range []string{"braintree", "travis", "opennode", "paddle_classic"} {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		tried := false
		for i := range p.Vectors {
			if p.Vectors[i].Expect != providers.Genuine {
				continue
			}
			tried = true
			c := capture(t, p, &p.Vectors[i])
			c.req.Header["Content-Encoding"] = []string{"deflate"}
			refused(t, p, c, "a Content-Encoding")
			c.req.Header["Content-Encoding"] = []string{"identity"}
			if _, _, err := c.key(p); err != nil {
				t.Errorf("%s: refused as identity: %v", id, err)
			}
		}
		if !tried {
			t.Errorf("%s: no vector", id)
		}
	}
}

// TestSignedFieldsAreReadUnderTheirContentType: an app goes by the Content-Type. Where
// the fields of a body are signed, and not its bytes, another Content-Type would have
// it read what nobody signed: paddle_classic's own field, which is not signed, could
// hold a whole multipart form.
func TestSignedFieldsAreReadUnderTheirContentType(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]int)
	for _, p := range all {
		form, json := false, false
		for _, text := range p.Scheme.Messages() {
			parsed, err := template.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parsed {
				form = form || part.Slot == template.FormSorted || part.Slot == template.URLFormSorted || part.Slot == template.FormPHP || part.Slot == template.FormPairs
				json = json || (part.Slot == template.JSON || part.Slot == template.JSONLines || part.Slot == template.JSONPairs) && !rules(p).SignsContent() && p.Scheme.BodyForm == ""
			}
		}
		for i := range p.Vectors {
			vec := &p.Vectors[i]
			if vec.Expect != "genuine" {
				continue
			}
			c := capture(t, p, vec)
			var others []string
			switch {
			case form && c.contentType() == "application/x-www-form-urlencoded" && len(c.body) > 0:
				others = []string{"multipart/form-data; boundary=x", "application/json", "application/x-www-form-urlencoded; charset=utf-7"}
			case json && len(c.body) > 0 && c.body[0] == '{':
				others = []string{"multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json; charset=utf-7", `text/plain; CHARSET="UTF-16"`, "application/json; charset=utf-7; =", "application/json; charset=ibm037", "application/x-www-form-urlencoded;x", "application/x-www-form-urlencoded; a=1; A=2"}
				taken := c.clone() // a charset that reads the same bytes
				taken.req.Header["Content-Type"] = []string{"application/json; charset=UTF-8"}
				if _, _, err := taken.key(p); err != nil {
					t.Errorf("%s: refused as UTF-8: %v", p.ID, err)
				}
				lines := c.clone()
				lines.req.Header["Content-Type"] = []string{"application/json", "application/json; charset=utf-7"}
				refused(t, p, lines, "two lines of Content-Type")
			}
			if len(others) > 0 {
				coded := c.clone()
				coded.req.Header["Content-Encoding"] = []string{"deflate"}
				refused(t, p, coded, "a Content-Encoding")
			}
			for _, other := range others {
				tried[p.ID]++
				evil := c.clone()
				evil.req.Header["Content-Type"] = []string{other}
				refused(t, p, evil, other)
			}
		}
	}
	t.Log(tried)
	for _, id := range []string{"paddle_classic", "twilio", "plivo_v3", "adyen_payments", "aws_sns"} {
		if tried[id] == 0 {
			t.Errorf("%s: no Content-Type was tried", id)
		}
	}
}

// TestNoPresetReadsAnotherCharset: a delivery of any preset that signs is refused under a
// charset in which a stranger's text becomes quotes, and taken under those of senders.
func TestNoPresetReadsAnotherCharset(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, p := range all {
		if rules(p).SignsHeader("Content-Type") || slices.Contains([]string{"coinbase_cdp", "contentful", "rfc9421", "truelayer"}, p.ID) { // which may sign it
			continue
		}
		for i := range p.Vectors {
			c := capture(t, p, &p.Vectors[i])
			kind := strings.TrimSuffix(strings.TrimSpace(c.contentType()), ";")
			if p.Vectors[i].Expect != providers.Genuine || p.Scheme.UsesToken() || strings.Contains(kind, "charset") {
				continue
			}
			if kind == "" {
				kind = "application/json"
				if rules(p).SignsContent() && len(c.body) > 0 && c.body[0] != '{' && !p.Scheme.BodyDecoded {
					kind = "application/x-www-form-urlencoded"
				}
			}
			tried++
			for _, charset := range []string{"utf-7", "shift_jis", "hz", "utf-16", "unicode_escape"} {
				c.req.Header["Content-Type"] = []string{kind + "; charset=" + charset}
				refused(t, p, c, charset)
			}
			c.req.Header["Content-Type"] = []string{kind + "; charset=utf-8"}
			if _, _, err := c.key(p); err != nil {
				t.Errorf("%s: refused as UTF-8: %v", p.ID, err)
			}
		}
	}
	if tried < 300 {
		t.Errorf("%d deliveries tried", tried)
	}
}
