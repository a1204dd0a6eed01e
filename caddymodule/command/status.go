package command

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// statusCommand is "caddy webhook status".
func statusCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "status [<name>] [--json] [--address <admin>]...",
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

With several --address, it prints the status of each gateway under its address.

Exit status: 0, or 2 if an endpoint cannot be reached or the name is unknown.`,
		Example: `  caddy webhook status
  caddy webhook status stripe
  caddy webhook status --json --address localhost:2020
  caddy webhook status --address unix//run/caddy-admin.sock
  caddy webhook status --address gateway-1:2019 --address gateway-2:2019`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := atMostOne(cmd, args, "name"); err != nil {
				return err
			}
			instances, err := admin.instances()
			if err != nil {
				return err
			}
			target := adminapi.StatusPath + nameQuery(strings.Join(args, ""))
			if len(instances) == 1 {
				return ask(cmd.OutOrStdout(), instances[0], http.MethodGet, target, printStatus)
			}
			all := []instanceStatus{}
			missing := gather(cmd.ErrOrStderr(), instances, target, func(instance string, s adminapi.Status) {
				all = append(all, instanceStatus{instance, s})
			})
			return printGathered(cmd.OutOrStdout(), admin.json, all, missing, printStatuses)
		},
	}
	admin.registerInstances(cmd)
	admin.registerJSON(cmd)
	cmd.ValidArgsFunction = once(admin.completeNames())
	return cmd
}

// An instanceStatus is the status of a gateway, with its address if several were asked.
type instanceStatus struct {
	Instance string `json:"instance,omitempty"`
	adminapi.Status
}

// printStatuses prints one after the other.
func printStatuses(w io.Writer, all []instanceStatus) error {
	for i, s := range all {
		if i > 0 {
			fmt.Fprint(w, "\n\n")
		}
		if err := printInstance(w, s); err != nil {
			return err
		}
	}
	return nil
}

func printStatus(w io.Writer, s adminapi.Status) error {
	return printInstance(w, instanceStatus{Status: s})
}

func printInstance(w io.Writer, s instanceStatus) error {
	now := time.Now()
	t := newTable(w)
	health := "healthy"
	if s.Store.Degraded {
		health = "DEGRADED: " + plain(s.Store.Problem)
	}
	if s.Instance != "" {
		fmt.Fprintf(t, "instance\t%s\n", s.Instance)
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
	return t.flush()
}

// printCounts lists what each handler has counted: PROVIDER only if a handler is not called
// like its own, and in a second list what few handlers have.
func printCounts(w io.Writer, handlers []adminapi.Handler, now time.Time) {
	provider := func(string) string { return "" }
	if slices.ContainsFunc(handlers, func(h adminapi.Handler) bool { return h.Provider != h.Name }) {
		provider = func(cell string) string { return "\t" + cmp.Or(cell, "-") }
	}
	fmt.Fprintf(w, "\nHANDLER%s\tDELIVERED\tFAILED\tDUPLICATES\tREJECTED\tLAST DELIVERED\n", provider("PROVIDER"))
	for _, h := range handlers {
		fmt.Fprintf(w, "%s%s\t%d\t%d\t%d\t%d\t%s\n", h.Name, provider(h.Provider), h.Delivered, total(h.Failed), h.Duplicates, total(h.Rejected), ago(h.LastDelivered, now))
	}
	heading := "\nHANDLER\tOBSERVED\tHANDSHAKES\n"
	for _, h := range handlers {
		if observed := total(h.Observed); observed+h.Handshakes > 0 {
			fmt.Fprintf(w, "%s%s\t%d\t%d\n", heading, h.Name, observed, h.Handshakes)
			heading = ""
		}
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
