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
		Short: "Sends test deliveries to a deployment",
		Long: `
Signs a delivery as "caddy webhook sign" does, posts it to --to, and explains the
answer. The default body is a small JSON object with a random id.

--times 2 sends a retry: the same id and body with a new signature. The app must
not receive it twice. --tamper and --age send deliveries that must be refused: an
altered body, an altered signature, another secret, an old timestamp.

Exit status: 0 every answer is as expected: 2xx, or a refusal where one is due;
1 an answer is not; 2 no answer, or an input cannot be read.
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
	flags.StringArrayVarP(&c.request.headers, "header", "H", nil, "An additional `header`, 'Name: value'; repeatable")
	flags.StringVar(&c.request.bodyFile, "body-file", "", "The `file` of the body, byte for byte; - for standard input (default: a small JSON body)")
	flags.StringVar(&c.request.method, "method", "", "The request's `method` (default: the sender's, usually POST)")
	flags.StringVar(&c.id, "id", "", "The delivery's `id` (default: a random one)")
	flags.IntVar(&c.times, "times", 1, "How many times to send it")
	flags.DurationVar(&c.age, "age", 0, "The age of its timestamp, such as 10m")
	flags.StringVar(&c.tamper, "tamper", "", "What to alter: body, signature or secret")
	_ = cmd.RegisterFlagCompletionFunc("tamper", cobra.FixedCompletions([]string{"body", "signature", "secret"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"to", "header", "method", "id", "times", "age"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

type sendRun struct {
	scheme     schemeFlags
	request    requestFlags // url is --to
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
			return fmt.Errorf("no answer from %s: %w: %s", c.request.url, err, whyNoAnswer(err))
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

// check refuses combinations of flags that test nothing.
func (c *sendRun) check(s *subject, args []string) error {
	ts := s.Scheme.Timestamp
	dated := ts != nil && !ts.Off
	switch {
	case len(args) > 0:
		return errors.New("pass the body's file with --body-file")
	case c.request.url == "":
		return errors.New("no address: add --to https://hooks.example.com/hooks/stripe")
	case !strings.HasPrefix(c.request.url, "https://") && !strings.HasPrefix(c.request.url, "http://"):
		return errors.New("--to: write the whole URL, with https:// or http://, such as https://hooks.example.com/hooks/stripe")
	case c.times < 1:
		return errors.New("--times: write 1 or more")
	case c.tamper != "" && !slices.Contains([]string{"body", "signature", "secret"}, c.tamper):
		return fmt.Errorf("--tamper %s: write body, signature or secret", c.tamper)
	case c.tamper == "body" && (s.Scheme.BodyUnsigned || s.Scheme.Algorithm == verifier.Token):
		return errors.New("--tamper body: this sender's signature does not cover the body: try --tamper signature")
	case c.tamper == "secret" && c.scheme.privateKey != "":
		return errors.New("--tamper secret: this sender signs with a private key, not a secret: try --tamper signature")
	case c.age != 0 && !dated:
		return errors.New("--age: the scheme checks no timestamp, so age has no effect")
	case c.age != 0 && (ts.JSON != "" || ts.Form != "") && c.request.bodyFile != "":
		return errors.New("--age: this sender's timestamp is in the body: set it there, or omit --body-file")
	}
	return nil
}

// poster delivers as senders do: it follows no redirects. Its timeout exceeds the
// gateway's for the app (60s).
var poster = &http.Client{
	Timeout:       90 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// deliver posts one request and discards the answer's body.
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
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the next attempt reuses the connection
	return answer, nil
}

// meaning reports whether an answer is as expected, and explains it.
func (c *sendRun) meaning(s *subject, answer *http.Response) (good bool, text string) {
	code := answer.StatusCode
	taken := code >= 200 && code < 300
	if !c.refusalDue(s) {
		return taken, says(s, answer)
	}
	if taken {
		return false, "ACCEPTED, but should have been refused: " + c.spoilt() + " passed. Is verify_webhook on this path, without observe?"
	}
	if refuses(s, code) {
		return true, "refused, as expected"
	}
	return false, says(s, answer)
}

// refuses reports whether a status can be the answer to a forgery. A wrong path or
// an app that is down proves nothing.
func refuses(s *subject, code int) bool {
	switch code {
	case s.RejectStatus, http.StatusUnauthorized, http.StatusForbidden:
		return true
	}
	_, other := statusWords[code]
	return code >= 400 && code < 500 && !other
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

// refusalDue reports whether the gateway must refuse the delivery.
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
		return "a signature with another secret"
	}
	return "a timestamp " + c.age.String() + " old"
}

// says explains an answer, regardless of tampering.
func says(s *subject, answer *http.Response) string {
	code := answer.StatusCode
	switch {
	case code >= 200 && code < 300 && answer.Header.Get("Webhook-Duplicate") == "true":
		return "duplicate: already accepted by the app"
	case code >= 200 && code < 300 && answer.Header.Get("Webhook-Delivery") != "":
		return "accepted by the app"
	case code >= 200 && code < 300:
		return "2xx without a Webhook-Delivery header: no verify_webhook on this host and path (Caddy answers an empty 200 where no route matches), or no dedupe"
	case code >= 300 && code < 400:
		return "a redirect, which senders do not follow: deliver to its Location instead"
	case code == s.RejectStatus:
		return "refused as not genuine: the log has the reason, caddy webhook rejections a hint"
	}
	if text, ok := statusWords[code]; ok {
		return text
	}
	if code < 500 {
		return "refused"
	}
	return "the app, or a proxy before it, failed: the sender would retry"
}

// statusWords explains the gateway's other answers.
var statusWords = map[int]string{
	http.StatusBadRequest:            "the body was incomplete, the app refused it, or https:// is required instead of http://",
	http.StatusUnauthorized:          "refused as not genuine: the log has the reason, caddy webhook rejections a hint",
	http.StatusForbidden:             "refused, perhaps by something other than verify_webhook",
	http.StatusNotFound:              "no such path: check the senders in verify_webhooks, or the matcher of verify_webhook",
	http.StatusMethodNotAllowed:      "the sender does not use this method: see Allow",
	http.StatusRequestTimeout:        "the body did not arrive in time",
	http.StatusRequestEntityTooLarge: "the body is larger than max_body",
	http.StatusBadGateway:            "the signature appears valid, but the app did not respond",
	http.StatusServiceUnavailable:    "not now: a copy is in flight, the gateway is full, or a key or the store is unavailable; see its log",
	http.StatusGatewayTimeout:        "the app took longer than upstream_timeout",
}
