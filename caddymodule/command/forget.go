package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// forgetCommand is "caddy webhook forget".
func forgetCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "forget <key> [--address <admin>]",
		Short: "Lets a delivery that the app took come through again",
		Long: `
Makes a running Caddy forget that the app has taken a delivery, so that the next
copy is forwarded: for "Redeliver" in the sender's dashboard. The key is the
delivery's, 32 hexadecimal digits, from the header Webhook-Delivery, the access
log (webhook>delivery) or the placeholder {http.verify_webhook.delivery}.

Exit status: 0 it is forgotten; 1 it is in flight, or not remembered; 2 the
endpoint cannot be reached, or the key is none.`,
		Example: `  caddy webhook forget 0123456789abcdef0123456789abcdef
  caddy webhook forget 0123456789abcdef0123456789abcdef --address unix//run/caddy-admin.sock`,
		SilenceUsage: true,
		Args:         cobra.ArbitraryArgs, // counted by forget, whose errors end with 2
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := forget(cmd.OutOrStdout(), &admin, args)
			return finish(cmd, code, err)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	admin.register(cmd)
	return cmd
}

func forget(w io.Writer, admin *adminFlags, args []string) (int, error) {
	if len(args) != 1 {
		return exitUsage, errors.New("one delivery's key: caddy webhook forget <32 hexadecimal digits>")
	}
	key, err := dedupe.ParseKey(args[0])
	if err != nil {
		return exitUsage, fmt.Errorf("%w: copy it from Webhook-Delivery or the access log", err)
	}
	answer, err := admin.ask(http.MethodDelete, adminapi.DeliveriesPath+key.String())
	if e, ok := errors.AsType[*adminRefusal](err); ok {
		switch e.status {
		case http.StatusConflict:
			return exitNot, errors.New("the delivery is in flight: wait for the app's answer, then try again")
		case http.StatusNotFound:
			return exitNot, errors.New("no such delivery is remembered as done: its next copy is forwarded anyway")
		}
	}
	if err != nil {
		return exitUsage, err
	}
	var said adminapi.Forgotten
	if err := json.Unmarshal(answer, &said); err != nil {
		return exitUsage, errors.New("the admin endpoint answered something else than was asked for: is it a Caddy with verify_webhook?")
	}
	_, err = fmt.Fprintf(w, "Forgotten: %s. Its next copy is forwarded.\n(%s)\n", said.Key, said.Note)
	return exitOK, err
}
