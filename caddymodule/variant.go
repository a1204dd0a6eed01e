package caddymodule

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// isVariant reports whether the app would get another request from this copy than from
// the stored delivery e. A signature does not cover all of a request, and who replays a
// captured delivery chooses the rest: the app may refuse the stored request for ever,
// and accept the sender's own.
func (d *delivery) isVariant(e inbox.Entry) (bool, error) {
	room := 2 * int64(e.Size) // what the engine reads, and the delivery in it
	if !d.charge(room, forTheApp) {
		return false, errManyInFlight
	}
	defer d.discharge(room)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	stored, _, err := d.box.Engine().Get(ctx, e.Key)
	if err != nil { // delivered meanwhile, or locked until its key is back
		return false, nil
	}
	own := d.record()
	return stored.Method != own.Method || stored.Target != own.Target || stored.Seen != own.Seen || stored.Host != own.Host ||
		!maps.EqualFunc(stored.Header, own.Header, slices.Equal) || !bytes.Equal(stored.Body, own.Body) || !cameAlike(stored, own), nil
}

// cameAlike reports whether nothing can tell two requests apart by their connections:
// the client's address, the port that it called, the protocol, the name and the
// certificates of TLS. Attempts repeat all of them, and the route to the app may refuse
// strangers by them.
func cameAlike(a, b *inbox.Delivery) bool {
	ip, _ := addressOf(a.Remote)
	other, _ := addressOf(b.Remote)
	_, port := addressOf(a.Local)
	_, called := addressOf(b.Local)
	if ip != other || port != called || a.Proto != b.Proto || (a.TLS == nil) != (b.TLS == nil) {
		return false
	}
	return a.TLS == nil || a.TLS.ServerName == b.TLS.ServerName && slices.EqualFunc(a.TLS.Peers, b.TLS.Peers, bytes.Equal)
}

// addressOf splits the address of one end of a connection. Another text than IP and port,
// of a Unix socket, is all host.
func addressOf(text string) (ip, port string) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return text, ""
	}
	return a.Addr().Unmap().String(), strconv.Itoa(int(a.Port()))
}

// turns has variants wait as other copies do: a few of each delivery, whose places and
// turns clients and requests share. Their delivery is never done here.
var turns = dedupe.NewGate(dedupe.Options{Store: dedupe.NewMemory(dedupe.MemoryOptions{MaxEntries: 1})})

// borrow takes over the attempt of the stored delivery for this variant, so that no other
// attempt runs meanwhile: the variant goes to the app, and its sender gets the app's
// answer. A 2xx settles the stored delivery, too; anything else leaves it as it was, but a
// dead one is pending again. The sender is not told that its delivery is stored, because
// this one is not. Without an error and a loan, the stored delivery is gone.
func (d *delivery) borrow() error {
	terms := d.terms()
	terms.From = d.from()
	waits, cancel := context.WithTimeout(d.r.Context(), terms.Wait)
	defer cancel()
	turn := turns.Claim(waits, d.hash, terms)
	if turn.Outcome != dedupe.Held {
		return inboxRefuses("the inbox has this delivery from another request, and others wait for the app")
	}
	d.turn = turn.Claim
	err := d.beginLoan(waits)
	if d.loan == nil {
		d.turn.Release()
	}
	return err
}

func (d *delivery) beginLoan(waits context.Context) error {
	switch e, found := d.awaitAttempt(waits); {
	case !found || e.State == inbox.Delivered:
		return nil
	case d.box.Holds(d.queue()):
		return inboxRefuses("the inbox has this delivery from another request, and does not call the app, which is down or paused")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	got, err := d.box.Accept(ctx, d.record(), true)
	if err != nil {
		d.bypass(err)
		return nil
	}
	if got.Attempt == nil {
		return inboxRefuses("the inbox has this delivery from another request, which is with the app")
	}
	if !got.Copy { // the app has just taken the other, as the dedupe store knows
		d.box.Return(got.Attempt)
		return inboxRefuses("the inbox had this delivery from another request, whose attempt has just ended")
	}
	d.loan = got.Attempt
	return nil
}

func inboxRefuses(detail string) error {
	return &refusal{reason: dedupe.Busy.String(), status: http.StatusServiceUnavailable, retryAfter: 5, detail: detail}
}

// repay settles the stored delivery by what the app answered to its variant.
func (d *delivery) repay(r inbox.Result) {
	if d.loan != nil {
		d.box.Finish(d.loan, r)
		d.endLoan()
	}
}

// giveBack leaves the stored delivery as it was, unless it is settled.
func (d *delivery) giveBack() {
	if d.loan != nil {
		d.box.Return(d.loan)
		d.endLoan()
	}
}

func (d *delivery) endLoan() {
	d.loan = nil
	d.turn.Release()
}

// attemptPoll is how often a variant whose turn it is looks whether an attempt has ended,
// of the inbox or of another instance.
const attemptPoll = 50 * time.Millisecond

// awaitAttempt waits until no attempt of the stored delivery runs, and returns its entry
// then.
func (d *delivery) awaitAttempt(ctx context.Context) (e inbox.Entry, found bool) {
	tick := time.NewTicker(attemptPoll)
	defer tick.Stop()
	for {
		e, found = d.box.Find(context.WithoutCancel(ctx), inbox.Key(d.hash))
		if !found || e.State != inbox.InAttempt {
			return e, found
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return e, found
		}
	}
}
