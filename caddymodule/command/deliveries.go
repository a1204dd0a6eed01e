package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
)

// deliveriesCommand is "caddy webhook deliveries".
func deliveriesCommand() *cobra.Command {
	var admin adminFlags
	var name, tenant, outcome, event, id string
	var limit int
	var following bool
	cmd := &cobra.Command{
		Use:   "deliveries [--name <name>] [--tenant <tenant>] [--outcome <outcome>] [--event <event>] [--id <sender's id>] [--limit <n>] [--follow] [--json] [--address <admin>]",
		Short: "Lists what became of the newest genuine deliveries",
		Long: `
Asks the admin endpoint of a running Caddy for the newest deliveries whose
signature was valid (keep_deliveries says how many are kept of each handler), and
prints them newest first: when each arrived, its handler and tenant, its outcome, what the app answered
and in which time, which attempt of the delivery it was, the sender's event and id,
and the delivery's key for caddy webhook forget.

Outcomes are delivered, failed, stored, duplicate, handshake, and rejected for those that
were refused after their signature was verified. All filters are exact. Refused
requests are another list: caddy webhook rejections.

With --follow: the newest ten, oldest first, then each delivery as it ends, until
the command is interrupted. It connects again when Caddy reloads or restarts.
With --json, too, each is one line.

Exit status: 0, or 2 if the endpoint cannot be reached or the name is unknown.`,
		Example: `  caddy webhook deliveries --name stripe --outcome failed
  caddy webhook deliveries --id evt_1NG8Du2eZvKYlo2CUI79vXWy
  caddy webhook deliveries --follow
  caddy webhook deliveries --follow --json --address localhost:2020`,
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
			if !following {
				return ask(cmd.OutOrStdout(), &admin, http.MethodGet, target, printDeliveries)
			}
			f := follower{admin: &admin, target: target, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}
			return f.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Only those of the handler of this `name`")
	cmd.Flags().StringVar(&tenant, "tenant", "", "Only those of this `tenant`")
	cmd.Flags().StringVar(&outcome, "outcome", "", "Only those with this `outcome`")
	cmd.Flags().StringVar(&event, "event", "", "Only those of this `event`, as the sender names it")
	cmd.Flags().StringVar(&id, "id", "", "Only those with this `id` of the sender's")
	cmd.Flags().IntVar(&limit, "limit", 256, "The newest `n` of them")
	cmd.Flags().BoolVarP(&following, "follow", "f", false, "Go on with each delivery as it ends")
	admin.register(cmd)
	admin.registerJSON(cmd)
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
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No such delivery is kept: none since the process started, or keep_deliveries off.")
		return err
	}
	now := time.Now()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\t"+strings.Join(deliveryColumns, "\t"))
	for _, d := range list {
		fmt.Fprintln(t, ago(&d.Time, now)+"\t"+strings.Join(deliveryCells(d), "\t"))
	}
	return t.Flush()
}

// A follower prints deliveries as they end, over several connections: the endpoint
// ends a stream when its configuration is reloaded.
type follower struct {
	admin     *adminFlags
	target    string
	out, errs io.Writer
	last      string // the cursor of the newest that was printed
	begun     bool   // a connection has been made, and the heading printed
	unwritten error  // why nothing can be printed any more
}

// followPause lies between two attempts to connect again, and maxRefusals is how
// many answers in a row that are errors end the command: the endpoint of a Caddy
// that restarts has no handlers for a moment, one that was reconfigured for good.
var followPause = 500 * time.Millisecond

const maxRefusals = 10

func (f *follower) run(ctx context.Context) error {
	for refusals, told := 0, false; ; {
		err := f.connect(ctx)
		_, refused := errors.AsType[*adminError](err)
		if refused {
			refusals++
		} else {
			refusals = 0
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case f.unwritten != nil:
			return f.unwritten
		case err != nil && !f.begun, refusals == maxRefusals:
			return err
		case err != nil && !told:
			fmt.Fprintf(f.errs, "%v; connecting again\n", err)
		}
		told = err != nil
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// connect prints one stream to its end. The error is that there is none.
func (f *follower) connect(ctx context.Context) error {
	header := http.Header{"Accept": {"text/event-stream"}}
	if f.last != "" {
		header.Set("Last-Event-ID", f.last)
	}
	resp, err := f.admin.request(http.MethodGet, f.target, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return &adminError{resp.StatusCode, notVerifyWebhook}
	}
	if !f.begun {
		f.begun = true
		_ = f.line("TIME", deliveryColumns) // what fails fails again below
	}
	page.Events(resp.Body, func(event, _, data string) bool {
		f.unwritten = f.print(event, data)
		return f.unwritten == nil
	})
	return nil
}

// print prints one event.
func (f *follower) print(event, data string) error {
	if event == "missed" {
		_, err := fmt.Fprintln(f.errs, "some deliveries are missing here: more came than are kept")
		return err
	}
	var d adminapi.Delivery
	if event != "" || json.Unmarshal([]byte(data), &d) != nil {
		return nil // of a later version
	}
	f.last = d.Cursor
	if f.admin.json {
		return writeJSON(f.out, json.RawMessage(data), "")
	}
	return f.line(d.Time.Local().Format(time.DateTime), deliveryCells(d))
}

// line prints a line whose columns are as wide as most of them need: what comes
// next is not known.
func (f *follower) line(at string, cells []string) error {
	if f.admin.json {
		return nil
	}
	text := fmt.Sprintf("%-19s  %-12s  %-20s  %-6s  %-8s  %-7s  %-24s  %-36s  %-8s  %s", append([]any{at}, anys(cells)...)...)
	_, err := fmt.Fprintln(f.out, text)
	return err
}

func anys(texts []string) (all []any) {
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}
