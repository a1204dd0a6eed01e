package appview

import (
	"net/url"
	"strings"
	"testing"
)

// TestNamesMethod: every spelling that some app reads as _method, and no other
// parameter.
func TestNamesMethod(t *testing.T) {
	for query, want := range map[string]bool{
		"_method=OPTIONS": true, "_method": true, "_method=": true, "a=b&_method=PUT": true, "a=b;_method=PUT": true, "&&_method=PUT": true,
		"_METHOD=put": true, "%5fmethod=PUT": true, "%5Fm%65thod=PUT": true, "%5Fm%45thod": true, "%u005fmethod=PUT": true, "_method%3d=x": false,
		".method=PUT": true, "+_method=PUT": true, "%20_method=PUT": true, "%09_method": true, "%0a_method": true, "%2emethod": true, "[method=PUT": true, "%5bmethod=PUT": true,
		"?_method=PUT": true, "a=b&?_method=PUT": true, "%ef%bb%bf_method=PUT": true, "%01_method=PUT": true, "_method%20=PUT": true, "%c2%a0_method=PUT": true, "?[method[]=PUT": true,
		"_method[]=PUT": true, "_method%5b0%5d=PUT": true, "_method%00x=PUT": true, "%zz&_method=PUT": true, "+method=PUT": false, "_%zz%6dethod": false,
		"": false, "method=PUT": false, "__method=PUT": false, "_method_=x": false, "x_method=PUT": false, "a=_method": false, "a=b%26_method=PUT": false,
		"_methods=PUT": false, "%255fmethod=PUT": false, "case=1": false, "my_method=1": false, "a[_method]=1": false, "_ method=1": false, "_method%=1": false,
	} {
		if got := NamesMethod(query); got != want {
			t.Errorf("%s: %t, want %t", query, got, want)
		}
	}
}

// FuzzNamesMethod compares with Go's query parser.
func FuzzNamesMethod(f *testing.F) {
	for _, query := range []string{"_method=PUT", "a=b&%5fmethod", "+_method=", "%u005fmethod", "[method;_Method[]=x", "%"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, _ := url.ParseQuery(query)
		for name := range values {
			if strings.EqualFold(strings.TrimLeft(name, " "), "_method") && !NamesMethod(query) {
				t.Errorf("%q has %q", query, name)
			}
		}
	})
}
