package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// rejectionsCommand is "caddy webhook rejections".
func rejectionsCommand() *cobra.Command {
	var admin adminFlags
	var name string
	cmd := &cobra.Command{
		Use:   "rejections [<id>] [--name <name>] [--json] [--address <admin>]",
		Short: "Lists refused deliveries, or explains one",
		Long: `
Asks the admin endpoint of a running Caddy for the newest deliveries whose
verification failed (keep_rejected says how many are kept of each handler).

Without an argument: a list, newest first. With an id, which stands in the list
and as rejection in the log: the whole request but its body, with credentials
redacted, and a hint: which usual mistake would explain it, and what to change.

Exit status: 0, or 2 if the endpoint cannot be reached, or the id or the name is
unknown.`,
		Example: `  caddy webhook rejections
  caddy webhook rejections --name stripe
  caddy webhook rejections 3f9a52c07d1e
  caddy webhook rejections --json --address localhost:2020`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args, "id"); err != nil {
				return err
			}
			if len(args) == 0 {
				return ask(cmd.OutOrStdout(), &admin, http.MethodGet, adminapi.RejectionsPath+nameQuery(name), printRejections)
			}
			if name != "" {
				return errors.New("an id or --name, not both: an id is of one handler")
			}
			err := ask(cmd.OutOrStdout(), &admin, http.MethodGet, adminapi.RejectionsPath+"/"+url.PathEscape(args[0]), printRejection)
			if e, ok := errors.AsType[*adminError](err); ok && e.status == http.StatusNotFound {
				return fmt.Errorf("no rejection %q is kept (any more): caddy webhook rejections lists them", args[0])
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Only those of the handler of this `name`")
	admin.register(cmd)
	admin.registerJSON(cmd)
	return cmd
}

func printRejections(w io.Writer, list []adminapi.Rejection) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No rejection is kept: none since the process started, or keep_rejected off.")
		return err
	}
	now := time.Now()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWHEN\tHANDLER\tREASON\tREMOTE\tREQUEST")
	for _, r := range list {
		reason := r.Reason
		if r.Observed {
			reason += " (observed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, ago(&r.Time, now), r.Name, reason, plain(r.Remote), plain(r.Method+" "+r.URL))
	}
	fmt.Fprintln(t, "\ncaddy webhook rejections <id> tells more, with a hint")
	return t.Flush()
}

func printRejection(w io.Writer, r adminapi.RejectionDetail) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, plain(value))
		}
	}
	outcome := "refused"
	if r.Observed {
		outcome = "let through (observe)"
	}
	line("rejection", r.ID+", "+outcome)
	line("time", r.Time.Local().Format(time.RFC3339))
	line("handler", r.Name)
	line("provider", r.Provider)
	line("reason", r.Reason)
	line("detail", r.Detail)
	line("skew", r.Skew)
	line("keys tried", strings.Join(r.Keys, ", "))
	line("remote", r.Remote)
	line("request", r.Method+" "+r.URL)
	line("host", r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		for _, value := range r.Headers[name] {
			line("header", name+": "+value)
		}
	}
	line("body", bodyText(r.Body))
	line("note", r.Note)
	line("hint", cmp.Or(r.Hint, firstRemedy(r.Reason)))
	return t.Flush()
}

func bodyText(b adminapi.Body) string {
	switch {
	case !b.Read && b.Declared != nil:
		return fmt.Sprintf("not read, %d bytes declared", *b.Declared)
	case !b.Read:
		return "not read"
	}
	text := fmt.Sprintf("%d bytes, SHA-256 %s", b.Bytes, b.SHA256)
	if b.ContentType != "" {
		text += ", " + b.ContentType
	}
	if b.Truncated {
		text += ", kept in part"
	}
	return text
}
