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
// the stored delivery. A signature does not cover all of a request, and who replays a
// captured delivery chooses the rest: the app may refuse the stored request for ever,
// and accept the sender's own.
func (d *delivery) isVariant() bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	stored, _, err := d.box.Engine().Get(ctx, inbox.Key(d.hash))
	if err != nil { // delivered meanwhile, or locked until its key is back
		return false
	}
	own := d.record()
	return stored.Method != own.Method || stored.Target != own.Target || stored.Seen != own.Seen || stored.Host != own.Host ||
		!maps.EqualFunc(stored.Header, own.Header, slices.Equal) || !bytes.Equal(stored.Body, own.Body) || !cameAlike(stored, own)
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

// borrow takes over the attempt of the stored delivery for this variant, so that no other
// attempt runs meanwhile: the variant goes to the app, and its sender gets the app's
// answer. A 2xx settles the stored delivery, too; anything else leaves it as it was, but a
// dead one is pending again. The sender is not told that its delivery is stored, because
// this one is not.
func (d *delivery) borrow(e inbox.Entry) (has bool, err error) {
	e, found := d.awaitAttempt(e)
	switch {
	case !found || e.State == inbox.Delivered:
		return false, nil
	case d.box.Holds(d.queue()):
		return false, variantRefused("the inbox has this delivery from another request, and does not call the app, which is down or paused")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), storeBudget)
	defer cancel()
	got, err := d.box.Accept(ctx, d.record(), true)
	switch {
	case err != nil:
		d.bypass(err)
		return false, nil
	case got.Attempt == nil:
		return false, variantRefused("the inbox has this delivery from another request, which is with the app")
	}
	d.loan = got.Attempt
	return false, nil
}

func variantRefused(detail string) error {
	return &refusal{reason: dedupe.Busy.String(), status: http.StatusServiceUnavailable, retryAfter: 5, detail: detail}
}

// repay settles the stored delivery by what the app answered to its variant.
func (d *delivery) repay(r inbox.Result) {
	if d.loan != nil {
		d.box.Finish(d.loan, r)
		d.loan = nil
	}
}

// giveBack leaves the stored delivery as it was, unless it is settled.
func (d *delivery) giveBack() {
	if d.loan != nil {
		d.box.Return(d.loan)
		d.loan = nil
	}
}

// waiting bounds the variants that wait for an attempt: a flood of copies must not hold
// memory.
var waiting = make(chan struct{}, 64)

// attemptPoll is how often a variant looks whether an attempt has ended.
const attemptPoll = 50 * time.Millisecond

// awaitAttempt waits until no attempt of the stored delivery runs, as long as a copy waits
// for one that is being forwarded. It returns the delivery's entry then.
func (d *delivery) awaitAttempt(e inbox.Entry) (now inbox.Entry, found bool) {
	select {
	case waiting <- struct{}{}:
		defer func() { <-waiting }()
	default:
		return e, true
	}
	ctx, cancel := context.WithTimeout(d.r.Context(), d.terms().Wait)
	defer cancel()
	tick := time.NewTicker(attemptPoll)
	defer tick.Stop()
	for now, found = e, true; found && now.State == inbox.InAttempt; now, found = d.box.Find(ctx, e.Key) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return now, true
		}
	}
	return now, found
}
