package jsonpath

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzJSONPath compares the scanner with encoding/json: what it finds is part of
// valid JSON, and what a decoder finds if no member repeats.
func FuzzJSONPath(f *testing.F) {
	for _, path := range []string{"id", "data.id", "items[0].id", "items[only].id", "[0].eventId", "a[1][2]", "a[only]", "é"} {
		for _, text := range []string{
			`{"id":"a","data":{"id":1.5e3},"items":[{"id":true}],"é":"ü"}`, `[{"eventId":"\ud83d\ude00"}]`, `{"a":[0,[1,2,3]]}`,
			`{"id":"\u0069\ud800"}`, `{"id":1,"i\u0064":2}`, `{"id":{"id":[]}}`, `{"data":[{"id":1}]}`, `{"id":null}`, `{"id":01}`,
			"{\"id\":\"\xff\"}", `{"id":0,"i\u0064":`, `{"\u00e9":-0.0E-1}`, `{"id":"a"} {`, ` `, `"\`, strings.Repeat("[", 600),
		} {
			f.Add(path, []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, path string, text []byte) {
		p, err := Parse(path)
		if err != nil || p.Many() {
			return // walk does not support [*]
		}
		got, err := p.Lookup(text)
		if err != nil && !slices.ContainsFunc([]error{ErrNoValue, ErrNotJSON, ErrDuplicate, errArray, errDiffer, errSeveral}, func(e error) bool { return errors.Is(err, e) }) {
			t.Fatalf("%v", err)
		}
		if errors.Is(err, ErrNotJSON) {
			// stricter than a decoder in only three respects
			if json.Valid(text) && utf8.Valid(text) && !bytes.Contains(text, []byte(`\u`)) && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxDepth {
				t.Fatalf("%q is JSON", text)
			}
			return
		}
		if (errors.Is(err, ErrDuplicate) || errors.Is(err, errSeveral)) && !json.Valid(text) {
			return // refused before the other was read
		}
		if !json.Valid(text) {
			t.Fatalf("%q is no JSON, and got %q, %v", text, got, err)
		}
		if errors.Is(err, ErrDuplicate) || hasDuplicates(text) {
			if errors.Is(err, ErrDuplicate) && !hasDuplicates(text) {
				t.Fatalf("no member of %q appears twice", text)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		want, found := walk(value, p)
		if found != (err == nil) || found && got != want {
			t.Fatalf("%s of %q: got %q, %v; a decoder finds %q, %v", path, text, got, err, want, found)
		}
	})
}

func walk(value any, p Path) (string, bool) {
	for _, step := range p {
		if step.array {
			list, ok := value.([]any)
			if !ok || step.index >= len(list) || step.only && len(list) > 1 {
				return "", false
			}
			value = list[step.index]
			continue
		}
		object, ok := value.(map[string]any)
		if !ok {
			return "", false
		}
		if value, ok = object[step.name]; !ok {
			return "", false
		}
	}
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

// hasDuplicates reports whether any object has a repeated member, with names as a
// decoder reads them.
func hasDuplicates(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil: an array
		value bool            // a value is next
	}
	var stack []level
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:len(stack)-1]
			continue
		}
		if n := len(stack); n > 0 && stack[n-1].names != nil {
			top := &stack[n-1]
			if name, ok := token.(string); ok && !top.value {
				if top.names[name] {
					return true
				}
				top.names[name], top.value = true, true
				continue
			}
			top.value = false
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{names: make(map[string]bool)})
		case json.Delim('['):
			stack = append(stack, level{})
		}
	}
}

// FuzzParse: each path has one text.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"id", "data.id", "items[0].id", "[*].id", "[only].id", "[0].eventId", "a[1][2].b", "", ".", "a..b", "a[", "a]", "[-0]", "[007]", "[+1]", "a[1]b", "é.\xff", "[9999999999999999999]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if p != nil {
				t.Fatal("a path beside an error")
			}
			return
		}
		var b strings.Builder
		for i, step := range p {
			switch {
			case step.every:
				b.WriteString("[*]")
			case step.only:
				b.WriteString("[only]")
			case step.array:
				fmt.Fprintf(&b, "[%d]", step.index)
			case i > 0:
				b.WriteString("." + step.name)
			default:
				b.WriteString(step.name)
			}
		}
		if b.String() != text || len(p) == 0 {
			t.Fatalf("%q is read as %q", text, b.String())
		}
	})
}
