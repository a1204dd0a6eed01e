package boxes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// inboxes are those that an operator can reach: that of the configuration in force, and
// the retained ones. There is at least one.
type inboxes struct {
	config *Configuration
	own    *Box // of the configuration, or nil
	all    []*Box
	done   func()
}

// reach returns them until done is called.
func (p *Pool) reach() (*inboxes, error) {
	config := p.o.InForce()
	if config == nil {
		return nil, adminhttp.Error(http.StatusNotFound, errors.New("the configuration in force has no verify_webhook handler"))
	}
	in := &inboxes{config: config, own: config.Box()}
	others, done := p.allRetained()
	in.done = func() {
		done()
		if in.own != nil {
			in.own.Release()
		}
	}
	if in.own != nil {
		in.all = append(in.all, in.own)
	}
	in.all = append(in.all, others...)
	if len(in.all) == 0 {
		in.done()
		return nil, adminhttp.Error(http.StatusNotFound, errors.New("the configuration in force has no inbox: write inbox in a handler; if one has it, the log says why it cannot be opened"))
	}
	return in, nil
}

// of returns the inbox that has a delivery, or the first.
func (in *inboxes) of(r *http.Request, key inbox.Key) *Box {
	ctx, cancel := context.WithTimeout(r.Context(), answerBudget)
	defer cancel()
	for _, b := range in.all {
		if _, found := b.Find(ctx, key); found {
			return b
		}
	}
	return in.all[0]
}

// Positions of several inboxes are in one order: that of the configuration first, then
// the retained ones, oldest first.
const positionBits = 40 // 10^12 deliveries

func (in *inboxes) serial(b *Box) uint64 {
	if b == in.own {
		return 0
	}
	return b.serial
}

func (in *inboxes) position(b *Box, p uint64) uint64 { return in.serial(b)<<positionBits | p }

// after returns the position in b after which a list that has reached p continues; ok is
// false if it is past b.
func (in *inboxes) after(b *Box, p uint64) (after uint64, ok bool) {
	switch serial := p >> positionBits; {
	case serial == in.serial(b):
		return p & (1<<positionBits - 1), true
	case serial > in.serial(b):
		return 0, false
	}
	return 0, true
}

// knows refuses a name that neither a handler nor a stored delivery has.
func (in *inboxes) knows(r *http.Request, name string) error {
	ctx, cancel := context.WithTimeout(r.Context(), answerBudget)
	defer cancel()
	var all []inbox.QueueStatus
	for _, b := range in.all {
		queues, _ := b.Queues(ctx)
		all = append(all, queues...)
	}
	return in.config.knows(all, name)
}

// list answers with the queues, and with deliveries if some are selected.
func (in *inboxes) list(w http.ResponseWriter, r *http.Request) error {
	params := r.URL.Query()
	sel, err := selection(params)
	if err != nil {
		return err
	}
	after, err := position(params)
	if err != nil {
		return err
	}
	limit := defaultListed
	if text := params.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxListed {
			return adminhttp.Error(http.StatusBadRequest, fmt.Errorf("limit: write how many deliveries to show, from 1 to %d", maxListed))
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerBudget)
	defer cancel()
	answer, err := in.describe(ctx, sel)
	if err != nil {
		return err
	}
	if !sel.Empty() || params.Has("limit") || params.Has("after") {
		if answer.Deliveries, err = in.entries(ctx, sel, after, limit); err != nil {
			return err
		}
		answer.More = len(answer.Deliveries) == limit
	}
	return adminhttp.Answer(w, answer)
}

// describe returns the queues of a selection's handler and tenant.
func (in *inboxes) describe(ctx context.Context, sel inbox.Selection) (answer adminapi.Inbox, err error) {
	answer.Queues = []adminapi.InboxQueue{}
	var all []inbox.QueueStatus
	unknown := false
	for _, b := range in.all {
		queues, err := b.Queues(ctx)
		unknown = unknown || err != nil
		all = append(all, queues...)
		engine, shown := engineOf(b), in.config.queues(queues, sel)
		if b == in.own {
			answer.InboxEngine, answer.Queues = engine, shown
		} else {
			answer.Retained = append(answer.Retained, adminapi.InboxRetained{Inbox: describe(b.module), InboxEngine: engine, Queues: shown})
		}
	}
	if err := in.config.knows(all, sel.Handler); err != nil && !unknown {
		return answer, err
	}
	return answer, nil
}

// entries lists deliveries. A retained inbox that does not answer is left out.
func (in *inboxes) entries(ctx context.Context, sel inbox.Selection, after uint64, limit int) (list []adminapi.InboxEntry, err error) {
	for _, b := range in.all {
		from, ok := in.after(b, after)
		if !ok || len(list) == limit {
			continue
		}
		entries, err := b.Engine().List(ctx, sel, from, limit-len(list))
		if err != nil && b == in.own {
			return nil, b.failure(err)
		}
		for _, e := range entries {
			list = append(list, in.config.showEntry(b, in.position(b, e.Position), e))
		}
	}
	return list, nil
}

// Owed returns the state of a delivery that an inbox keeps for the app; 0 if none does,
// or is not open.
func (p *Pool) Owed(ctx context.Context, key inbox.Key) inbox.State {
	in, err := p.reach()
	if err != nil {
		return 0
	}
	defer in.done()
	ctx, cancel := context.WithTimeout(ctx, answerBudget)
	defer cancel()
	for _, b := range in.all {
		if e, found := b.Find(ctx, key); found && e.State != inbox.Delivered {
			return e.State
		}
	}
	return 0
}

// OwesNothing returns an error if an open inbox whose ID is the one asked for has
// deliveries that the app may still get, or does not say so. unopened reports whether
// the ID of another is not known yet.
func (p *Pool) OwesNothing(ctx context.Context, is func(id string) bool) (unopened bool, err error) {
	p.each(func(b *Box) {
		switch id := b.Engine().Status().ID; {
		case id == "":
			unopened = true
		case is(id):
			err = errors.Join(err, b.owesNothing(ctx, id))
		}
	})
	return unopened, err
}

// owesNothing returns an error if the inbox, whose id is known, has deliveries that the
// app may still get, or does not say so.
func (b *Box) owesNothing(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, answerBudget)
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
