package known_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/known"
	"github.com/verify-webhook/caddy-verify-webhook/internal/providerpage"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// What a page says about replays of a captured delivery.
const (
	allCopies   = "no copy of a captured delivery reaches the app for"
	exactCopies = "exact copies of a captured delivery do not reach the app for"
	nothingKept = "copies of a captured delivery reach the app."
)

// TestReplaysAsThePageSays alters every genuine vector of every preset in ways
// possible without a key, and compares dedupe's result with the preset's page.
func TestReplaysAsThePageSays(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, p := range all {
		said := promise(t, p)
		count[said]++
		t.Run(p.ID, func(t *testing.T) {
			identified, passing := false, false
			for i := range p.Vectors {
				if vec := &p.Vectors[i]; vec.Expect == "genuine" {
					a, b := replay(t, p, capture(t, p, vec), said)
					identified, passing = identified || a, passing || b
				}
			}
			if identified != (said != nothingKept) {
				t.Errorf("the page says that %s, and deliveries are identified: %t", said, identified)
			}
			if passing != (said == exactCopies) && beyond[p.ID] == "" {
				t.Errorf("the page says that %s, and altered copies pass: %t", said, passing)
			}
		})
	}
	for _, said := range []string{allCopies, exactCopies, nothingKept} {
		if count[said] < 20 {
			t.Errorf("%d pages say that %s", count[said], said)
		}
	}
	t.Log(count)
}

// TestAnAlteredPartIsAnotherDelivery: a copy of an SNS message with other unsigned members
// is genuine, and does not pass for SNS's own. A token of Mailgun passes once.
func TestAnAlteredPartIsAnotherDelivery(t *testing.T) {
	for id, same := range map[string]bool{"aws_sns": false, "aws_sns_v1": false, "mailgun": true} {
		p, err := providers.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for i := range p.Vectors {
			c := capture(t, p, &p.Vectors[i])
			if p.Vectors[i].Expect != providers.Genuine || !bytes.HasPrefix(c.body, []byte("{")) {
				continue
			}
			tried++
			altered := c.clone()
			altered.body = append([]byte(`{"MessageAttributes":{"type":{"Type":"String","Value":"other"}},`), c.body[1:]...)
			want, _, err := c.key(p)
			if err != nil {
				t.Fatal(err)
			}
			if again, _, _ := c.clone().key(p); again != want {
				t.Errorf("%s: a retry with the same bytes is another delivery", id)
			}
			if got, ok, err := altered.key(p); err != nil || !ok || (got == want) != same {
				t.Errorf("%s: the altered copy counts as the same delivery: %t (%v), want %t", id, got == want, err, same)
			}
		}
		if tried == 0 {
			t.Errorf("%s: no vector is JSON", id)
		}
	}
}

// TestRememberedWhileFresh: by default, no preset forgets a delivery whose captured copy
// is still accepted, whatever identifies it.
func TestRememberedWhileFresh(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, p := range all {
		ts := p.Scheme.Timestamp
		if ts == nil || ts.Off {
			continue
		}
		tried++
		tolerance := verifier.DefaultTolerance
		if p.Scheme.Tolerance != nil {
			tolerance = time.Duration(*p.Scheme.Tolerance)
		}
		for name, rule := range map[string]dedupe.Identity{
			"the default": dedupe.IdentityOf(known.Facts(p, rules(p), p.Methods)),
			"key content": {Content: true},
			"key id":      {ID: dedupe.IDAlone},
		} {
			usual, unnamed := known.Windows(p, rules(p), rule)
			if usual < 2*tolerance || p.BodiesDiffer && unnamed < 2*tolerance {
				t.Errorf("%s: %s remembers for %s, without an id for %s; a copy is fresh for %s", p.ID, name, usual, unnamed, 2*tolerance)
			}
		}
	}
	if tried < 100 {
		t.Errorf("%d presets sign a time", tried)
	}
}

// beyond names the presets whose pages promise less than this test can check.
var beyond = map[string]string{
	"paypal":             "another body with the same CRC-32 takes an effort that no alteration here makes",
	"sinch_conversation": "what follows the body in the signed content never counts as proven",
}

func promise(t *testing.T, p *providers.Provider) (found string) {
	t.Helper()
	page := string(providerpage.Markdown(p))
	if text := providerpage.Text(p); strings.Count(text, "Replay: ") != 1 || strings.Count(page, "Replay: ") != 1 {
		t.Fatalf("%s: not one sentence on replay", p.ID)
	}
	for _, said := range []string{allCopies, exactCopies, nothingKept} {
		if strings.Contains(page, "Replay: "+said) {
			found = said
		}
	}
	if found == "" {
		t.Fatalf("%s: none of the three sentences on replay", p.ID)
	}
	return found
}

