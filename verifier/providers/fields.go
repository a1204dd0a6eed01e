package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A fault is a field of a provider file that is unknown or has a value of another kind.
type fault struct {
	offset int // in the file
	text   string
}

// findFault returns the first fault of a value and those within it, nil without one.
// path is that of the value, "" for the file, offset its position.
func findFault(data []byte, offset int, path string, t reflect.Type) *fault {
	if t.Kind() == reflect.Pointer {
		return findFault(data, offset, path, t.Elem())
	}
	open := bracket(t)
	if open == 0 || data[0] != open {
		if err := json.Unmarshal(data, reflect.New(t).Interface()); err != nil {
			return &fault{offset, strings.TrimPrefix(fmt.Sprintf("%s: write %s", path, kindOf(t)), ": ")}
		}
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data)) // the text is valid JSON: no errors
	_, _ = d.Token()                            // the bracket
	for i := 0; d.More(); i++ {
		inner, name := fmt.Sprintf("%s[%d]", path, i), ""
		if open == '{' {
			token, _ := d.Token()
			name = token.(string)
			inner = strings.TrimPrefix(path+"."+name, ".")
		}
		var elem reflect.Type
		if t.Kind() != reflect.Struct {
			elem = t.Elem()
		} else if elem = fieldsOf(t)[strings.ToLower(name)]; elem == nil {
			return &fault{offset + int(d.InputOffset()), unknownField(name, path, t)}
		}
		var value json.RawMessage
		_ = d.Decode(&value)
		if f := findFault(value, offset+int(d.InputOffset())-len(value), inner, elem); f != nil {
			return f
		}
	}
	return nil
}

// bracket returns the first byte of the JSON of an object or list, 0 for other types.
func bracket(t reflect.Type) byte {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return 0
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		return '{'
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return '['
	}
	return 0
}

// fieldsOf returns the types of a struct's fields by their names in JSON, in lower case:
// the decoder ignores case.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	types := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			types[strings.ToLower(name)] = field.Type
		}
	}
	return types
}

// unknownField names the field, its object, and the nearest known field or all of them.
func unknownField(name, path string, t reflect.Type) string {
	known := slices.Sorted(maps.Keys(fieldsOf(t)))
	remedy := "known are " + strings.Join(known, ", ")
	if near := nearest.Of(name, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	if path != "" {
		path = " of " + path
	}
	return fmt.Sprintf("unknown field %q%s: %s", name, path, remedy)
}

// kindOf says what a field holds.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[verifier.StringList]():
		return `a text in double quotes, or a list of such: ["…", "…"]`
	case t == reflect.TypeFor[verifier.Duration]():
		return "a duration such as \"90s\", \"5m\" or \"72h\""
	case t == reflect.TypeFor[[]byte]():
		return "bytes in base64"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false, without quotes"
	case reflect.Int, reflect.Int64:
		return "a whole number, without quotes"
	case reflect.Slice:
		return "a list: […]"
	case reflect.Struct, reflect.Map:
		return "an object: {…}"
	}
	return "a text in double quotes"
}
