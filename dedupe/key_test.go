package dedupe

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeyFieldsCannotRunTogether(t *testing.T) {
	different := []Key{
		NewKey(), NewKey(""), NewKey("", ""),
		NewKey("ab", "c"), NewKey("a", "bc"), NewKey("abc"), NewKey("a", "b", "c"), NewKey("abc", ""),
	}
	seen := map[Key]int{}
	for i, k := range different {
		if j, ok := seen[k]; ok {
			t.Errorf("fields %d and %d have the same key", i, j)
		}
		seen[k] = i
	}
}

// However the fields are cut, a key belongs to one list of them.
func TestKeyIsInjective(t *testing.T) {
	fields := rapid.SliceOfN(rapid.StringMatching(`[ab\x00]{0,9}`), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := fields.Draw(t, "a"), fields.Draw(t, "b")
		if (NewKey(a...) == NewKey(b...)) != slices.Equal(a, b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// The key of a delivery must survive an upgrade: a changed recipe would forget
// all that is done, in every store.
func TestKeyRecipeIsFixed(t *testing.T) {
	// printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum | cut -c1-32
	if got, want := NewKey("a", "bc").String(), "3fafa1cf2f19a7c1129beb20cf0983f7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseKey(t *testing.T) {
	k := NewKey("x")
	if got, err := ParseKey(k.String()); err != nil || got != k {
		t.Errorf("got %v %v, want %v", got, err, k)
	}
	if got, err := ParseKey(strings.ToUpper(k.String())); err != nil || got != k {
		t.Errorf("upper case: got %v %v, want %v", got, err, k)
	}
	for _, bad := range []string{"", "00", k.String()[1:], k.String() + "0", strings.Repeat("g", 32)} {
		if _, err := ParseKey(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	type delivery struct{ id, body string }
	first := delivery{"evt_1", "body"}
	for _, c := range []struct {
		name          string
		identity      Identity
		first, second delivery
		same          bool
	}{
		{"a signed id unique per event stands alone: bodies may differ between attempts",
			IdentityOf(true, true, true, false), first, delivery{"evt_1", "other"}, true},
		{"another signed id is another delivery, though the body be the same",
			IdentityOf(true, true, true, true), first, delivery{"evt_2", "body"}, false},
		{"an unsigned id under another body is another delivery: nobody can mark a future id as done",
			IdentityOf(true, false, true, false), first, delivery{"evt_1", "other"}, false},
		{"an id that comes back counts with its body",
			IdentityOf(true, true, false, false), first, delivery{"evt_1", "other"}, false},
		{"an unsigned id with its body is the same delivery",
			IdentityOf(true, false, true, false), first, first, true},
		{"without an id the body identifies, where allowed",
			IdentityOf(false, false, false, true), delivery{"", "body"}, delivery{"", "body"}, true},
		{"other bodies are other deliveries",
			IdentityOf(false, false, false, true), delivery{"", "body"}, delivery{"", "other"}, false},
		{"content alone ignores an id",
			Identity{Content: true}, first, delivery{"evt_2", "body"}, true},
		{"a missing id falls back on the body, where allowed",
			Identity{ID: IDAlone, Content: true}, delivery{"", "body"}, delivery{"", "body"}, true},
		{"an id cannot pass for a body",
			Identity{ID: IDAlone, Content: true}, delivery{digest([]byte("body")), ""}, delivery{"", "body"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, ok1 := c.identity.Key("s", "x", c.first.id, []byte(c.first.body))
			b, ok2 := c.identity.Key("s", "x", c.second.id, []byte(c.second.body))
			if !ok1 || !ok2 || (a == b) != c.same {
				t.Errorf("same: got %v, want %v (identified: %v %v)", a == b, c.same, ok1, ok2)
			}
		})
	}
	for _, i := range []Identity{{}, {ID: IDAlone}, {ID: IDWithBody}} {
		if _, ok := i.Key("s", "x", "", []byte("body")); ok {
			t.Errorf("%+v identifies a delivery without an id", i)
		}
	}
	if !IdentityOf(false, false, false, false).Off() || IdentityOf(true, false, false, false).Off() {
		t.Error("Off is wrong")
	}
}

func TestScope(t *testing.T) {
	base := RouteScope("github", "example.com", "/hooks/github")
	for _, same := range []Scope{
		RouteScope("github", "EXAMPLE.com:443", "/hooks/github"),
		RouteScope("github", "example.com.", "/Hooks//GitHub"),
	} {
		if same != base {
			t.Errorf("%q is not %q", same, base)
		}
	}
	for _, other := range []Scope{
		RouteScope("gitlab", "example.com", "/hooks/github"),
		RouteScope("github", "example.org", "/hooks/github"),
		RouteScope("github", "example.com", "/hooks/github2"),
		NamedScope("github"),
	} {
		if other == base {
			t.Errorf("%q is taken for %q", other, base)
		}
	}
	if a, b := RouteScope("x", "[::1]:443", "/"), RouteScope("x", "[::1]", "/"); a != b {
		t.Errorf("%q is not %q", a, b)
	}
}
