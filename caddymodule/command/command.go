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
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Use = "webhook"
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return finish(cmd, exitUsage, fmt.Errorf("unknown command %q: see caddy webhook --help", args[0]))
				}
				return cmd.Help()
			}
			cmd.Args = cobra.ArbitraryArgs
			cmd.SetFlagErrorFunc(usageError)
			cmd.AddCommand(providersCommand())
			cmd.AddCommand(verifyCommand())
			cmd.AddCommand(signCommand())
			cmd.AddCommand(sendCommand())
			cmd.AddCommand(listenCommand())
			cmd.AddCommand(statusCommand(), rejectionsCommand(), forgetCommand())
		},
	})
}

// The exit codes of caddy webhook.
const (
	exitOK    = 0
	exitNot   = 1 // not genuine, not complete
	exitUsage = 2 // the command, or what it was given, cannot be read
)

// usageError is what a flag that does not exist comes to.
func usageError(cmd *cobra.Command, err error) error {
	return finish(cmd, exitUsage, fmt.Errorf("%w: see %s --help", err, cmd.CommandPath()))
}

// finish ends a command: one line on standard error, and the code.
func finish(cmd *cobra.Command, code int, err error) error {
	cmd.SilenceErrors = true
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "Error:", err)
	}
	switch code {
	case exitOK:
		return nil
	case exitNot: // Caddy ends with 1 for any error, and hands on only codes above it
		return errors.New("no")
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}
