// Package command implements "caddy webhook": look up a sender; verify, sign, send
// and watch deliveries; query a running gateway.
//
// Importing it registers the commands with Caddy. It behaves as the gateway does: a
// SCHEME or a configured handler becomes a caddymodule.Sender, and a running gateway
// answers through its admin endpoint with the types of package adminapi. Only main
// programs and the module's root package import this package.
//
// Each command exits with 0, 1 or 2. No command prints a secret, and no text of a
// sender can control the terminal.
package command

import (
	"errors"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "webhook",
		Short: "Inspects senders; verifies, signs and sends test deliveries",
		Long: `
Tools for operators of verify_webhook, with the options and values of the
Caddyfile: look up a sender, find out why a saved delivery is refused, sign and
send deliveries as the sender does, and run a gateway that shows its verdicts.

	caddy webhook providers stripe
	caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}'
	caddy webhook send stripe --secret '{env.STRIPE_SECRET}' \
		--to https://hooks.example.com/hooks/stripe --times 2
	caddy webhook listen stripe --secret '{env.STRIPE_SECRET}' \
		--to http://localhost:3000

For a running gateway: its counters, its latest deliveries, its latest
rejections with what to change, forgetting a delivery so that its next copy is
forwarded, and the deliveries that its inbox keeps for the app.

	caddy webhook status
	caddy webhook deliveries --follow
	caddy webhook rejections
	caddy webhook forget 5d41402abc4b2a76b9719d911017c592
	caddy webhook inbox

All of it in the browser:

	caddy webhook page --open

Exit status: 0 success, 1 failure, 2 invalid command or unreadable file.`,
		CobraFunc: build,
	})
}

// build adds the subcommands to "caddy webhook".
func build(cmd *cobra.Command) {
	cmd.Use = "webhook"
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && args[0] != "help" {
			return end(cmd, unknownCommand(cmd, args[0]))
		}
		return cmd.Help()
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return end(cmd, fmt.Errorf("%w: see %s --help", err, cmd.CommandPath()))
	})
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", wrap.Columns)))
	cmd.AddCommand(
		providersCommand(), verifyCommand(), signCommand(), sendCommand(), listenCommand(),
		statusCommand(), deliveriesCommand(), rejectionsCommand(), forgetCommand(), inboxCommand(), pageCommand(), versionCommand(),
	)
	for _, c := range cmd.Commands() {
		prepare(c)
	}
}

// unknownCommand names the nearest subcommand, if one is near.
func unknownCommand(cmd *cobra.Command, word string) error {
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	remedy := "see caddy webhook --help"
	if near := nearest.Of(word, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("unknown command %q: %s", word, remedy)
}

// prepare makes a command, and those below it, end with our exit status, and fits their
// help to a terminal.
func prepare(c *cobra.Command) {
	c.SilenceUsage = true
	c.DisableFlagsInUseLine = true
	c.Long = "\n" + strings.TrimSpace(wrap.Paragraphs(c.Long))
	var examples []string
	for line := range strings.SplitSeq(c.Example, "\n") {
		examples = append(examples, wrap.Command(line))
	}
	c.Example = strings.Join(examples, "\n")
	c.Args = cobra.ArbitraryArgs // each command counts its own: Cobra's errors exit with 1
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error { return end(cmd, run(cmd, args)) }
	for _, below := range c.Commands() {
		prepare(below)
	}
}

// A negative is a "no" as the result: exit status 1. Its text, if any, says why.
type negative string

func (n negative) Error() string { return string(n) }

// end prints an error on one line of standard error, whatever it quotes, and sets the
// exit status: 0 for none, 1 for a negative, 2 for any other.
func end(cmd *cobra.Command, err error) error {
	cmd.SilenceErrors = true
	if err != nil && err.Error() != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "Error:", plain(err.Error()))
	}
	if _, ok := errors.AsType[negative](err); err == nil || ok {
		return err // Caddy exits with 1 for any error, and passes on only codes above it
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return 2, nil })(cmd, nil)
}
