package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

func printInbox(w io.Writer, v adminapi.Inbox) error {
	now := time.Now()
	t := newTable(w)
	printInboxEngine(t, v.InboxEngine)
	fmt.Fprintln(t)
	printQueues(t, v.Queues, now)
	for _, r := range v.Retained {
		fmt.Fprintf(t, "\nno longer configured, and delivered as long as this process runs: %s\n", plain(r.Inbox))
		if r.Problem != "" {
			fmt.Fprintf(t, "not open: %s\n", plain(r.Problem))
		}
		printQueues(t, r.Queues, now)
	}
	if len(v.Deliveries) > 0 {
		fmt.Fprintln(t, "\nDELIVERY\tHANDLER\tSTATE\tRECEIVED\tATTEMPTS\tSTATUS\tNEXT\tKEY")
	}
	for _, e := range v.Deliveries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", e.Key, plain(e.Name), e.State, ago(&e.Received, now), e.Attempts, lastStatus(e), nextText(e, now), plain(e.Label))
	}
	if v.More {
		fmt.Fprintln(t, "\nThere may be more: add --limit")
	}
	return t.flush()
}

func printQueues(t io.Writer, queues []adminapi.InboxQueue, now time.Time) {
	if len(queues) == 0 {
		fmt.Fprintln(t, "Nothing is stored.")
	} else {
		fmt.Fprintln(t, "HANDLER\tPENDING\tIN ATTEMPT\tDEAD\tKEPT\tLOCKED\tSIZE\tOLDEST\tAPP")
	}
	for _, q := range queues {
		name := ofTenant(q.Name, q.Tenant)
		oldest := "-"
		if q.Oldest != nil {
			oldest = ago(q.Oldest, now)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", plain(name), q.Pending, q.InAttempt, q.Dead, q.Delivered, q.Locked,
			humanize.IBytes(uint64(q.Bytes)), oldest, appState(q, now))
	}
}

// printInboxEngine says whether deliveries are stored.
func printInboxEngine(w io.Writer, e adminapi.InboxEngine) {
	if e.Kind == "" {
		fmt.Fprintln(w, "inbox\tnone configured")
		return
	}
	health := "healthy"
	if e.Problem != "" {
		health = "NOT STORING, deliveries go to the app immediately: " + plain(e.Problem)
	}
	fmt.Fprintf(w, "inbox\t%s, %s; %s of %s", e.Kind, health, humanize.IBytes(uint64(e.Bytes)), humanize.IBytes(uint64(e.Limit)))
	if e.ID != "" {
		fmt.Fprintf(w, "; id %s", plain(e.ID))
	}
	if e.Unwritten > 0 {
		fmt.Fprintf(w, "; results waiting to be written: %d", e.Unwritten)
	}
	if e.Damaged > 0 {
		fmt.Fprintf(w, "; damaged records: %d", e.Damaged)
	}
	fmt.Fprintln(w)
}

// appState is what a queue's attempts depend on.
func appState(q adminapi.InboxQueue, now time.Time) string {
	var all []string
	if !q.Configured {
		all = append(all, "no handler of this name here")
	}
	if q.Paused {
		all = append(all, "paused")
	}
	if q.DownSince != nil {
		all = append(all, "went down "+ago(q.DownSince, now))
	}
	if len(all) == 0 {
		return "up"
	}
	return strings.Join(all, "; ")
}

func statusText(status int) string {
	if status == 0 {
		return "-"
	}
	return strconv.Itoa(status)
}

// lastStatus is the app's, or that of a route above the handler.
func lastStatus(e adminapi.InboxEntry) string {
	if e.Refused {
		return statusText(e.Status) + " of a route"
	}
	return statusText(e.Status)
}

// nextText says what happens to a delivery next, and when.
func nextText(e adminapi.InboxEntry, now time.Time) string {
	switch {
	case e.Waits == "handler":
		return "no handler of this name here"
	case e.Waits == "route":
		return "when it reaches its handler"
	case e.State == "delivered" && e.Due != nil:
		return "removed " + ago(e.Due, now)
	case e.Due == nil:
		return "-"
	case e.Waits == "app":
		return ago(e.Due, now) + ", or when the app answers"
	case e.Waits == "turn":
		return "after what else is due"
	case !e.Due.After(now):
		return "due"
	}
	return ago(e.Due, now)
}

func printStored(w io.Writer, d adminapi.InboxDetail) error {
	now := time.Now()
	t := &table{w: w}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, plain(value))
		}
	}
	line("delivery", d.Key)
	line("handler", d.Name)
	line("tenant", d.Tenant)
	line("state", d.State)
	if d.State == "pending" || d.State == "delivered" {
		line("next", nextText(d.InboxEntry, now))
	}
	line("received", d.Received.Local().Format(time.RFC3339))
	line("tried since", d.Since.Local().Format(time.RFC3339))
	line("attempts", strconv.Itoa(d.Attempts))
	if d.Refused {
		line("refused with", statusText(d.Status)+", by a route above the handler")
	} else {
		line("app's status", statusText(d.Status))
	}
	line("key", d.Label)
	line("id", d.ID)
	line("event", d.Event)
	if d.Timestamp != nil {
		line("timestamp", d.Timestamp.Local().Format(time.RFC3339))
	}
	line("remote", d.Remote)
	line("request", strings.TrimSpace(d.Method+" "+d.URL))
	line("host", d.Host)
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		for _, value := range d.Headers[name] {
			line("header", name+": "+value)
		}
	}
	if d.Body.Read {
		line("body", bodyText(d.Body))
	}
	line("note", d.Note)
	if err := t.flush(); err != nil || d.Content == nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", plainLines(string(d.Content)))
	return err
}

// plainLines is plain for a text of several lines.
func plainLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = plain(strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
