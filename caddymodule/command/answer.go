package command

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A judge decides which answers to the copies of one delivery are as expected.
type judge struct {
	*sendRun
	*subject
	n        int  // answers so far
	accepted bool // the app or the inbox has accepted a copy
	before   bool // accepted, before the copies that are in flight now
}

// A finding is an answer and what it means: a line of send --json.
type finding struct {
	Copy      int     `json:"copy"` // from 1, as the answers arrive
	Expected  bool    `json:"expected"`
	Outcome   outcome `json:"outcome"`
	Meaning   string  `json:"meaning"`
	Status    int     `json:"status"`
	Seconds   float64 `json:"seconds"`
	Delivery  string  `json:"delivery,omitempty"`
	Duplicate bool    `json:"duplicate,omitempty"`
	Stored    bool    `json:"stored,omitempty"`
	Body      string  `json:"body,omitempty"` // at most maxAnswer bytes

	answer *answer
}

// An outcome is what became of a copy, as far as the answer shows.
type outcome string

const (
	delivered outcome = "delivered" // the app answered 2xx
	failed    outcome = "failed"    // verified, but not accepted by the app
	stored    outcome = "stored"    // in the inbox
	duplicate outcome = "duplicate" // the app or the inbox had it
	rejected  outcome = "rejected"  // not genuine
	unknown   outcome = "unknown"   // nothing shows that a gateway answered
)

// judge decides about the next answer.
func (j *judge) judge(a *answer) *finding {
	j.n++
	f := &finding{
		Copy: j.n, Status: a.status, Seconds: a.took.Seconds(), Delivery: a.header.Get("Webhook-Delivery"),
		Duplicate: a.header.Get("Webhook-Duplicate") == "true", Stored: a.header.Get("Webhook-Stored") == "true",
		Body: j.verifier.Redact(string(a.body)), answer: a,
	}
	f.Outcome, f.Meaning = j.says(f)
	switch {
	case j.refusalDue():
		f.Expected, f.Meaning = j.ofForgery(f)
	case f.Outcome == unknown:
		f.Expected = j.unmarked && f.took2xx()
	case f.Outcome == rejected, f.Outcome == duplicate:
		f.Expected = f.took2xx() && f.Outcome == duplicate
	case j.accepted && f.took2xx(), j.before && f.Status != http.StatusServiceUnavailable: // 503: perhaps the gateway's own
		f.Meaning = "A COPY WENT TO THE APP, which accepted this delivery before: " + f.Meaning + "; copies are not recognised here (dedupe off, another store, or nothing that identifies this sender's deliveries)"
	default:
		f.Expected = f.took2xx()
		j.accepted = j.accepted || f.Expected
	}
	return f
}

// verified reports whether the gateway let the delivery through. If nothing identifies
// the sender's deliveries, the answer names the handler and not the delivery.
func (f *finding) verified() bool {
	return f.Delivery != "" || f.answer.header.Get("Webhook-Verified") != ""
}

func (f *finding) took2xx() bool { return f.Status >= 200 && f.Status < 300 }

// says explains an answer, first by what only the gateway sets. The rest is what any
// server can answer.
func (j *judge) says(f *finding) (outcome, string) {
	switch {
	case f.Duplicate && f.Stored:
		return duplicate, "duplicate: already in the inbox"
	case f.Duplicate:
		return duplicate, "duplicate: already accepted by the app"
	case f.Stored:
		return stored, "stored in the inbox, for the app"
	case f.verified() && f.took2xx():
		return delivered, "accepted by the app"
	case f.verified():
		return failed, afterVerification(f.Status)
	case challenged(f.answer.header) && f.took2xx():
		return rejected, "refused as not genuine, but with a 2xx (handle_errors?): its sender never sends it again"
	case challenged(f.answer.header):
		return rejected, "refused as not genuine: the log has the reason, caddy webhook rejections a hint"
	case f.took2xx() && j.unmarked:
		return unknown, "2xx; whose answer it is, nothing shows (--unmarked)"
	case f.took2xx():
		return unknown, "NOT FROM A GATEWAY, which would set Webhook-Delivery or Webhook-Verified: no verify_webhook on this host and path (Caddy answers an empty 200 where no route matches), or a proxy removes its headers (--unmarked)"
	case f.Status >= 300 && f.Status < 400:
		return unknown, "a redirect, which senders do not follow: deliver to its Location instead"
	}
	if text, ok := statusWords[f.Status]; ok {
		return unknown, text
	}
	if f.Status < 500 {
		return unknown, "refused, not as verify_webhook refuses: by the app, or by something in front of it"
	}
	return unknown, "the server failed: the sender would retry"
}

// challenged reports whether the gateway refused a delivery as not genuine.
func challenged(header http.Header) bool {
	return slices.Contains(header.Values("WWW-Authenticate"), "Webhook")
}

