package boxes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

const (
	defaultListed = 100
	maxListed     = 10000
	maxShownBody  = 1 << 20

	// answerBudget bounds a question to the engine.
	answerBudget = 5 * time.Second
)

// Routes serve /verify_webhook/inbox of the admin API.
func (p *Pool) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: adminapi.InboxPath + "/", Handler: caddy.AdminHandlerFunc(p.item)},
		{Pattern: adminapi.InboxPath, Handler: caddy.AdminHandlerFunc(p.all)},
	}
}

// all lists what is stored, or discards some of it:
// GET or DELETE /verify_webhook/inbox[?name=N&tenant=T&key=LABEL&state=S].
func (p *Pool) all(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet, http.MethodDelete); err != nil {
		return err
	}
	in, err := p.reach()
	if err != nil {
		return err
	}
	defer in.done()
	if r.Method == http.MethodDelete {
		return in.discard(w, r)
	}
	return in.list(w, r)
}

// item serves what is below the path: KEY, KEY/replay, replay, pause, resume.
func (p *Pool) item(w http.ResponseWriter, r *http.Request) error {
	item, action, acts := strings.Cut(strings.TrimPrefix(r.URL.Path, adminapi.InboxPath+"/"), "/")
	var serve func(*inboxes) error
	methods := []string{http.MethodPost}
	key, keyErr := inbox.ParseKey(item)
	switch {
	case !acts && item == "replay":
		serve = func(in *inboxes) error { return in.replay(w, r) }
	case !acts && (item == "pause" || item == "resume"):
		serve = func(in *inboxes) error { return in.pause(w, r, item == "pause") }
	case keyErr != nil:
		return adminhttp.Error(http.StatusBadRequest, keyErr)
	case acts && action == "replay":
		serve = func(in *inboxes) error { return in.of(r, key).replayOne(w, r, key) }
	case acts:
		return adminhttp.Error(http.StatusNotFound, errors.New("a delivery has no such action: use replay"))
	default:
		methods = []string{http.MethodGet, http.MethodDelete}
		serve = func(in *inboxes) error {
			if r.Method == http.MethodDelete {
				return in.of(r, key).discardOne(w, r, key)
			}
			return in.of(r, key).show(w, r, in.config, key)
		}
	}
	if err := adminhttp.Only(w, r, methods...); err != nil {
		return err
	}
	in, err := p.reach()
	if err != nil {
		return err
	}
	defer in.done()
	return serve(in)
}

// selection reads which deliveries are meant.
func selection(params url.Values) (s inbox.Selection, err error) {
	s = inbox.Selection{Handler: params.Get("name"), Tenant: params.Get("tenant"), Label: params.Get("key")}
	for _, text := range params["state"] {
		known := false
		for _, state := range []inbox.State{inbox.Pending, inbox.InAttempt, inbox.Delivered, inbox.Dead, inbox.Locked} {
			if state.String() == text {
				s.States, known = append(s.States, state), true
			}
		}
		if !known {
			return s, adminhttp.Error(http.StatusBadRequest, errors.New("unknown state: deliveries are pending, in_attempt, delivered, dead or locked"))
		}
	}
	return s, nil
}

// position reads after which delivery a list or change continues.
func position(params url.Values) (after uint64, err error) {
	if text := params.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, adminhttp.Error(http.StatusBadRequest, errors.New("after: write the position of a delivery"))
		}
	}
	return after, nil
}

// failure is the answer for an engine that does not answer.
func (b *Box) failure(err error) error {
	return adminhttp.Error(http.StatusServiceUnavailable, b.reason(err))
}

// reason says why an engine is unavailable.
func (b *Box) reason(err error) error {
	if health := b.Engine().Status().Health; health != nil && errors.Is(err, inbox.ErrUnavailable) {
		return health
	}
	return err
}

// knows refuses a name that neither a handler nor a stored delivery has.
func (c *Configuration) knows(queues []inbox.QueueStatus, name string) error {
	if name == "" || c.has(name) || slices.ContainsFunc(queues, func(q inbox.QueueStatus) bool { return q.Handler == name }) {
		return nil
	}
	return adminhttp.Error(http.StatusNotFound, fmt.Errorf("no handler and no stored delivery has that name; the handlers are: %s", c.names()))
}

func engineOf(b *Box) adminapi.InboxEngine { return describeEngine(b, b.Engine().Status()) }

func describeEngine(b *Box, s inbox.Status) adminapi.InboxEngine {
	e := adminapi.InboxEngine{Kind: kindOf(b.module), ID: s.ID, Bytes: s.Bytes, Limit: s.Limit, Unwritten: s.Unwritten, Damaged: s.Damaged}
	if s.Health != nil {
		e.Problem = s.Health.Error()
	}
	return e
}

// queues describes the queues of a selection's handler and tenant, sorted.
func (c *Configuration) queues(queues []inbox.QueueStatus, s inbox.Selection) []adminapi.InboxQueue {
	shown := []adminapi.InboxQueue{}
	for _, q := range queues {
		if s.Handler != "" && s.Handler != q.Handler || s.Tenant != "" && s.Tenant != q.Tenant {
			continue
		}
		shown = append(shown, adminapi.InboxQueue{
			Name: q.Handler, Tenant: q.Tenant, Configured: c.has(q.Handler),
			Pending: q.Pending, InAttempt: q.InAttempt, Delivered: q.Delivered, Dead: q.Dead, Locked: q.Locked, Bytes: q.Bytes,
			Oldest: adminhttp.Moment(q.Oldest), Due: adminhttp.Moment(q.Due), DownSince: adminhttp.Moment(q.Down), Paused: q.Paused,
		})
	}
	slices.SortFunc(shown, func(a, b adminapi.InboxQueue) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Tenant, b.Tenant))
	})
	return shown
}

