package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A judgement is what the gateway would make of a request, its limits aside.
type judgement struct {
	verdict   verifier.Verdict
	id        string
	answer    *verifier.Answer // of a handshake
	rejection *verifier.Rejection
}

// judge takes a request the way of ServeHTTP.
func (s *subject) judge(req *verifier.Request, body []byte, now time.Time) (j judgement, err error) {
	j, err = s.steps(req, body, now)
	if rejection, ok := errors.AsType[*verifier.Rejection](err); ok {
		return judgement{rejection: rejection}, nil
	}
	return j, err
}

func (s *subject) steps(req *verifier.Request, body []byte, now time.Time) (j judgement, err error) {
	v := s.verifier
	if err := v.Required(req.Header); err != nil {
		return j, err
	}
	if j.answer, err = v.Handshake(req); err != nil || j.answer != nil {
		return j, err
	}
	check, err := v.Open(req, now)
	if err == nil {
		j.verdict, err = check.Verify(body)
	}
	if v.MayGreet(req, err) {
		if answer, greeting := v.HandshakeBody(req, body, err); answer != nil || greeting != nil {
			return judgement{answer: answer}, greeting
		}
	}
	if err != nil {
		return j, err
	}
	if j.answer, err = check.Handshake(body); err != nil {
		return j, err
	}
	j.id, _ = check.DeliveryID(body)
	return j, nil
}

// hint asks for the cause of a rejection, "" where none is found.
func (s *subject) hint(ctx context.Context, req *verifier.Request, body []byte, now time.Time) string {
	configured := ""
	if s.Provider != nil {
		configured = s.Provider.ID
	}
	others := providers.OthersFor(req.Header, configured)
	e, err := verifier.Explain(ctx, verifier.Case{Scheme: s.Scheme, Keys: s.Keys, Request: req, Body: body, Now: now, Others: others})
	if err != nil {
		return ""
	}
	return e.Hint
}

// circumstances is how a command comes by a request.
type circumstances bool

const (
	live   circumstances = true  // it has just arrived
	retold circumstances = false // it was saved
)

// explain returns the hint. Where the time alone is wrong, or hides what else
// is, it says so: whoever looks at a delivery of yesterday wants to know whether
// it was genuine then.
func (s *subject) explain(ctx context.Context, req *verifier.Request, body []byte, now time.Time, r *verifier.Rejection, c circumstances) string {
	if r.Reason != verifier.StaleTimestamp && r.Reason != verifier.FutureTimestamp {
		return s.hint(ctx, req, body, now)
	}
	then := now.Add(-r.Skew)
	at := then.UTC().Format(time.RFC3339)
	j, err := s.judge(req, body, then)
	switch {
	case err != nil:
		return ""
	case j.rejection == nil && c == live:
		return fmt.Sprintf("all else is right, but it is %s: a retry that keeps its first timestamp, a replay, or a clock that is off here or there; a sender that needs longer gets it with tolerance", age(r.Skew))
	case j.rejection == nil:
		return fmt.Sprintf("all else is right, but it is %s: to judge it at its own time, add --now %s", age(r.Skew), at)
	case j.rejection.Reason == r.Reason: // a skew too large to undo
		return s.hint(ctx, req, body, now)
	}
	text := fmt.Sprintf("it is %s, and on time (--now %s) it would be refused for %s: %s", age(r.Skew), at, j.rejection.Reason, j.rejection.Detail)
	if more := s.hint(ctx, req, body, then); more != "" {
		text += "; " + more
	}
	return text
}

// age says how old or early something is, in days where there are any.
func age(skew time.Duration) string {
	word := "old"
	if skew < 0 {
		word, skew = "ahead of now", -max(skew, -1<<62)
	}
	text := skew.Round(time.Second).String()
	if hours := int(skew.Round(time.Hour).Hours()); hours >= 24 {
		text = fmt.Sprintf("%dd", hours/24)
		if rest := hours % 24; rest > 0 {
			text += fmt.Sprintf("%dh", rest)
		}
	}
	return text + " " + word
}
