package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

// inboxCommand is "caddy webhook inbox". Without a subcommand it lists.
func inboxCommand() *cobra.Command {
	cmd := inboxListCommand()
	cmd.Use = "inbox [list] [<name>] [--state <state>] [--key <label>]"
	cmd.Short = "Lists, replays and discards deliveries kept for the app"
	cmd.Long = `
Asks the admin endpoint of a running Caddy what its inbox holds: deliveries that the
app has not accepted yet (pending, in_attempt), that were given up (dead), that it
accepted and that are kept for replay (delivered), and those that cannot be read
(locked).

Without an argument: whether deliveries are stored, and a line for each handler. With
a name, --state or --key: the deliveries as well, oldest first.

	caddy webhook inbox show <key>           one delivery, credentials redacted
	caddy webhook inbox replay <key>         sends it now, also a dead one
	caddy webhook inbox discard <key>        removes it for good
	caddy webhook inbox pause <name>         stores deliveries without sending them
	caddy webhook inbox resume <name>        sends them

Exit status: 0, or 2 if the endpoint cannot be reached, there is no inbox, or the name
is unknown.`
	cmd.Example = `  caddy webhook inbox
  caddy webhook inbox stripe --state dead
  caddy webhook inbox show 0123456789abcdef0123456789abcdef
  caddy webhook inbox replay --dead stripe
  caddy webhook inbox discard --key leaked`
	cmd.AddCommand(
		inboxListCommand(), inboxShowCommand(), inboxReplayCommand(), inboxDiscardCommand(),
		inboxPauseCommand("pause", "Holds a handler's deliveries back in the inbox", `
Stores deliveries of a handler without sending them to the app, until
caddy webhook inbox resume, or until the process ends. Senders are answered 2xx.
Running attempts continue.`),
		inboxPauseCommand("resume", "Sends deliveries that were paused", `
Ends caddy webhook inbox pause: what is stored is sent to the app.`),
	)
	return cmd
}

