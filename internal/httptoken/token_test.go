package httptoken

import "testing"

func TestValid(t *testing.T) {
	for text, want := range map[string]bool{
		"X-Signature": true, "a": true, "!#$%&'*+-.^_`|~09": true,
		"": false, " ": false, "a b": false, "a:": false, "a\t": false, "a\x7f": false, "é": false, "\xff": false, "{param:x}": false,
	} {
		if got := Valid(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if got := Valid([]byte(text)); got != want {
			t.Errorf("bytes of %q: %v, want %v", text, got, want)
		}
	}
}
