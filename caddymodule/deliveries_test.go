package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
)

// nth is a genuine delivery of timed with its own id.
func nth(id string) *http.Request {
	text := fmt.Sprintf(`{"id":%q}`, id)
	r := forged(text)
	r.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000."+text))
	return r
}

func ends(list []adminapi.Delivery) (all []string) {
	for _, d := range list {
		all = append(all, strings.TrimSuffix(d.Outcome+":"+d.Reason, ":"))
	}
	return all
}

// TestDeliveriesKept: the operator finds the result of every verified delivery.
func TestDeliveriesKept(t *testing.T) {
	g := watched(t, "", once())
	g.send(post(), answering(500))
	g.send(post(), func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(502, errors.New("no connection"))
	})
	g.send(post(), func(http.ResponseWriter, *http.Request) error { return nil })
	g.send(post(), func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	g.send(post(), answering(204))
	g.send(post(), answering(204))
	g.send(nth("evt_2"), answering(202))
	list := get[[]adminapi.Delivery](t, adminapi.DeliveriesPath)
	if got, want := fmt.Sprint(ends(list)), "[delivered duplicate delivered failed:aborted rejected:no_upstream failed:unreachable failed:status_5xx]"; got != want {
		t.Fatalf("kept %s, want %s", got, want)
	}
	d := list[2]
	if d.AppSeconds <= 0 || d.Cursor == "" {
		t.Errorf("kept %+v", d)
	}
	d.AppSeconds, d.Cursor = 0, ""
	if want := (adminapi.Delivery{
		Time: time.Unix(1_700_000_000, 0).UTC(), Name: "acme", Outcome: "delivered", Attempt: 5, Status: 204, ID: "evt_1", Key: "1", Delivery: theKey.String(),
	}); d != want {
		t.Errorf("kept %+v, want %+v", d, want)
	}
	if copied := list[1]; copied.Attempt != 6 || copied.Status != 0 || copied.AppSeconds != 0 {
		t.Errorf("a duplicate: %+v", copied)
	}
	if list[6].Status != 500 || list[0].Attempt != 1 {
		t.Errorf("kept %+v", list)
	}
}

// TestAnonymousRequestsAreNotDeliveries: unverified requests displace nothing.
func TestAnonymousRequestsAreNotDeliveries(t *testing.T) {
	g := watched(t, `{"keep_deliveries":1}`, timed(`"observe":true`), strings.Replace(timed(), `"acme"`, `"strict"`, 1))
	for _, h := range g.handlers {
		serve(t, post(), accepting, h)
		serve(t, forged("{}"), accepting, h)
		r := post()
		r.Method = http.MethodGet
		serve(t, r, accepting, h)
	}
	if got := ends(get[[]adminapi.Delivery](t, adminapi.DeliveriesPath)); fmt.Sprint(got) != "[delivered delivered]" {
		t.Errorf("kept %v", got)
	}
}

// TestHandshakesKept: those that a key verified.
func TestHandshakesKept(t *testing.T) {
	g := watched(t, "", greeters())
	g.greet(t, request(http.MethodGet, "/?challenge=abc&token=open+sesame", ""))
	if got := get[[]adminapi.Delivery](t, adminapi.DeliveriesPath); len(got) != 0 {
		t.Errorf("an unsigned one is kept: %+v", got)
	}
	g.greet(t, signed(`{"kind":"prove","challenge":"abc"}`))
	if got := get[[]adminapi.Delivery](t, adminapi.DeliveriesPath); fmt.Sprint(ends(got)) != "[handshake]" {
		t.Errorf("kept %+v", got)
	}
}

func TestDeliveriesFiltered(t *testing.T) {
	g := watched(t, "", once(), strings.Replace(once(), `"acme"`, `"bravo"`, 1))
	for i := range 3 {
		for _, h := range g.handlers {
			serve(t, nth(fmt.Sprint("evt_", i)), accepting, h)
		}
	}
	for query, want := range map[string]string{
		"":                                    "bravo evt_2, acme evt_2, bravo evt_1, acme evt_1, bravo evt_0, acme evt_0",
		"?limit=2":                            "bravo evt_2, acme evt_2",
		"?limit=0":                            "",
		"?name=acme":                          "acme evt_2, acme evt_1, acme evt_0",
		"?name=acme&id=evt_1":                 "acme evt_1",
		"?id=evt_1&limit=1":                   "bravo evt_1",
		"?outcome=failed":                     "",
		"?outcome=stored":                     "",
		"?outcome=delivered&name=acme&id=evt": "",
		"?event=paid":                         "",
	} {
		var got []string
		for _, d := range get[[]adminapi.Delivery](t, adminapi.DeliveriesPath+query) {
			got = append(got, d.Name+" "+d.ID)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%q: %s, want %s", query, text, want)
		}
	}
	for _, query := range []string{"?outcome=" + marker, "?outcome=observed", "?limit=" + marker, "?limit=-1", "?limit=1.5", "?follow=1&limit=x"} {
		if _, err := ask(http.MethodGet, adminapi.DeliveriesPath+query); caddyStatus(err) != http.StatusBadRequest || strings.Contains(err.Error(), marker) {
			t.Errorf("%s: %v, want 400", query, err)
		}
	}
}

