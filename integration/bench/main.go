// Command bench measures what a delivery costs: our gateway, plain Caddy and, where
// they are installed, others, side by side in one run.
//
//	go run ./integration/bench -quick    # a minute
//	go run ./integration/bench           # a quarter of an hour
//
// Gateway, app and generator are processes of their own on the loopback interface. Each
// round measures every candidate once, and begins with another one; ratios are taken
// within a round. Every delivery is signed before its round and has an id of its own.
// An answer that is not the expected one, or a delivery that the app should not have or
// does not have, fails the run.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// role is the variable that makes a process of this program the app or the generator.
const role = "BENCH_ROLE"

func main() {
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// play does what the process is there for.
func play() error {
	switch os.Getenv(role) {
	case "app":
		return runApp(os.Args[1])
	case "generator":
		return runGenerator(os.Stdin, os.Stdout)
	}
	return bench(os.Args[1:], os.Stdout, os.Stderr)
}

// options are the flags.
type options struct {
	settings
	connections int
	bodies      []int
	candidates  *regexp.Regexp
	mixes       []string
	caddy       string
}

func parse(args []string, usage io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	quick := f.Bool("quick", false, "fewer candidates and shorter rounds: about a minute")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "of a round's closed loop: each connection sends the next delivery when the last is answered")
	f.DurationVar(&o.latency, "latency", 2*time.Second, "of a round's open loop at -rate, for the percentiles; 0: none")
	f.Float64Var(&o.rate, "rate", 1000, "deliveries a second in the open loop")
	f.IntVar(&o.rounds, "rounds", 7, "how often each candidate is measured")
	f.IntVar(&o.connections, "connections", 16, "of the generator")
	f.StringVar(&o.caddy, "caddy", "", "a build of cmd/caddy to measure (default: builds one)")
	bodies := f.String("bodies", "1024", "sizes in bytes, with commas")
	names := f.String("candidates", ".", "a regular expression of their names")
	mixes := f.String("mixes", strings.Join([]string{fresh, forged, unsigned, stale, duplicate}, ","), "what is sent, with commas")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		set := make(map[string]bool)
		f.Visit(func(f *flag.Flag) { set[f.Name] = true })
		if !set["duration"] {
			o.duration = time.Second
		}
		if !set["latency"] {
			o.latency = time.Second
		}
		if !set["rounds"] {
			o.rounds = 5
		}
		if !set["candidates"] {
			*names = "^(plain|plain-buffers|memory|memory-buffers)$"
		}
	}
	if o.candidates, err = regexp.Compile(*names); err != nil {
		return o, err
	}
	for _, text := range strings.Split(*bodies, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 64 {
			return o, fmt.Errorf("-bodies %s: sizes of at least 64 bytes, such as 256,1024", *bodies)
		}
		o.bodies = append(o.bodies, n)
	}
	o.mixes = strings.Split(*mixes, ",")
	for _, mix := range o.mixes {
		if !slices.Contains([]string{fresh, forged, unsigned, stale, duplicate}, mix) {
			return o, fmt.Errorf("-mixes %s: there is no %q", *mixes, mix)
		}
	}
	return o, nil
}

// bench runs what the flags say, and prints tables.
func bench(args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	o.progress = progress
	e, err := newEnvironment(o.caddy)
	if err != nil {
		return err
	}
	defer e.close()
	for _, g := range o.groups() {
		if err := e.serve(g, o); err != nil {
			return err
		}
		g.print(out)
	}
	return nil
}

// groups are the tables of a run.
func (o options) groups() []*group {
	var all []*group
	for i, body := range o.bodies {
		g := &group{id: fmt.Sprint("body-", body), title: fmt.Sprintf("Bodies of %d bytes, %d connections", body, o.connections), body: body, connections: o.connections}
		for _, c := range candidates {
			if o.candidates.MatchString(c.name) || c.name == candidates[0].name {
				g.cases = append(g.cases, measuring{c.name, fresh})
			}
		}
		if i == 0 && o.candidates.MatchString("memory") {
			for _, mix := range o.mixes {
				if mix != fresh {
					g.cases = append(g.cases, measuring{"memory", mix})
				}
			}
		}
		all = append(all, g)
	}
	return all
}

// serve starts the candidates of a group, and measures it.
func (e *environment) serve(g *group, o options) error {
	servers := make(map[string]*server)
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	var kept []measuring
	for _, m := range g.cases {
		if servers[m.candidate] == nil {
			s, err := e.run(named(m.candidate))
			if errors.Is(err, errMissing) {
				g.missing = append(g.missing, err.Error())
				continue
			}
			if err != nil {
				return err
			}
			servers[m.candidate] = s
		}
		kept = append(kept, m)
	}
	g.cases = kept
	return e.measure(g, servers, o.settings)
}
