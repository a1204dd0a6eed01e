package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// adminFlags say where the running Caddy's admin endpoint is, as those of caddy
// reload do.
type adminFlags struct {
	address, config, adapter string
}

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "address", "", "`Address` of the running Caddy's admin endpoint, if it is not localhost:2019")
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "Configuration `file` that names the admin endpoint")
	cmd.Flags().StringVarP(&f.adapter, "adapter", "a", "", "`Name` of the adapter of that file")
	_ = cmd.MarkFlagFilename("config") // it fails only for a flag that does not exist
}

// An adminRefusal is an error that the admin endpoint answered.
type adminRefusal struct {
	status  int
	message string
}

func (e *adminRefusal) Error() string { return e.message }

// ask makes one request of the admin endpoint, and returns what it answers.
func (f *adminFlags) ask(method, path string) ([]byte, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return nil, fmt.Errorf("the admin endpoint's address is not known: %w: give it with --address", err)
	}
	resp, err := caddycmd.AdminAPIRequest(address, method, path, nil, nil)
	if err != nil {
		return nil, refused(address, err)
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// answered is how caddycmd words an error status.
var answered = regexp.MustCompile(`(?s)^caddy responded with error: HTTP (\d+): (.*)$`)

// refused tells an endpoint that cannot be reached from one that says no.
func refused(address string, err error) error {
	m := answered.FindStringSubmatch(err.Error())
	if m == nil {
		reason := err.Error()
		if i := strings.Index(reason, "dial "); i >= 0 { // what caddycmd says before it is the request
			reason = reason[i:]
		}
		return fmt.Errorf("no admin endpoint answers at %s: %s: is Caddy running? Give another address with --address, or --config", address, reason)
	}
	status, _ := strconv.Atoi(m[1])
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(m[2]), &said) != nil || said.Error == "" {
		said.Error = fmt.Sprintf("the admin endpoint at %s answered %d: is it a Caddy with verify_webhook?", address, status)
	}
	return &adminRefusal{status, said.Error}
}

// atMostOne reports more arguments than a command takes.
func atMostOne(cmd *cobra.Command, args []string, what string) error {
	if len(args) <= 1 {
		return nil
	}
	return fmt.Errorf("one %s at a time, not %d: see %s --help", what, len(args), cmd.CommandPath())
}

// printed decodes an answer for a table, or passes it on for programs.
func printed[T any](w io.Writer, answer []byte, asJSON bool, table func(io.Writer, T) error) (int, error) {
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		return exitUsage, errors.New("the admin endpoint answered something else than was asked for: is it a Caddy with verify_webhook?")
	}
	if !asJSON {
		return exitOK, table(w, v)
	}
	return exitOK, writeJSON(w, json.RawMessage(answer), "\t")
}

// writeJSON writes for programs what may all the same end on a terminal: beyond
// ASCII, too, there are characters that act on one (C1 controls, directions),
// and JSON has escapes for them.
func writeJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	var plain []byte
	for _, r := range text.String() {
		if r < 0x7f || unicode.IsPrint(r) {
			plain = utf8.AppendRune(plain, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			plain = fmt.Appendf(plain, `\u%04x`, unit)
		}
	}
	_, err := w.Write(plain)
	return err
}

// plain makes a sender's text fit for a terminal: a control character could
// rewrite what stands on it.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// ago writes a time for a person; nil is never.
func ago(at *time.Time, now time.Time) string {
	if at == nil {
		return "never"
	}
	return humanize.RelTime(*at, now, "ago", "from now")
}