// TestDeliveriesHideKeys: a sender may be configured to send the key as the id.
func TestDeliveriesHideKeys(t *testing.T) {
	g := watched(t, "", once())
	g.send(nth("x-n9Wd4kTq2"), answering(200)).isForwarded(t)
	w, err := ask(http.MethodGet, adminapi.DeliveriesPath)
	if err != nil || strings.Contains(w.Body.String(), "n9Wd4kTq2") || !strings.Contains(w.Body.String(), `"id":"(redacted)"`) {
		t.Errorf("%v: %s", err, w.Body)
	}
}

func TestKeepDeliveries(t *testing.T) {
	g := watched(t, `{"keep_deliveries":2}`, once())
	for i := range 4 {
		g.send(nth(fmt.Sprint("evt_", i)), answering(200))
	}
	if n, _ := recent.Totals(); n != 2 {
		t.Errorf("%d kept, want 2", n)
	}
	off := mustProvision(t, `{"keep_deliveries":0}`, once())
	if n, _ := recent.Totals(); n != 2 {
		t.Errorf("provisioning leaves %d, want 2", n)
	}
	off.start(t)
	off.send(nth("evt_9"), answering(200)).isForwarded(t)
	if n, bytes := recent.Totals(); n != 0 || bytes != 0 {
		t.Errorf("off: %d kept, %d bytes", n, bytes)
	}
	if _, err := provision(t, `{"keep_deliveries":-1}`, timed()); err == nil || !strings.Contains(err.Error(), "keep_deliveries: -1") {
		t.Errorf("got %v", err)
	}
}

// admin serves the deliveries as Caddy's admin endpoint does.
func admin(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := new(adminAPI).deliveries(w, r); err != nil {
			http.Error(w, err.Error(), caddyStatus(err))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// events is a stream as a client sees it.
type events struct {
	*bufio.Reader
	close func() error
}

func follow(t testing.TB, address, lastEventID string) events {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("answered %d, %v", resp.StatusCode, resp.Header)
	}
	e := events{bufio.NewReader(resp.Body), resp.Body.Close}
	if first := e.next(t); first != "retry: 1000\n" {
		t.Errorf("begins with %q", first)
	}
	return e
}

// next returns the next event as written, "" at the end.
func (e events) next(t testing.TB) (text string) {
	t.Helper()
	for {
		line, err := e.ReadString('\n')
		if err != nil {
			return ""
		}
		if line == "\n" {
			return text
		}
		text += line
	}
}

// delivery returns the next event, which must be a delivery, with its id.
func (e events) delivery(t testing.TB) (d adminapi.Delivery) {
	t.Helper()
	text := e.next(t)
	id, data, _ := strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &d); err != nil || "id: "+d.Cursor != id {
		t.Fatalf("%v in %q", err, text)
	}
	return d
}

func (e events) want(t testing.TB, ids ...string) (last adminapi.Delivery) {
	t.Helper()
	for _, id := range ids {
		if last = e.delivery(t); last.ID != id {
			t.Errorf("told of %+v, want %s", last, id)
		}
	}
	return last
}

// TestFollow: a client gets each delivery once, kept ones first and then each as it
// ends, even after a reconnect.
func TestFollow(t *testing.T) {
	g := watched(t, `{"keep_deliveries":3}`, once())
	address := admin(t)
	send := func(id string) { g.send(nth(id), answering(200)).isForwarded(t) }
	send("a")
	send("b")
	stream := follow(t, address+"?name=acme", "")
	stream.want(t, "a", "b")
	send("c")
	last := stream.want(t, "c")
	newest := follow(t, address+"?limit=1", "")
	newest.want(t, "c")
	none := follow(t, address+"?limit=0&id=e", "")
	_ = stream.close()
	send("d")
	send("e")
	newest.want(t, "d", "e")
	none.want(t, "e")

	stream = follow(t, address+"?limit=1", last.Cursor) // limit applies to a start
	stream.want(t, "d", "e")
	send("f")
	send("g")
	stream.want(t, "f", "g")
	stream = follow(t, address, last.Cursor)
	if got := stream.next(t); got != "event: missed\ndata: {}\n" {
		t.Errorf("told %q, want that some are missed", got)
	}
	stream.want(t, "e", "f", "g")
	stream = follow(t, address, "another-process-7")
	stream.want(t, "e", "f", "g")
}

// TestStreamsEndWithTheirConfiguration: otherwise Caddy's admin server, which waits
// for its requests, would delay each reload and stop by ten seconds.
func TestStreamsEndWithTheirConfiguration(t *testing.T) {
	nothingKept()
	address := admin(t)
	old := mustProvision(t, "", once())
	if err := old.app.Start(); err != nil {
		t.Fatal(err)
	}
	stream := follow(t, address, "")
	next := mustProvision(t, "", once())
	if err := next.app.Start(); err != nil {
		t.Fatal(err)
	}
	if got := stream.next(t); got != "" {
		t.Errorf("after a reload: %q", got)
	}
	stream = follow(t, address, "")
	if err := old.app.shut(); err != nil {
		t.Fatal(err)
	}
	next.send(post(), answering(200)).isForwarded(t)
	stream.want(t, "evt_1") // the new one's stream continues
	rolledBack := mustProvision(t, "", once())
	if err := rolledBack.app.Start(); err != nil {
		t.Fatal(err)
	}
	stream.next(t)
	other := follow(t, address, "")
	other.want(t, "evt_1")
	if err := errors.Join(rolledBack.app.shut(), next.app.shut()); err != nil {
		t.Fatal(err)
	}
	if got := other.next(t); got != "" {
		t.Errorf("after the stop: %q", got)
	}
}