func (c *Configuration) showEntry(b *Box, position uint64, e inbox.Entry) adminapi.InboxEntry {
	v := adminapi.InboxEntry{
		Key: e.Key.String(), Name: e.Handler, Tenant: e.Tenant, State: e.State.String(), Position: position,
		Received: e.Received.UTC(), Since: e.Since.UTC(), Due: adminhttp.Moment(e.Due), Attempts: e.Attempts, Status: e.Status,
		Refused: e.Hold == inbox.HoldRefused, Replayed: e.Replayed, Generation: e.Generation, Label: e.Label, Bytes: e.Size,
	}
	if b.isRetained() {
		v.Inbox = describe(b.module)
	}
	if e.State == inbox.Pending {
		v.Waits = map[inbox.Hold]string{inbox.HoldTime: "time", inbox.HoldApp: "app", inbox.HoldRoute: "route", inbox.HoldTurn: "turn", inbox.HoldRefused: "time"}[e.Hold]
		if !c.has(e.Handler) {
			v.Waits = "handler"
		}
	}
	return v
}

// show tells all of one delivery: GET /verify_webhook/inbox/KEY[?body=1].
func (b *Box) show(w http.ResponseWriter, r *http.Request, c *Configuration, key inbox.Key) error {
	ctx, cancel := context.WithTimeout(r.Context(), answerBudget)
	defer cancel()
	d, e, err := b.Engine().Get(ctx, key)
	if errors.Is(err, inbox.ErrLocked) {
		var found bool
		if e, found, err = b.Engine().Find(ctx, key); err == nil && !found {
			err = inbox.ErrNotFound
		}
		d = nil
	}
	switch {
	case errors.Is(err, inbox.ErrNotFound):
		return notStored
	case err != nil:
		return b.failure(err)
	}
	detail := adminapi.InboxDetail{InboxEntry: c.showEntry(b, e.Position, e)}
	if d == nil {
		detail.Note = inbox.ErrLocked.Error()
		return adminhttp.Answer(w, detail)
	}
	c.showDelivery(&detail, d, r.URL.Query().Get("body") == "1")
	return adminhttp.Answer(w, detail)
}

var notStored = adminhttp.Error(http.StatusNotFound, errors.New("the inbox has no such delivery: it may have been delivered or discarded"))

// showDelivery adds what may be shown of a stored request. It fails closed: without a
// handler of its name, or the keys of its tenant, what may be a credential is unknown.
func (c *Configuration) showDelivery(v *adminapi.InboxDetail, d *inbox.Delivery, body bool) {
	all, handlers := c.snapshots(), c.named(d.Handler)
	unknown := ""
	if len(handlers) == 0 {
		unknown = "no handler has this name"
	}
	for _, h := range handlers {
		if h.Tenant == nil {
			continue
		}
		if s := h.Tenant(d.Tenant); s != nil {
			all = append(all, s)
		} else {
			unknown = "the keys of this tenant cannot be had"
		}
	}
	hide := rejected.Hide(all)
	v.ID, v.Event, v.Timestamp = hide(d.ID), hide(d.Event), adminhttp.Moment(d.Timestamp)
	v.Remote, v.Method = d.Remote, d.Method
	v.Host, v.URL, v.Headers = rejected.Redact(verifier.Request{Host: d.Host, Target: d.Target, Header: d.Header}, all)
	sum := sha256.Sum256(d.Body)
	v.Body = adminapi.Body{
		Read: true, Bytes: len(d.Body), SHA256: hex.EncodeToString(sum[:]),
		ContentType: hide(http.Header(d.Header).Get("Content-Type")),
	}
	if unknown != "" {
		v.ID, v.Event = "", ""
		v.URL = rejected.UpToTenant(v.URL, d.Tenant)
		for name := range v.Headers {
			v.Headers[name] = []string{"(redacted)"}
		}
		v.Body.ContentType = ""
		v.Note = unknown + ", so what may be a credential is unknown: the id, the event, the query, all headers and the body are hidden"
		return
	}
	if !body {
		return
	}
	if v.Note = whyHidden(handlers, d.Body, hide); v.Note == "" {
		v.Content = d.Body
	}
}

// snapshots returns the current keys of all handlers.
func (c *Configuration) snapshots() (all []*keys.Snapshot) {
	for _, h := range c.named("") {
		all = append(all, h.Keys())
	}
	return all
}

// whyHidden says why a body is not shown; "" if it may be.
func whyHidden(handlers []Handler, body []byte, hide func(string) string) string {
	switch {
	case slices.ContainsFunc(handlers, func(h Handler) bool { return h.Token }):
		return "the body is hidden: this sender has a token instead of a signature, and the body may repeat it"
	case len(body) > maxShownBody:
		return "the body is hidden: it is larger than 1 MiB"
	case hide(string(body)) != string(body):
		return "the body is hidden: it contains a key"
	}
	return ""
}
