// Package option reads what blocks of the Caddyfile have in common: options that must
// not be repeated, unknown ones, sizes, durations and guest modules; and finds empty
// texts and missing modules in JSON. Errors say what to write, and never repeat a word
// that may be a secret.
package option

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
)

// Module reads the block of a guest module of a kind, store or inbox, from its name on:
// set is called with each option. Options may not be repeated, except those listed.
func Module(d *caddyfile.Dispenser, kind string, set func(option string, args []string) error, repeatable ...string) error {
	d.Next() // consume the module's name
	what := kind + " " + d.Val()
	if d.NextArg() {
		return d.Errf("%s: write the options in a block", what)
	}
	_, err := Block(d, what, set, repeatable...)
	return err
}

// Block reads the block that follows, of the option or module what, and returns the
// number of its options: set is called with each. Options may not be repeated, except
// those listed.
func Block(d *caddyfile.Dispenser, what string, set func(option string, args []string) error, repeatable ...string) (n int, err error) {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); n++ {
		word := d.Val()
		if seen[word] && !slices.Contains(repeatable, word) {
			return n, d.Errf("%s: %s is already set: remove one", what, word)
		}
		seen[word] = true
		if err := set(word, d.RemainingArgs()); err != nil {
			return n, d.Errf("%s: %v", what, err)
		}
	}
	return n, nil
}

// Unknown is the error for an unknown word at the start of a line. The word is repeated
// only if it is a near miss: it may be a misplaced secret.
func Unknown(word string, known ...string) error {
	if near := nearest.Of(word, known); near != "" {
		return fmt.Errorf("unknown option %s: did you mean %s?", word, near)
	}
	return errors.New("a line begins with an unknown option (not repeated here, as it may be a secret): known are " + strings.Join(known, ", "))
}

// Size parses one size: 1MiB, 500KB, 1048576.
func Size(args []string) (int64, error) {
	if len(args) != 1 {
		return 0, fmt.Errorf("takes one size, such as 1MiB, not %d arguments", len(args))
	}
	size, err := humanize.ParseBytes(args[0])
	if err != nil || size == 0 || size > 1<<50 {
		return 0, errors.New("write a positive size, such as 1MiB")
	}
	return int64(size), nil
}

// Duration parses a positive duration.
func Duration(arg string) (*caddy.Duration, error) {
	d, err := caddy.ParseDuration(arg)
	if err != nil || d <= 0 {
		return nil, errors.New("write a positive duration, such as 10s")
	}
	return new(caddy.Duration(d)), nil
}
