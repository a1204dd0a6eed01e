package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// stocked starts a gateway whose inbox is a file of the test, and paused: what it is
// sent is stored, and stays.
func stocked(t *testing.T, handlers ...string) *gateway {
	t.Helper()
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db"))
	g := watched(t, fmt.Sprintf(`{"inbox":{"inbox":"bolt","path":%q}}`, file), handlers...)
	g.awaitInbox()
	for _, h := range g.handlers {
		if h.Inbox != nil {
			g.box().Pause(h.Name)
		}
	}
	return g
}

const keepingInbox = `"inbox":{}`

// dead gives a delivery up.
func (g *gateway) dead(t *testing.T, d *inbox.Delivery) {
	t.Helper()
	got, err := g.box().Accept(t.Context(), d, true)
	if err != nil {
		t.Fatal(err)
	}
	g.box().Engine().Settle(got.Attempt, inbox.Settlement{To: inbox.Dead, Status: 410})
}

// ends makes the first attempt of a delivery.
func (g *gateway) ends(t *testing.T, d *inbox.Delivery, r inbox.Result) {
	t.Helper()
	got, err := g.box().Accept(t.Context(), d, true)
	if err != nil {
		t.Fatal(err)
	}
	g.box().Finish(got.Attempt, r)
}

// told calls the admin endpoint with a method, and expects 200.
func told[T any](t *testing.T, method, path string) (v T) {
	t.Helper()
	w, err := ask(method, path)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
	}
	return v
}

func TestInboxListed(t *testing.T) {
	g := stocked(t, once(keepingInbox), strings.Replace(once(keepingInbox), `"acme"`, `"bravo"`, 1))
	for _, h := range g.handlers {
		for i := range 2 {
			serve(t, nth(fmt.Sprint("evt_", i)), accepting, h)
		}
	}
	g.dead(t, &inbox.Delivery{Key: inbox.Key{9}, Queue: inbox.Queue{Handler: "gone"}, Label: "old", Received: clock, Header: map[string][]string{}})
	got := get[adminapi.Inbox](t, adminapi.InboxPath)
	if got.Kind != "bolt" || got.Problem != "" || got.Bytes == 0 || got.Limit != 1<<30 || got.Deliveries != nil {
		t.Errorf("the engine: %+v", got)
	}
	var queues []string
	for _, q := range got.Queues {
		queues = append(queues, fmt.Sprintf("%s %t %d %d %t %t", q.Name, q.Configured, q.Pending, q.Dead, q.Paused, q.Oldest != nil))
	}
	if want := []string{"acme true 2 0 true true", "bravo true 2 0 true true", "gone false 0 1 false false"}; !slices.Equal(queues, want) {
		t.Errorf("the queues: %q, want %q", queues, want)
	}
	for query, want := range map[string]string{
		"?name=acme":                        "acme pending, acme pending",
		"?state=dead":                       "gone dead",
		"?name=gone":                        "gone dead",
		"?key=old":                          "gone dead",
		"?tenant=none":                      "",
		"?state=dead&name=acme":             "",
		"?state=dead&state=pending&limit=3": "acme pending, acme pending, bravo pending",
		"?limit=1":                          "acme pending",
	} {
		list := get[adminapi.Inbox](t, adminapi.InboxPath+query)
		var got []string
		for _, e := range list.Deliveries {
			got = append(got, e.Name+" "+e.State)
		}
		if text := strings.Join(got, ", "); text != want || list.More != strings.Contains(query, "limit") {
			t.Errorf("%s: %s, more %t; want %s", query, text, list.More, want)
		}
	}
	first := get[adminapi.Inbox](t, adminapi.InboxPath+"?limit=1").Deliveries[0]
	if first.Label != "1" || first.Waits != "time" || first.Received != clock.UTC() || first.Bytes == 0 || first.Position == 0 {
		t.Errorf("an entry: %+v", first)
	}
	if next := get[adminapi.Inbox](t, fmt.Sprint(adminapi.InboxPath, "?limit=1&after=", first.Position)).Deliveries[0]; next.Position <= first.Position {
		t.Errorf("after %d: %+v", first.Position, next)
	}
	for query, status := range map[string]int{
		"?state=" + marker: 400, "?limit=0": 400, "?limit=10001": 400, "?limit=" + marker: 400, "?after=" + marker: 400, "?name=" + marker: 404,
	} {
		if _, err := ask(http.MethodGet, adminapi.InboxPath+query); caddyStatus(err) != status || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v, want %d", query, err, status)
		}
	}
}

