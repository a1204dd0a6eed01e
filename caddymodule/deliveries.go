package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/history"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// deliveries lists kept deliveries, newest first, or streams them: GET
// /verify_webhook/deliveries[?name=NAME&tenant=T&outcome=O&event=E&id=SENDER_ID&limit=N&follow=1].
// DELETE /verify_webhook/deliveries?name=NAME[&tenant=T]&id=SENDER_ID or ?inbox=ID forgets.
func (a *adminAPI) deliveries(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet, http.MethodDelete); err != nil {
		return err
	}
	if r.Method == http.MethodDelete {
		if r.URL.Query().Has("inbox") {
			return a.forgetInbox(w, r)
		}
		return a.forgetByID(w, r)
	}
	_, until := inForce.now() // before the lookup, so that no change is missed
	app, err := asked(r)
	if err != nil {
		return err
	}
	query, limit, err := deliveryQuery(r)
	if err != nil {
		return adminhttp.Error(http.StatusBadRequest, err)
	}
	if params := r.URL.Query(); params.Get("follow") != "1" && !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		if limit < 0 {
			limit = history.PerHandler
		}
		return adminhttp.Answer(w, new(history.View).Show(recent.List(query, limit), app.snapshots()))
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	s := stream{w: w, app: app, query: query, limit: limit, beat: beat.C, gone: r.Context().Done(), until: until}
	if cursor := r.Header.Get("Last-Event-ID"); cursor != "" {
		s.last, s.limit = history.ParseCursor(cursor), -1
	}
	s.run()
	return nil
}

// deliveryQuery reads the filters; a limit of -1 means none.
func deliveryQuery(r *http.Request) (q history.Query, limit int, err error) {
	params := r.URL.Query()
	q = history.Query{Name: params.Get("name"), Tenant: params.Get("tenant"), Outcome: metrics.Outcome(params.Get("outcome")), Event: params.Get("event"), ID: params.Get("id")}
	known := []metrics.Outcome{"", metrics.Delivered, metrics.Failed, metrics.Stored, metrics.Duplicate, metrics.Handshake, metrics.Rejected}
	if !slices.Contains(known, q.Outcome) {
		return q, 0, errors.New("unknown outcome: deliveries are delivered, failed, stored, duplicate, handshake or rejected (after their signature was verified)")
	}
	limit = -1
	if text := params.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 0 {
			return q, 0, errors.New("limit: write how many deliveries to show, such as 50")
		}
	}
	return q, limit, nil
}

// snapshots returns the current keys of all handlers.
func (a *App) snapshots() (all []*keys.Snapshot) {
	for _, h := range a.named("") {
		all = append(all, h.keys.Current())
	}
	return all
}

const (
	// heartbeat is the interval of keep-alives on a stream, for proxies and for
	// clients with dead connections.
	heartbeat = 15 * time.Second
	// streamPatience limits how long a client may leave a stream unread. It can
	// reconnect with Last-Event-ID.
	streamPatience = 10 * time.Second
)

// A stream sends deliveries to one client as Server-Sent Events. It reads new ones
// from the history, so that no delivery waits for a client.
type stream struct {
	w     http.ResponseWriter
	app   *App
	query history.Query
	limit int    // of those kept at the start; -1: all
	last  uint64 // the Seq of the newest one sent
	beat  <-chan time.Time
	gone  <-chan struct{} // closed when the client is gone
	until <-chan struct{} // closed when the configuration is no longer in force
	view  history.View
}

// run ends when the client is gone or does not read, or with the configuration:
// Caddy's admin server waits for its requests when it stops.
func (s *stream) run() {
	control := http.NewResponseController(s.w)
	// Caddy's admin server allows ten seconds to read a request, and treats a client
	// that is silent for longer as gone. Not every writer has a deadline.
	_ = control.SetReadDeadline(time.Time{})
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	text := []byte("retry: 1000\n\n")
	first := true
	for {
		news := recent.After(s.last, s.query)
		if first && s.limit >= 0 {
			news.Deliveries = news.Deliveries[max(0, len(news.Deliveries)-s.limit):]
		}
		if news.Missed && (!first || s.last > 0) {
			text = append(text, "event: missed\ndata: {}\n\n"...)
		}
		text = s.append(text, news.Deliveries)
		s.last, first = news.Last, false
		if len(text) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(streamPatience))
			if _, err := s.w.Write(text); err != nil || control.Flush() != nil {
				return
			}
		}
		text = text[:0]
		select {
		case <-news.More:
		case <-s.beat:
			text = append(text, ": still here\n\n"...)
		case <-s.gone:
			return
		case <-s.until:
			return
		}
	}
}

func (s *stream) append(text []byte, list []*history.Delivery) []byte {
	if len(list) == 0 {
		return text
	}
	for _, d := range s.view.Show(list, s.app.snapshots()) {
		data, err := json.Marshal(d) // a single line, as an event's data must be
		if err != nil {
			continue // only texts and numbers: cannot fail
		}
		text = fmt.Appendf(text, "id: %s\ndata: %s\n\n", d.Cursor, data)
	}
	return text
}

