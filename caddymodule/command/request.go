package command

import (
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

// defaultURL is the URL of a request without a file: the default address of listen.
const defaultURL = "http://localhost:9000/"

// newRequest returns an unsigned request to defaultURL without headers and body.
func (s *subject) newRequest() *rawhttp.Request {
	r := &rawhttp.Request{Method: s.Methods[0], Header: make(http.Header)}
	_ = r.SetURL(defaultURL) // fails only for an invalid URL
	return r
}

// requestFlags override parts of a request.
type requestFlags struct {
	headers               []string
	bodyFile, method, url string
}

func (f *requestFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "A `header` of the request, 'Name: value'; repeatable")
	flags.StringVar(&f.bodyFile, "body-file", "", "The `file` of the body; - for standard input")
	flags.StringVar(&f.method, "method", "", "The `method` (default: the file's, else the sender's)")
	flags.StringVar(&f.url, "url", "", "The `URL` that the sender calls (default: the file's)")
	_ = cmd.RegisterFlagCompletionFunc("method", cobra.FixedCompletions([]string{"POST", "PUT", "GET"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("header", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("url", cobra.NoFileCompletions)
}

// apply replaces the given parts of r. Repeated -H of one name set several lines.
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

// maxInput limits a file, in bytes. No sender's body comes near it.
const maxInput = 256 << 20

// readInput reads a file and its modification time, or standard input for "-".
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
		err = fmt.Errorf("%s: larger than %d MiB: not a delivery", name, maxInput>>20)
	}
	return data, at, err
}

// requestOf converts a saved request for a verifier. Without a URL scheme it assumes
// https, as senders deliver.
func requestOf(r *rawhttp.Request) *verifier.Request {
	return &verifier.Request{Method: r.Method, Header: r.Header, Target: r.Target, Host: r.Host, TLS: r.Scheme != "http"}
}

// parseNow parses RFC 3339 or Unix seconds; "" is now.
func parseNow(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
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
