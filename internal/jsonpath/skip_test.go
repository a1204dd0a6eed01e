package jsonpath

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// texts are valid and invalid JSON, with every kind of skipped value.
func texts() []string {
	all := []string{
		"1", "-0.5e+3", "01", "1.", "1e", "-", "+1", "1e+", "true", "tru", "null", "nul", "falsee", `"a"`, `"`, `"\x"`, `"\u00e"`, "\"\xff\"", "\"\n\"",
		"[]", "[ ]", "[1]", "[1,]", "[,1]", "[1 2]", "[1,2", "[", "]", "[}", "{]", "[[],[[]]]", "[[]", "[]]",
		"{}", "{ }", `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":[{"b":{}},1]}`, `{1:2}`, `{"a":{"a":{}}`, `{,}`, ` [ 1 , { "a" : [ ] } ] `, "[1]x", "",
	}
	for _, n := range []int{maxDepth - 1, maxDepth, maxDepth + 1} {
		all = append(all, strings.Repeat("[", n)+strings.Repeat("]", n), strings.Repeat(`{"a":`, n)+"1"+strings.Repeat("}", n))
	}
	return all
}

// TestSkippedIsReadAsStrictly: a value off the path is validated like one on the
// path.
func TestSkippedIsReadAsStrictly(t *testing.T) {
	for _, text := range texts() {
		body := `{"skipped":` + text + `,"id":"x"}`
		got, err := Top("id").Lookup([]byte(body))
		deep := strings.Count(text, "[")+strings.Count(text, "{") > maxDepth-2
		switch valid := json.Valid([]byte(body)) && utf8.ValidString(body); {
		case !deep && valid != (err == nil && got == "x"):
			t.Errorf("%.80s: %q, %v", body, got, err)
		case deep:
			path := Path{{name: "skipped"}}
			if _, other := path.Lookup([]byte(body)); (other == ErrNotJSON) != (err == ErrNotJSON) {
				t.Errorf("%.80s: skipped %v, read %v", body, err, other)
			}
		}
	}
}

// BenchmarkSkip: a body of numbers off the path.
func BenchmarkSkip(b *testing.B) {
	body := []byte(`{"a":[` + strings.Repeat("1,", 1<<19) + `1],"id":"x"}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Top("id").Lookup(body); err != nil {
			b.Fatal(err)
		}
	}
}
