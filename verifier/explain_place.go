package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// collectBody looks for signatures in other places of the body: in form fields, or in
// the object that holds the scheme's.
func (s *search) collectBody() {
	sig := &s.v.signature
	if sig.Form == "" && len(sig.JSON) == 0 || !s.charge(4*len(s.c.Body)) {
		return
	}
	if fields := s.formFields(); fields != nil {
		for _, f := range fields {
			if f.Name != sig.Form {
				s.present(presented{body: "form field " + f.Name, lines: 1, likely: soundsSigned(f.Name)}, f.Value)
			}
		}
		return
	}
	for _, at := range s.v.signatureAt {
		path := at.path
		if len(path) == 0 {
			continue
		}
		object := s.objectAt(path[:len(path)-1])
		for _, name := range slices.Sorted(maps.Keys(object)) {
			text, ok := object[name].(string)
			if ok && name != path.Last() && len(name) < 64 && len(text) <= maxHeaderText {
				s.present(presented{body: "member " + name + " beside it", lines: 1, likely: soundsSigned(name)}, text)
			}
		}
	}
}

// formFields returns the fields of a body that is a form and not JSON.
func (s *search) formFields() []formdata.Field {
	first := bytes.TrimSpace(s.c.Body)
	if len(first) == 0 || first[0] == '{' || first[0] == '[' || bytes.IndexByte(first, '=') < 1 {
		return nil
	}
	fields, err := formdata.Parse(first)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(fields, func(f formdata.Field) bool { return len(f.Name) > 64 || len(f.Value) > maxHeaderText })
}

// objectAt returns the object at a path of the body.
func (s *search) objectAt(path jsonpath.Path) map[string]any {
	places, err := path.Spans(s.c.Body)
	if err != nil || len(places) == 0 {
		return nil
	}
	var object map[string]any
	_ = json.Unmarshal(s.c.Body[places[0].Start:places[0].End], &object) // anything but an object has no members
	return object
}

// formMessages guesses that a form's fields hold what the scheme reads from JSON
// members of the same names.
func formMessages(s *search, yield func(guess) bool) {
	if len(s.v.signature.JSON) == 0 {
		return
	}
	fields := s.formFields()
	value := func(all sources) string {
		for _, f := range fields {
			if all.are(inJSON) && f.Name == all[0].path.Last() {
				return f.Value
			}
		}
		return ""
	}
	if fields == nil {
		return
	}
	for _, m := range s.asked.messages {
		t := slices.Clone(m.template)
		for i := range t {
			if p := &t[i]; p.Slot == template.JSON {
				p.Slot, p.Arg = template.Form, p.Path.Last()
			}
		}
		g := guess{signing: s.asked, clause: fmt.Sprintf("the body is a form, but the scheme reads %s: this sender signs forms the same way; for them a scheme names form fields instead of JSON paths", strings.Join(s.v.signature.JSON, " or "))}
		g.messages = []message{{template: t}}
		if g.check.timestamp == "" {
			g.check.timestamp = value(s.v.timestampAt)
		}
		if id := value(s.v.idAt); id != "" {
			g.check.id = id
		}
		if !yield(g) {
			return
		}
	}
}
