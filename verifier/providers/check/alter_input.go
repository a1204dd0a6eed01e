package check

import (
	"net/textproto"
	"regexp"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

const signatureInput = "Signature-Input"

var componentSlots = map[string]template.Slot{
	"@method": template.Method, "@target-uri": template.URL, "@authority": template.Host, "@path": template.Path, "@query": template.Query, "@request-target": template.URI,
}

// slotsOf translates the components of an RFC 9421 signature into slots.
func slotsOf(components []string) template.Template {
	var t template.Template
	for _, name := range components {
		name, _, _ = strings.Cut(name, ";")
		if slot, ok := componentSlots[name]; ok {
			t = append(t, template.Part{Slot: slot})
		} else if !strings.HasPrefix(name, "@") {
			t = append(t, template.Part{Slot: template.Header, Arg: textproto.CanonicalMIMEHeaderKey(name)})
		}
	}
	return t
}

var (
	firstComponent = regexp.MustCompile(`\("[^"]*" ?`)
	firstTwo       = regexp.MustCompile(`\(("[^"]*") ("[^"]*")`)
	createdParam   = regexp.MustCompile(`created=[0-9]+`)
)

// ofInput changes the parameters of an RFC 9421 signature.
func (a *alterer) ofInput() []alteration {
	if a.SignedComponents() == nil {
		return nil
	}
	edit := func(f func(string) string) func(*trial) bool {
		return func(t *trial) bool {
			lines := t.req.Header[signatureInput]
			if len(lines) == 0 {
				return false
			}
			altered := f(lines[0])
			done := altered != lines[0]
			lines[0] = altered
			return done
		}
	}
	return []alteration{
		{"no Signature-Input", func(t *trial) bool { return t.remove([]string{signatureInput}) }},
		{"a second line of Signature-Input", func(t *trial) bool {
			t.req.Header[signatureInput] = append(t.req.Header[signatureInput], t.req.Header[signatureInput]...)
			return true
		}},
		{"a label twice", func(t *trial) bool {
			for _, name := range []string{signatureInput, "Signature"} {
				t.req.Header[name][0] += ", " + t.req.Header[name][0]
			}
			return true
		}},
		{"a component less", edit(func(text string) string { return firstComponent.ReplaceAllString(text, "(") })},
		{"two components exchanged", edit(func(text string) string { return firstTwo.ReplaceAllString(text, "($2 $1") })},
		{"no component at all", edit(func(text string) string { return regexp.MustCompile(`\([^)]*\)`).ReplaceAllString(text, "()") })},
		{"created a second later", edit(func(text string) string { return createdParam.ReplaceAllStringFunc(text, nextDigit) })},
		{"no created", edit(func(text string) string { return createdParam.ReplaceAllString(text, "x") })},
		{"a parameter more", edit(func(text string) string { return strings.Replace(text, ")", `);more="1"`, 1) })},
	}
}
