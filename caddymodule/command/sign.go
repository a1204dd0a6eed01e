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
		Short: "Makes a delivery as a sender would sign it",
		Long: `
Signs a body of your own and prints the delivery: as a request that "caddy
webhook verify" reads (--format http), as a command to paste (curl), or as an
object for programs (json: method, url, headers, body_base64).

Timestamp and id go into headers or claims where the sender has them there; without --id
it is a random one. Where they stand in the body they are yours to put there.
Senders whose signature stands in the URL or in the body cannot be imitated.
Asymmetric ones are signed with a --private-key. What is printed has been
verified with the same key.
` + schemeHelp,
		Example: `  caddy webhook sign stripe --secret '{env.STRIPE_SECRET}' --body-file body.json
  caddy webhook sign stripe --secret '{env.STRIPE_SECRET}' --body-file body.json --url https://hooks.example.com/hooks/stripe --format curl
  caddy webhook sign github --secret '{env.GITHUB_SECRET}' --body-file body.json | caddy webhook verify github - --secret '{env.GITHUB_SECRET}'
  caddy webhook sign discord --private-key '{file./tmp/ed25519.pem}' --body-file body.json --format json`,
		RunE: c.run,
	}
	c.scheme.register(cmd, true)
	c.request.register(cmd)
	cmd.Flags().StringVar(&c.id, "id", "", "The delivery's `id`, where it stands in a header (default: a random one)")
	cmd.Flags().StringVar(&c.now, "now", "", "The `time` of the attempt, RFC 3339 or unix seconds (default: now)")
	cmd.Flags().StringVar(&c.format, "format", "http", "How to print it: http, curl or json")
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
		return errors.New("the body's file is given with --body-file")
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
		fmt.Fprintln(cmd.ErrOrStderr(), "note: --id is left out: this sender has no id in a header or claim; one in the body is yours to put there")
	}
	if err := s.sign(r, c.id, now); err != nil {
		return err
	}
	return s.write(cmd.OutOrStdout(), r, c.format, c.request.bodyFile, now)
}

// sign makes r a genuine delivery, and verifies it.
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
	// Its deliveries hold something besides the signature that the signer cannot make up.
	if r, ok := errors.AsType[*verifier.Rejection](err); ok {
		return fmt.Errorf("cannot be signed as it is: %s: %s: put it into the body or give it with -H; what the sender's deliveries hold is told by caddy webhook providers", r.Reason, r.Detail)
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
	t, _ := template.Parse(message) // the scheme compiles
	return t.Has(template.Form) || t.Some(func(f *template.Facts) bool { return f.Fields })
}

// tellsHTTP reports whether it matters that a signed request goes over plain
// HTTP: whether it would be refused if it came over HTTPS.
func (s *subject) tellsHTTP(r *rawhttp.Request, now time.Time) bool {
	req := requestOf(r)
	req.TLS = !req.TLS
	_, err := s.verifier.Judge(req, r.Body, now)
	return err != nil
}

func (s *subject) makesID() bool {
	d := s.Scheme.DeliveryID
	return d != nil && (len(d.Header) > 0 || d.Claim != "")
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

// curl writes a command for a POSIX shell. A body from standard input becomes part
// of it, since it cannot be read again.
func curl(r *rawhttp.Request, bodyFile string) string {
	var text strings.Builder
	if bodyFile == "-" {
		text.WriteString("printf %s " + quote(base64.StdEncoding.EncodeToString(r.Body)) + " | base64 -d |\n")
	}
	// Without the last two curl would tidy a path and read brackets as patterns.
	text.WriteString("curl --silent --show-error --include --path-as-is --globoff \\\n\t--request " + quote(r.Method) + " \\\n")
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			text.WriteString("\t--header " + quote(name+": "+value) + " \\\n")
		}
	}
	text.WriteString("\t--data-binary " + quote("@"+cmp.Or(bodyFile, "-")) + " \\\n\t" + quote(r.URL()) + "\n")
	return text.String()
}

// quote makes text one word of a POSIX shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
