package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/rawhttp"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// verifyCommand is "caddy webhook verify".
func verifyCommand() *cobra.Command {
	c := verifyRun{clock: time.Now}
	cmd := &cobra.Command{
		Use:   "verify SCHEME [<file>|-] --secret <value>...",
		Short: "Says whether a saved delivery is genuine, and why not",
		Long: `
Reads one request and does with it what the gateway would do. The request is a
file as "caddy webhook listen --save" and other tools write it (POST /path
HTTP/1.1, headers, an empty line, the body byte for byte), a HAR (--entry
chooses one), standard input (-), or headers and body apart (-H, --body-file).
The latter also replace those of the file.

Prints one line if it is genuine. If not: the reason, and a hint where a usual
mistake explains it (the wrong secret's encoding, a body that was parsed and
written anew, a URL that differs, …). Exit status: 0 genuine, 1 not, 2 something
cannot be read. Needs no network, and never prints a secret.

Old deliveries are stale: judge them at their own time, with --now.
` + schemeHelp,
		Example: `  caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}'
  caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}' --now 2026-11-21T12:00:00Z
  caddy webhook verify github recorded.har --entry 3 --secret '{file./run/secrets/github}'
  caddy webhook verify github -H 'X-Hub-Signature-256: sha256=…' --body-file body.json --secret '{env.GITHUB_SECRET}'
  caddy webhook verify --config Caddyfile --name billing delivery.http`,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := c.run(cmd, args)
			return finish(cmd, code, err)
		},
	}
	c.scheme.register(cmd, false)
	c.request.register(cmd)
	cmd.Flags().IntVar(&c.entry, "entry", 0, "Which request of a HAR, by its `number` from 1")
	cmd.Flags().StringVar(&c.now, "now", "", "When it arrived: RFC 3339, unix seconds, or file for the HAR's or the file's `time` (default: now)")
	cmd.Flags().BoolVar(&c.json, "json", false, "Print one object for programs")
	_ = cmd.RegisterFlagCompletionFunc("now", cobra.FixedCompletions([]string{"file"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type verifyRun struct {
	scheme  schemeFlags
	request requestFlags
	entry   int
	now     string
	json    bool
	clock   func() time.Time
}

func (c *verifyRun) run(cmd *cobra.Command, args []string) (int, error) {
	s, args, err := c.scheme.resolve(args, false)
	if err != nil {
		return exitUsage, err
	}
	if len(args) > 1 {
		return exitUsage, fmt.Errorf("one request at a time, not %d", len(args))
	}
	r, err := c.read(cmd.InOrStdin(), args, s.Methods[0])
	if err != nil {
		return exitUsage, err
	}
	now, err := c.time(r)
	if err != nil {
		return exitUsage, err
	}
	req := requestOf(r)
	j, err := s.judge(req, r.Body, now)
	if err != nil {
		return exitUsage, err
	}
	result := newResult(s.Name, j)
	if c.scheme.config == "" {
		result.Name = ""
	}
	if j.rejection != nil {
		result.Hint = s.explain(cmd.Context(), req, r.Body, now, j.rejection, retold)
	}
	result.Notes = s.notes(r)
	if err := result.print(cmd.OutOrStdout(), c.json); err != nil {
		return exitUsage, err
	}
	if j.rejection != nil {
		return exitNot, nil
	}
	return exitOK, nil
}

// read puts the request together.
func (c *verifyRun) read(stdin io.Reader, args []string, method string) (*rawhttp.Request, error) {
	f := &c.request
	r := &rawhttp.Request{Method: method, Header: make(http.Header)}
	if err := r.SetURL(defaultURL); err != nil {
		return nil, err
	}
	switch {
	case len(args) == 1:
		data, at, err := readInput(stdin, args[0])
		if err != nil {
			return nil, err
		}
		if r, err = rawhttp.Parse(data, c.entry); err != nil {
			return nil, fmt.Errorf("%s: %w", args[0], err)
		}
		if r.Time.IsZero() {
			r.Time = at
		}
	case c.entry != 0:
		return nil, errors.New("--entry goes with a HAR: name the file")
	case len(f.headers) == 0 && f.bodyFile == "":
		return nil, errors.New("no request: name its file, - for standard input, or give headers and body with -H and --body-file")
	}
	return r, f.apply(r, stdin)
}

// time reads --now.
func (c *verifyRun) time(r *rawhttp.Request) (time.Time, error) {
	if c.now != "file" {
		return parseNow(c.now, c.clock)
	}
	if r.Time.IsZero() {
		return time.Time{}, errors.New("--now file: standard input has no time: give one, such as 2026-11-21T12:00:00Z")
	}
	return r.Time, nil
}

// parseNow reads RFC 3339 or unix seconds; "" is now.
func parseNow(text string, clock func() time.Time) (time.Time, error) {
	if text == "" {
		return clock(), nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < 1<<36 { // beyond: milliseconds
		return time.Unix(n, 0), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("--now: write RFC 3339 (2026-11-21T12:00:00Z) or unix seconds (1795262400)")
	}
	return t, nil
}

// notes says what the gateway would refuse a genuine delivery for.
func (s *subject) notes(r *rawhttp.Request) (notes []string) {
	for _, refusal := range s.Limits(r.Method, int64(len(r.Body))) {
		notes = append(notes, refusal.Error())
	}
	return notes
}

// A result is what verify prints.
type result struct {
	Genuine    bool     `json:"genuine"`
	Name       string   `json:"name,omitempty"`      // of the configuration's handler
	Handshake  int      `json:"handshake,omitempty"` // the status it is answered with
	Key        string   `json:"key,omitempty"`
	Timestamp  string   `json:"timestamp,omitempty"`
	DeliveryID string   `json:"delivery_id,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	Hint       string   `json:"hint,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

func newResult(name string, j judgement) *result {
	r := &result{Name: name, Genuine: j.rejection == nil, Key: j.verdict.Key, DeliveryID: j.id}
	if t := j.verdict.Timestamp; !t.IsZero() {
		r.Timestamp = t.UTC().Format(time.RFC3339Nano)
	}
	if j.answer != nil {
		r.Handshake = j.answer.Status
	}
	if j.rejection != nil {
		r.Reason, r.Detail = string(j.rejection.Reason), j.rejection.Detail
	}
	return r
}

func (r *result) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, r, "")
	}
	_, err := io.WriteString(w, r.String()+"\n")
	return err
}

func (r *result) String() string {
	var text strings.Builder
	switch {
	case r.Handshake != 0:
		fmt.Fprintf(&text, "handshake: the gateway answers it itself, with %d", r.Handshake)
	case r.Genuine:
		text.WriteString("genuine: key " + printable(r.Key))
		if r.Timestamp != "" {
			text.WriteString(", timestamp " + r.Timestamp)
		}
		if r.DeliveryID != "" {
			text.WriteString(", delivery id " + printable(r.DeliveryID))
		}
	default:
		text.WriteString("not genuine: " + r.Reason + ": " + printable(r.Detail))
	}
	if hint := cmp.Or(r.Hint, unexplained(r.Reason)); hint != "" {
		text.WriteString("\nhint: " + printable(hint))
	}
	for _, note := range r.Notes {
		text.WriteString("\nnote: the gateway refuses it all the same: " + note)
	}
	return text.String()
}

// unexplained is what to look at where no usual mistake explains a mismatch.
func unexplained(reason string) string {
	if reason != string(verifier.SignatureMismatch) {
		return ""
	}
	return "none of the usual mistakes explains it: most often the secret is that of another endpoint, or of test instead of live"
}

// printable keeps what a sender wrote from acting on a terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// defaultURL is what a request without a file calls: where listen listens.
const defaultURL = "http://localhost:9000/"

// requestFlags are the parts of a request.
type requestFlags struct {
	headers               []string
	bodyFile, method, url string
}

func (f *requestFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "A `header` of the request, 'Name: value'; repeatable")
	flags.StringVar(&f.bodyFile, "body-file", "", "The `file` of the body, byte for byte; - for standard input")
	flags.StringVar(&f.method, "method", "", "The request's `method` (default: the file's, else the sender's, mostly POST)")
	flags.StringVar(&f.url, "url", "", "The `URL` that the sender calls, for schemes that sign it (default: the file's, a path standing for https; else "+defaultURL+")")
	_ = cmd.RegisterFlagCompletionFunc("method", cobra.FixedCompletions([]string{"POST", "PUT", "GET"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("header", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("url", cobra.NoFileCompletions)
}

// apply replaces what is given. Several -H of one name are several lines.
func (f *requestFlags) apply(r *rawhttp.Request, stdin io.Reader) error {
	if f.method != "" {
		if f.method != strings.ToUpper(f.method) || strings.ContainsAny(f.method, " \t,/") {
			return errors.New("--method: write it in capitals, such as POST")
		}
		r.Method = f.method
	}
	if f.url != "" {
		if err := r.SetURL(f.url); err != nil {
			return fmt.Errorf("--url: %w", err)
		}
	}
	given := rawhttp.Request{Header: make(http.Header)}
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return errors.New("-H: no colon: write -H 'Name: value'")
		}
		if err := given.AddHeader(name, strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("-H: %w", err)
		}
	}
	if given.Host != "" {
		r.Host = given.Host
	}
	for name, lines := range given.Header {
		r.Header[name] = lines
	}
	if f.bodyFile == "" {
		return nil
	}
	body, _, err := readInput(stdin, f.bodyFile)
	if err != nil {
		return fmt.Errorf("--body-file: %w", err)
	}
	r.Body = body
	r.Header.Del("Content-Length")
	return nil
}

// maxInput bounds a file that is read whole. No sender's body comes near.
const maxInput = 256 << 20

// readInput reads a file, or standard input for "-", and when it was written.
func readInput(stdin io.Reader, name string) (data []byte, at time.Time, err error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, at, err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			at = info.ModTime()
		}
		stdin = file
	}
	data, err = io.ReadAll(io.LimitReader(stdin, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("%s: larger than %d MiB: no delivery is", name, maxInput>>20)
	}
	return data, at, err
}

// requestOf is a saved request as a verifier sees it. A path without a scheme
// stands for https, as senders deliver.
func requestOf(r *rawhttp.Request) *verifier.Request {
	return &verifier.Request{Method: r.Method, Header: r.Header, Target: r.Target, Host: r.Host, TLS: r.Scheme != "http"}
}
