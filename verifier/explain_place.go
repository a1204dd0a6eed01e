package verifier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// collectBody looks for signatures that stand elsewhere in the body than where
// the scheme reads one: in a form's fields, or beside it in the same object.
func (s *search) collectBody() {
	sig := &s.v.signature
	if sig.Form == "" && len(sig.JSON) == 0 || !s.charge(4*len(s.c.Body)) {
		return
	}
	if fields := s.formFields(); fields != nil {
		for _, f := range fields {
			if f.name != sig.Form {
				s.present(presented{body: "form field " + f.name, lines: 1, likely: soundsSigned(f.name)}, f.value)
			}
		}
		return
	}
	for _, path := range s.v.signaturePaths {
		if len(path) == 0 {
			continue
		}
		object := s.objectAt(path[:len(path)-1])
		for _, name := range slices.Sorted(maps.Keys(object)) {
			text, ok := object[name].(string)
			if ok && name != path[len(path)-1].name && len(name) < 64 && len(text) <= maxHeaderText {
				s.present(presented{body: "member " + name + " beside it", lines: 1, likely: soundsSigned(name)}, text)
			}
		}
	}
}

// formFields returns the fields of a body that is a form and no JSON.
func (s *search) formFields() []formField {
	first := bytes.TrimSpace(s.c.Body)
	if len(first) == 0 || first[0] == '{' || first[0] == '[' || bytes.IndexByte(first, '=') < 1 {
		return nil
	}
	fields, err := parseForm(first)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(fields, func(f formField) bool { return len(f.name) > 64 || len(f.value) > maxHeaderText })
}

// objectAt returns the object at a path of the body.
func (s *search) objectAt(path jsonPath) map[string]any {
	var at any
	if json.Unmarshal(s.c.Body, &at) != nil {
		return nil
	}
	for _, step := range path {
		if list, ok := at.([]any); ok && step.array && step.index < len(list) {
			at = list[step.index]
		} else if object, ok := at.(map[string]any); ok && !step.array {
			at = object[step.name]
		} else {
			return nil
		}
	}
	object, _ := at.(map[string]any)
	return object
}

// formMessages guesses that what a scheme reads in JSON came in the fields of a
// form that have the members' names.
func formMessages(s *search, yield func(guess) bool) {
	if len(s.v.signature.JSON) == 0 {
		return
	}
	fields := s.formFields()
	value := func(path jsonPath) string {
		for _, f := range fields {
			if len(path) > 0 && f.name == path[len(path)-1].name {
				return f.value
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
			if p := &t[i]; p.slot == slotJSON {
				p.slot, p.arg = slotForm, p.path[len(p.path)-1].name
			}
		}
		g := guess{signing: s.asked, clause: fmt.Sprintf("the body is a form, the scheme reads %s: the same sender's forms are signed alike; such a scheme names form fields in place of JSON paths", strings.Join(s.v.signature.JSON, " or "))}
		g.messages = []message{{template: t}}
		if g.check.timestamp == "" {
			g.check.timestamp = value(s.v.timestampPath)
		}
		if id := value(s.v.idPath); id != "" {
			g.check.id = id
		}
		if !yield(g) {
			return
		}
	}
}
