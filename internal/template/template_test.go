package template

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestString: what String writes is the template that Parse reads.
func TestString(t *testing.T) {
	for _, text := range []string{
		"", "{body}", "v0:{timestamp}:{body}", `\{{body|sha256|hex}\}\n\r\t\\`, "{header:X-Id|lower}{json:a[0].b?|hex|base64}",
		"{json:title|any}\\n{json:id}", "{json_lines:Message,Subject?,Type}", "{param:hook?}", "{json_pairs:a.b,c,d}", "{form_pairs:a,b}", "{json_is:a.b=1=2}{body|base64url}", "{body_digest:bodySHA256|sha256|hex}",
	} {
		parsed, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := parsed.String(); got != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}

// TestParseReadsOn: beside an error Parse returns the slots that it can read, so
// that a caller knows which params a message with a mistake asks for.
func TestParseReadsOn(t *testing.T) {
	for _, text := range []string{`{nothing}{param:hook}`, `\x{param:hook}`, `}{param:hook}`, `{param:hook}{body`, `{param:hook}\`} {
		parsed, err := Parse(text)
		if err == nil || !parsed.HasArg(Param, "hook") {
			t.Errorf("%s: %v, %v", text, parsed, err)
		}
	}
}

// TestWith: params become part of the text around them, whatever they hold.
func TestWith(t *testing.T) {
	parsed, err := Parse("a{param:p}b{body}{param:q?}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsed.With(map[string]string{"p": `{body}\n`, "q": "}"})
	if err != nil || len(got) != 3 || got[0].Literal != `a{body}\nb` || got[2].Literal != "}" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := parsed.With(map[string]string{"p": "x"}); err == nil || !strings.Contains(err.Error(), "{param:q}") {
		t.Errorf("q has no value: %v", err)
	}
}

// FuzzParse: parsing does not panic, gives the same for the same text, and what
// it gives writes itself again. With splices values as they are.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"{body}", "{id}.{timestamp}.{body}", "v0:{timestamp}:{body}", `\{{body|sha256|hex}\}\n`, "{header:X-A|lower}{json:a[0].b|hex|base64}",
		"{form:x}{form_sorted}{query_sorted}{param:p}", "{url}{url_no_query}{uri}{path}{query}{host}{method}{secret}{body|md5|crc32}",
		"{", "}", `\`, `\x`, "{}", "{:}", "{|}", "{body|}", "{param:}", "{param:p}{param:p}", "{header:Host}{body}", "é{body}\x00",
	} {
		f.Add(text, "value {body} \\")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		first, err := Parse(text)
		second, again := Parse(text)
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("%v, then %v", err, again)
		}
		if describe(first) != describe(second) {
			t.Fatalf("%q: %s, then %s", text, describe(first), describe(second))
		}
		if err != nil {
			return
		}
		if written, err := Parse(first.String()); err != nil || describe(written) != describe(first) {
			t.Fatalf("%q writes itself as %q: %s, %v", text, first, describe(written), err)
		}
		spliced, err := first.With(map[string]string{"p": value})
		if err == nil && first.HasArg(Param, "p") && !slices.ContainsFunc(spliced, func(p Part) bool { return strings.Contains(p.Literal, value) }) {
			t.Fatalf("%q: %q is not spliced as it is", text, value)
		}
	})
}

func describe(t Template) string {
	var b strings.Builder
	for _, p := range t {
		fmt.Fprintf(&b, "[%q %d %q %v %v %v %s]", p.Literal, p.Slot, p.Arg, p.Path, p.Optional, p.Any, p.Filter([]byte("aZ"), 0))
	}
	return b.String()
}
