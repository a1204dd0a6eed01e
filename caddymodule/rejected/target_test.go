package rejected

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
)

// keptOf stores n requests to targets over handlers.
func keptOf(t *testing.T, handlers []Handler, n int, target func(i int) string) []*Request {
	t.Helper()
	var tried []*keys.Snapshot
	for _, h := range handlers {
		tried = append(tried, h.Keys)
	}
	var s Store
	for i := range n {
		r := refused(handlers[i%len(handlers)])
		r.Target, r.Tried, r.Time = target(i), append([]*keys.Snapshot{}, tried...), clock.Add(time.Duration(i)*time.Second)
		s.Add(r, n)
	}
	return s.List("")
}

// TestListIsBounded: whatever strangers have sent, a list is short and costs little, for
// any number of handlers, and shows the ordinary requests as they are.
func TestListIsBounded(t *testing.T) {
	var many []Handler
	for i := range 40 {
		many = append(many, handler(t, fmt.Sprint("acme", i), i, fmt.Sprintf("n9Wd4kTq2-%d-secret", i)))
	}
	const size = 13_000
	long := func(text string) string { return strings.Repeat(text, size/len(text)) }
	for name, hostile := range map[string]string{
		"empty parameters": "?" + long("=&"), "names": "?" + long("a&"), "values": "?" + long("a=b&"), "events": "?" + long("event=1&"), "one value": "?event=" + long("x"),
		"base64": "?event=" + base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(long("QUFB")))))[:size], "hex": "?event=" + long("6a"),
		"escapes": "?event=" + long("%2541"), "plus": "?event=" + long("+%2b"), "segments": long("/a"), "a long path": "/" + long("a"), "controls": "?event=" + long("\x01"),
	} {
		t.Run(name, func(t *testing.T) {
			list := keptOf(t, many, 300, func(i int) string {
				if i == 7 {
					return "/hooks/acme?event=7"
				}
				return fmt.Sprintf("/%d%s", i, hostile)
			})
			shown, searched := show(list, many)
			answer, err := json.Marshal(shown)
			if err != nil || len(shown) != len(list) || len(list) < 250 || len(answer) > 1<<20 {
				t.Errorf("%d of %d shown, in %d bytes, %v", len(shown), len(list), len(answer), err)
			}
			if searched > 4<<20 {
				t.Errorf("%d bytes are searched", searched)
			}
			if _, fewer := show(list, many[:1]); fewer != searched {
				t.Errorf("%d bytes are searched for the keys of 40 handlers, %d for those of one", searched, fewer)
			}
			if got := shown[len(list)-8].URL; got != "/hooks/acme?event=7" {
				t.Errorf("an ordinary request is shown as %s", got)
			}
			one, err := list[0].ShowAll(t.Context(), many)
			if answer, _ := json.Marshal(one); err != nil || len(answer) > 256<<10 {
				t.Errorf("one is shown in %d bytes, %v", len(answer), err)
			}
		})
	}
	same := keptOf(t, many, 300, func(int) string { return "/hooks/acme?event=" + long("x") })
	_, once := show(same[:1], many)
	if _, searched := show(same, many); searched > 2*once {
		t.Errorf("%d bytes are searched in 300 equal requests, %d in one", searched, once)
	}
	if &same[0].Tried[0] != &same[1].Tried[0] {
		t.Error("requests of one time have lists of keys of their own")
	}
}

// TestCutTargets: a long target is shown up to a whole parameter.
func TestCutTargets(t *testing.T) {
	h := handler(t, "acme", 0, "n9Wd4kTq2-secret")
	events := func(n int) string { return strings.TrimSuffix(strings.Repeat("event=1&", n), "&") }
	for target, want := range map[string]string{
		"/a?" + events(64):                       "/a?" + events(64),
		"/a?" + events(65):                       "/a?" + events(64) + "&…",
		"/a?event=1&event=" + events(300):        "/a?event=1&event=" + events(63) + "&…",
		"/a?event=" + strings.Repeat("x", 2<<10): "/a?…",
		"/" + strings.Repeat("x", 2<<10):         "/…",
		"/a?event=1&x=&=&shop=2&&z":              "/a?event=1&x=&=&shop=(redacted)&&z",
		"/a?":                                    "/a?",
		"/a?" + events(64) + "&n9Wd4kTq2-secret": "/(redacted)",
		"/n9Wd4kTq2-secret?event=1":              "/(redacted)?event=1",
		"/a?event=1&n9Wd4kTq2-secret=2":          "/a?event=1&(redacted)=(redacted)",
	} {
		r := refused(h)
		r.Target = target
		if got := Show([]*Request{&r}, nil)[0].URL; got != want {
			t.Errorf("%.60s: shown as %s, want %s", target, got, want)
		}
	}
}

