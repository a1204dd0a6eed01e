package boxes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

const (
	// changeStep is how many deliveries are changed at once: received ones wait for it.
	changeStep = 256
	// changeStepBudget bounds one step, which ends even if its client is gone.
	changeStepBudget = 30 * time.Second
)

// changeBudget is how long one request begins steps. The client repeats it.
var changeBudget = 5 * time.Second

// change calls step with the keys of all deliveries of a selection, a number at a
// time, in one inbox after the other. step returns how many it changed.
func (in *inboxes) change(r *http.Request, sel inbox.Selection, step func(context.Context, *Box, []inbox.Key) (int, error)) (c adminapi.InboxChanged, err error) {
	if c.After, err = position(r.URL.Query()); err != nil {
		return c, err
	}
	until := time.Now().Add(changeBudget)
	for _, b := range in.all {
		for from, goesOn := in.after(b, c.After); goesOn; {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeStepBudget)
			entries, err := b.Engine().List(ctx, sel, from, changeStep)
			if err == nil && len(entries) > 0 {
				var n int
				n, err = step(ctx, b, keysOf(entries))
				c.Changed += n
			}
			cancel()
			switch {
			case err != nil && c.Changed == 0 && len(in.all) == 1:
				return c, b.failure(err)
			case err != nil: // the rest of this inbox is left
				c.Note, goesOn = err.Error(), false
				continue
			case len(entries) > 0:
				from = entries[len(entries)-1].Position
				c.After = in.position(b, from)
			}
			goesOn = len(entries) == changeStep
			if goesOn && (r.Context().Err() != nil || !time.Now().Before(until)) {
				c.More = true
				return c, nil
			}
		}
	}
	return c, nil
}

func keysOf(entries []inbox.Entry) (keys []inbox.Key) {
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}

// replay makes deliveries due now: POST /verify_webhook/inbox/replay?name=N[&state=S&as=OTHER].
// The app gets them one by one, each when nothing else is due, so any number may be.
func (in *inboxes) replay(w http.ResponseWriter, r *http.Request) error {
	params := r.URL.Query()
	sel, err := selection(params)
	if err != nil {
		return err
	}
	if sel.Handler == "" {
		return adminhttp.Error(http.StatusBadRequest, errors.New("give the name of the handler whose deliveries are replayed"))
	}
	if len(sel.States) == 0 {
		sel.States = []inbox.State{inbox.Dead}
	}
	if err := in.knows(r, sel.Handler); err != nil {
		return err
	}
	as := params.Get("as")
	if as != "" && !in.config.has(as) {
		return adminhttp.Error(http.StatusNotFound, fmt.Errorf("as: no handler has that name; the names are: %s", in.config.names()))
	}
	c, err := in.change(r, sel, func(ctx context.Context, b *Box, keys []inbox.Key) (int, error) {
		return b.Engine().Replay(ctx, inbox.Selection{Keys: keys, States: sel.States}, as)
	})
	if err != nil {
		return err
	}
	tellChange("deliveries of the inbox are replayed", sel, zap.Int("deliveries", c.Changed), zap.String("as", as))
	return adminhttp.Answer(w, c)
}

// replayOne makes one due now: POST /verify_webhook/inbox/KEY/replay.
func (b *Box) replayOne(w http.ResponseWriter, r *http.Request, key inbox.Key) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeStepBudget)
	defer cancel()
	e, found, err := b.Engine().Find(ctx, key)
	switch {
	case err != nil:
		return b.failure(err)
	case !found:
		return notStored
	case e.State == inbox.InAttempt:
		return adminhttp.Error(http.StatusConflict, errors.New("an attempt of this delivery is running: wait for its result"))
	case e.State == inbox.Locked:
		return adminhttp.Error(http.StatusConflict, inbox.ErrLocked)
	}
	sel := inbox.Selection{Keys: []inbox.Key{key}}
	n, err := b.Engine().Replay(ctx, sel, "")
	if err != nil {
		return b.failure(err)
	}
	tellChange("a delivery of the inbox is replayed", inbox.Selection{Handler: e.Handler}, zap.String("delivery", key.String()))
	return adminhttp.Answer(w, adminapi.InboxChanged{Changed: n})
}

