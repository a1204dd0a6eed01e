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
	"os/signal"
	"syscall"
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

// bench runs what the flags say, and prints tables.
func bench(args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := newEnvironment(o.caddy)
	if err != nil {
		return err
	}
	defer e.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	go func() {
		<-interrupted
		e.abandon()
		os.Exit(1)
	}()
	if o.scale {
		return e.benchScale(o, out)
	}
	tables, texts := o.tables(), make(map[string]string)
	for _, t := range tables {
		if err := e.fill(t, o.settings); err != nil {
			return err
		}
		t.print(out)
		if t.id == "candidates" && o.wrk {
			if texts["generator"], err = e.crossCheck(t, o.settings); err != nil {
				return err
			}
			fmt.Fprint(out, "\n"+texts["generator"])
		}
	}
	if !o.write {
		return nil
	}
	return e.writePerformance(tables, texts)
}
