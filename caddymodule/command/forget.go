package command

import (
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
		Short: "Forgets a delivery so that its next copy is forwarded",
		Long: `
Makes a running Caddy forget that the app accepted a delivery, so that the next
copy is forwarded: for "Redeliver" in the sender's dashboard. Pass the delivery's
key, 32 hexadecimal digits, from the Webhook-Delivery header, the access log
(webhook>delivery) or the placeholder {http.verify_webhook.delivery}.

Exit status: 0 forgotten; 1 in flight or not remembered; 2 the endpoint cannot be
reached, or the key is invalid.`,
		Example: `  caddy webhook forget 0123456789abcdef0123456789abcdef
  caddy webhook forget 0123456789abcdef0123456789abcdef --address unix//run/caddy-admin.sock`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("pass the key of one delivery: caddy webhook forget <32 hexadecimal digits>")
			}
			key, err := dedupe.ParseKey(args[0])
			if err != nil {
				return fmt.Errorf("%w: copy it from Webhook-Delivery or the access log", err)
			}
			err = ask(cmd.OutOrStdout(), &admin, http.MethodDelete, adminapi.DeliveriesPath+"/"+key.String(), printForgotten)
			e, _ := errors.AsType[*adminError](err)
			switch {
			case e != nil && e.status == http.StatusConflict:
				return negative("the delivery is in flight: wait for the app's answer, then try again")
			case e != nil && e.status == http.StatusNotFound:
				return negative("no such delivery is remembered: its next copy is forwarded anyway")
			}
			return err
		},
	}
	admin.register(cmd)
	return cmd
}

func printForgotten(w io.Writer, f adminapi.Forgotten) error {
	_, err := fmt.Fprintf(w, "Forgotten: %s. Its next copy is forwarded.\n(%s)\n", f.Key, f.Note)
	return err
}
