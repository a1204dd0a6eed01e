package caddymodule

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
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

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
	answer := adminapi.ForgottenInbox{Inbox: id, Note: ownMemory}
	var err error
	eachBox(func(b *box) {
		switch open := b.Engine().Status(); {
		case open.ID == "":
			answer.Note = "an inbox that is not open here may be the one: what it has is delivered again when it opens; " + ownMemory
		case dedupe.StoredIn(open.ID) == dedupe.StoredIn(id):
			err = errors.Join(err, b.owesNothing(ctx, open.ID))
		}
	})
	if err != nil {
		return adminhttp.Error(http.StatusConflict, err)
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

// owesNothing returns an error if the inbox, whose id is known, has deliveries that the
// app may still get, or does not say so.
func (b *box) owesNothing(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, inboxAnswer)
	defer cancel()
	queues, err := b.Queues(ctx)
	if err != nil {
		return fmt.Errorf("the inbox %s is in use here, and what it has is unknown (%w): restart Caddy, then try again", id, b.reason(err))
	}
	n := 0
	for _, q := range queues {
		n += q.Pending + q.InAttempt + q.Dead + q.Locked
	}
	if n > 0 {
		return fmt.Errorf("the inbox %s is in use here and still has deliveries (%d), which the app would get twice: caddy webhook inbox lists them, caddy webhook inbox discard removes and forgets them", id, n)
	}
	return nil
}
