package command

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// forgetCommand is "caddy webhook forget".
func forgetCommand() *cobra.Command {
	var admin adminFlags
	var name, tenant, id, inbox string
	cmd := &cobra.Command{
		Use:   "forget (<key> | --name <name> --id <id> | --inbox <id>)",
		Short: "Forgets a delivery so that its next copy is forwarded",
		Long: `
Makes a running Caddy forget that the app accepted a delivery, so that the next
copy is forwarded: for "Redeliver" in the sender's dashboard. Pass the
delivery's key, 32 hexadecimal digits, from caddy webhook deliveries, the
Webhook-Delivery header, the access log (webhook>delivery) or the placeholder
{http.verify_webhook.delivery}.

Or pass --name and --id: it forgets all kept deliveries of that handler with
that id of the sender's (see caddy webhook deliveries). Pass --tenant, too, if
two tenants of the handler have that id.

A delivery in the inbox is not forgotten: caddy webhook inbox replays or
discards it.

Pass --inbox if the disk of an inbox is lost: copies of what it had are
answered as duplicates, although the app never gets it, until they are
forgotten. The id was in the log when the inbox was opened ("the inbox file is
open"), and in caddy webhook inbox and status. If the inbox still exists, the
app gets its deliveries twice.

Instances with a shared store share what they remember, but each also keeps
some of it in its own memory: pass the --address of each. It prints what each
one said.

Exit status: 0 forgotten, by one instance at least; 1 in flight, in the inbox,
not remembered, or no such delivery is kept; 2 an endpoint cannot be reached,
or the key is invalid.`,
		Example: `  caddy webhook forget 0123456789abcdef0123456789abcdef
  caddy webhook forget 0123456789abcdef0123456789abcdef \
    --address gateway-1:2019 --address gateway-2:2019
  caddy webhook forget --name stripe --id evt_1NG8Du2eZvKYlo2CUI79vXWy
  caddy webhook forget --inbox 5f0c9a3e71b2d846`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var forget func(one *adminFlags, w io.Writer) error
			switch {
			case len(args) == 0 && name != "" && id != "" && inbox == "":
				forget = func(one *adminFlags, w io.Writer) error { return forgetByID(w, one, name, tenant, id) }
			case len(args) == 0 && name+tenant+id == "" && inbox != "":
				forget = func(one *adminFlags, w io.Writer) error { return forgetInbox(w, one, inbox) }
			case len(args) != 1 || name+tenant+id+inbox != "":
				return errors.New("pass the key of one delivery, or --name and --id, or --inbox: caddy webhook forget <32 hexadecimal digits>")
			default:
				key, err := dedupe.ParseKey(args[0])
				if err != nil {
					return fmt.Errorf("%w: copy it from Webhook-Delivery or the access log", err)
				}
				forget = func(one *adminFlags, w io.Writer) error { return forgetKey(w, one, key) }
			}
			return admin.onEach(cmd.OutOrStdout(), cmd.ErrOrStderr(), forget)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "The `name` of the handler, with --id")
	cmd.Flags().StringVar(&tenant, "tenant", "", "The `tenant` of the handler, with --id")
	cmd.Flags().StringVar(&id, "id", "", "The sender's `id` of the delivery, with --name")
	cmd.Flags().StringVar(&inbox, "inbox", "", "The `id` of a lost inbox, to forget all that it had")
	admin.registerInstances(cmd)
	cmd.ValidArgsFunction = once(admin.completeDelivered())
	completeFlag(cmd, "name", admin.completeNames())
	for _, flag := range []string{"tenant", "id", "inbox"} {
		completeFlag(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

// forgetKey forgets one delivery.
func forgetKey(w io.Writer, admin *adminFlags, key dedupe.Key) error {
	err := ask(w, admin, http.MethodDelete, adminapi.DeliveriesPath+"/"+key.String(), printForgotten)
	e, _ := errors.AsType[*adminError](err)
	switch {
	case e != nil && e.status == http.StatusConflict: // in flight, or in the inbox
		return negative(e.text)
	case e != nil && e.status == http.StatusNotFound:
		return absent{negative("no such delivery is remembered: its next copy is forwarded anyway")}
	}
	return err
}

func printForgotten(w io.Writer, f adminapi.Forgotten) error {
	_, err := fmt.Fprintf(w, "Forgotten: %s. Its next copy is forwarded.\n(%s)\n", plain(f.Key), plain(f.Note))
	return err
}

// forgetByID forgets all that the endpoint knows by one id of the sender's.
func forgetByID(w io.Writer, admin *adminFlags, name, tenant, id string) error {
	query := url.Values{"name": {name}, "id": {id}}
	if tenant != "" {
		query.Set("tenant", tenant)
	}
	err := ask(w, admin, http.MethodDelete, adminapi.DeliveriesPath+"?"+query.Encode(), printForgottenByID)
	if e, ok := errors.AsType[*adminError](err); ok && e.status == http.StatusNotFound {
		return absent{negative(e.text)}
	}
	return err
}

func printForgottenByID(w io.Writer, f adminapi.ForgottenByID) error {
	for _, key := range f.Keys {
		fmt.Fprintf(w, "Forgotten: %s. Its next copy is forwarded.\n", plain(key))
	}
	for _, key := range f.NotDone {
		fmt.Fprintf(w, "Not remembered as done: %s. Its next copy is forwarded anyway.\n", plain(key))
	}
	for _, key := range f.InFlight {
		fmt.Fprintf(w, "In flight: %s. Wait for the app's answer, then try again.\n", plain(key))
	}
	for _, key := range f.Stored {
		fmt.Fprintf(w, "In the inbox: %s. Replay or discard it: caddy webhook inbox.\n", plain(key))
	}
	switch {
	case len(f.InFlight)+len(f.Stored) > 0:
		return negative("")
	case len(f.Keys) == 0:
		return absent{negative("")}
	}
	_, err := fmt.Fprintf(w, "(%s)\n", plain(f.Note))
	return err
}

// forgetInbox forgets all that a lost inbox had.
func forgetInbox(w io.Writer, admin *adminFlags, id string) error {
	err := ask(w, admin, http.MethodDelete, adminapi.DeliveriesPath+"?"+url.Values{"inbox": {id}}.Encode(), printForgottenInbox)
	if e, ok := errors.AsType[*adminError](err); ok && e.status == http.StatusConflict {
		return negative(e.text)
	}
	return err
}

func printForgottenInbox(w io.Writer, f adminapi.ForgottenInbox) error {
	if f.Forgotten == 0 {
		return absent{negative("no delivery of that inbox is remembered: check its id")}
	}
	_, err := fmt.Fprintf(w, "Forgotten: %d of the inbox %s. Their next copies are forwarded.\n(%s)\n", f.Forgotten, plain(f.Inbox), plain(f.Note))
	return err
}