// TestKeyCutInTwo: a key is not shown in part, wherever a separator or a limit divides it
// and however much of it is escaped.
func TestKeyCutInTwo(t *testing.T) {
	for _, key := range []string{"n9Wd4kTq2&f3a91c7be0d24586", "n9Wd4kTq2?f3a91c7be0d24586", "n9Wd4kTq2=f3a91c7be0d24586", "n9Wd4kTq2/f3a91c7be0d24586", "n9Wd4kTq2&f3a91c7be0" + strings.Repeat("x&", 3000)} {
		h := handler(t, "acme", 0, key)
		first, second := key[:9], key[10:20]
		escaped := strings.NewReplacer("n", "%6e", "4", "%34", "f", "%66", "9", "%39").Replace(key)
		for _, written := range []string{key, escaped, url.QueryEscape(key)} {
			targets := []string{"/hooks/" + written, "/a?" + written, "/a?event=" + written, "/a?event=%zz" + written, "/a?event=1&event=" + written + "&event=2"}
			for _, limit := range []limit{listed(1), listed(2000), whole} {
				for before := limit.params - 3; before < limit.params+2; before++ {
					targets = append(targets, "/a?"+strings.Repeat("event&", before)+"event="+written, "/a?"+strings.Repeat("event&", before)+written)
				}
				for room := 0; room < min(len(written)+12, 60); room += 9 {
					targets = append(targets, "/a?event="+strings.Repeat("x", max(0, limit.bytes-9-room))+written, "/a?event="+strings.Repeat("x", max(0, limit.bytes-20-room))+"&event="+written)
				}
			}
			for _, limit := range []limit{listed(1), listed(2000), whole} {
				hide := redactionOf([]*keys.Snapshot{h.Keys})
				hide.limit = limit
				for _, target := range targets {
					shown := unescape(hide.target(target), true)
					if strings.Contains(shown, first) || strings.Contains(shown, second) {
						t.Fatalf("%.20s: %.40s… is shown within %v as %s", key, target, limit, shown)
					}
				}
			}
		}
	}
}

// TestKeyAtTheCut: no text of a request is cut before it is redacted.
func TestKeyAtTheCut(t *testing.T) {
	const key = "n9Wd4kTq2-f3a91c7be0d24586"
	h := handler(t, "acme", 0, key)
	for name, alter := range map[string]func(r *Request, text string){
		"method": func(r *Request, text string) { r.Method = text },
		"host":   func(r *Request, text string) { r.Host = text },
		"detail": func(r *Request, text string) { r.Detail = text },
		"tenant": func(r *Request, text string) { r.Tenant = text },
	} {
		for _, cut := range []int{maxMethod, maxHost, maxDetail} {
			for part := range len(key) {
				var s Store
				r := refused(h)
				alter(&r, strings.Repeat("x", cut-part)+key)
				s.Add(r, 16)
				d, err := s.List("")[0].ShowAll(t.Context(), []Handler{h})
				if text, _ := json.Marshal(d); err != nil || part > 3 && strings.Contains(string(text), "x"+key[:part]) {
					t.Fatalf("%s: %d of the key are shown: %s, %v", name, part, text, err)
				}
			}
		}
	}
}

func TestUpToTenant(t *testing.T) {
	for target, want := range map[string]string{
		"/hooks/shop/acme":                    "/hooks/shop/acme",
		"/hooks/shop/ACME":                    "/hooks/shop/ACME",
		"/hooks/shop/acme/key":                "/hooks/shop/acme/(redacted)",
		"/hooks/shop/acme/":                   "/hooks/shop/acme/(redacted)",
		"/hooks/shop/acme?event=key":          "/hooks/shop/acme?(redacted)",
		"/hooks/shop/acme/key?a=key":          "/hooks/shop/acme/(redacted)?(redacted)",
		"/hooks/shop/key":                     "/(redacted)",
		"/key?acme":                           "/(redacted)?(redacted)",
		"/":                                   "/(redacted)",
		"":                                    "/(redacted)",
		strings.Repeat("/x", 1<<10) + "/acme": "/(redacted)",
	} {
		if got := UpToTenant(target, "acme"); got != want {
			t.Errorf("%s is shown as %s, want %s", target, got, want)
		}
	}
	if got := UpToTenant("//hooks/key", ""); got != "/(redacted)" {
		t.Errorf("without a tenant: %s", got)
	}
}
