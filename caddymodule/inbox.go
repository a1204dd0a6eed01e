package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/boxes"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/option"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
)

// Inbox keeps genuine deliveries that the app does not accept, and retries them until
// it does.
type Inbox struct {
	// Store each delivery and answer its sender before calling the app, for slow apps
	// or impatient senders. Default: the app is called first and answers the sender
	// itself; deliveries that it does not accept are stored.
	First bool `json:"first,omitempty"`
	// How long the sender waits for the app. Then the delivery is stored and the
	// sender answered while the attempt continues. Default: 4s, or a second before the
	// sender gives up (half of its time, if that is less than 2s). It stays 4s if the sender
	// uses the app's answer.
	After *caddy.Duration `json:"after,omitempty"`
	// The pauses after the first, second, … attempt; the last repeats. Each varies by
	// ±20 %. A Retry-After of the app, at most 1h, is a lower bound. Default: 5s 30s
	// 2m 10m 30m 1h 2h 4h 8h 12h.
	Retry []caddy.Duration `json:"retry,omitempty"`
	// How long it is retried before it is a dead letter. Default: 3d.
	Expire *caddy.Duration `json:"expire,omitempty"`
	// Statuses of the app that make it a dead letter immediately. Default: 410.
	DeadOn []int `json:"dead_on,omitzero"`
	// How long a delivered one is kept for replay. Default: not kept.
	Keep *caddy.Duration `json:"keep,omitempty"`
}

// patience is how long the sender waits for the app. One that gives up before it is
// answered sends the delivery again, and may count it as failed; one that uses the answer
// would get none from the app.
func (h *Handler) patience() time.Duration {
	usual := 4 * time.Second
	if p := h.provider; p != nil && p.AnswerWithin > 0 && !p.ReadsAnswer && p.ReadsAnswerTo == "" {
		within := time.Duration(p.AnswerWithin)
		usual = min(usual, max(within-time.Second, within/2))
	}
	return time.Duration(orElse(h.Inbox.After, caddy.Duration(usual)))
}

// policy returns the handler's retry policy.
func (i *Inbox) policy() inbox.Policy {
	p := inbox.Policy{Expire: time.Duration(orElse(i.Expire, 0)), DeadOn: i.DeadOn, Keep: time.Duration(orElse(i.Keep, 0))}
	for _, d := range i.Retry {
		p.Retry = append(p.Retry, time.Duration(d))
	}
	if i.DeadOn == nil {
		p.DeadOn = []int{410}
	}
	return p
}

// options returns the policy as it takes effect, to be compared.
func (i *Inbox) options() string {
	if i == nil {
		return ""
	}
	p := i.policy()
	if len(p.Retry) == 0 {
		p.Retry = inbox.DefaultRetry
	}
	return fmt.Sprint(p.Retry, cmp.Or(p.Expire, inbox.DefaultExpire), slices.Sorted(slices.Values(p.DeadOn)), p.Keep)
}

// seenByInbox describes the handler for its inbox.
func (h *Handler) seenByInbox() boxes.Handler {
	seen := boxes.Handler{Name: h.Name, MaxBody: h.maxBody, Token: h.rules.Scheme().UsesToken(), Keys: h.keys.Current, Tenant: h.tenants.keysOf()}
	if h.Inbox != nil {
		seen.Policy = new(h.Inbox.policy())
	}
	return seen
}

// checkInbox refuses invalid settings.
func (h *Handler) checkInbox() error {
	i := h.Inbox
	if i == nil {
		return nil
	}
	switch {
	case h.Dedupe != nil && h.Dedupe.Off:
		return errors.New("inbox: it needs dedupe to recognise copies of stored deliveries: remove dedupe off")
	case i.First && h.Handshake != nil && h.Handshake.Off:
		return errors.New("inbox first: the sender would not get the app's answer to a handshake: remove handshake off, or write inbox")
	case i.First && h.provider != nil && h.provider.ReadsAnswer:
		return fmt.Errorf("inbox first: %s: the sender uses the app's response, which would come too late: write inbox, so that the app is called first", h.provider.Name)
	case h.patience() <= 0:
		return errors.New("inbox: after: give a positive duration, such as 4s")
	case i.Expire != nil && *i.Expire <= 0:
		return errors.New("inbox: expire: give a positive duration, such as 3d")
	case i.Keep != nil && *i.Keep < 0:
		return errors.New("inbox: keep: give a duration, such as 24h, or 0s for none")
	case slices.ContainsFunc(i.Retry, func(d caddy.Duration) bool { return d <= 0 }):
		return errors.New("inbox: retry: give positive durations, such as 5s 30s 2m")
	case slices.ContainsFunc(i.DeadOn, func(s int) bool { return s < 300 || s > 599 }):
		return errors.New("inbox: dead_on: give statuses from 300 to 599, such as 410")
	}
	return nil
}

