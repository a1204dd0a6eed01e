package command

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

// deliveriesCommand is "caddy webhook deliveries".
func deliveriesCommand() *cobra.Command {
	var admin adminFlags
	var name, tenant, outcome, event, id string
	var limit int
	var following bool
	cmd := &cobra.Command{
		Use:   "deliveries",
		Short: "Lists what became of the newest genuine deliveries",
		Long: `
Asks the admin endpoint of a running Caddy for the newest deliveries whose
signature was valid (keep_deliveries says how many are kept of each handler),
and prints them newest first: when each arrived, its handler and tenant, its
outcome, what the app answered and how fast, which attempt of the delivery it
was, the sender's event and id, and the delivery's key for caddy webhook
forget. With several --address, it asks each gateway, and says which one had
the delivery.

Outcomes are delivered, failed, stored, duplicate, handshake, and rejected for
those that were refused after their signature was verified. All filters are
exact. Refused requests are another list: caddy webhook rejections.

With --follow: the newest ten, oldest first, then each delivery as it ends,
until the command is interrupted. It connects again when Caddy reloads or
restarts. With --json, too, each is one line.

Exit status: 0, or 2 if an endpoint cannot be reached or the name is unknown.`,
		Example: `  caddy webhook deliveries --name stripe --outcome failed
  caddy webhook deliveries --id evt_1NG8Du2eZvKYlo2CUI79vXWy
  caddy webhook deliveries --follow
  caddy webhook deliveries --follow \
    --address gateway-1:2019 --address gateway-2:2019`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("deliveries takes no argument: see %s --help", cmd.CommandPath())
			}
			query := make(url.Values)
			for param, value := range map[string]string{"name": name, "tenant": tenant, "outcome": outcome, "event": event, "id": id} {
				if value != "" {
					query.Set(param, value)
				}
			}
			switch {
			case cmd.Flags().Changed("limit"):
				query.Set("limit", strconv.Itoa(limit))
			case following:
				query.Set("limit", "10")
			}
			target := adminapi.DeliveriesPath
			if len(query) > 0 {
				target += "?" + query.Encode()
			}
			instances, err := admin.instances()
			switch {
			case err != nil:
				return err
			case following:
				return follow(cmd, instances, target)
			case len(instances) == 1:
				return ask(cmd.OutOrStdout(), instances[0], http.MethodGet, target, printDeliveries)
			}
			return listInstances(cmd, instances, target, limit)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Only those of the handler of this `name`")
	cmd.Flags().StringVar(&tenant, "tenant", "", "Only those of this `tenant`")
	cmd.Flags().StringVar(&outcome, "outcome", "", "Only those with this `outcome`")
	cmd.Flags().StringVar(&event, "event", "", "Only those of this `event`, as the sender names it")
	cmd.Flags().StringVar(&id, "id", "", "Only those with this `id` of the sender's")
	cmd.Flags().IntVar(&limit, "limit", 256, "The newest `n` of them")
	cmd.Flags().BoolVarP(&following, "follow", "f", false, "Go on with each delivery as it ends")
	admin.registerInstances(cmd)
	admin.registerJSON(cmd)
	completeFlag(cmd, "name", admin.completeNames())
	completeFlag(cmd, "outcome", cobra.FixedCompletions([]string{"delivered", "failed", "stored", "duplicate", "handshake", "rejected"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"tenant", "event", "id", "limit"} {
		completeFlag(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

var deliveryColumns = []string{"HANDLER", "OUTCOME", "STATUS", "APP", "ATTEMPT", "EVENT", "ID", "KEY", "DELIVERY"}

// deliveryCells are the columns of a delivery.
func deliveryCells(d adminapi.Delivery) []string {
	outcome := d.Outcome
	if d.Reason != "" {
		outcome += ": " + d.Reason
	}
	status, app := "-", "-"
	if d.Status != 0 {
		status = strconv.Itoa(d.Status)
	}
	if d.AppSeconds > 0 {
		took := time.Duration(d.AppSeconds * float64(time.Second))
		unit := 10 * time.Microsecond
		if took >= 100*time.Millisecond {
			unit = time.Millisecond
		}
		app = took.Round(unit).String()
	}
	return []string{ofTenant(d.Name, d.Tenant), outcome, status, app, strconv.Itoa(d.Attempt), orDash(d.Event), orDash(d.ID), plain(d.Key), orDash(d.Delivery)}
}

// ofTenant is the name of a handler in a list, with the tenant if it has tenants.
func ofTenant(name, tenant string) string {
	if tenant == "" {
		return plain(name)
	}
	return plain(name + "/" + tenant)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return plain(text)
}

func printDeliveries(w io.Writer, list []adminapi.Delivery) error {
	var all []instanceDelivery
	for _, d := range list {
		all = append(all, instanceDelivery{Delivery: d})
	}
	return printAll(w, all)
}

// printAll prints deliveries; those of several instances say which.
func printAll(w io.Writer, list []instanceDelivery) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No such delivery is kept: none since the process started, or keep_deliveries off.")
		return err
	}
	now := time.Now()
	t := &table{w: w}
	heading := "WHEN\t"
	if list[0].Instance != "" {
		heading = "WHEN\tINSTANCE\t"
	}
	fmt.Fprintln(t, heading+strings.Join(deliveryColumns, "\t"))
	for _, d := range list {
		cells := deliveryCells(d.Delivery)
		if d.Instance != "" {
			cells = append([]string{d.Instance}, cells...)
		}
		fmt.Fprintln(t, ago(&d.Time, now)+"\t"+strings.Join(cells, "\t"))
	}
	return t.flush()
}

// An instanceDelivery is a delivery, with the address of the gateway that had it if
// several were asked.
type instanceDelivery struct {
	Instance string `json:"instance,omitempty"`
	adminapi.Delivery
}

// listInstances prints the newest deliveries of several gateways. One that does not
// answer hides none of the others.
func listInstances(cmd *cobra.Command, instances []*adminFlags, target string, limit int) error {
	all := []instanceDelivery{}
	missing := gather(cmd.ErrOrStderr(), instances, target, func(instance string, list []adminapi.Delivery) {
		for _, d := range list {
			all = append(all, instanceDelivery{instance, d})
		}
	})
	slices.SortStableFunc(all, func(a, b instanceDelivery) int { return b.Time.Compare(a.Time) })
	return printGathered(cmd.OutOrStdout(), instances[0].json, all[:min(len(all), max(0, limit))], missing, printAll)
}
