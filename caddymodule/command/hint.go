package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// hint returns the cause of a rejection, "" if none is found.
func (s *subject) hint(ctx context.Context, r *rawhttp.Request, at time.Time) string {
	configured := ""
	if s.Provider != nil {
		configured = s.Provider.ID
	}
	e, err := verifier.Explain(ctx, verifier.Case{
		Scheme: s.Scheme, Keys: s.Keys, Request: requestOf(r), Body: r.Body, Now: at, Others: providers.OthersFor(r.Header, configured),
	})
	if err != nil {
		return ""
	}
	return e.Hint
}

// explain returns the hint. If the time alone is wrong, or hides what else is, it
// says so: whoever looks at a delivery of yesterday asks whether it was genuine
// then. saved says that the request was saved, not received just now.
func (s *subject) explain(ctx context.Context, r *rawhttp.Request, now time.Time, rejection *verifier.Rejection, saved bool) string {
	if rejection.Reason != verifier.StaleTimestamp && rejection.Reason != verifier.FutureTimestamp {
		return s.hint(ctx, r, now)
	}
	then, skew := now.Add(-rejection.Skew), age(rejection.Skew)
	at := then.UTC().Format(time.RFC3339)
	_, err := s.verifier.Judge(requestOf(r), r.Body, then)
	other, _ := errors.AsType[*verifier.Rejection](err)
	switch {
	case err == nil && saved:
		return fmt.Sprintf("all else is right, but it is %s: to judge it at its own time, add --now %s", skew, at)
	case err == nil:
		return fmt.Sprintf("all else is right, but it is %s: a retry that keeps its first timestamp, a replay, or a clock that is off here or there; a sender that needs longer gets it with tolerance", skew)
	case other == nil:
		return ""
	case other.Reason == rejection.Reason: // a skew too large to undo
		return s.hint(ctx, r, now)
	}
	text := fmt.Sprintf("it is %s, and on time (--now %s) it would be refused for %s: %s", skew, at, other.Reason, other.Detail)
	if more := s.hint(ctx, r, then); more != "" {
		text += "; " + more
	}
	return text
}

// age says how old or early a delivery is, in days if there are any.
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

// unexplained says what to check if no usual mistake explains a mismatch.
func unexplained(reason string) string {
	if reason != string(verifier.SignatureMismatch) {
		return ""
	}
	return "none of the usual mistakes explains it: most often the secret is that of another endpoint, or of test instead of live"
}

// remedies say what to check first if there is no hint. Other causes are in
// docs/troubleshooting.md, under the reason.
var remedies = map[verifier.Reason]string{
	verifier.MissingSignature:   "set the secret at the sender, and see that no proxy in front drops the header; the other headers may name another sender",
	verifier.MalformedSignature: "compare the detail with the signature's header: its prefix, its encoding, its number of lines; or it is another sender's",
	verifier.MissingTimestamp:   "see that the sender sends its time with this kind of delivery, and that no proxy in front drops it",
	verifier.MalformedTimestamp: "compare the time with the scheme's unit: seconds, milliseconds, a date",
	verifier.StaleTimestamp:     "a retry that keeps its first time needs a longer tolerance; if every delivery is so, set the clocks by NTP",
	verifier.FutureTimestamp:    "set the clocks of this machine and of the sender by NTP",
	verifier.MissingHeader:      "compare require_header with what the sender sends, and see that no proxy in front drops it",
	verifier.HeaderMismatch:     "compare require_header with what the sender sends",
	verifier.HandshakeMismatch:  "compare the provider's param with what is set at the sender",
}

// firstRemedy says what to check if nothing explains a rejection.
func firstRemedy(reason string) string {
	text := cmp.Or(unexplained(reason), remedies[verifier.Reason(reason)], "no usual mistake explains it")
	return text + " (docs/troubleshooting.md#" + reason + ")"
}
