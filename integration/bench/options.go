package main

import (
	"flag"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	settings
	connections, entries int
	bodies               []int
	candidates, selected *regexp.Regexp
	mixes                []string
	caddy                string
	write, scale, wrk    bool
}

// quick are the flags of -quick.
var quick = map[string]string{
	"duration": "700ms", "latency": "500ms", "rounds": "5", "tables": "candidates", "wrk": "false",
	"candidates": "^(plain|plain-buffers|memory|memory-buffers)$",
}

func parse(args []string, progress io.Writer) (o options, err error) {
	o.progress = progress
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(progress)
	hurry := f.Bool("quick", false, "a minute instead of a quarter of an hour: few candidates, short rounds")
	f.DurationVar(&o.duration, "duration", 1500*time.Millisecond, "of a round's closed loop: each connection sends the next delivery when the last is answered")
	f.DurationVar(&o.latency, "latency", 1500*time.Millisecond, "of a round's open loop at -rate, for the percentiles; 0: none")
	f.Float64Var(&o.rate, "rate", 1000, "deliveries a second in the open loop; fewer, 100 MiB a second, if their bodies are large")
	f.IntVar(&o.rounds, "rounds", 7, "how often each candidate is measured")
	f.IntVar(&o.connections, "connections", 16, "of the generator; four times as many for the inbox")
	f.IntVar(&o.entries, "entries", 10*million, "the most done deliveries that -scale fills a store with, at the gateway's own speed")
	f.StringVar(&o.caddy, "caddy", "", "a build of cmd/caddy to measure (default: builds one)")
	f.BoolVar(&o.wrk, "wrk", true, "compare the generator with wrk, where it is installed")
	f.BoolVar(&o.write, "write", false, "put the tables and plots into docs/performance.md and docs/sizing.md")
	f.BoolVar(&o.scale, "scale", false, "other tables: what handlers, keys, tenants, entries of the store and headers cost, memory and disk")
	bodies := f.String("bodies", "1024,256,16384,262144,1048576", "sizes in bytes; the first is that of all other tables")
	names := f.String("candidates", ".", "a regular expression of their names")
	tables := f.String("tables", ".", "a regular expression of candidates, inbox, bodies, http2, senders; with -scale of handlers, keys, tenants, entries, headers, collector, stores, stored")
	kinds := f.String("mixes", strings.Join(mixes, ","), "what is sent")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *hurry {
		given := make(map[string]bool)
		f.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range quick {
			if !given[name] {
				_ = f.Set(name, value)
			}
		}
	}
	if o.candidates, err = regexp.Compile(*names); err != nil {
		return o, fmt.Errorf("-candidates: %w", err)
	}
	if o.selected, err = regexp.Compile(*tables); err != nil {
		return o, fmt.Errorf("-tables: %w", err)
	}
	for _, text := range strings.Split(*bodies, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 64 {
			return o, fmt.Errorf("-bodies %s: write sizes of at least 64 bytes, such as 256,1024", *bodies)
		}
		o.bodies = append(o.bodies, n)
	}
	o.mixes = strings.Split(*kinds, ",")
	for _, mix := range o.mixes {
		if !slices.Contains(mixes, mix) {
			return o, fmt.Errorf("-mixes %s: there is no %q, only %s", *kinds, mix, strings.Join(mixes, ", "))
		}
	}
	return o, nil
}
