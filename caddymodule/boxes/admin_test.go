package boxes

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/inbox/inboxtest"
)

// TestInboxOfAnotherInstance: what waits for a handler that this configuration does not
// have is shown as such, and left alone.
func TestInboxOfAnotherInstance(t *testing.T) {
	g := running(t, with("acme"))
	for n, name := range []string{"gone", "acme"} {
		d := &inbox.Delivery{Key: inbox.Key{byte(n)}, Queue: inbox.Queue{Handler: name}, Received: time.Now()}
		if _, err := g.box.Accept(t.Context(), d, false); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"gone": "handler", "acme": "time"} {
		all := told[adminapi.Inbox](t, g, http.MethodGet, "?name="+name)
		if len(all.Deliveries) != 1 || all.Deliveries[0].Waits != want || all.Deliveries[0].State != "pending" {
			t.Errorf("%s waits for another reason than %s: %+v", name, want, all.Deliveries)
			continue
		}
		if one := told[adminapi.InboxDetail](t, g, http.MethodGet, "/"+all.Deliveries[0].Key); one.Waits != want {
			t.Errorf("%s waits for %q, want %q", name, one.Waits, want)
		}
	}
}

// TestInboxReplay: what is dead becomes pending, as often as a person says so, and
// under another name if they say that.
func TestInboxReplay(t *testing.T) {
	g := running(t, with("acme"), with("bravo"))
	changeBudget = 0 // one step a request
	t.Cleanup(func() { changeBudget = 5 * time.Second })
	const many = 2*changeStep + 3
	for i := range many {
		g.dead(t, &inbox.Delivery{Key: inbox.Key{1, byte(i), byte(i >> 8)}, Queue: inbox.Queue{Handler: "gone"}, Received: time.Now()})
	}
	g.box.Pause("gone")
	for _, state := range []string{"dead", "pending"} { // what is pending stays so, and counts once
		total, requests := 0, 1
		for after := uint64(0); ; requests++ {
			c := told[adminapi.InboxChanged](t, g, http.MethodPost, fmt.Sprint("/replay?name=gone&state=", state, "&after=", after))
			total, after = total+c.Changed, c.After
			if !c.More || requests > many {
				break
			}
		}
		if pending := g.list(t, inbox.Selection{Handler: "gone", States: []inbox.State{inbox.Pending}}); total != many || requests != 3 || len(pending) != many {
			t.Errorf("%s: %d replayed by %d requests, %d pending, want %d", state, total, requests, len(pending), many)
		}
	}
	if c := told[adminapi.InboxChanged](t, g, http.MethodPost, "/replay?name=gone&state=pending&as=bravo"); c.Changed != changeStep || !c.More {
		t.Errorf("as bravo: %+v", c)
	}
	if moved := g.list(t, inbox.Selection{Handler: "bravo"}); len(moved) != changeStep {
		t.Errorf("%d moved", len(moved))
	}
	one := inbox.Key{2}
	g.dead(t, &inbox.Delivery{Key: one, Queue: inbox.Queue{Handler: "acme"}, Received: time.Now()})
	told[adminapi.InboxChanged](t, g, http.MethodPost, "/"+one.String()+"/replay")
	if e, _, _ := g.box.Engine().Find(t.Context(), one); e.State != inbox.Pending || !e.Replayed {
		t.Errorf("replayed: %+v", e)
	}
	g.refuses(t, http.MethodPost, map[string]int{
		"/replay": 400, "/replay?state=dead": 400, "/replay?name=nobody": 404, "/replay?name=acme&as=nobody": 404,
		"/" + inbox.Key{7}.String() + "/replay": 404,
	})
}

// TestDiscardTellsWhatTheStoreKeeps: a store that does not answer is tried once, not
// for each delivery.
func TestDiscardTellsWhatTheStoreKeeps(t *testing.T) {
	g := running(t, with("acme"))
	for i := range 3 {
		g.dead(t, &inbox.Delivery{Key: inbox.Key{byte(i)}, Queue: inbox.Queue{Handler: "acme"}, Received: time.Now()})
	}
	g.broken = errors.New("it is down")
	c := told[adminapi.InboxChanged](t, g, http.MethodDelete, "?name=acme")
	if c.Changed != 3 || !strings.Contains(c.Note, "did not forget some of them, so their copies are not forwarded: it is down") || len(g.forgotten) != 1 {
		t.Errorf("%+v, tried %d times", c, len(g.forgotten))
	}
}

func TestInboxPause(t *testing.T) {
	g := running(t, with("acme"))
	held := func() bool { return g.box.Holds(inbox.Queue{Handler: "acme"}) }
	if p := told[adminapi.InboxPaused](t, g, http.MethodPost, "/resume?name=acme"); p.Paused || p.Name != "acme" || held() {
		t.Errorf("resumed: %+v, held %t", p, held())
	}
	if p := told[adminapi.InboxPaused](t, g, http.MethodPost, "/pause?name=acme"); !p.Paused || !held() {
		t.Errorf("paused: %+v, held %t", p, held())
	}
	if got := told[adminapi.Inbox](t, g, http.MethodGet, ""); len(got.Queues) != 1 || !got.Queues[0].Paused {
		t.Errorf("an empty queue that is paused: %+v", got.Queues)
	}
	g.refuses(t, http.MethodPost, map[string]int{"/pause": 400, "/pause?name=nobody": 404, "/resume?name=nobody": 404})
}

// elsewhere is a memory that a reload names instead.
type elsewhere struct{ memory }

func (elsewhere) Identity() string { return "elsewhere" }

// TestAPauseOutlastsItsInbox: a handler stays paused while other inboxes are opened and
// closed, until it is resumed, in all of them.
func TestAPauseOutlastsItsInbox(t *testing.T) {
	g := running(t, with("acme"))
	held := inbox.Queue{Handler: "acme"}
	told[adminapi.InboxPaused](t, g, http.MethodPost, "/pause?name=acme")

	before := g.Configuration
	g.Configuration = &Configuration{Module: elsewhere{memory{inboxtest.NewMemory(time.Now, 0)}}, pool: g.Pool, logger: before.logger, configured: true}
	g.Add(with("acme"))
	g.Open()
	next := g.Box()
	defer func() {
		next.Release()
		g.Close()
		g.Configuration = before
	}()
	if other := (inbox.Queue{Handler: "bravo"}); !next.Holds(held) || next.Holds(other) {
		t.Errorf("in the inbox of a reload acme is held %t, bravo %t", next.Holds(held), next.Holds(other))
	}
	told[adminapi.InboxPaused](t, g, http.MethodPost, "/resume?name=acme")
	if next.Holds(held) || g.box.Holds(held) {
		t.Errorf("resumed: held %t, in the former inbox %t", next.Holds(held), g.box.Holds(held))
	}
}

func TestInboxMethods(t *testing.T) {
	g := running(t, with("acme"))
	key := "/" + inbox.Key{1}.String()
	for path, allowed := range map[string]string{
		"": "GET, DELETE", key: "GET, DELETE", key + "/replay": "POST", "/replay": "POST", "/pause": "POST", "/resume": "POST",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodHead} {
			w, err := g.ask(method, path)
			if refused := statusOf(err) == http.StatusMethodNotAllowed; refused == slices.Contains(strings.Split(allowed, ", "), method) ||
				refused && w.Header().Get("Allow") != allowed {
				t.Errorf("%s %s: %v, %v", method, path, err, w.Header())
			}
		}
	}
}
