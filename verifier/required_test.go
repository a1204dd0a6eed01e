package verifier

import "testing"

// TestRequired: headers that a delivery must carry once, with one of the values.
func TestRequired(t *testing.T) {
	v := mustVerifier(t, bare(func(s *Scheme) {
		s.RequireHeader = []RequiredHeader{
			{Name: "x-team", Values: StringList{"blue", "green"}},
			{Name: "X-Any", Values: StringList{"*"}},
		}
	}), Key{Text: testKey})
	for _, tc := range []struct {
		what    string
		headers []string
		want    Reason
	}{
		{"both", []string{"X-Team", "blue", "X-Any", "1"}, genuine},
		{"the other value", []string{"X-Team", "green", "X-Any", "1"}, genuine},
		{"another value", []string{"X-Team", "red", "X-Any", "1"}, HeaderMismatch},
		{"another case", []string{"X-Team", "Blue", "X-Any", "1"}, HeaderMismatch},
		{"the beginning of a value", []string{"X-Team", "blu", "X-Any", "1"}, HeaderMismatch},
		{"more than a value", []string{"X-Team", "blue ", "X-Any", "1"}, HeaderMismatch},
		{"both values on a line", []string{"X-Team", "blue, green", "X-Any", "1"}, HeaderMismatch},
		{"both values on two lines", []string{"X-Team", "blue", "X-Team", "green", "X-Any", "1"}, HeaderMismatch},
		{"the star is not a value of the other", []string{"X-Team", "*", "X-Any", "1"}, HeaderMismatch},
		{"absent", []string{"X-Any", "1"}, MissingHeader},
		{"empty", []string{"X-Team", "", "X-Any", "1"}, MissingHeader},
		{"any: empty", []string{"X-Team", "blue", "X-Any", ""}, MissingHeader},
		{"any: absent", []string{"X-Team", "blue"}, MissingHeader},
		{"any: two lines", []string{"X-Team", "blue", "X-Any", "1", "X-Any", "2"}, HeaderMismatch},
	} {
		t.Run(tc.what, func(t *testing.T) {
			expect(t, v, post(append(tc.headers, "X-Signature", bodyHex)...), testBody, tc.want)
		})
	}
}
