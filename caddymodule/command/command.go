// Package command is "caddy webhook": what an operator types to look up a sender,
// to judge, sign, send and watch deliveries, and to ask a running gateway.
//
// Importing it registers the commands with Caddy. It does nothing that the gateway
// would do otherwise: a SCHEME or a handler of a configuration becomes a
// caddymodule.Sender, and what a running gateway tells comes through the admin
// endpoint as a type of package adminapi. Nothing imports this package but main
// programs and the module's root package.
//
// Each command ends with one of three exit codes: 0, 1 or 2. It prints no secret,
// and nothing that a sender wrote acts on the terminal.
package command

import (
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "webhook",
		Short: "Looks up and tries out webhook senders",
		Long: `
Tools for the operator of verify_webhook, with the words and the values of the
Caddyfile: what the gateway knows of a sender, why a saved delivery is refused,
deliveries signed as the sender would, and a gateway to watch.

	caddy webhook providers stripe
	caddy webhook verify stripe delivery.http --secret '{env.STRIPE_SECRET}'
	caddy webhook send stripe --secret '{env.STRIPE_SECRET}' --to https://hooks.example.com/hooks/stripe --times 2
	caddy webhook listen stripe --secret '{env.STRIPE_SECRET}' --to http://localhost:3000

Of a gateway that runs: what came of its deliveries, the newest that it refused
with what to change, and a delivery that is to come through again.

	caddy webhook status
	caddy webhook rejections
	caddy webhook forget 5d41402abc4b2a76b9719d911017c592

Exit status: 0 all is well, 1 it is not, 2 the command or a file cannot be read.`,
		CobraFunc: build,
	})
}

// build makes cmd "caddy webhook" with its commands.
func build(cmd *cobra.Command) {
	cmd.Use = "webhook"
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return end(cmd, fmt.Errorf("unknown command %q: see caddy webhook --help", args[0]))
		}
		return cmd.Help()
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return end(cmd, fmt.Errorf("%w: see %s --help", err, cmd.CommandPath()))
	})
	cmd.AddCommand(
		providersCommand(), verifyCommand(), signCommand(), sendCommand(), listenCommand(),
		statusCommand(), rejectionsCommand(), forgetCommand(),
	)
	for _, c := range cmd.Commands() {
		c.SilenceUsage = true
		c.Args = cobra.ArbitraryArgs // counted by the command: Cobra's errors end with 1
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error { return end(cmd, run(cmd, args)) }
	}
}

// A negative is the answer "it is not": exit status 1. Its text, if any, says why.
type negative string

func (n negative) Error() string { return string(n) }

// end prints an error in one line on standard error and sets the exit status: 0
// without an error, 1 for a negative, 2 for any other.
func end(cmd *cobra.Command, err error) error {
	cmd.SilenceErrors = true
	if err != nil && err.Error() != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
	}
	if _, ok := errors.AsType[negative](err); err == nil || ok {
		return err // Caddy ends with 1 for any error, and hands on only codes above it
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return 2, nil })(cmd, nil)
}