// forget lets the next copy of an accepted delivery through, because "Redeliver" is
// deliberate: DELETE /verify_webhook/deliveries/KEY.
func (a *adminAPI) forget(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodDelete); err != nil {
		return err
	}
	key, err := dedupe.ParseKey(strings.TrimPrefix(r.URL.Path, adminapi.DeliveriesPath+"/"))
	if err != nil {
		return adminhttp.Error(http.StatusBadRequest, err)
	}
	if state := inboxes.Owed(r.Context(), inbox.Key(key)); state != 0 {
		return adminhttp.Error(http.StatusConflict, fmt.Errorf("the delivery is in the inbox (%s), so its copies are not forwarded: caddy webhook inbox replay %[2]s sends it, caddy webhook inbox discard %[2]s removes it", state, key))
	}
	forgotten, err := forgetDone(r.Context(), key)
	switch {
	case errors.Is(err, dedupe.ErrInFlight):
		return adminhttp.Error(http.StatusConflict, errors.New("the delivery is in flight: wait for the app's answer, then try again"))
	case err != nil:
		return adminhttp.Error(http.StatusServiceUnavailable, err)
	case !forgotten:
		return adminhttp.Error(http.StatusNotFound, errors.New("no such delivery is done"))
	}
	return adminhttp.Answer(w, adminapi.Forgotten{Key: key.String(), Note: forgottenWhere()})
}

// forgottenWhere says which memory of a delivery may remain.
func forgottenWhere() (note string) {
	note = "forgotten by this instance; another one has its own memory of it"
	eachGate(func(g *dedupe.Gate) {
		if g.Stats().Shared {
			note = "forgotten here and in the shared store; an instance that decided alone while the store was down keeps its own memory of it"
		}
	})
	return note
}

// forgetDone forgets a done delivery in every open store.
func forgetDone(ctx context.Context, key dedupe.Key) (forgotten bool, err error) {
	eachGate(func(g *dedupe.Gate) {
		found, failure := g.Forget(ctx, key)
		forgotten = forgotten || found
		err = errors.Join(err, failure)
	})
	return forgotten, err
}

// forgetDiscarded forgets a done delivery that the operator has discarded in the inbox.
func forgetDiscarded(ctx context.Context, key inbox.Key) error {
	_, err := forgetDone(ctx, dedupe.Key(key))
	if errors.Is(err, dedupe.ErrInFlight) {
		return nil
	}
	return err
}

// forgetByID forgets all kept deliveries of a handler with one of the sender's ids.
func (a *adminAPI) forgetByID(w http.ResponseWriter, r *http.Request) error {
	params := r.URL.Query()
	q := history.Query{Name: params.Get("name"), Tenant: params.Get("tenant"), ID: params.Get("id")}
	if q.Name == "" || q.ID == "" {
		return adminhttp.Error(http.StatusBadRequest, errors.New("specify name and id: another handler's sender may use the same id"))
	}
	if _, err := asked(r); err != nil {
		return err
	}
	answer := adminapi.ForgottenByID{Keys: []string{}, InFlight: []string{}, NotDone: []string{}, Stored: []string{}, Note: forgottenWhere()}
	var seen, tenants []string
	for _, d := range recent.List(q, -1) {
		if !slices.Contains(tenants, d.Tenant) {
			tenants = append(tenants, d.Tenant)
		}
		if d.Delivery != "" && !slices.Contains(seen, d.Delivery) {
			seen = append(seen, d.Delivery)
		}
	}
	if len(seen) == 0 {
		return adminhttp.Error(http.StatusNotFound, errors.New("no delivery with that id is kept: specify the delivery's key"))
	}
	if len(tenants) > 1 {
		return adminhttp.Error(http.StatusBadRequest, fmt.Errorf("%d tenants have deliveries with that id: specify the tenant too", len(tenants)))
	}
	for _, text := range seen {
		key, err := dedupe.ParseKey(text)
		if err != nil {
			return adminhttp.Error(http.StatusInternalServerError, err)
		}
		if inboxes.Owed(r.Context(), inbox.Key(key)) != 0 {
			answer.Stored = append(answer.Stored, text)
			continue
		}
		forgotten, err := forgetDone(r.Context(), key)
		switch {
		case errors.Is(err, dedupe.ErrInFlight):
			answer.InFlight = append(answer.InFlight, text)
		case err != nil:
			return adminhttp.Error(http.StatusServiceUnavailable, err)
		case forgotten:
			answer.Keys = append(answer.Keys, text)
		default:
			answer.NotDone = append(answer.NotDone, text)
		}
	}
	return adminhttp.Answer(w, answer)
}

// forgetInboxBudget bounds a scan of everything that a store remembers. It goes on
// even if its client is gone.
const forgetInboxBudget = 5 * time.Minute

// forgetInbox lets the next copies of what a lost inbox had through:
// DELETE /verify_webhook/deliveries?inbox=ID.
func (a *adminAPI) forgetInbox(w http.ResponseWriter, r *http.Request) error {
	params := r.URL.Query()
	id := params.Get("inbox")
	if id == "" || params.Has("name") || params.Has("id") {
		return adminhttp.Error(http.StatusBadRequest, errors.New("specify the id of an inbox, or the name of a handler and the id of a delivery"))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), forgetInboxBudget)
	defer cancel()
	answer := adminapi.ForgottenInbox{Inbox: id, Note: forgottenWhere()}
	unopened, err := inboxes.OwesNothing(ctx, func(open string) bool { return dedupe.StoredIn(open) == dedupe.StoredIn(id) })
	if err != nil {
		return adminhttp.Error(http.StatusConflict, err)
	}
	if unopened {
		answer.Note = "an inbox that is not open here may be the one: what it has is delivered again when it opens; " + forgottenWhere()
	}
	eachGate(func(g *dedupe.Gate) {
		n, failure := g.ForgetStored(ctx, id)
		answer.Forgotten += n
		err = errors.Join(err, failure)
	})
	caddy.Log().Named("verify_webhook.inbox").Info("deliveries of an inbox are forgotten, so that their next copies are forwarded",
		zap.String("inbox", id), zap.Int("deliveries", answer.Forgotten), zap.Error(err))
	if err != nil {
		return adminhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("not all are forgotten, but %d; try again: %w", answer.Forgotten, err))
	}
	return adminhttp.Answer(w, answer)
}
