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
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/internal/wrap"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// rejectionsCommand is "caddy webhook rejections".
func rejectionsCommand() *cobra.Command {
	var admin adminFlags
	var of rejectionFilter
	cmd := &cobra.Command{
		Use:   "rejections [<id> | latest] [--name <name>] [--reason <reason>]",
		Short: "Lists rejected deliveries, or explains one",
		Long: `
Asks the admin endpoint of a running Caddy for the latest deliveries whose
verification failed (keep_rejected sets how many each handler keeps).

Without an argument: a list, newest first. With an id, from the list or from
rejection in the log, with the beginning of one, or with latest: the request
without its body and with credentials redacted, and a hint: which common mistake
would explain it, and what to change.

With several --address, it lists those of each gateway, and says which one keeps
them; with an id, it asks one after the other until one has it.

Exit status: 0, or 2 if an endpoint cannot be reached or the id or name is
unknown.`,
		Example: `  caddy webhook rejections
  caddy webhook rejections --name stripe
  caddy webhook rejections 3f9a52c07d1e
  caddy webhook rejections latest --reason signature_mismatch
  caddy webhook rejections --json --address localhost:2020
  caddy webhook rejections 3f9a52c07d1e \
    --address gateway-1:2019 --address gateway-2:2019`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args, "id"); err != nil {
				return err
			}
			if len(args) > 0 && args[0] != latest && of != (rejectionFilter{}) {
				return errors.New("pass an id, or --name and --reason, not both: an id belongs to one rejection")
			}
			if of.reason != "" && !slices.Contains(rejectionReasons(), of.reason) {
				return fmt.Errorf("unknown reason %q: write one of %s", of.reason, strings.Join(rejectionReasons(), ", "))
			}
			instances, err := admin.instances()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listRejections(cmd, instances, of)
			}
			id, err := of.find(instances, args[0])
			if err != nil {
				return err
			}
			return findRejection(cmd, instances, id)
		},
	}
	cmd.Flags().StringVar(&of.name, "name", "", "Only rejections of the handler with this `name`")
	cmd.Flags().StringVar(&of.reason, "reason", "", "Only rejections for this `reason`")
	admin.registerInstances(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = once(admin.completeRejections())
	completeFlag(cmd, "name", admin.completeNames())
	completeFlag(cmd, "reason", cobra.FixedCompletions(rejectionReasons(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// latest, in place of an id, is the newest rejection.
const latest = "latest"

// A rejectionFilter says which rejections are listed.
type rejectionFilter struct{ name, reason string }

func rejectionReasons() (all []string) {
	for _, reason := range verifier.Reasons {
		all = append(all, string(reason))
	}
	return all
}

// read returns the rejections that the gateways keep, newest first. The error says how
// many did not answer.
func (f rejectionFilter) read(errs io.Writer, instances []*adminFlags) ([]instanceRejection, error) {
	all := []instanceRejection{}
	missing := gather(errs, instances, adminapi.RejectionsPath+nameQuery(f.name), func(instance string, list []adminapi.Rejection) {
		for _, r := range list {
			if f.reason == "" || r.Reason == f.reason {
				all = append(all, instanceRejection{instance, r})
			}
		}
	})
	slices.SortStableFunc(all, func(a, b instanceRejection) int { return b.Time.Compare(a.Time) })
	return all, missing
}

// idLength is the length of a whole id.
const idLength = 12

// find returns the whole id for a whole id, for the beginning of one, and for latest. It
// returns a text that no id begins with unchanged: asking for that says why there is none.
func (f rejectionFilter) find(instances []*adminFlags, text string) (id string, err error) {
	if text != latest && len(text) >= idLength {
		return text, nil
	}
	all, missing := f.read(io.Discard, instances)
	if text == latest {
		if len(all) == 0 {
			return "", cmp.Or(missing, errors.New("no rejection: none is kept, or keep_rejected is off"))
		}
		return all[0].ID, nil
	}
	var ids []string
	for _, r := range all {
		if strings.HasPrefix(r.ID, text) {
			ids = append(ids, r.ID)
		}
	}
	switch len(ids) {
	case 0:
		return text, nil
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%d rejections begin with %q: %s: write more of one", len(ids), text, strings.Join(ids[:min(len(ids), 4)], ", "))
}

// An instanceRejection is a rejection, with the address of the gateway that keeps it if
// several were asked.
type instanceRejection struct {
	Instance string `json:"instance,omitempty"`
	adminapi.Rejection
}

// listRejections prints the rejections of the gateways, newest first.
func listRejections(cmd *cobra.Command, instances []*adminFlags, of rejectionFilter) error {
	all, missing := of.read(cmd.ErrOrStderr(), instances)
	return printGathered(cmd.OutOrStdout(), instances[0].json, all, missing, printRejections)
}

// findRejection prints the rejection of the gateway that keeps it.
func findRejection(cmd *cobra.Command, instances []*adminFlags, id string) error {
	failed := 0
	for _, one := range instances {
		print := printRejection
		if len(instances) > 1 {
			print = func(w io.Writer, r adminapi.RejectionDetail) error {
				fmt.Fprintf(w, "%-12s%s\n", "instance", one.address)
				return printRejection(w, r)
			}
		}
		err := ask(cmd.OutOrStdout(), one, http.MethodGet, adminapi.RejectionsPath+"/"+url.PathEscape(id), print)
		e, ok := errors.AsType[*adminError](err)
		switch {
		case ok && e.status == http.StatusNotFound:
		case err == nil || len(instances) == 1:
			return err
		default:
			failed++
			fmt.Fprintln(cmd.ErrOrStderr(), one.of(err))
		}
	}
	if failed > 0 {
		return fmt.Errorf("no rejection %q, but %d of %d instances did not answer", id, failed, len(instances))
	}
	return fmt.Errorf("no rejection %q: it may have been evicted, or another instance keeps it; caddy webhook rejections lists those kept", id)
}

// printRejections prints rejections; those of several instances say which.
func printRejections(w io.Writer, list []instanceRejection) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No rejections: none since the process started, or keep_rejected is off.")
		return err
	}
	now := time.Now()
	t := newTable(w)
	heading := "ID\tWHEN\tHANDLER\tREASON\tREQUEST"
	if list[0].Instance != "" {
		heading = "ID\tINSTANCE\tWHEN\tHANDLER\tREASON\tREQUEST"
	}
	fmt.Fprintln(t, heading)
	for _, r := range list {
		id, reason := r.ID, r.Reason
		if r.Instance != "" {
			id += "\t" + r.Instance
		}
		if r.Observed {
			reason += " (observed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", id, ago(&r.Time, now), ofTenant(r.Name, r.Tenant), reason, shortened(r.Method+" "+r.URL, t.width > 0))
	}
	fmt.Fprintln(t, "\ncaddy webhook rejections <id> shows one in full, with a hint")
	return t.flush()
}

// maxRequest is how many characters of a request a list on a terminal shows. Anyone can
// send a long one.
const maxRequest = 60

func shortened(request string, onTerminal bool) string {
	request = plain(request)
	if all := []rune(request); onTerminal && len(all) > maxRequest {
		return string(all[:maxRequest-1]) + "…"
	}
	return request
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
	text := fmt.Sprintf("%d bytes", b.Bytes)
	if b.SHA256 != "" {
		text += ", SHA-256 " + b.SHA256
	}
	if b.ContentType != "" {
		text += ", " + b.ContentType
	}
	if b.Truncated {
		text += ", partly kept"
	}
	return text
}
