package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// sendCommand is "caddy webhook send".
func sendCommand() *cobra.Command {
	c := new(sendRun)
	cmd := &cobra.Command{
		Use:   "send SCHEME --secret <value> --to <URL>",
		Short: "Sends test deliveries to a deployment",
		Long: `
Signs a delivery as "caddy webhook sign" does, posts it to --to, prints the
answer and says whether it is as expected. It believes only the headers that
the gateway sets (Webhook-Delivery, Webhook-Verified, Webhook-Duplicate,
Webhook-Stored, WWW-Authenticate: Webhook): any server can answer 200 or 401.
If a proxy in front removes them, add --unmarked, and the status alone counts.

The default body is a small JSON object with a random id. --event push sends
that event: the sender's header for it and, if the catalogue has one, an
example body. --request signs a saved request again, in any form that "caddy
webhook verify" reads, and keeps its body and its id.

--times 2 sends a retry, --parallel 8 copies that are in flight at once: the
same id and body, signed again. The app must receive one. --tamper and --age
send deliveries that must be refused: an altered body, an altered signature,
another secret, an old timestamp.

Exit status: 0 every answer is as expected; 1 one is not: a delivery that the
app or the inbox did not accept or that no gateway saw, a copy or a forgery
that went to the app; 2 no answer, or an input cannot be read.
` + schemeHelp,
		Example: `  caddy webhook send stripe --secret '{env.STRIPE_SECRET}' \
    --to https://hooks.example.com/hooks/stripe --event invoice.paid
  caddy webhook send --config Caddyfile --name billing \
    --to http://localhost:8080/hooks/billing --tamper body
  caddy webhook send --config Caddyfile --name billing \
    --to http://localhost:8080/hooks/billing --parallel 8
  caddy webhook send --config Caddyfile --name billing \
    --to http://localhost:8080/hooks/billing --request delivery.http`,
		RunE: c.run,
	}
	c.scheme.register(cmd, true)
	flags := cmd.Flags()
	flags.StringVar(&c.request.url, "to", "", "The `URL` to deliver to")
	flags.StringArrayVarP(&c.request.headers, "header", "H", nil, "A `header` to add, 'Name: value'; repeatable")
	flags.StringVar(&c.request.bodyFile, "body-file", "", "The `file` of the body; - for standard input")
	flags.StringVar(&c.file, "request", "", "The `file` of a saved request to sign again, or -")
	flags.StringVar(&c.event, "event", "", "The `name` of the event, as the sender writes it")
	flags.StringVar(&c.request.method, "method", "", "The `method` (default: the sender's, usually POST)")
	flags.StringVar(&c.id, "id", "", "The delivery's `id` (default: a random one)")
	flags.IntVar(&c.times, "times", 1, "How many `times`, one after the other")
	flags.IntVar(&c.parallel, "parallel", 1, "How many `copies` at once, each time")
	flags.StringVar(&c.age, "age", "", "The `age` of its timestamp, such as 10m or 2d")
	flags.StringVar(&c.tamper, "tamper", "", "The `part` to alter: body, signature or secret")
	flags.BoolVar(&c.unmarked, "unmarked", false, "Judge by the status alone, not by headers")
	flags.BoolVar(&c.json, "json", false, "Print a JSON object a line for each answer")
	_ = cmd.RegisterFlagCompletionFunc("tamper", cobra.FixedCompletions([]string{"body", "signature", "secret"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"to", "header", "event", "method", "id", "times", "parallel", "age"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

type sendRun struct {
	scheme          schemeFlags
	request         requestFlags // url is --to
	file            string
	id, event       string
	age, tamper     string
	times, parallel int
	unmarked, json  bool

	aged time.Duration // age, parsed
}

func (c *sendRun) run(cmd *cobra.Command, args []string) error {
	s, args, err := c.scheme.resolve(args)
	if err == nil {
		err = c.check(s, args)
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	d, err := c.prepare(s, cmd.InOrStdin())
	if err != nil {
		return err
	}
	j := &judge{sendRun: c, subject: s}
	var result error
	for range c.times {
		j.before = j.accepted
		answers, err := c.round(ctx, d)
		if err != nil {
			return err
		}
		for range c.parallel {
			a := <-answers
			if a.err != nil {
				return fmt.Errorf("no answer from %s: %w: %s", c.request.url, a.err, whyNoAnswer(a.err))
			}
			f := j.judge(a)
			if !f.Expected {
				result = negative("")
			}
			if err := c.print(cmd.OutOrStdout(), f); err != nil {
				return err
			}
		}
	}
	return result
}

// round sends the copies of one time and returns their answers as they arrive.
func (c *sendRun) round(ctx context.Context, d *draft) (<-chan *answer, error) {
	var copies []*rawhttp.Request
	for range c.parallel {
		r, err := d.attempt(time.Now().Add(-c.aged))
		if err != nil {
			return nil, err
		}
		copies = append(copies, r)
	}
	answers := make(chan *answer, len(copies))
	for _, r := range copies {
		go func() { answers <- deliver(ctx, c.request.url, r) }()
	}
	return answers, nil
}

// maxParallel limits the copies in flight: more is a load test.
const maxParallel = 100

// check refuses combinations of flags that test nothing.
func (c *sendRun) check(s *subject, args []string) (err error) {
	ts := s.Scheme.Timestamp
	dated := ts != nil && !ts.Off
	if c.age != "" {
		if c.aged, err = caddy.ParseDuration(c.age); err != nil {
			return errors.New("--age: write a duration, such as 10m or 2d")
		}
	}
	given := c.request.bodyFile != "" || c.file != ""
	switch {
	case len(args) > 0 && strings.Contains(args[0], "://"):
		return errors.New("pass the address with --to")
	case len(args) > 0:
		return errors.New("pass the body's file with --body-file, or a saved request with --request")
	case c.request.url == "":
		return errors.New("no address: add --to https://hooks.example.com/hooks/stripe")
	case !strings.HasPrefix(c.request.url, "https://") && !strings.HasPrefix(c.request.url, "http://"):
		return errors.New("--to: write the whole URL, with https:// or http://, such as https://hooks.example.com/hooks/stripe")
	case c.times < 1:
		return errors.New("--times: write 1 or more")
	case c.parallel < 1 || c.parallel > maxParallel:
		return fmt.Errorf("--parallel: write 1 to %d", maxParallel)
	case c.unmarked && c.tamper == "" && c.times*c.parallel > 1:
		return errors.New("--unmarked: only the gateway's headers tell whether a copy went to the app: omit --times and --parallel")
	case c.tamper != "" && !slices.Contains([]string{"body", "signature", "secret"}, c.tamper):
		return fmt.Errorf("--tamper %s: write body, signature or secret", c.tamper)
	case c.tamper == "body" && (s.Scheme.BodyUnsigned || s.Scheme.Algorithm == verifier.Token):
		return errors.New("--tamper body: this sender's signature does not cover the body: try --tamper signature")
	case c.tamper == "secret" && c.scheme.privateKey != "":
		return errors.New("--tamper secret: this sender signs with a private key, not a secret: try --tamper signature")
	case c.aged != 0 && !dated:
		return errors.New("--age: the scheme checks no timestamp, so age has no effect")
	case c.aged != 0 && (ts.JSON != "" || ts.Form != "") && given:
		return errors.New("--age: this sender's timestamp is in the body: set it there, or omit --body-file and --request")
	}
	return nil
}

// poster delivers as senders do: it follows no redirects. Its timeout exceeds the
// gateway's for the app (60s).
var poster = &http.Client{
	Timeout:       90 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// An answer is what the deployment answered one copy.
type answer struct {
	status int
	header http.Header
	body   []byte // at most maxAnswer
	took   time.Duration
	err    error // there is none
}

// maxAnswer limits the part of an answer's body that is read, in bytes.
const maxAnswer = 64 << 10

// deliver posts one request.
func deliver(ctx context.Context, to string, r *rawhttp.Request) *answer {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, r.Method, to, bytes.NewReader(r.Body))
	if err != nil {
		return &answer{err: err}
	}
	req.Host = r.Host
	req.Header = r.Header
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "caddy-verify-webhook")
	}
	resp, err := poster.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return &answer{err: err}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))  // the status decides, cut off or not
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // so that the next attempt reuses the connection
	return &answer{status: resp.StatusCode, header: resp.Header, body: body, took: time.Since(began)}
}

// whyNoAnswer suggests what to check.
func whyNoAnswer(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS: write http://, or check the port"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "a sender would not deliver there either; to trust Caddy's local certificates on this machine: caddy trust"
	}
	return "check the address, and that a server listens there"
}
