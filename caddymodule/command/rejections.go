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
	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
)

// rejectionsCommand is "caddy webhook rejections".
func rejectionsCommand() *cobra.Command {
	var admin adminFlags
	var name string
	cmd := &cobra.Command{
		Use:   "rejections [<id>] [--name <name>] [--json] [--address <admin>]",
		Short: "Lists rejected deliveries, or explains one",
		Long: `
Asks the admin endpoint of a running Caddy for the latest deliveries whose
verification failed (keep_rejected sets how many each handler keeps).

Without an argument: a list, newest first. With an id, from the list or from
rejection in the log: the request without its body and with credentials redacted,
and a hint: which common mistake would explain it, and what to change.

Exit status: 0, or 2 if the endpoint cannot be reached or the id or name is
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
				return errors.New("pass an id or --name, not both: an id belongs to one handler")
			}
			err := ask(cmd.OutOrStdout(), &admin, http.MethodGet, adminapi.RejectionsPath+"/"+url.PathEscape(args[0]), printRejection)
			if e, ok := errors.AsType[*adminError](err); ok && e.status == http.StatusNotFound {
				return fmt.Errorf("no rejection %q: it may have been evicted; caddy webhook rejections lists those kept", args[0])
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Only rejections of the handler with this `name`")
	admin.register(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return admin.completeRejections(cmd, args, word)
	}
	_ = cmd.RegisterFlagCompletionFunc("name", admin.completeNames) // fails only for an unknown flag
	return cmd
}

func printRejections(w io.Writer, list []adminapi.Rejection) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No rejections: none since the process started, or keep_rejected is off.")
		return err
	}
	now := time.Now()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWHEN\tHANDLER\tREASON\tREQUEST")
	for _, r := range list {
		reason := r.Reason
		if r.Observed {
			reason += " (observed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.ID, ago(&r.Time, now), ofTenant(r.Name, r.Tenant), reason, plain(r.Method+" "+r.URL))
	}
	fmt.Fprintln(t, "\ncaddy webhook rejections <id> shows one in full, with a hint")
	return t.Flush()
}

func printRejection(w io.Writer, r adminapi.RejectionDetail) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s%s\n", name, plain(value))
		}
	}
	prose := func(name, value string) {
		if value != "" {
			fmt.Fprint(w, wrap.Text(plain(value), fmt.Sprintf("%-12s", name), strings.Repeat(" ", 12)))
		}
	}
	outcome := "refused"
	if r.Observed {
		outcome = "forwarded (observe)"
	}
	line("rejection", r.ID+", "+outcome)
	line("time", r.Time.Local().Format(time.RFC3339))
	line("handler", r.Name)
	line("tenant", r.Tenant)
	line("provider", r.Provider)
	line("reason", r.Reason)
	prose("detail", r.Detail)
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
	prose("note", r.Note)
	prose("hint", cmp.Or(r.Hint, firstRemedy(r.Reason)))
	return nil
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
		text += ", partly kept"
	}
	return text
}