// adviseInbox warns of requests whose response would come too late, of an app that
// refuses late deliveries, and of a secret that the inbox keeps in plain text.
func (h *Handler) adviseInbox() {
	if h.Inbox == nil {
		return
	}
	if h.Inbox.First && h.provider != nil && h.provider.ReadsAnswerTo != "" {
		h.logger.Warn("inbox first: the sender uses the app's response to "+h.provider.ReadsAnswerTo+", but gets duplicate_response (default: 200, empty): if you have them, let a handler with inbox receive them",
			zap.String("name", h.Name))
	}
	scheme := h.rules.Scheme()
	if t := scheme.Timestamp; t != nil && !t.Off && h.SignUpstream == "" {
		h.logger.Warn("inbox: the sender's signature has a timestamp, so an app that checks the signature itself refuses late deliveries: let it rely on Webhook-Verified, or write sign_upstream",
			zap.String("name", h.Name))
	}
	if b, ok := h.app.inbox.Module.(*boxes.Bolt); ok && len(b.Encrypt) == 0 && scheme.UsesToken() {
		h.logger.Warn("inbox: each delivery contains the sender's secret, so the inbox file holds it in plain text: encrypt it with the global option { verify_webhook { inbox bolt { encrypt {file./path/of/key} } } }",
			zap.String("name", h.Name))
	}
}

// inbox reads
//
//	inbox [first] {
//		after   <duration>
//		retry   <duration>...
//		expire  <duration>
//		dead_on <status>...
//		keep    <duration>
//	}
//
// An unset variable in the place of first means that the app is asked first, which
// keeps the promise.
func (p *parser) inbox(name string, args []string) error {
	p.h.Inbox = new(Inbox)
	switch {
	case len(args) == 1 && args[0] == "first":
		p.h.Inbox.First = true
	case len(args) > 0 && (args[0] == "bolt" || args[0] == "nats"):
		return p.Errf("inbox: the engine is the same for all handlers: write it among the global options, { verify_webhook { inbox %s } }, and here inbox or inbox first", args[0])
	case len(args) > 0 && !(len(args) == 1 && args[0] == ""):
		return p.Errf("inbox: write inbox, or inbox first, and perhaps a block with after, retry, expire, dead_on, keep")
	}
	_, err := option.Block(p.Dispenser, name, p.h.Inbox.option)
	return err
}

func (i *Inbox) option(word string, args []string) (err error) {
	switch word {
	case "retry":
		for _, arg := range args {
			d, err := option.Duration(arg)
			if err != nil {
				return fmt.Errorf("retry: %w", err)
			}
			i.Retry = append(i.Retry, *d)
		}
		if len(args) == 0 {
			return errors.New("retry: write the pauses between attempts, such as 5s 30s 2m 10m; the last repeats")
		}
		return nil
	case "dead_on":
		for _, arg := range args {
			status, err := strconv.Atoi(arg)
			if err != nil || status < 300 || status > 599 {
				return errors.New("dead_on: write statuses from 300 to 599, such as 410")
			}
			i.DeadOn = append(i.DeadOn, status)
		}
		if len(args) == 0 {
			return errors.New("dead_on: write at least one status, such as 410")
		}
		return nil
	case "after", "expire", "keep":
	default:
		return option.Unknown(word, "after", "retry", "expire", "dead_on", "keep")
	}
	if len(args) != 1 {
		return fmt.Errorf("%s: write one duration, such as 4s; an unset {$VARIABLE} vanishes", word)
	}
	switch word {
	case "after":
		i.After, err = option.Duration(args[0])
	case "expire":
		i.Expire, err = option.Duration(args[0])
	case "keep":
		var d time.Duration
		if d, err = caddy.ParseDuration(args[0]); err != nil || d < 0 {
			return errors.New("keep: write a duration, such as 24h, or 0s for none")
		}
		i.Keep = new(caddy.Duration(d))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	return nil
}