// replay reports whether the captured delivery is identified at all, and whether an
// altered copy passes as a new one.
func replay(t *testing.T, p *providers.Provider, c *captured, said string) (identified, passing bool) {
	key, ok, err := c.key(p)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		if page := string(providerpage.Markdown(p)); said != nothingKept && !strings.Contains(page, "is forwarded each time.") {
			t.Errorf("a delivery passes each time, and the page says that %s: %s", said, c.body)
		}
		return false, false
	}
	facts := known.Facts(p, rules(p), p.Methods)
	for name, a := range alterations(p) {
		altered := c.clone()
		if !a.apply(altered) {
			continue
		}
		got, ok, err := altered.key(p)
		switch {
		case err != nil || ok && got == key: // no longer genuine, or blocked
		case a.unsigned == "":
			t.Errorf("%s: passes as another delivery", name)
		case !ok && len(altered.body) > 0:
			t.Errorf("%s: passes each time", name)
		case said == allCopies:
			t.Errorf("%s: passes, and the page says that %s", name, said)
		case a.unsigned == "body" && facts.BodySigned, a.unsigned == "id" && facts.IDSigned:
			t.Errorf("%s: passes, although the signature covers it", name)
		default:
			passing = true
		}
	}
	return true, passing
}

func rules(p *providers.Provider) *verifier.Rules {
	r, err := p.Rules()
	if err != nil {
		panic(err) // of a file that has been parsed
	}
	return r
}

// TestAttemptsAreOneDelivery: what counts the attempts in a signed body does not
// make another delivery of a retry; anything else does.
func TestAttemptsAreOneDelivery(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, p := range all {
		if len(p.Scheme.Varies) == 0 {
			continue
		}
		for i := range p.Vectors {
			vec := &p.Vectors[i]
			if vec.Expect != "genuine" {
				continue
			}
			for _, path := range p.Scheme.Varies {
				leaf := path[strings.LastIndexByte(path, '.')+1:]
				if !strings.Contains(vec.Body, `"`+leaf+`":`) {
					continue
				}
				seen++
				c := capture(t, p, vec)
				check, _, err := c.v.Open(c.req, c.now)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := check.Verify(c.body); err != nil {
					t.Fatal(err)
				}
				content := string(check.Content(c.body))
				if content == vec.Body {
					t.Errorf("%s: %s counts in %s", p.ID, path, vec.Body)
				}
				if !strings.Contains(content, `"`+leaf+`":`) || len(content) < len(vec.Body)*2/3 {
					t.Errorf("%s: more than %s is left out: %s", p.ID, path, content)
				}
			}
		}
	}
	if want := 11; seen < want {
		t.Errorf("%d bodies with what varies, want %d", seen, want)
	}
}

// TestFactsOfAPinnedEvent: a header that the configuration fixes is no choice. Entries of
// one header are alternatives, and a variable or a file may hold several.
func TestFactsOfAPinnedEvent(t *testing.T) {
	p, err := providers.Get("github")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		values   []string
		unsigned bool
	}{
		{nil, true}, {[]string{"push"}, false}, {[]string{"*"}, true}, {[]string{"push", "ping"}, true},
		{[]string{"push\nping"}, true}, {[]string{"{env.EVENTS}"}, true}, {[]string{"{file./run/events}"}, true}, {[]string{"push", "and", "ping"}, true},
	} {
		s := p.Scheme
		if tc.values != nil {
			s.RequireHeader = []verifier.RequiredHeader{{Name: "x-github-event", Values: tc.values}}
		}
		if i := slices.Index(tc.values, "and"); i >= 0 {
			s.RequireHeader = []verifier.RequiredHeader{{Name: "X-GitHub-Event", Values: tc.values[:i]}, {Name: "x-github-event", Values: tc.values[i+1:]}}
		}
		compiled, err := verifier.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := known.Facts(p, compiled, p.Methods).EventUnsigned; got != tc.unsigned {
			t.Errorf("%q: unsigned %t", tc.values, got)
		}
	}
}

// TestUniqueIsTheFilesOwnID: an id that the configuration names in its place may come
// back, as that of a resource does.
func TestUniqueIsTheFilesOwnID(t *testing.T) {
	p, err := providers.Get("stripe")
	if err != nil {
		t.Fatal(err)
	}
	for path, unique := range map[string]bool{"": true, "id": true, "data.object.id": false} {
		s := p.Scheme
		if path != "" {
			s.DeliveryID = &verifier.DeliveryID{JSON: path}
		}
		compiled, err := verifier.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := known.Facts(p, compiled, p.Methods).UniqueID; got != unique {
			t.Errorf("%q: unique %t", path, got)
		}
	}
}

// TestBodiesDifferNamesItsMember: that two events never share a body is a claim
// which swallows one of them where it is wrong; a file names what makes it true.
func TestBodiesDifferNamesItsMember(t *testing.T) {
	all, err := providers.All()
	if err != nil {
		t.Fatal(err)
	}
	claims := make(map[string]bool)
	for _, p := range all {
		if p.BodiesDiffer {
			claims[p.ID] = true
		}
	}
	want := []string{"adyen_payments", "aryeo", "x_signature", "xero", "yapily"} // as the founding documents have it, or by their notes
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
		t.Errorf("bodies_differ in %q, want %q: name the member in a source's proves, then here", got, want)
	}
}
