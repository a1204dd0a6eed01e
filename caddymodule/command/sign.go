package command

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// signCommand is "caddy webhook sign".
func signCommand() *cobra.Command {
	c := new(signRun)
	cmd := &cobra.Command{
		Use:   "sign SCHEME --secret <value> --body-file <file>",
		Short: "Signs a delivery as a sender does",
		Long: `
Signs a body and prints the delivery: as a request for "caddy webhook verify"
(--format http), as a command to paste (curl), or as a JSON object (json:
method, url, headers, body_base64).

Adds the timestamp and the id (random without --id) where the sender has them
in headers or claims. Where the sender has them in the body, put them there
yourself. Pairs beside the signature that are signed go into its header, in the
sender's order: -H 'X-Signature: ts=1742505700' (mercadopago), -H
'gcms-signature: sign=, env=main, t=' (hygraph). Senders with the signature in
the URL or in the body are not supported. Asymmetric schemes require
--private-key. The printed delivery has been verified with the same key.
` + schemeHelp,
		Example: `  caddy webhook sign stripe --secret '{env.STRIPE_SECRET}' --body-file body.json
  caddy webhook sign stripe --secret '{env.STRIPE_SECRET}' --format curl \
    --body-file body.json --url https://hooks.example.com/hooks/stripe
  caddy webhook sign github --secret '{env.GITHUB_SECRET}' --body-file - |
    caddy webhook verify github - --secret '{env.GITHUB_SECRET}'
  caddy webhook sign discord --private-key '{file./tmp/ed25519.pem}' \
    --body-file body.json --format json`,
		RunE: c.run,
	}
	c.scheme.register(cmd, true)
	c.request.register(cmd)
	cmd.Flags().StringVar(&c.id, "id", "", "The delivery's `id` (default: a random one)")
	cmd.Flags().StringVar(&c.now, "now", "", "The `time` of the attempt (default: now)")
	cmd.Flags().StringVar(&c.format, "format", "http", "Output format: http, curl or json")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"http", "curl", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type signRun struct {
	scheme          schemeFlags
	request         requestFlags
	id, now, format string
}

func (c *signRun) run(cmd *cobra.Command, args []string) error {
	if !slices.Contains([]string{"http", "curl", "json"}, c.format) {
		return fmt.Errorf("--format %s: write http, curl or json", c.format)
	}
	s, args, err := c.scheme.resolve(args)
	switch {
	case err != nil:
		return err
	case len(args) > 0:
		return errors.New("pass the body's file with --body-file")
	case c.request.bodyFile == "":
		return errors.New("no body: add --body-file body.json, or --body-file - for standard input")
	}
	now, err := parseNow(c.now)
	if err != nil {
		return err
	}
	r := s.newRequest()
	if err := c.request.apply(r, cmd.InOrStdin()); err != nil {
		return err
	}
	if c.id != "" && !s.makesID() {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: --id is ignored: this sender has no id in a header or claim; put it into the body yourself")
	}
	if err := s.sign(r, c.id, now); err != nil {
		return err
	}
	return s.write(cmd.OutOrStdout(), r, c.format, c.request.bodyFile, now)
}

// sign turns r into a genuine delivery and verifies it.
func (s *subject) sign(r *rawhttp.Request, id string, now time.Time) error {
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", s.contentType(r.Body))
	}
	if id == "" && s.makesID() {
		id = uuid.NewString()
	}
	req := requestOf(r)
	err := s.verifier.Sign(req, id, now, r.Body)
	if err == nil {
		_, err = s.verifier.Judge(req, r.Body, now)
	}
	// The sender's deliveries carry a value that the signer cannot generate.
	if r, ok := errors.AsType[*verifier.Rejection](err); ok {
		return fmt.Errorf("cannot be signed: %s: %s: put it into the body or add it with -H; caddy webhook providers shows what the sender's deliveries contain", r.Reason, r.Detail)
	}
	return err
}

func (s *subject) contentType(body []byte) string {
	d := s.Scheme.DeliveryID
	switch {
	case s.Scheme.BodyForm != "" || d != nil && d.Form != "" || slices.ContainsFunc(s.Scheme.Message, signsForm):
		return "application/x-www-form-urlencoded"
	case json.Valid(body):
		return "application/json"
	}
	return "application/octet-stream"
}

func signsForm(message string) bool {
	t, _ := template.Parse(message) // the scheme has been compiled
	return t.Has(template.Form) || t.Some(func(f *template.Facts) bool { return f.Fields })
}

// tellsHTTP reports whether a request signed for plain HTTP would be refused over
// HTTPS.
func (s *subject) tellsHTTP(r *rawhttp.Request, now time.Time) bool {
	req := requestOf(r)
	req.TLS = !req.TLS
	_, err := s.verifier.Judge(req, r.Body, now)
	return err != nil
}

// makesID reports whether Sign uses an id: in a header, a claim, or as the nonce of RFC
// 9421.
func (s *subject) makesID() bool {
	d, h := s.Scheme.DeliveryID, s.Scheme.HTTPSignature
	return d != nil && (len(d.Header) > 0 || d.Claim != "") || h != nil && slices.Contains(h.Params, "nonce")
}

// write prints a signed delivery.
func (s *subject) write(w io.Writer, r *rawhttp.Request, format, bodyFile string, now time.Time) error {
	switch format {
	case "curl":
		_, err := io.WriteString(w, curl(r, bodyFile))
		return err
	case "json":
		headers := make(map[string]string)
		for name, lines := range r.Header {
			headers[name] = strings.Join(lines, ", ")
		}
		return writeJSON(w, struct {
			Method  string            `json:"method"`
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
			Body    []byte            `json:"body_base64"`
		}{r.Method, r.URL(), headers, r.Body}, "")
	}
	return r.Write(w, s.tellsHTTP(r, now))
}

// curl returns a command for a POSIX shell. It includes a body from standard input,
// which cannot be read again.
func curl(r *rawhttp.Request, bodyFile string) string {
	var text strings.Builder
	if bodyFile == "-" {
		text.WriteString("printf %s " + quote(base64.StdEncoding.EncodeToString(r.Body)) + " | base64 -d |\n")
	}
	// Without the last two, curl cleans the path and expands brackets.
	text.WriteString("curl --silent --show-error --include --path-as-is --globoff \\\n\t--request " + quote(r.Method) + " \\\n")
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			text.WriteString("\t--header " + quote(name+": "+value) + " \\\n")
		}
	}
	text.WriteString("\t--data-binary " + quote("@"+cmp.Or(bodyFile, "-")) + " \\\n\t" + quote(r.URL()) + "\n")
	return text.String()
}

// quote returns text as one word of a POSIX shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
