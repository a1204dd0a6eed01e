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
		{"user.id=2", urlencoded, "user.name=1&user=2", false},
		{"user=2", urlencoded, "user%5Bid%5D=1", true},
		{"user[]=2", urlencoded, "user=1", true},
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
		{"f=2", multipart, "\r\n" + parts, false},
		{"a_b=2", multipart, "\r\n" + parts, true},
		{"a_b=2", multipart, "preamble\r\n" + parts, true},
		{"a_b=2", []string{"multipart/form-data; boundary=b=c"}, strings.ReplaceAll(parts, "--b", "--b=c"), true},
		{"token=1", multipart, "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n<form><input name=\"token\">\r\nContent-Disposition: form-data; name=\"token\"\r\n--b--", false},
		{"token=1&f.txt=1", multipart, "--b\r\nContent-Type: text/plain; name=token\r\nContent-Disposition: form-data; filename=token; name=\"f\"; filename*=token\r\n\r\n\r\n--b--", false},
		{"v=1", multipart, "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + strings.Repeat("<x name=\"q\"/>\r\n", 2*MaxFields) + "--b--", false},
		{"v=1", multipart, strings.Repeat("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n", MaxFields+1) + "--b--", true},
		{"v=1", nil, "<a>" + strings.Repeat("x=&amp;", 2*MaxFields) + "</a>", false},
		{"v=1", nil, "\x1f\x8b\b\x00" + strings.Repeat("=&", 2*MaxFields) + "&v=1", false},
		{"v=1", nil, "\n\x05" + strings.Repeat("=;", 2*MaxFields) + ";v=1", false},
		{"v=1", nil, "a;b;c;v", false},
		{"v=1", nil, strings.Repeat("a=&", 2*MaxFields), false},
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

// TestShadowsNamedFields: what is not named does not count, however many fields there are.
func TestShadowsNamedFields(t *testing.T) {
	kind, many := []string{"application/x-www-form-urlencoded"}, []byte(strings.Repeat("a&", 2*MaxFields))
	for query, want := range map[string]bool{"a=1": false, "b=1": true, "x=1&C[]=1": true, "d": false} {
		if got := Shadows(query, kind, many, "b", "c"); got != want {
			t.Errorf("%s: %t", query, got)
		}
	}
	if Shadows("b=1", []string{"application/json"}, many, "b") {
		t.Error("in JSON")
	}
}

func TestLenient(t *testing.T) {
	for text, want := range map[string]string{"a": "a", "%61+%u0062%U0063": "a bc", "%": "%", "%6": "%6", "%zz%61": "%zza", "%u006": "%u006", "%u2014": "%u2014"} {
		if got := lenient(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
