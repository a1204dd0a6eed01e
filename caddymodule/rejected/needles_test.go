package rejected

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestNeedles finds what strings.Contains does, also among texts that begin with or
// contain each other.
func TestNeedles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(least, most int) string {
		var b strings.Builder
		for range least + r.IntN(most-least+1) {
			b.WriteByte("aab\xff"[r.IntN(4)])
		}
		return b.String()
	}
	found := 0
	for range 20_000 {
		var texts []string
		for range r.IntN(6) {
			texts = append(texts, random(shortestKey, 9))
		}
		value := random(0, 24)
		want := slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(value, text) })
		if got := newNeedles(texts).in(value); got != want {
			t.Fatalf("%q in %q: %t", texts, value, got)
		}
		if want {
			found++
		}
	}
	if found < 1000 || found > 19_000 {
		t.Errorf("found in %d of 20000", found)
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"a%2Bb%2bc+d": "a+b+c d", "100%&%41": "100%&A", "%zz%41%4": "%zzA%4", "%": "%", "%%41": "%A", "%4%31": "%41", "plain": "plain", "%fF%0a": "\xff\n",
	} {
		if got := unescape(text, true); got != want {
			t.Errorf("%q is unescaped to %q, want %q", text, got, want)
		}
	}
	if got := unescape("a+b%20c", false); got != "a+b c" {
		t.Errorf("a path is unescaped to %q", got)
	}
}
