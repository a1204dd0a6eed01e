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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// sendCommand is "caddy webhook send".
func sendCommand() *cobra.Command {
	c := new(sendRun)
	cmd := &cobra.Command{
		Use:   "send SCHEME --secret <value> --to <URL>",
		Short: "Delivers as a sender would, to try out a deployment",
		Long: `
Signs a delivery as "caddy webhook sign" does, posts it to --to, and says what
the answer means. Without --body-file it is a small JSON body with a random id.

--times 2 sends it again as a retry, same id and body under a new signature: the
app must not see it twice. --tamper and --age send what must be refused: an
altered body, an altered signature, another secret, an old timestamp.

Exit status: 0 the answers are as they should be: 2xx, or a refusal where one is
due; 1 they are not; 2 nobody answers, or something cannot be read.
` + schemeHelp,
		Example: `  caddy webhook send stripe --secret '{env.STRIPE_SECRET}' --to https://hooks.example.com/hooks/stripe
  caddy webhook send stripe --secret '{env.STRIPE_SECRET}' --to https://hooks.example.com/hooks/stripe --times 2
  caddy webhook send stripe --secret '{env.STRIPE_SECRET}' --to https://hooks.example.com/hooks/stripe --tamper body
  caddy webhook send --config Caddyfile --name billing --to http://localhost:8080/hooks/billing --age 10m`,
		RunE: c.run,
	}
	c.scheme.register(cmd, true)
	flags := cmd.Flags()
	flags.StringVar(&c.request.url, "to", "", "The `URL` to deliver to")
	flags.StringArrayVarP(&c.request.headers, "header", "H", nil, "A further `header`, 'Name: value'; repeatable")
	flags.StringVar(&c.request.bodyFile, "body-file", "", "The `file` of the body, byte for byte; - for standard input (default: a small JSON body)")
	flags.StringVar(&c.request.method, "method", "", "The request's `method` (default: the sender's, mostly POST)")
	flags.StringVar(&c.id, "id", "", "The delivery's `id` (default: a random one)")
	flags.IntVar(&c.times, "times", 1, "How often to send it")
	flags.DurationVar(&c.age, "age", 0, "How old its timestamp is, such as 10m")
	flags.StringVar(&c.tamper, "tamper", "", "What to spoil: body, signature or secret")
	_ = cmd.RegisterFlagCompletionFunc("tamper", cobra.FixedCompletions([]string{"body", "signature", "secret"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"to", "header", "method", "id", "times", "age"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

type sendRun struct {
	scheme     schemeFlags
	request    requestFlags // its url is --to
	id, tamper string
	times      int
	age        time.Duration
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
	var result error
	for n := range c.times {
		r, err := d.attempt(time.Now().Add(-c.age))
		if err != nil {
			return err
		}
		began := time.Now()
		answer, err := deliver(ctx, c.request.url, r)
		if err != nil {
			return fmt.Errorf("%s does not answer: %w: %s", c.request.url, err, whyNoAnswer(err))
		}
		good, meaning := c.meaning(s, answer)
		if !good {
			result = negative("")
		}
		status := strings.TrimSpace(strconv.Itoa(answer.StatusCode) + " " + http.StatusText(answer.StatusCode))
		fmt.Fprintf(cmd.OutOrStdout(), "%d: %s in %s: %s\n", n+1, status, time.Since(began).Round(time.Millisecond), meaning)
		for _, name := range []string{"Webhook-Delivery", "Webhook-Duplicate", "Retry-After", "Allow", "Location"} {
			if value := answer.Header.Get(name); value != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "   %s: %s\n", name, printable(value))
			}
		}
	}
	return result
}

// check refuses a combination of flags that would show nothing.
func (c *sendRun) check(s *subject, args []string) error {
	ts := s.Scheme.Timestamp
	dated := ts != nil && !ts.Off
	switch {
	case len(args) > 0:
		return errors.New("the body's file is given with --body-file")
	case c.request.url == "":
		return errors.New("no address: add --to https://hooks.example.com/hooks/stripe")
	case !strings.HasPrefix(c.request.url, "https://") && !strings.HasPrefix(c.request.url, "http://"):
		return errors.New("--to: write the whole URL, with https:// or http://, such as https://hooks.example.com/hooks/stripe")
	case c.times < 1:
		return errors.New("--times: write 1 or more")
	case c.tamper != "" && !slices.Contains([]string{"body", "signature", "secret"}, c.tamper):
		return fmt.Errorf("--tamper %s: write body, signature or secret", c.tamper)
	case c.tamper == "body" && (s.Scheme.BodyUnsigned || s.Scheme.Algorithm == verifier.Token):
		return errors.New("--tamper body: this sender's signature does not cover the body, so nobody can tell: try --tamper signature")
	case c.tamper == "secret" && c.scheme.privateKey != "":
		return errors.New("--tamper secret: there is none, this sender signs with a private key: try --tamper signature")
	case c.age != 0 && !dated:
		return errors.New("--age: this sender's deliveries have no timestamp that is checked, so their age shows nothing")
	case c.age != 0 && (ts.JSON != "" || ts.Form != "") && c.request.bodyFile != "":
		return errors.New("--age: this sender's timestamp stands in the body: write it there, or leave out --body-file")
	}
	return nil
}

// poster delivers as senders do: it follows no redirect. It waits longer than a
// gateway waits for its app (60s).
var poster = &http.Client{
	Timeout:       90 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// deliver posts one request, and drops the answer's body.
func deliver(ctx context.Context, to string, r *rawhttp.Request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, to, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	req.Host = r.Host
	req.Header = r.Header
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "caddy-verify-webhook")
	}
	answer, err := poster.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection serves the next attempt
	return answer, nil
}

// meaning says whether an answer is as it should be, and what it means.
func (c *sendRun) meaning(s *subject, answer *http.Response) (good bool, text string) {
	code := answer.StatusCode
	taken := code >= 200 && code < 300
	if !c.refusalDue(s) {
		return taken, says(s, answer)
	}
	if taken {
		return false, "ACCEPTED, and should have been refused: " + c.spoilt() + " passed. Is verify_webhook on this path, without observe?"
	}
	if refuses(s, code) {
		return true, "refused, as it should be"
	}
	return false, says(s, answer)
}

// refuses reports whether a status can be the answer to a forgery. A wrong path,
// or an app that is down, says nothing of what was spoilt.
func refuses(s *subject, code int) bool {
	switch code {
	case s.RejectStatus, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	_, other := statusWords[code]
	return code >= 400 && code < 500 && !other
}

// whyNoAnswer says what to check.
func whyNoAnswer(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "it speaks no TLS: write http://, or is it another port?"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "a sender would not deliver there either; for a certificate of Caddy's own, on this machine: caddy trust"
	}
	return "is the address right, and does a server listen there?"
}

// refusalDue reports whether the gateway must refuse what is sent.
func (c *sendRun) refusalDue(s *subject) bool {
	tolerance := verifier.DefaultTolerance
	if t := s.Scheme.Tolerance; t != nil {
		tolerance = time.Duration(*t)
	}
	return c.tamper != "" || c.age.Abs() > tolerance
}

func (c *sendRun) spoilt() string {
	switch c.tamper {
	case "body":
		return "an altered body"
	case "signature":
		return "an altered signature"
	case "secret":
		return "a signature by another secret"
	}
	return "a timestamp " + c.age.String() + " old"
}

// says returns what an answer means, leaving aside what was spoilt.
func says(s *subject, answer *http.Response) string {
	code := answer.StatusCode
	switch {
	case code >= 200 && code < 300 && answer.Header.Get("Webhook-Duplicate") == "true":
		return "duplicate: the app had taken it"
	case code >= 200 && code < 300 && answer.Header.Get("Webhook-Delivery") != "":
		return "accepted: the app took it"
	case code >= 200 && code < 300:
		return "2xx without a Webhook-Delivery header: no verify_webhook is on this host and path (Caddy answers an empty 200 where no route matches), or copies are not told apart here"
	case code >= 300 && code < 400:
		return "a redirect, which senders do not follow: deliver to the address that it names"
	case code == s.RejectStatus:
		return "refused as not genuine: its log has the reason, caddy webhook rejections the hint"
	}
	if text, ok := statusWords[code]; ok {
		return text
	}
	if code < 500 {
		return "refused"
	}
	return "the app, or what stands before it, failed: the sender would try again"
}

// statusWords says what the gateway means by its other answers.
var statusWords = map[int]string{
	http.StatusBadRequest:            "the body did not arrive whole, the app refuses it, or http:// is written for https://",
	http.StatusUnauthorized:          "refused as not genuine: its log has the reason, caddy webhook rejections the hint",
	http.StatusForbidden:             "refused, perhaps by something other than verify_webhook",
	http.StatusNotFound:              "no such path: is it that of a sender in verify_webhooks, or does the matcher of verify_webhook match it?",
	http.StatusMethodNotAllowed:      "the method is not the sender's: see Allow",
	http.StatusRequestTimeout:        "the body did not arrive in time",
	http.StatusRequestEntityTooLarge: "the body is larger than max_body",
	http.StatusBadGateway:            "genuine for all one can see, but the app behind does not answer",
	http.StatusServiceUnavailable:    "not now: a copy is in flight, the gateway is full, or a key or store is missing; see its log",
	http.StatusGatewayTimeout:        "the app took longer than upstream_timeout",
}
