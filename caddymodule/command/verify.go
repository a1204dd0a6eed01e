package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// verifyCommand is "caddy webhook verify".
func verifyCommand() *cobra.Command {
	c := new(verifyRun)
	cmd := &cobra.Command{
		Use:   "verify SCHEME [<file>|-] --secret <value>...",
		Short: "Verifies a saved delivery and explains a failure",
		Long: `
Reads one request and verifies it as the gateway does. The request is a file as
written by "caddy webhook listen --save" and other tools (POST /path HTTP/1.1,
headers, an empty line, the body byte for byte), a HAR (--entry chooses one), a
command line of curl, JSON as "caddy webhook sign" prints it (method, url,
headers, body or body_base64), standard input (-), or separate headers and body
(-H, --body-file). The latter also override those of a file. No file that a
command of curl names is opened: pass its body with --body-file.

Prints one line if it is genuine. If not: the reason, and a hint when a common
mistake explains it (a wrong encoding of the secret, a body that was parsed and
re-encoded, a different URL, …). Exit status: 0 genuine, 1 not genuine, 2 an
input cannot be read. Needs no network, and never prints a secret.

Old deliveries are stale: verify them at their own time, with --now and RFC
3339 or unix seconds, or with --now file at that of the HAR or the file. Some
schemes sign the URL, --url: a bare path is taken for https.
` + schemeHelp,
		Example: `  caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}'
  caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}' \
    --now 2026-11-21T12:00:00Z
  caddy webhook verify github recorded.har --entry 3 \
    --secret '{file./run/secrets/github}'
  caddy webhook verify github --secret '{env.GITHUB_SECRET}' \
    -H 'X-Hub-Signature-256: sha256=…' --body-file body.json
  caddy webhook verify --config Caddyfile --name billing delivery.http`,
		RunE: c.run,
	}
	c.scheme.register(cmd, false)
	c.request.register(cmd)
	cmd.Flags().IntVar(&c.entry, "entry", 0, "The request of a HAR, by its `number` from 1")
	cmd.Flags().StringVar(&c.now, "now", "", "The `time` of arrival, or file (default: now)")
	cmd.Flags().BoolVar(&c.json, "json", false, "Print a JSON object")
	_ = cmd.RegisterFlagCompletionFunc("now", cobra.FixedCompletions([]string{"file"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type verifyRun struct {
	scheme  schemeFlags
	request requestFlags
	entry   int
	now     string
	json    bool
}

func (c *verifyRun) run(cmd *cobra.Command, args []string) error {
	s, args, err := c.scheme.resolve(args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return fmt.Errorf("one request at a time, not %d", len(args))
	}
	r, err := c.read(s, cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	now, err := c.time(r)
	if err != nil {
		return err
	}
	j, err := s.verifier.Judge(requestOf(r), r.Body, now)
	rejection, refused := errors.AsType[*verifier.Rejection](err)
	if err != nil && !refused {
		return err
	}
	result := newResult(j, rejection)
	if c.scheme.config != "" {
		result.Name = s.Name
	}
	if refused {
		result.Hint = s.explain(cmd.Context(), r, now, rejection, true)
	}
	limits := s.Limits(r.Method, r.Target, int64(len(r.Body)))
	if !refused {
		limits = append(limits, caddymodule.QueryLimits(r.Target, s.verifier, j)...)
	}
	for _, refusal := range limits {
		result.Notes = append(result.Notes, refusal.Error())
	}
	if c.json {
		err = writeJSON(cmd.OutOrStdout(), result, "")
	} else {
		_, err = io.WriteString(cmd.OutOrStdout(), result.text(prose(cmd.OutOrStdout())))
	}
	if err == nil && refused {
		err = negative("")
	}
	return err
}

// read assembles the request from file and flags.
func (c *verifyRun) read(s *subject, stdin io.Reader, args []string) (*rawhttp.Request, error) {
	r := s.newRequest()
	switch {
	case len(args) == 1:
		data, at, err := readInput(stdin, args[0])
		if err != nil {
			return nil, err
		}
		if r, err = rawhttp.Parse(data, c.entry, c.request.bodyFile != ""); err != nil {
			return nil, fmt.Errorf("%s: %w", args[0], err)
		}
		if r.Time.IsZero() {
			r.Time = at
		}
	case c.entry != 0:
		return nil, errors.New("--entry requires a HAR: name the file")
	case len(c.request.headers) == 0 && c.request.bodyFile == "":
		return nil, errors.New("no request: name its file, - for standard input, or pass headers and body with -H and --body-file")
	}
	return r, c.request.apply(r, stdin)
}

// time parses --now.
func (c *verifyRun) time(r *rawhttp.Request) (time.Time, error) {
	if c.now != "file" {
		return parseNow(c.now)
	}
	if r.Time.IsZero() {
		return time.Time{}, errors.New("--now file: standard input has no time: write one, such as 2026-11-21T12:00:00Z")
	}
	return r.Time, nil
}

// A result is the output of verify.
type result struct {
	Genuine    bool     `json:"genuine"`
	Name       string   `json:"name,omitempty"`      // name of the configured handler
	Handshake  int      `json:"handshake,omitempty"` // status of the answer
	Key        string   `json:"key,omitempty"`
	Timestamp  string   `json:"timestamp,omitempty"`
	DeliveryID string   `json:"delivery_id,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	Hint       string   `json:"hint,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

func newResult(j verifier.Judgement, rejection *verifier.Rejection) *result {
	r := &result{Genuine: rejection == nil, Key: j.Verdict.Key, DeliveryID: j.ID}
	if t := j.Verdict.Timestamp; !t.IsZero() {
		r.Timestamp = t.UTC().Format(time.RFC3339Nano)
	}
	if j.Answer != nil {
		r.Handshake = j.Answer.Status
	}
	if rejection != nil {
		r.Reason, r.Detail = string(rejection.Reason), rejection.Detail
	}
	return r
}

// text is what a person reads; on a terminal it is wrapped.
func (r *result) text(wrapped func(text, rest string) string) string {
	var text strings.Builder
	say := func(format string, args ...any) { text.WriteString(wrapped(fmt.Sprintf(format, args...), "  ")) }
	switch {
	case r.Handshake != 0:
		say("handshake: the gateway answers it itself, with %d", r.Handshake)
	case r.Genuine:
		text.WriteString("genuine: key " + printable(r.Key))
		if r.Timestamp != "" {
			text.WriteString(", timestamp " + r.Timestamp)
		}
		if r.DeliveryID != "" {
			text.WriteString(", delivery id " + printable(r.DeliveryID))
		}
		text.WriteString("\n")
	default:
		say("not genuine: %s: %s", r.Reason, printable(r.Detail))
	}
	if hint := cmp.Or(r.Hint, unexplained(r.Reason)); hint != "" {
		say("hint: %s", printable(hint))
	}
	for _, note := range r.Notes {
		say("note: the gateway still refuses it: %s", note)
	}
	return text.String()
}
