package command

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// statusCommand is "caddy webhook status".
func statusCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "status [<name>] [--json] [--address <admin>]",
		Short: "Shows counters and key usage of a running gateway",
		Long: `
Asks the admin endpoint of a running Caddy and prints, for each verify_webhook
handler or the named one: deliveries that the app answered with 2xx, failed at the
app, answered as duplicates, forwarded under observe and rejected, by reason; when
the app last answered 2xx; when each key last verified a delivery (after a rotation,
remove a key that no longer does); unusable key files; with tenants, how many have
their keys cached, look-ups of keys and the newest failure; with an inbox, the deliveries
stored since then, those pending and dead now, and those that could not be stored. For
all handlers: the health of the dedupe store and of the inbox, and the bytes of bodies
in memory. Counts start with the process;
"never" means not since then.

Exit status: 0, or 2 if the endpoint cannot be reached or the name is unknown.`,
		Example: `  caddy webhook status
  caddy webhook status stripe
  caddy webhook status --json --address localhost:2020
  caddy webhook status --address unix//run/caddy-admin.sock`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args, "name"); err != nil {
				return err
			}
			return ask(cmd.OutOrStdout(), &admin, http.MethodGet, adminapi.StatusPath+nameQuery(strings.Join(args, "")), printStatus)
		},
	}
	admin.register(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = admin.completeNames
	return cmd
}

func printStatus(w io.Writer, s adminapi.Status) error {
	now := time.Now()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	health := "healthy"
	if s.Store.Degraded {
		health = "DEGRADED: " + plain(s.Store.Problem)
	}
	fmt.Fprintf(t, "version\t%s\n", s.Version)
	fmt.Fprintf(t, "counted since\t%s (%s)\n", s.Since.Local().Format(time.RFC3339), ago(&s.Since, now))
	fmt.Fprintf(t, "store\t%s, %s\nremembered here\t%d deliveries, in flight: %d", s.Store.Kind, health, s.Store.Entries, s.Store.InFlight)
	if s.Store.Unwritten > 0 {
		fmt.Fprintf(t, ", waiting to be written: %d", s.Store.Unwritten)
	}
	fmt.Fprintln(t)
	if s.Inbox != nil {
		printInboxEngine(t, *s.Inbox)
	}
	fmt.Fprintf(t, "bodies in memory\t%s of %s\n", humanize.IBytes(uint64(s.BufferedBytes)), humanize.IBytes(uint64(s.MaxBuffered)))
	fmt.Fprintf(t, "rejections kept\t%d (%s)\n", s.Kept, humanize.IBytes(uint64(s.KeptBytes)))
	printCounts(t, s.Handlers, now)
	fmt.Fprintln(t, "\nHANDLER\tKEY\tLAST USED")
	for _, h := range s.Handlers {
		for _, k := range h.Keys {
			fmt.Fprintf(t, "%s\t%s\t%s\n", h.Name, plain(k.Label), ago(k.LastUsed, now))
		}
	}
	printTenants(t, s.Handlers)
	printStoredByHandler(t, s.Handlers, now)
	printReasons(t, s.Handlers)
	for _, h := range s.Handlers {
		for _, problem := range h.KeyProblems {
			fmt.Fprintf(t, "\n%s: key problem: %s\n", h.Name, plain(problem))
		}
		printTenantProblems(t, h, now)
	}
	return t.Flush()
}

