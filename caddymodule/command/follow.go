package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/page"
)

// follow prints the deliveries of all gateways as they end, until each stream has ended
// for good.
func follow(cmd *cobra.Command, instances []*adminFlags, target string) error {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	out, errs, heading := &lines{w: cmd.OutOrStdout()}, &lines{w: cmd.ErrOrStderr()}, new(sync.Once)
	ended := make(chan error, len(instances))
	for _, one := range instances {
		f := &follower{admin: one, target: target, out: out, errs: errs, heading: heading}
		if len(instances) > 1 {
			f.instance = one.address
		}
		go func() {
			err := f.run(ctx)
			if f.unwritten != nil {
				stop() // nobody reads the others
			}
			ended <- one.of(err)
		}()
	}
	var result error
	for left := len(instances); left > 0; left-- {
		err := <-ended
		if err != nil && left > 1 {
			fmt.Fprintln(errs, err)
		}
		if result == nil {
			result = err
		}
	}
	return result
}

// lines are written whole by several followers.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A follower prints deliveries as they end, over several connections: the endpoint
// ends a stream when its configuration is reloaded.
type follower struct {
	admin     *adminFlags
	target    string
	instance  string // its address; "" if it is the only one
	out, errs io.Writer
	heading   *sync.Once
	last      string // the cursor of the newest that was printed
	begun     bool   // a connection has been made
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
			fmt.Fprintf(f.errs, "%v; connecting again\n", f.admin.of(err))
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
	f.begun = true
	f.heading.Do(func() { _ = f.line("TIME", "INSTANCE", deliveryColumns) }) // what fails fails again below
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
		if f.instance != "" {
			return writeJSON(f.out, instanceDelivery{f.instance, d}, "")
		}
		return writeJSON(f.out, json.RawMessage(data), "")
	}
	return f.line(d.Time.Local().Format(time.DateTime), f.instance, deliveryCells(d))
}

// line prints a line whose columns are as wide as most of them need: what comes
// next is not known.
func (f *follower) line(at, instance string, cells []string) error {
	if f.admin.json {
		return nil
	}
	if f.instance != "" {
		at = fmt.Sprintf("%-19s  %-*s", at, len(f.instance), instance)
	}
	text := fmt.Sprintf("%-19s  %-12s  %-20s  %-6s  %-8s  %-7s  %-24s  %-36s  %-8s  %s", append([]any{at}, anys(cells)...)...)
	_, err := fmt.Fprintln(f.out, plain(text))
	return err
}

func anys(texts []string) (all []any) {
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}
