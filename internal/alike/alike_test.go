package alike

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestSameIsSimpleFolding compares Same with the standard library, rune by rune.
func TestSameIsSimpleFolding(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if a, b := "x"+string(r), "X"+string(other); !Same(a, b) {
				t.Fatalf("%q and %q are not taken for one", a, b)
			}
		}
	}
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"success", "Success", true}, {"items", "item\u017f", true}, {"key", "\u212aey", true}, {"id", "İd", true}, {"id", "ıd", true},
		{"id", "ide", false}, {"a_b", "a-b", false}, {"", "", true}, {"ss", "ß", false}, {"a\xff", "A\xff", true}, {"a\xff", "A\xfe", false}, {"\xff", "\ufffd", false},
	} {
		if utf8.ValidString(tc.a+tc.b) && (Fold(tc.a) == Fold(tc.b)) != tc.same {
			t.Errorf("%q and %q are folded to %q and %q", tc.a, tc.b, Fold(tc.a), Fold(tc.b))
		}
		if got := Same(tc.a, []byte(tc.b)); got != tc.same || got != strings.EqualFold(tc.a, tc.b) && !strings.ContainsAny(tc.b, "İı\ufffd") && utf8.ValidString(tc.b) {
			t.Errorf("%q and %q: %t", tc.a, tc.b, got)
		}
	}
}

func TestFields(t *testing.T) {
	for name, want := range map[string][2]string{
		"bt_payload": {"bt_payload", ""}, "bt.payload": {"bt_payload", ""}, " bt payload": {"bt_payload", ""}, "BT_payload\x00x": {"bt_payload", ""},
		"\x00bt_payload": {"bt_payload", ""}, "bt_payload\t \x1f": {"bt_payload", ""}, "?bt_payload": {"bt_payload", ""}, "\ufeffbt_payload": {"bt_payload", ""}, "\u3000bt_payload": {"bt_payload", ""}, "?bt_payload[x]": {"bt_payload_x]", "bt_payload"},
		"bt[payload": {"bt_payload", "bt"}, "bt_payload[]": {"bt_payload_]", "bt_payload"}, "[bt.payload][x]": {"_bt_payload]_x]", "bt_payload"},
	} {
		if got := [2]string{Field(name), Array(name)}; got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
