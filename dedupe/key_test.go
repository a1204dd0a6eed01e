package dedupe

import (
	"slices"
	"strings"
	"testing"
	"time"

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

// However fields are divided, a key belongs to one list of them.
func TestKeyIsInjective(t *testing.T) {
	fields := rapid.SliceOfN(rapid.StringMatching(`[ab\x00]{0,9}`), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := fields.Draw(t, "a"), fields.Draw(t, "b")
		if (NewKey(a...) == NewKey(b...)) != slices.Equal(a, b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// A delivery's key must survive an upgrade: a changed format would forget all dones
// in every store.
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
	type d = Delivery
	content := func(text string) []byte { return []byte(text) }
	first := d{ID: "evt_1", Content: content("body")}
	var (
		alone    = IdentityOf(Facts{HasID: true, IDSigned: true, UniqueID: true})
		resource = IdentityOf(Facts{HasID: true, IDSigned: true})
		unsigned = IdentityOf(Facts{HasID: true, UniqueID: true})
		differ   = IdentityOf(Facts{HasID: true, UniqueID: true, BodiesDiffer: true})
		decided  = IdentityOf(Facts{HasID: true, BodiesDiffer: true, EventUnsigned: true})
		noID     = IdentityOf(Facts{BodiesDiffer: true})
	)
	for _, c := range []struct {
		name          string
		identity      Identity
		first, second d
		same          bool
	}{
		{"a signed id unique per event is enough: bodies may differ between attempts",
			alone, first, d{ID: "evt_1", Content: content("other")}, true},
		{"another signed id is another delivery, though the body be the same",
			alone, first, d{ID: "evt_2", Content: content("body")}, false},
		{"a header that says what the event is counts where it is not signed, beside any id",
			alone, d{ID: "evt_1", Event: []string{"X:a"}}, d{ID: "evt_1", Event: []string{"X:b"}}, false},
		{"a signed id that comes back counts with its body",
			resource, first, d{ID: "evt_1", Content: content("other")}, false},
		{"an unsigned id under another body is another delivery: nobody can mark a future id as done",
			unsigned, first, d{ID: "evt_1", Content: content("other")}, false},
		{"an unsigned id with its body is the same delivery", unsigned, first, first, true},
		{"a blank behind an unsigned id is no other id",
			unsigned, first, d{ID: "evt_1 ", Content: content("body")}, true},
		{"an event in another case is another event, as it is to the app",
			unsigned, d{ID: "1", Event: []string{"X:push"}}, d{ID: "1", Event: []string{"X:Push"}}, false},
		{"so is one with an invisible character",
			unsigned, d{ID: "1", Event: []string{"X:push"}}, d{ID: "1", Event: []string{"X:push\u00a0"}}, false},
		{"a second line of the event is another event",
			decided, d{ID: "1", Event: []string{"X:a"}}, d{ID: "1", Event: []string{"X:a", "X:b"}}, false},
		{"an event cannot pass for an id", unsigned, d{ID: "1", Content: content("b"), Event: []string{"2"}}, d{ID: "2", Content: content("b"), Event: []string{"1"}}, false},
		{"where bodies always differ, an unsigned id counts for nothing",
			differ, first, d{ID: "evt_2", Content: content("body")}, true},
		{"nor does its absence", differ, first, d{Content: content("body")}, true},
		{"unless an unsigned header decides what the body means",
			decided, first, d{ID: "evt_2", Content: content("body")}, false},
		{"without an id the body identifies, where bodies differ",
			noID, d{Content: content("body")}, d{Content: content("body")}, true},
		{"other bodies are other deliveries", noID, d{Content: content("body")}, d{Content: content("other")}, false},
		{"an absent id counts as empty", unsigned, d{Content: content("body")}, d{Content: content("body")}, true},
		{"and is not the id that was taken away", unsigned, first, d{Content: content("body")}, false},
		{"a signed id that is missing leaves the body, where bodies differ",
			IdentityOf(Facts{HasID: true, IDSigned: true, UniqueID: true, BodiesDiffer: true}), d{Content: content("body")}, d{Content: content("body")}, true},
		{"each sender has ids of its own, where it has keys of its own",
			alone, d{ID: "evt_1", Signer: "https://a.example/keys"}, d{ID: "evt_1", Signer: "https://b.example/keys"}, false},
		{"an id cannot pass for a body",
			unsigned, d{ID: digest(content("body"))}, d{Content: content("body")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, ok1 := c.identity.Key("s", "x", c.first)
			b, ok2 := c.identity.Key("s", "x", c.second)
			if !ok1 || !ok2 || (a == b) != c.same {
				t.Errorf("same: got %v, want %v (identified: %v %v)", a == b, c.same, ok1, ok2)
			}
		})
	}
}

// TestNoIdentity: two deliveries without identity are different.
func TestNoIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		identity Identity
		delivery Delivery
	}{
		"dedupe is off":             {Identity{}, Delivery{ID: "a", Content: []byte("body")}},
		"neither id nor content":    {IdentityOf(Facts{HasID: true}), Delivery{}},
		"a blank id and no content": {IdentityOf(Facts{HasID: true}), Delivery{ID: " "}},
		"a signed id that is missing, and events may be equal": {IdentityOf(Facts{HasID: true, IDSigned: true, UniqueID: true}), Delivery{Content: []byte("body")}},
		"content alone, and none":                              {Identity{Content: true}, Delivery{ID: "a"}},
	} {
		if _, ok := c.identity.Key("s", "x", c.delivery); ok {
			t.Errorf("%s: identified", name)
		}
	}
}

// TestKeeps: a rule blocks all copies only if everything that counts is signed.
func TestKeeps(t *testing.T) {
	for _, c := range []struct {
		name   string
		facts  Facts
		replay Replay
		ttl    time.Duration
	}{
		{"no id, and events may be equal", Facts{BodySigned: true}, NothingKept, 0},
		{"a signed id", Facts{HasID: true, IDSigned: true, UniqueID: true}, AllCopies, DefaultTTL},
		{"a signed id and an unsigned event", Facts{HasID: true, IDSigned: true, UniqueID: true, EventUnsigned: true}, ExactCopies, DefaultTTL},
		{"a resource's id in a signed body", Facts{HasID: true, IDSigned: true, BodySigned: true}, AllCopies, DefaultTTL},
		{"a resource's id, the body not signed", Facts{HasID: true, IDSigned: true}, ExactCopies, DefaultTTL},
		{"an unsigned id", Facts{HasID: true, UniqueID: true, BodySigned: true}, ExactCopies, DefaultTTL},
		{"an unsigned id, bodies differ", Facts{HasID: true, BodySigned: true, BodiesDiffer: true}, AllCopies, DefaultTTL},
		{"the same, but a header decides", Facts{HasID: true, BodySigned: true, BodiesDiffer: true, EventUnsigned: true}, ExactCopies, DefaultTTL},
		{"bodies differ", Facts{BodySigned: true, BodiesDiffer: true}, AllCopies, ContentTTL},
		{"a signed id and an unsigned method", Facts{HasID: true, IDSigned: true, UniqueID: true, MethodUnsigned: true}, ExactCopies, DefaultTTL},
		{"bodies differ and are not signed", Facts{BodiesDiffer: true}, ExactCopies, ContentTTL},
	} {
		i := IdentityOf(c.facts)
		if got := i.Keeps(c.facts); got != c.replay {
			t.Errorf("%s: keeps off %d, want %d", c.name, got, c.replay)
		}
		if i.Off() != (c.replay == NothingKept) || !i.Off() && i.TTL(0) != c.ttl {
			t.Errorf("%s: off %v, remembered for %s", c.name, i.Off(), i.TTL(0))
		}
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
		SiteScope("github", "example.com", "/hooks/github"),
	} {
		if other == base {
			t.Errorf("%q is taken for %q", other, base)
		}
	}
	if a, b := SiteScope("github", ":8080", "/hooks/github"), SiteScope("github", ":8080", "/Hooks//GitHub"); a != b {
		t.Errorf("%q is not %q", a, b)
	}
	if a, b := SiteScope("github", ":8080", "/hooks/github"), SiteScope("github", ":8081", "/hooks/github"); a == b {
		t.Errorf("%q for two ports", a)
	}
	if a, b := RouteScope("x", "[::1]:443", "/"), RouteScope("x", "[::1]", "/"); a != b {
		t.Errorf("%q is not %q", a, b)
	}
}
