package jsonstyle

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStyles: a text as sent, and as common libraries write it.
func TestStyles(t *testing.T) {
	const sent = "{\n  \"b\":[1.50,{}], \"a\" : \"\\u00fc</x> + 😀\\n\"}\n"
	text := Parse([]byte(sent))
	for want, style := range map[string]struct {
		text   Text
		space  string
		escape string
	}{
		`{"b":[1.50,{}],"a":"ü</x> + 😀\n"}`:                                    {text, "compact", "without needless escapes"},                                            // JSON.stringify of JavaScript
		`{"b": [1.50, {}], "a": "\u00fc</x> + \ud83d\ude00\n"}`:                {text, "with a space after each comma and colon", `with non-ASCII characters as \uXXXX`}, // json.dumps of Python
		`{"b":[1.50,{}],"a":"\u00fc<\/x> + \ud83d\ude00\n"}`:                   {text, "compact", `with slashes as \/ and non-ASCII characters as \uXXXX`},               // json_encode of PHP
		`{"a":"ü\u003c/x\u003e + 😀\n","b":[1.50,{}]}`:                          {text.Sorted(), "compact", `with <, > and & as \u003c, \u003e and \u0026`},               // a map's json.Marshal of Go
		`{"b":[1.50,{}],"a":"\u00FC\u003C/x\u003E \u002B \uD83D\uDE00\n"}`:     {text, "compact", `with <, >, &, quotes and non-ASCII characters as \uXXXX in capitals`}, // System.Text.Json of .NET
		"{\n  \"b\": [\n    1.50,\n    {}\n  ],\n  \"a\": \"ü</x> + 😀\\n\"\n}": {text, "indented by 2", "without needless escapes"},                                      // JSON.stringify with an indent
		sent: {text, "", ""},
	} {
		var space *Space
		var escape *Escape
		for i := range Spaces {
			if Spaces[i].Name == style.space {
				space = &Spaces[i]
			}
		}
		for i := range Escapes {
			if Escapes[i].Name == style.escape {
				escape = &Escapes[i]
			}
		}
		if space == nil || escape == nil {
			t.Fatalf("no style %q, %q", style.space, style.escape)
		}
		if got := string(style.text.Append(nil, *space, *escape, 1000)); got != want {
			t.Errorf("%s, %s: got %s, want %s", style.space, style.escape, got, want)
		}
	}
	if got := text.Append(nil, Spaces[0], Escapes[0], 10); got != nil {
		t.Errorf("%q is longer than its limit", got)
	}
	if deep := strings.Repeat("[", 600) + strings.Repeat("]", 600); Parse([]byte(deep)).Sorted() != nil {
		t.Error("sorts what is nested too deep")
	}
}

// FuzzText: in every style the text has the same meaning.
func FuzzText(f *testing.F) {
	f.Add([]byte(`{"b":[1.50,{}],"a":"\u00fc</x>\ud83d\ude00\n","":null} `))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var want any
		if json.Unmarshal(sent, &want) != nil {
			t.Skip()
		}
		plain, _ := json.Marshal(want)
		text := Parse(sent)
		for _, text := range []Text{text, text.Sorted()} {
			for _, space := range Spaces {
				for _, escape := range Escapes {
					written := text.Append(nil, space, escape, 1<<20)
					if written == nil {
						continue // nested too deep, or too long
					}
					var got any
					if err := json.Unmarshal(written, &got); err != nil {
						t.Fatalf("%q: %v", written, err)
					}
					if again, _ := json.Marshal(got); string(again) != string(plain) {
						t.Errorf("%q says %s, not %s", written, again, plain)
					}
				}
			}
		}
	})
}