// discard removes deliveries for good: DELETE /verify_webhook/inbox?name=N&….
func (in *inboxes) discard(w http.ResponseWriter, r *http.Request) error {
	sel, err := selection(r.URL.Query())
	if err != nil {
		return err
	}
	if sel.Handler+sel.Tenant+sel.Label == "" {
		return adminhttp.Error(http.StatusBadRequest, errors.New("give the name of a handler, a tenant, or the label of a key: discarding everything is not possible"))
	}
	note := ""
	c, err := in.change(r, sel, func(ctx context.Context, b *Box, keys []inbox.Key) (int, error) {
		gone, err := b.Engine().Discard(ctx, inbox.Selection{Keys: keys, States: sel.States})
		note = b.forget(ctx, gone, note)
		return len(gone), err
	})
	if err != nil {
		return err
	}
	if c.Note == "" {
		c.Note = note
	}
	tellChange("deliveries of the inbox are discarded", sel, zap.Int("deliveries", c.Changed))
	return adminhttp.Answer(w, c)
}

// discardOne removes one for good: DELETE /verify_webhook/inbox/KEY.
func (b *Box) discardOne(w http.ResponseWriter, r *http.Request, key inbox.Key) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeStepBudget)
	defer cancel()
	e, _, _ := b.Engine().Find(ctx, key)
	gone, err := b.Engine().Discard(ctx, inbox.Selection{Keys: []inbox.Key{key}})
	switch {
	case err != nil:
		return b.failure(err)
	case len(gone) == 0:
		return notStored
	}
	c := adminapi.InboxChanged{Changed: 1, Note: b.forget(ctx, gone, "")}
	if e.State == inbox.InAttempt {
		c.Note = "an attempt was running: the app may still accept the delivery"
	}
	tellChange("a delivery of the inbox is discarded", inbox.Selection{Handler: e.Handler}, zap.String("delivery", key.String()))
	return adminhttp.Answer(w, c)
}

// forget makes the next copies of discarded deliveries new ones. After the
// first failure it does not try the rest, and says so in the note.
func (b *Box) forget(ctx context.Context, gone []inbox.Key, note string) string {
	for _, key := range gone {
		if note != "" {
			break
		}
		if err := b.pool.o.Forget(ctx, key); err != nil {
			note = "the dedupe store did not forget some of them, so their copies are not forwarded: " + err.Error()
		}
	}
	return note
}

// pause stops or continues attempts: POST /verify_webhook/inbox/pause?name=N or resume.
func (in *inboxes) pause(w http.ResponseWriter, r *http.Request, paused bool) error {
	name := r.URL.Query().Get("name")
	if name == "" {
		return adminhttp.Error(http.StatusBadRequest, errors.New("give the name of the handler"))
	}
	if err := in.knows(r, name); err != nil {
		return err
	}
	message := "deliveries are stored, and not sent to the app, until resume or the end of the process"
	in.config.pool.pause(name, paused)
	if !paused {
		message = "deliveries are sent to the app again"
	}
	tellChange(message, inbox.Selection{Handler: name})
	return adminhttp.Answer(w, adminapi.InboxPaused{Name: name, Paused: paused})
}

// tellChange logs what the operator has changed.
func tellChange(message string, sel inbox.Selection, fields ...zap.Field) {
	for name, value := range map[string]string{"name": sel.Handler, "tenant": sel.Tenant, "key": sel.Label} {
		if value != "" {
			fields = append(fields, zap.String(name, value))
		}
	}
	caddy.Log().Named("verify_webhook.inbox").Info(message, fields...)
}