func inboxListCommand() *cobra.Command {
	var admin adminFlags
	var states []string
	var label string
	var limit int
	cmd := &cobra.Command{
		Use:   "list [<name>] [--state <state>] [--key <label>]",
		Short: "Lists what the inbox holds",
		Long: `
See caddy webhook inbox --help. list is for a handler whose name is also a command.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args, "name"); err != nil {
				return err
			}
			query := make(url.Values)
			if len(args) == 1 {
				query.Set("name", args[0])
			}
			for _, state := range states {
				query.Add("state", state)
			}
			if label != "" {
				query.Set("key", label)
			}
			if cmd.Flags().Changed("limit") {
				query.Set("limit", strconv.Itoa(limit))
			}
			return ask(cmd.OutOrStdout(), &admin, http.MethodGet, inboxTarget("", query), printInbox)
		},
	}
	cmd.Flags().StringArrayVar(&states, "state", nil, "Only deliveries in this `state`: pending, in_attempt, delivered, dead, locked; repeatable")
	cmd.Flags().StringVar(&label, "key", "", "Only deliveries signed with the key of this `label`")
	cmd.Flags().IntVar(&limit, "limit", 100, "The oldest `n` of them, at most 10000")
	admin.register(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = once(admin.completeQueues())
	completeFlag(cmd, "state", cobra.FixedCompletions([]string{"pending", "in_attempt", "delivered", "dead", "locked"}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "key", cobra.NoFileCompletions)
	completeFlag(cmd, "limit", cobra.NoFileCompletions)
	return cmd
}

// inboxTarget is a path below the inbox's, with a query.
func inboxTarget(path string, query url.Values) string {
	target := adminapi.InboxPath + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	return target
}

// inboxKey reads the key of a delivery.
func inboxKey(text string) (string, error) {
	key, err := dedupe.ParseKey(text)
	if err != nil {
		return "", fmt.Errorf("%w: copy it from caddy webhook inbox, Webhook-Delivery or the access log", err)
	}
	return key.String(), nil
}

// unlessThere turns the answer that a delivery is not there, or not now, into a
// negative.
func unlessThere(err error) error {
	if e, ok := errors.AsType[*adminError](err); ok && (e.status == http.StatusNotFound || e.status == http.StatusConflict) {
		return negative(e.text)
	}
	return err
}

func inboxShowCommand() *cobra.Command {
	var admin adminFlags
	var body bool
	cmd := &cobra.Command{
		Use:   "show <key> [--body] [--json] [--address <admin>]",
		Short: "Shows one delivery of the inbox",
		Long: `
Prints a stored delivery: its state, and the request with credentials redacted. With
--body also its body, except if the sender has a token instead of a signature, if it
contains a key, or if it is larger than 1 MiB.

Exit status: 0; 1 the inbox does not have it; 2 the endpoint cannot be reached, or the
key is invalid.`,
		Example: `  caddy webhook inbox show 0123456789abcdef0123456789abcdef
  caddy webhook inbox show 0123456789abcdef0123456789abcdef --body`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("pass the key of one delivery: see %s --help", cmd.CommandPath())
			}
			key, err := inboxKey(args[0])
			if err != nil {
				return err
			}
			query := make(url.Values)
			if body {
				query.Set("body", "1")
			}
			return unlessThere(ask(cmd.OutOrStdout(), &admin, http.MethodGet, inboxTarget("/"+key, query), printStored))
		},
	}
	cmd.Flags().BoolVar(&body, "body", false, "Also print the body")
	admin.register(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = once(admin.completeStored())
	return cmd
}

func inboxReplayCommand() *cobra.Command {
	var admin adminFlags
	var dead, as string
	cmd := &cobra.Command{
		Use:   "replay (<key> | --dead <name> [--as <other name>])",
		Short: "Sends deliveries of the inbox to the app now",
		Long: `
Makes a delivery due now: a dead one, a pending one, or one that the app accepted and
that is kept. With --dead: all dead ones of a handler, with --as through another
handler, for one that was renamed or removed. The app gets them at the pace at which it
answers, and each only when nothing else is due, so that what arrives meanwhile does not
wait for them. That continues without this command, also after a restart, and when an
app that is down is back.

Exit status: 0; 1 there is none, or its attempt is running; 2 the endpoint cannot be
reached, or the key or name is unknown.`,
		Example: `  caddy webhook inbox replay 0123456789abcdef0123456789abcdef
  caddy webhook inbox replay --dead stripe
  caddy webhook inbox replay --dead stripe-old --as stripe`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && dead != "":
				query := url.Values{"name": {dead}, "state": {"dead"}}
				if as != "" {
					query.Set("as", as)
				}
				return changeInbox(cmd, &admin, http.MethodPost, "/replay", query, "Replayed")
			case len(args) != 1 || dead != "" || as != "":
				return errors.New("pass the key of one delivery, or --dead and the name of a handler")
			}
			key, err := inboxKey(args[0])
			if err != nil {
				return err
			}
			return unlessThere(changeInbox(cmd, &admin, http.MethodPost, "/"+key+"/replay", nil, "Replayed"))
		},
	}
	cmd.Flags().StringVar(&dead, "dead", "", "All dead deliveries of the handler of this `name`")
	cmd.Flags().StringVar(&as, "as", "", "Through the handler of this `name`, with --dead")
	admin.register(cmd)
	cmd.ValidArgsFunction = once(admin.completeStored())
	completeFlag(cmd, "dead", admin.completeQueues())
	completeFlag(cmd, "as", admin.completeNames())
	return cmd
}

func inboxDiscardCommand() *cobra.Command {
	var admin adminFlags
	var dead, name, label string
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard [<key>] [--dead <name>] [--name <name>]",
		Short: "Removes deliveries from the inbox for good",
		Long: `
Removes a delivery, all dead ones of a handler, all of a handler, or all that were
signed with a key, for one that was stolen. The app does not get them. Their next
copies, if any, are new deliveries. For more than one it asks first; --yes answers.

Exit status: 0; 1 there is none, or the answer is no; 2 the endpoint cannot be reached,
or the key or name is unknown.`,
		Example: `  caddy webhook inbox discard 0123456789abcdef0123456789abcdef
  caddy webhook inbox discard --dead stripe
  caddy webhook inbox discard --key leaked --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			query, what := make(url.Values), ""
			switch {
			case dead != "":
				query, what = url.Values{"name": {dead}, "state": {"dead"}}, "dead deliveries of "+dead
			case name != "":
				query, what = url.Values{"name": {name}}, "deliveries of "+name
			case label != "":
				query, what = url.Values{"key": {label}}, "deliveries of all handlers signed with the key "+label
			}
			switch {
			case len(args) == 1 && len(query) == 0:
				key, err := inboxKey(args[0])
				if err != nil {
					return err
				}
				return unlessThere(changeInbox(cmd, &admin, http.MethodDelete, "/"+key, nil, "Discarded"))
			case len(args) > 0 || countSet(dead, name, label) != 1:
				return errors.New("pass the key of one delivery, or one of --dead <name>, --name <name>, --key <label>")
			}
			if !yes {
				if err := confirmDiscard(cmd, &admin, query, what); err != nil {
					return err
				}
			}
			return changeInbox(cmd, &admin, http.MethodDelete, "", query, "Discarded")
		},
	}
	cmd.Flags().StringVar(&dead, "dead", "", "All dead deliveries of the handler of this `name`")
	cmd.Flags().StringVar(&name, "name", "", "All deliveries of the handler of this `name`, pending ones too")
	cmd.Flags().StringVar(&label, "key", "", "All deliveries signed with the key of this `label`")
	cmd.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	admin.register(cmd)
	cmd.ValidArgsFunction = once(admin.completeStored())
	completeFlag(cmd, "dead", admin.completeQueues())
	completeFlag(cmd, "name", admin.completeQueues())
	completeFlag(cmd, "key", cobra.NoFileCompletions)
	return cmd
}