// TestInboxShown: of a stored request no credential is shown, and its body on demand.
func TestInboxShown(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	r := post()
	r.Header.Set("Authorization", "Bearer "+marker)
	r.Header.Set("X-Odd", marker)
	r.Header.Set("User-Agent", "acme/1")
	g.send(r, answering(200)).has(t, "false", theKey.String(), "")
	shown := get[adminapi.InboxDetail](t, adminapi.InboxPath+"/"+theKey.String())
	if shown.State != "pending" || shown.Name != "acme" || shown.ID != "evt_1" || shown.URL != "http://hooks.example.com/hooks/acme" || shown.Host != "hooks.example.com" ||
		shown.Body.Bytes != len(body) || shown.Body.SHA256 == "" || shown.Content != nil || shown.Note != "" {
		t.Errorf("shown %+v", shown)
	}
	if h := shown.Headers; h["User-Agent"][0] != "acme/1" || h["X-Signature"][0] == "(redacted)" || h["X-Odd"][0] != "(redacted)" || h["X-Team"][0] != "(redacted)" {
		t.Errorf("headers %v", h)
	}
	if w, _ := ask(http.MethodGet, adminapi.InboxPath+"/"+theKey.String()); strings.Contains(w.Body.String(), marker) || strings.Contains(w.Body.String(), "blue") {
		t.Errorf("a credential is shown: %s", w.Body)
	}
	if with := get[adminapi.InboxDetail](t, adminapi.InboxPath+"/"+theKey.String()+"?body=1"); string(with.Content) != body || with.Note != "" {
		t.Errorf("with its body: %+v", with)
	}
	for path, status := range map[string]int{"/" + inbox.Key{7}.String(): 404, "/" + marker: 400, "/": 400, "/" + theKey.String() + "/x": 404} {
		if _, err := ask(http.MethodGet, adminapi.InboxPath+path); caddyStatus(err) != status {
			t.Errorf("%s: %v, want %d", path, err, status)
		}
	}
}

// TestInboxShowFailsClosed: what may be a credential is hidden where it is not known.
func TestInboxShowFailsClosed(t *testing.T) {
	token := `{"name":"token","algorithm":"token","body_unsigned":true,"signature":{"header":["X-Pass"]},"secret":["opensesame"],"inbox":{}}`
	g := stocked(t, once(keepingInbox), token)
	for i, d := range []inbox.Delivery{
		{Queue: inbox.Queue{Handler: "gone"}, Target: "/x?event=" + marker, Header: map[string][]string{"X-Signature": {marker}, "Content-Type": {marker}}, Body: []byte(marker)},
		{Queue: inbox.Queue{Handler: "token"}, Target: "/", Header: map[string][]string{"X-Pass": {marker}}, Body: []byte(marker)},
		{Queue: inbox.Queue{Handler: "acme"}, Target: "/", Body: []byte(`{"key":"n9Wd4kTq2","also":"` + marker + `"}`)},
		{Queue: inbox.Queue{Handler: "acme"}, Target: "/", Body: []byte(strings.Repeat(marker, (1<<20)/len(marker)+1))},
	} {
		d.Key, d.Received = inbox.Key{byte(i + 1)}, clock
		if _, err := g.box().Accept(t.Context(), &d, false); err != nil {
			t.Fatal(err)
		}
		w, err := ask(http.MethodGet, adminapi.InboxPath+"/"+d.Key.String()+"?body=1")
		if err != nil || strings.Contains(w.Body.String(), marker) || !strings.Contains(w.Body.String(), `hidden`) || strings.Contains(w.Body.String(), `"content":`) {
			t.Errorf("%d: %v %.300s", i, err, w.Body)
		}
	}
}

