package tenants

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	for text, want := range map[string]string{
		"acme": "acme", "ACME": "acme", "a": "a", "7": "7", "shop-7.my_shop": "shop-7.my_shop", "a..b": "a..b", "-x": "-x", "_": "_",
		long: long, "acme.myshopify.com": "acme.myshopify.com",
		"": "", long + "a": "", ".": "", "..": "", ".env": "", "..data": "", "a/b": "", `a\b`: "", "a%2fb": "", "%2e%2e": "", "a b": "", "a\x00b": "", "a\n": "",
		"acm\u00e9": "", "\u0430cme": "", "a:b": "", "a?b": "", "a#b": "", "a,b": "", "\u017f": "", "\u212a": "", "{tenant}": "", "~": "", "$x": "", "*": "",
	} {
		if got, ok := Name(text, false); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t; want %q", text, got, ok, want)
		}
	}
	if got, ok := Name("ACME", true); !ok || got != "ACME" {
		t.Errorf("with its case kept: %q, %t", got, ok)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = Name("acme", false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzName: a name is one element of a path below its folder, one segment of a URL that
// needs no escaping, and the name of itself.
func FuzzName(f *testing.F) {
	for _, seed := range []string{"acme", "ACME", "..", "a/../b", "%2e%2e%2f", ".data", "a\\b", "a\x00", "ſ", strings.Repeat("x", 200)} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, keepCase bool) {
		name, ok := Name(text, keepCase)
		if !ok {
			if name != "" {
				t.Errorf("refused, but %q", name)
			}
			return
		}
		if again, ok := Name(name, keepCase); !ok || again != name {
			t.Errorf("%q is called %q, %t", name, again, ok)
		}
		if len(name) > MaxName || !strings.EqualFold(name, text) || !keepCase && name != strings.ToLower(text) {
			t.Errorf("%q became %q", text, name)
		}
		if path := filepath.Join("/run/keys", name); filepath.Dir(path) != "/run/keys" || filepath.Base(path) != name || !filepath.IsLocal(name) || strings.HasPrefix(name, ".") {
			t.Errorf("%q leads to %q", name, path)
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Errorf("%q needs escaping", name)
		}
	})
}

func ExampleName() {
	for _, text := range []string{"ACME.myshopify.com", "../../etc/passwd"} {
		fmt.Println(Name(text, false))
	}
	// Output:
	// acme.myshopify.com true
	//  false
}