func countSet(texts ...string) (n int) {
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	return n
}

// mostCounted is how many deliveries a question counts.
const mostCounted = 1000

// confirmDiscard asks before more than one delivery is discarded.
func confirmDiscard(cmd *cobra.Command, admin *adminFlags, query url.Values, what string) error {
	counted := url.Values{"limit": {strconv.Itoa(mostCounted)}}
	for name, values := range query {
		counted[name] = values
	}
	n, more := 0, ""
	if err := ask(io.Discard, admin, http.MethodGet, inboxTarget("", counted), func(_ io.Writer, v adminapi.Inbox) error {
		if n = len(v.Deliveries); v.More {
			more = " or more"
		}
		return nil
	}); err != nil || n < 2 {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Discard %d%s %s? The app will not get them. [y/N] ", n, more, plain(what))
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && answer == "" {
		return errors.New("no answer: add --yes to discard without a question")
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return negative("nothing is discarded")
	}
	return nil
}

// changeInbox replays or discards until nothing is left to change.
func changeInbox(cmd *cobra.Command, admin *adminFlags, method, path string, query url.Values, did string) error {
	total, more, after := 0, true, uint64(0)
	for more {
		if err := ask(cmd.OutOrStdout(), admin, method, inboxTarget(path, query), func(_ io.Writer, c adminapi.InboxChanged) error {
			total, more = total+c.Changed, c.More && query != nil
			if more && c.After <= after { // it would never end
				return &adminError{http.StatusOK, notVerifyWebhook}
			}
			if after = c.After; more {
				query.Set("after", strconv.FormatUint(after, 10))
			}
			if c.Note != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "Note:", plain(c.Note))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if total == 0 {
		return negative("the inbox has no such delivery")
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %d\n", did, total)
	return err
}

func inboxPauseCommand(word, short, long string) *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: word + " <name> [--address <admin>]", Short: short,
		Long:    long + "\n\nExit status: 0, or 2 if the endpoint cannot be reached or the name is unknown.",
		Example: "  caddy webhook inbox " + word + " stripe",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("pass the name of one handler: see %s --help", cmd.CommandPath())
			}
			return ask(cmd.OutOrStdout(), &admin, http.MethodPost, inboxTarget("/"+word, url.Values{"name": args}), func(w io.Writer, p adminapi.InboxPaused) error {
				text := "Resumed: deliveries of %s are sent to the app.\n"
				if p.Paused {
					text = "Paused: deliveries of %s are stored and not sent.\n"
				}
				_, err := fmt.Fprintf(w, text, plain(p.Name))
				return err
			})
		},
	}
	admin.register(cmd)
	cmd.ValidArgsFunction = once(admin.completeNames())
	return cmd
}
