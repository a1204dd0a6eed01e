package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminFlags locate the admin endpoint of a running Caddy, with the flags of caddy
// reload, and choose the output format.
type adminFlags struct {
	address, config, adapter string
	addresses                []string // of a command that asks several
	json                     bool
}

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "address", "", "`Address` of the admin endpoint (default: localhost:2019)")
	completeFlag(cmd, "address", cobra.NoFileCompletions)
	f.registerConfig(cmd)
}

// registerConfig registers the flags that find the endpoint in a configuration.
func (f *adminFlags) registerConfig(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "Configuration `file` that names the admin endpoint")
	cmd.Flags().StringVarP(&f.adapter, "adapter", "a", "", "`Name` of the config adapter for that file")
	_ = cmd.MarkFlagFilename("config") // fails only for an unknown flag
	completeFlag(cmd, "adapter", completeAdapter)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

func (f *adminFlags) registerJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "Print the endpoint's JSON answer")
}

// An adminError is an error response of the admin endpoint.
type adminError struct {
	status int
	text   string
}

func (e *adminError) Error() string { return e.text }

const notVerifyWebhook = "unexpected answer from the admin endpoint: is it a Caddy with verify_webhook?"

// endpoint is the address of the admin endpoint.
func (f *adminFlags) endpoint() (string, error) {
	var config []byte
	var err error
	if f.address == "" && f.config != "" {
		if config, _, _, err = caddycmd.LoadConfig(f.config, f.adapter); err == nil && adminOff(config) {
			return "", fmt.Errorf("%s: the configuration switches the admin endpoint off (admin off), and nothing else answers these commands", f.config)
		}
	}
	address := ""
	if err == nil {
		address, err = caddycmd.DetermineAdminAPIAddress(f.address, config, f.config, f.adapter)
	}
	if err != nil {
		return "", fmt.Errorf("cannot determine the admin endpoint's address: %w: set it with --address", err)
	}
	return address, nil
}

func adminOff(config []byte) bool {
	var c struct {
		Admin struct{ Disabled bool }
	}
	return json.Unmarshal(config, &c) == nil && c.Admin.Disabled
}

// request sends one request to the admin endpoint and returns its answer, a success.
func (f *adminFlags) request(method, target string, header http.Header) (*http.Response, error) {
	address, err := f.endpoint()
	if err != nil {
		return nil, err
	}
	type answer struct {
		resp *http.Response
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // it has no time limit, and reads an error to its end
		resp, err := caddycmd.AdminAPIRequest(address, method, target, header, nil)
		answers <- answer{resp, err}
	}()
	var late <-chan time.Time
	if method == http.MethodGet {
		late = time.After(answerTime)
	}
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, adminFailure(address, a.err)
		}
		return a.resp, nil
	case <-late:
		return nil, adminFailure(address, fmt.Errorf("nothing within %s", answerTime))
	}
}

// ask sends one request to the admin endpoint and prints its answer, a T: through
// print, or unchanged with --json.
func ask[T any](w io.Writer, f *adminFlags, method, target string, print func(io.Writer, T) error) error {
	raw, v, err := read[T](f, method, target)
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(w, raw, "\t")
	}
	return print(w, v)
}

// read sends one request to the admin endpoint and returns its answer, as it came and as a
// T.
func read[T any](f *adminFlags, method, target string) (raw json.RawMessage, v T, err error) {
	resp, err := f.request(method, target, nil)
	if err != nil {
		return nil, v, err
	}
	defer resp.Body.Close()
	if method == http.MethodGet { // others may search a whole database
		late := time.AfterFunc(answerTime, func() { _ = resp.Body.Close() })
		defer late.Stop()
	}
	raw, err = io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1))
	if err == nil && (len(raw) > largestAnswer || json.Unmarshal(raw, &v) != nil) {
		err = &adminError{resp.StatusCode, notVerifyWebhook}
	}
	return raw, v, err
}

// largestAnswer is far above that of a gateway with thousands of handlers, in bytes: what
// answers at a wrong address may never end.
const largestAnswer = 64 << 20

// answerTime limits how long the endpoint may take to answer a GET. Tests change it.
var answerTime = 10 * time.Second

// adminFailure separates an unreachable endpoint from one that answers with an
// error. caddycmd tells them apart only in its message.
func adminFailure(address string, err error) error {
	answer, answered := strings.CutPrefix(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		reason := err.Error()
		if i := strings.Index(reason, "dial "); i >= 0 { // caddycmd puts the request before it
			reason = reason[i:]
		}
		return fmt.Errorf("no answer from the admin endpoint at %s: %s: is Caddy running? Set another address with --address or --config", address, reason)
	}
	code, body, _ := strings.Cut(answer, ": ")
	status, _ := strconv.Atoi(code)
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) != nil || said.Error == "" {
		said.Error = fmt.Sprintf("the admin endpoint at %s answered %d: is it a Caddy with verify_webhook?", address, status)
	}
	return &adminError{status, plain(said.Error)}
}

// atMostOne returns an error for more than one argument.
func atMostOne(cmd *cobra.Command, args []string, what string) error {
	if len(args) <= 1 {
		return nil
	}
	return fmt.Errorf("one %s at a time, not %d: see %s --help", what, len(args), cmd.CommandPath())
}

// nameQuery returns the query that selects the handlers called name; "" selects all.
func nameQuery(name string) string {
	if name == "" {
		return ""
	}
	return "?name=" + url.QueryEscape(name)
}
