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

// hint returns the cause of a rejection, or "" if it finds none.
func (s *subject) hint(ctx context.Context, r *rawhttp.Request, at time.Time) string {
	e, err := s.explanation(ctx, r, at, false)
	if err != nil {
		return ""
	}
	return e.Hint
}

// explanation explains a request, with its signed contents if they are asked for.
func (s *subject) explanation(ctx context.Context, r *rawhttp.Request, at time.Time, contents bool) (verifier.Explanation, error) {
	configured := ""
	if s.Provider != nil {
		configured = s.Provider.ID
	}
	return verifier.Explain(ctx, verifier.Case{
		Scheme: s.Scheme, Keys: s.Keys, Request: requestOf(r), Body: r.Body, Now: at, Others: providers.OthersFor(r.Header, configured), Contents: contents,
	})
}

// explain returns the hint. It says whether only the timestamp is wrong or hides
// another error: for yesterday's delivery the question is whether it was genuine
// then. saved marks a request read from a file, not one just received.
func (s *subject) explain(ctx context.Context, r *rawhttp.Request, now time.Time, rejection *verifier.Rejection, saved bool) string {
	if rejection.Reason != verifier.StaleTimestamp && rejection.Reason != verifier.FutureTimestamp {
		return s.hint(ctx, r, now)
	}
	then, skew := now.Add(-rejection.Skew), age(rejection.Skew)
	if year := then.UTC().Year(); year <= 2000 || year >= 2200 { // in another unit
		return s.hint(ctx, r, now)
	}
	at := then.UTC().Format(time.RFC3339)
	_, err := s.verifier.Judge(requestOf(r), r.Body, then)
	other, _ := errors.AsType[*verifier.Rejection](err)
	switch {
	case err == nil && saved:
		return fmt.Sprintf("everything else is valid, but it is %s: to verify it at its own time, add --now %s", skew, at)
	case err == nil:
		return fmt.Sprintf("everything else is valid, but it is %s: a retry that keeps its first timestamp, a replay, or a wrong clock here or at the sender; raise tolerance for a sender that needs longer", skew)
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

// age formats how old or early a delivery is, in days from one day on.
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

// unexplained says what to check when no common mistake explains a mismatch.
func unexplained(reason string) string {
	if reason != string(verifier.SignatureMismatch) {
		return ""
	}
	return "no common mistake explains it: most likely the secret belongs to another endpoint, or to test mode instead of live; or the body was parsed and written again in a way that cannot be undone (keys in another order, numbers in another form)"
}

// remedies say what to check first when there is no hint. docs/troubleshooting.md
// lists other causes under each reason.
var remedies = map[verifier.Reason]string{
	verifier.MissingSignature:   "set the secret at the sender, and check that no proxy in front drops the header; the other headers may name another sender",
	verifier.MalformedSignature: "compare the detail with the request: the signature header's prefix, encoding and number of lines, or the Content-Type; it may be another sender's",
	verifier.MissingTimestamp:   "check that the sender sends a timestamp with this kind of delivery, and that no proxy in front drops it",
	verifier.MalformedTimestamp: "compare the timestamp with the scheme's unit: seconds, milliseconds, a date",
	verifier.StaleTimestamp:     "a retry that keeps its first timestamp needs a longer tolerance; if every delivery is stale, synchronize the clocks with NTP",
	verifier.FutureTimestamp:    "synchronize the clocks of this machine and of the sender with NTP",
	verifier.MissingHeader:      "compare require_header with the sender's headers, and check that no proxy in front drops it",
	verifier.HeaderMismatch:     "compare require_header with the sender's headers",
	verifier.UnknownTenant:      "add the tenant's key to the source, or correct the address or header that names the tenant",
	verifier.HandshakeMismatch:  "compare the provider's param with the value set at the sender",
}

// firstRemedy says what to check when nothing explains a rejection.
func firstRemedy(reason string) string {
	text := cmp.Or(unexplained(reason), remedies[verifier.Reason(reason)], "no common mistake explains it")
	return text + " (docs/troubleshooting.md#" + reason + ")"
}