// TestInboxDiscard: what is discarded is forgotten too, so that its next copy is a new
// delivery. Nobody can discard everything.
func TestInboxDiscard(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	if w := g.send(post(), answering(200)); w.header.Get("Webhook-Duplicate") != "true" {
		t.Errorf("a copy of what is stored: %v", w.header)
	}
	if c := told[adminapi.InboxChanged](t, http.MethodDelete, adminapi.InboxPath+"/"+theKey.String()); c.Changed != 1 || c.Note != "" {
		t.Errorf("%+v", c)
	}
	if got := g.state(t); got != "absent" {
		t.Errorf("the store still knows it: %s", got)
	}
	if w := g.send(post(), answering(200)); w.header.Get("Webhook-Duplicate") != "" || w.header.Get("Webhook-Stored") != "true" {
		t.Errorf("the next copy: %v", w.header)
	}
	g.dead(t, &inbox.Delivery{Key: inbox.Key{3}, Queue: inbox.Queue{Handler: "gone", Tenant: "t1"}, Label: "old", Received: clock})
	for _, query := range []string{"", "?state=dead", "?name="} {
		if _, err := ask(http.MethodDelete, adminapi.InboxPath+query); caddyStatus(err) != http.StatusBadRequest {
			t.Errorf("DELETE %q: %v, want 400", query, err)
		}
	}
	for _, query := range []string{"?name=gone&state=pending", "?key=new", "?tenant=t2"} {
		if c := told[adminapi.InboxChanged](t, http.MethodDelete, adminapi.InboxPath+query); c.Changed != 0 {
			t.Errorf("%s: %+v", query, c)
		}
	}
	if c := told[adminapi.InboxChanged](t, http.MethodDelete, adminapi.InboxPath+"?key=old&tenant=t1&state=dead"); c.Changed != 1 {
		t.Errorf("%+v", c)
	}
	if left := get[adminapi.Inbox](t, adminapi.InboxPath+"?limit=9").Deliveries; len(left) != 1 || left[0].Key != theKey.String() {
		t.Errorf("left: %+v", left)
	}
	if _, err := ask(http.MethodDelete, adminapi.InboxPath+"/"+inbox.Key{3}.String()); caddyStatus(err) != http.StatusNotFound {
		t.Errorf("discarded already: %v", err)
	}
}

// TestForgetStored: what the inbox owes to the app is not forgotten in the store
// alone: its copies would still be answered.
func TestForgetStored(t *testing.T) {
	g := stocked(t, once(keepingInbox))
	g.send(post(), answering(200)).has(t, "false", theKey.String(), "")
	err := remove(theKey.String())
	if caddyStatus(err) != http.StatusConflict || !strings.Contains(err.Error(), "in the inbox (pending)") || !strings.Contains(err.Error(), "caddy webhook inbox discard "+theKey.String()) {
		t.Errorf("forget: %v", err)
	}
	byID := told[adminapi.ForgottenByID](t, http.MethodDelete, adminapi.DeliveriesPath+"?name=acme&id=evt_1")
	if !slices.Equal(byID.Stored, []string{theKey.String()}) || len(byID.Keys)+len(byID.NotDone)+len(byID.InFlight) != 0 {
		t.Errorf("forget by id: %+v", byID)
	}
	if got := g.state(t); got == "absent" {
		t.Error("it is forgotten all the same")
	}
}

func TestNoInbox(t *testing.T) {
	running(t, "", once())
	for _, path := range []string{"", "/" + theKey.String()} {
		if _, err := ask(http.MethodGet, adminapi.InboxPath+path); caddyStatus(err) != http.StatusNotFound || !strings.Contains(err.Error(), "no inbox") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