// afterVerification explains an answer other than 2xx to a verified delivery.
func afterVerification(status int) string {
	switch {
	case status == http.StatusBadGateway:
		return "the gateway verified it, and the app did not respond"
	case status == http.StatusServiceUnavailable:
		return "the gateway verified it, but not now: a copy is in flight, the store is unavailable, or it is the app's answer"
	case status == http.StatusGatewayTimeout:
		return "the gateway verified it, and the app took longer than upstream_timeout"
	case status >= 300 && status < 400:
		return "the gateway verified it, and the app answered with a redirect, which senders do not follow"
	}
	return fmt.Sprintf("the gateway verified it, and the app answered %d", status)
}

// statusWords explains answers that name no delivery: of the gateway before it
// verifies, or of anything else.
var statusWords = map[int]string{
	http.StatusBadRequest:            "the path is unclean, the body was incomplete, or https:// is required instead of http://",
	http.StatusUnauthorized:          "refused, not as verify_webhook refuses: by the app, or by something in front of it",
	http.StatusNotFound:              "no such path: check the senders in verify_webhooks, or the matcher of verify_webhook",
	http.StatusMethodNotAllowed:      "the sender does not use this method: see Allow",
	http.StatusRequestTimeout:        "the body did not arrive in time",
	http.StatusRequestEntityTooLarge: "the body is larger than max_body, or than a proxy in front allows",
	http.StatusBadGateway:            "the app did not respond, and nothing shows that the delivery was verified",
	http.StatusServiceUnavailable:    "not now: the gateway is full, or has no key yet; see its log",
	http.StatusGatewayTimeout:        "a proxy in front waited too long",
}

// refusalDue reports whether the gateway must refuse the delivery.
func (j *judge) refusalDue() bool {
	tolerance := verifier.DefaultTolerance
	if t := j.Scheme.Tolerance; t != nil {
		tolerance = time.Duration(*t)
	}
	return j.tamper != "" || j.aged.Abs() > tolerance
}

// ofForgery judges an answer to a delivery that must be refused. A wrong path or an
// app that is down proves nothing.
func (j *judge) ofForgery(f *finding) (good bool, text string) {
	switch {
	case f.Outcome == rejected && !f.took2xx():
		return true, "refused by the gateway, as expected"
	case f.Outcome == rejected:
		return false, f.Meaning
	case f.took2xx():
		return false, "ACCEPTED, but should have been refused: " + j.spoilt() + " passed. Is verify_webhook on this path, without observe?"
	case f.Outcome == failed:
		return false, "VERIFIED, but should have been refused: " + j.spoilt() + " passed, and the app did not accept it"
	case !j.refuses(f.Status):
		return false, f.Meaning
	case j.unmarked:
		return true, "refused, as expected"
	}
	return false, "REFUSED, BUT NOT BY THE GATEWAY: " + j.spoilt() + " went on to whatever answers here. Is verify_webhook on this path, without observe? (--unmarked: a proxy removes its headers)"
}

// refuses reports whether a status can be the answer to a forgery.
func (j *judge) refuses(status int) bool {
	if status == j.RejectStatus || status == http.StatusUnauthorized {
		return true
	}
	_, other := statusWords[status]
	return status >= 400 && status < 500 && !other
}

func (j *judge) spoilt() string {
	switch j.tamper {
	case "body":
		return "an altered body"
	case "signature":
		return "an altered signature"
	case "secret":
		return "a signature with another secret"
	}
	return "a timestamp " + j.age + " old"
}

// print prints a finding.
func (c *sendRun) print(w io.Writer, f *finding) error {
	if c.json {
		return writeJSON(w, f, "")
	}
	var text strings.Builder
	status := strings.TrimSpace(fmt.Sprint(f.Status, " ", http.StatusText(f.Status)))
	text.WriteString(prose(w)(fmt.Sprintf("%d: %s in %s: %s", f.Copy, status, f.answer.took.Round(time.Millisecond), f.Meaning), "   "))
	for _, name := range []string{"Webhook-Delivery", "Webhook-Verified", "Webhook-Duplicate", "Webhook-Stored", "Retry-After", "Allow", "Location"} {
		if value := f.answer.header.Get(name); value != "" {
			fmt.Fprintf(&text, "   %s: %s\n", name, printable(value))
		}
	}
	text.WriteString(quoted(f.Body))
	_, err := io.WriteString(w, text.String())
	return err
}

// maxQuoted limits what is printed of an answer's body, in bytes.
const maxQuoted = 2 << 10

// quoted returns an answer's body as indented lines, cut off after maxQuoted.
func quoted(body string) string {
	if !utf8.ValidString(body) {
		return fmt.Sprintf("   | (%d bytes that are not text)\n", len(body))
	}
	var text strings.Builder
	shown := body[:min(len(body), maxQuoted)]
	for line := range strings.Lines(strings.ToValidUTF8(shown, "")) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")
		text.WriteString(strings.TrimRight("   | "+plain(line), " ") + "\n")
	}
	if len(shown) < len(body) {
		text.WriteString("   | …\n")
	}
	return text.String()
}