// printCounts lists what each handler has counted. Columns that say nothing are left out:
// PROVIDER if all handlers are called like theirs, OBSERVED and HANDSHAKES if all are 0.
func printCounts(w io.Writer, handlers []adminapi.Handler, now time.Time) {
	renamed, observed, handshakes := false, false, false
	for _, h := range handlers {
		renamed = renamed || h.Provider != h.Name
		observed = observed || total(h.Observed) > 0
		handshakes = handshakes || h.Handshakes > 0
	}
	row := func(name, provider, delivered, failed, duplicates, rejected, seen, shaken, last any) {
		fmt.Fprintf(w, "%v\t", name)
		if renamed {
			fmt.Fprintf(w, "%v\t", provider)
		}
		fmt.Fprintf(w, "%v\t%v\t%v\t%v\t", delivered, failed, duplicates, rejected)
		if observed {
			fmt.Fprintf(w, "%v\t", seen)
		}
		if handshakes {
			fmt.Fprintf(w, "%v\t", shaken)
		}
		fmt.Fprintf(w, "%v\n", last)
	}
	fmt.Fprintln(w)
	row("HANDLER", "PROVIDER", "DELIVERED", "FAILED", "DUPLICATES", "REJECTED", "OBSERVED", "HANDSHAKES", "LAST DELIVERED")
	for _, h := range handlers {
		row(h.Name, cmp.Or(h.Provider, "-"), h.Delivered, total(h.Failed), h.Duplicates, total(h.Rejected), total(h.Observed), h.Handshakes, ago(h.LastDelivered, now))
	}
}

// printTenants lists what is cached for each handler that has tenants.
func printTenants(w io.Writer, handlers []adminapi.Handler) {
	heading := "\nHANDLER\tTENANTS CACHED\tOF AT MOST\tUNKNOWN NAMES\tLOOK-UPS\tUNKNOWN\tFAILED\tLIMITED\n"
	for _, h := range handlers {
		if t := h.Tenants; t != nil {
			n := t.Lookups
			fmt.Fprintf(w, "%s%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", heading, h.Name, t.Cached, t.Max, t.Unknown, total(n)-n["limited"], n["unknown"], n["failed"], n["limited"])
			heading = ""
		}
	}
}

func printTenantProblems(w io.Writer, h adminapi.Handler, now time.Time) {
	if h.Tenants == nil {
		return
	}
	if len(h.Tenants.Guessable) > 0 {
		fmt.Fprintf(w, "\n%s: tenants with a secret that may be guessed: %s\n", h.Name, plain(strings.Join(h.Tenants.Guessable, ", ")))
	}
	if p := h.Tenants.Problem; p != nil {
		fmt.Fprintf(w, "\n%s: key problem of tenant %s, %s: %s\n", h.Name, plain(p.Tenant), ago(&p.Time, now), plain(p.Text))
	}
}

// printStoredByHandler lists what the inbox holds for each handler that has one.
func printStoredByHandler(w io.Writer, handlers []adminapi.Handler, now time.Time) {
	heading := "\nHANDLER\tSTORED\tPENDING\tDEAD\tOLDEST\tNOT STORED\tAPP\n"
	for _, h := range handlers {
		q := h.Inbox
		if q == nil {
			continue
		}
		oldest := "-"
		if q.Oldest != nil {
			oldest = ago(q.Oldest, now)
		}
		fmt.Fprintf(w, "%s%s\t%d\t%d\t%d\t%s\t%d\t%s\n", heading, h.Name, total(h.Stored), q.Pending+q.InAttempt, q.Dead, oldest, total(h.Bypassed), appState(*q, now))
		heading = ""
	}
}

// printReasons lists why deliveries were rejected, or would have been, and why
// attempts failed at the app.
func printReasons(w io.Writer, handlers []adminapi.Handler) {
	heading := "\nHANDLER\tREASON\tREJECTED\tOBSERVED\tFAILED\n"
	for _, h := range handlers {
		reasons := make(map[string]uint64)
		maps.Copy(reasons, h.Rejected)
		maps.Copy(reasons, h.Observed)
		maps.Copy(reasons, h.Failed)
		for _, reason := range slices.Sorted(maps.Keys(reasons)) {
			fmt.Fprintf(w, "%s%s\t%s\t%d\t%d\t%d\n", heading, h.Name, reason, h.Rejected[reason], h.Observed[reason], h.Failed[reason])
			heading = ""
		}
	}
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
