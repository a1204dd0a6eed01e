package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminFlags say where the running Caddy's admin endpoint is, as those of caddy
// reload do, and how its answer is printed.
type adminFlags struct {
	address, config, adapter string
	json                     bool
}

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "address", "", "`Address` of the running Caddy's admin endpoint, if it is not localhost:2019")
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "Configuration `file` that names the admin endpoint")
	cmd.Flags().StringVarP(&f.adapter, "adapter", "a", "", "`Name` of the adapter of that file")
	_ = cmd.MarkFlagFilename("config") // it fails only for a flag that does not exist
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

func (f *adminFlags) registerJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "Print the endpoint's answer for programs")
}

// An adminError is an error that the admin endpoint answered.
type adminError struct {
	status int
	text   string
}

func (e *adminError) Error() string { return e.text }

// ask makes one request of the admin endpoint and prints the answer, a T: with
// print for a person, or as it is for programs.
func ask[T any](w io.Writer, f *adminFlags, method, target string, print func(io.Writer, T) error) error {
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return fmt.Errorf("the admin endpoint's address is not known: %w: give it with --address", err)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, target, nil, nil)
	if err != nil {
		return adminFailure(address, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		return errors.New("the admin endpoint answered something else than was asked for: is it a Caddy with verify_webhook?")
	}
	if f.json {
		return writeJSON(w, json.RawMessage(answer), "\t")
	}
	return print(w, v)
}

// adminFailure tells an endpoint that cannot be reached from one that says no,
// which caddycmd does in its text alone.
func adminFailure(address string, err error) error {
	answer, answered := strings.CutPrefix(err.Error(), "caddy responded with error: HTTP ")
	if !answered {
		reason := err.Error()
		if i := strings.Index(reason, "dial "); i >= 0 { // what caddycmd says before it is the request
			reason = reason[i:]
		}
		return fmt.Errorf("no admin endpoint answers at %s: %s: is Caddy running? Give another address with --address, or --config", address, reason)
	}
	code, body, _ := strings.Cut(answer, ": ")
	status, _ := strconv.Atoi(code)
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) != nil || said.Error == "" {
		said.Error = fmt.Sprintf("the admin endpoint at %s answered %d: is it a Caddy with verify_webhook?", address, status)
	}
	return &adminError{status, said.Error}
}

// atMostOne reports more arguments than a command takes.
func atMostOne(cmd *cobra.Command, args []string, what string) error {
	if len(args) <= 1 {
		return nil
	}
	return fmt.Errorf("one %s at a time, not %d: see %s --help", what, len(args), cmd.CommandPath())
}

// nameQuery selects the handlers of a name, or all of them for "".
func nameQuery(name string) string {
	if name == "" {
		return ""
	}
	return "?name=" + url.QueryEscape(name)
}
