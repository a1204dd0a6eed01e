package formdata

import (
	"net/url"
	"strings"
	"testing"
)

// TestShadows: no parameter of a query is read in the place of a form's field.
func TestShadows(t *testing.T) {
	urlencoded, multipart := []string{"application/x-www-form-urlencoded"}, []string{"multipart/form-data; boundary=b"}
	const parts = "--b\r\ncontent-disposition: form-data; Name=a_b\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data;\r\n\tname = \"c d\"; filename=\"e;f\"\r\n\r\n2\r\n--b--"
	for _, tc := range []struct {
		query string
		kind  []string
		body  string
		want  bool
	}{
		{"", urlencoded, "a_b=1", false},
		{"a_b=2", urlencoded, "", false},
		{"shop=7&a=1&b=2", urlencoded, "a_b=1", false},
		{"shop", urlencoded, "a_b=1", false},
		{"a_b=2", urlencoded, "a_b=1", true},
		{"a_b", urlencoded, "c=1&a_b=1", true},
		{"x=1&%61_b=2", urlencoded, "a_b=1", true},
		{"x=1;a_b=2", urlencoded, "a_b=1", true},
		{"%u0061_b=2", urlencoded, "a_b=1", true},
		{"a_b=2%", urlencoded, "a_b=1&%=%", true},
		{"user[id]=2", urlencoded, "user.id=1", true},
		{"user.id=2", urlencoded, "user%5Bid%5D=1", true},
		{"c=2", urlencoded, "a_b=1;c=3", true},
		{"a_b=2", []string{"application/x-www-form-urlencoded;x"}, "a_b=1", true},
		{"a_b=2", []string{"text/plain", "application/x-www-form-urlencoded"}, "a_b=1", true},
		{"a_b=2", nil, "a_b=1", true},
		{"a_b=2", []string{""}, "a_b=1", true},
		{"a_b=2", nil, ` {"a_b":1}`, false},
		{"a_b=2", []string{"application/json"}, "a_b=1", false},
		{"a_b=2", multipart, parts, true},
		{"A_B=2", multipart, parts, true},
		{"c+d=2", multipart, parts, true},
		{"e=2", multipart, parts, false},
		{"b=2", multipart, parts, false},
		{"c=2", urlencoded, strings.Repeat("a&", MaxFields), false},
		{"c=2", urlencoded, strings.Repeat("a&", MaxFields+1), true},
		{"c=" + strings.Repeat("x", maxQuery), urlencoded, "a_b=1", true},
	} {
		if got := Shadows(tc.query, tc.kind, []byte(tc.body)); got != tc.want {
			t.Errorf("%.80q before %.80q as %q: %t", tc.query, tc.body, tc.kind, got)
		}
	}
	for _, twin := range twins {
		if !Shadows(url.QueryEscape(twin)+"=2", urlencoded, []byte("a_b=1")) || !Shadows("a_b=2", urlencoded, []byte(url.QueryEscape(twin)+"=1")) {
			t.Errorf("%q passes", twin)
		}
	}
}

func TestLenient(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "%61+%u0062%U0063": "a bc", "%": "%", "%6": "%6", "%zz%61": "%zza", "%u006": "%u006", "%u2014": "%u2014"} {
		if got := lenient(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