// A reader is a client that reads nothing until it is released.
type reader struct {
	http.ResponseWriter
	writes  chan string
	refuse  chan struct{}
	patient time.Time
}

func (r *reader) Write(p []byte) (int, error) {
	select {
	case r.writes <- string(p):
		return len(p), nil
	case <-r.refuse:
		return 0, os.ErrDeadlineExceeded
	}
}

func (r *reader) SetWriteDeadline(at time.Time) error { r.patient = at; return nil }
func (r *reader) Flush()                              {}

// TestSlowReader: a client that does not read delays no delivery, and is
// disconnected.
func TestSlowReader(t *testing.T) {
	g := watched(t, "", once())
	r := &reader{ResponseWriter: httptest.NewRecorder(), writes: make(chan string), refuse: make(chan struct{})}
	ended := make(chan struct{})
	s := stream{w: r, app: g.app, limit: -1}
	go func() {
		defer close(ended)
		s.run()
	}()
	<-r.writes
	for i := range 2 * history.PerHandler {
		g.send(nth(fmt.Sprint("evt_", i)), answering(200)).isForwarded(t)
	}
	close(r.refuse)
	<-ended
	if left := time.Until(r.patient); left > streamPatience || r.patient.IsZero() {
		t.Errorf("a write may take %s", left)
	}
}

// TestHeartbeat: a stream sends regular keep-alives.
func TestHeartbeat(t *testing.T) {
	g := watched(t, "", once())
	r := &reader{ResponseWriter: httptest.NewRecorder(), writes: make(chan string)}
	beat, gone, ended := make(chan time.Time), make(chan struct{}), make(chan struct{})
	s := stream{w: r, app: g.app, limit: -1, beat: beat, gone: gone}
	go func() {
		defer close(ended)
		s.run()
	}()
	<-r.writes
	for range 2 {
		beat <- time.Now()
		if got := <-r.writes; got != ": still here\n\n" {
			t.Errorf("wrote %q", got)
		}
	}
	close(gone)
	<-ended
}

// TestForgetByID: kept deliveries can be forgotten by the sender's id alone.
func TestForgetByID(t *testing.T) {
	g := watched(t, "", once())
	by := func(name, id string) (adminapi.ForgottenByID, error) {
		var answer adminapi.ForgottenByID
		w, err := ask(http.MethodDelete, adminapi.DeliveriesPath+"?name="+name+"&id="+url.QueryEscape(id))
		if err == nil {
			err = json.Unmarshal(w.Body.Bytes(), &answer)
		}
		return answer, err
	}
	other := post() // the same id in another body: another key
	text := body + " "
	other.Body, other.ContentLength = forged(text).Body, int64(len(text))
	other.Header.Set("X-Signature", sign("n9Wd4kTq2", "1700000000."+text))
	for _, r := range []*http.Request{post(), other, nth("evt_2")} {
		g.send(r, answering(200)).isForwarded(t)
	}
	got, err := by("acme", "evt_1")
	if err != nil || len(got.Keys) != 2 || !slices.Contains(got.Keys, theKey.String()) || len(got.InFlight)+len(got.NotDone) != 0 || !strings.Contains(got.Note, "own memory") {
		t.Fatalf("forgot %+v, %v", got, err)
	}
	if o := g.send(nth("evt_2"), answering(200)); o.forward != nil {
		t.Error("another id is forgotten as well")
	}
	g.send(post(), func(w http.ResponseWriter, _ *http.Request) error {
		if got, err := by("acme", "evt_1"); err != nil || fmt.Sprint(got.InFlight) != "["+theKey.String()+"]" || len(got.NotDone) != 1 || len(got.Keys) != 0 {
			t.Errorf("in flight: %+v, %v", got, err)
		}
		w.WriteHeader(200)
		return nil
	}).isForwarded(t)
	for query, status := range map[string]int{
		"?name=acme&id=" + marker: 404, "?name=nobody&id=evt_1": 404, "?name=acme&id=evt": 404,
		"?id=evt_1": 400, "?name=acme": 400, "": 400,
	} {
		_, err := ask(http.MethodDelete, adminapi.DeliveriesPath+query)
		if caddyStatus(err) != status || strings.Contains(err.Error(), marker) {
			t.Errorf("%q: %v, want %d", query, err, status)
		}
	}
	if _, err := by("acme", "evt_3"); err == nil || !strings.Contains(err.Error(), "no delivery with that id is kept") {
		t.Errorf("an id that is not kept: %v", err)
	}
}
