package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// registerInstances registers the flags of a command that asks several gateways.
func (f *adminFlags) registerInstances(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.addresses, "address", nil, "Admin `endpoint` (default: localhost:2019); repeatable")
	completeFlag(cmd, "address", cobra.NoFileCompletions)
	f.registerConfig(cmd)
}

// instances returns the flags for each gateway, with its address.
func (f *adminFlags) instances() (all []*adminFlags, err error) {
	addresses := f.addresses
	if len(addresses) == 0 {
		addresses = []string{f.address}
	}
	for _, address := range addresses {
		one := *f
		one.address = address
		if one.address, err = one.endpoint(); err != nil {
			return nil, err
		}
		all = append(all, &one)
	}
	return all, nil
}

// of names the gateway in an error that does not.
func (f *adminFlags) of(err error) error {
	if _, ok := errors.AsType[*adminError](err); ok {
		return fmt.Errorf("%s: %w", f.address, err)
	}
	return err
}

// gather asks each gateway, and hands over its address, "" if it is the only one, with its
// answer. One that does not answer hides none of the others; the error says how many
// did not.
func gather[T any](errs io.Writer, instances []*adminFlags, target string, each func(instance string, answer T)) error {
	failed := 0
	for _, one := range instances {
		_, answer, err := read[T](one, http.MethodGet, target)
		switch {
		case err != nil && len(instances) == 1:
			return err
		case err != nil:
			failed++
			fmt.Fprintln(errs, one.of(err))
		case len(instances) == 1:
			each("", answer)
		default:
			each(one.address, answer)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d instances did not answer", failed, len(instances))
	}
	return nil
}

// printGathered prints what several gateways answered, unless it is nothing because one did
// not answer.
func printGathered[T any](w io.Writer, asJSON bool, all []T, missing error, print func(io.Writer, []T) error) error {
	var err error
	switch {
	case asJSON:
		err = writeJSON(w, all, "\t")
	case len(all) > 0 || missing == nil:
		err = print(w, all)
	}
	if err == nil {
		err = missing
	}
	return err
}

// An absent is a negative because an instance does not know what it was asked about:
// another may.
type absent struct{ error }

func (a absent) Unwrap() error { return a.error }

// onEach changes something at each gateway, and prints with several which one said what.
// It succeeds if one of them does and all others, at most, do not know the thing.
func (f *adminFlags) onEach(out, errs io.Writer, change func(one *adminFlags, w io.Writer) error) error {
	all, err := f.instances()
	if err != nil {
		return err
	}
	if len(all) == 1 {
		return change(all[0], out)
	}
	done, failed := 0, 0
	refused := false
	for _, one := range all {
		var said bytes.Buffer
		err := change(one, &said)
		for line := range strings.Lines(said.String()) {
			fmt.Fprintf(out, "%s: %s", one.address, line)
		}
		_, unknown := errors.AsType[absent](err)
		no, negated := errors.AsType[negative](err)
		switch {
		case err == nil:
			done++
		case !negated:
			failed++
			fmt.Fprintln(errs, one.of(err))
		case no != "":
			fmt.Fprintf(out, "%s: %v\n", one.address, err)
		}
		refused = refused || negated && !unknown
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d instances failed: repeat it for them", failed, len(all))
	case refused || done == 0:
		return negative("")
	}
	return nil
}
