package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/caddyserver/xcaddy"
)

// remedies say what usually helps if a step of xcaddy fails. The step's output, which
// the user has already seen, says what went wrong.
var remedies = map[xcaddy.Step]string{
	xcaddy.StepPinVersions: "a version or a package that does not exist, or no access to the Go module proxy",
	xcaddy.StepTidyModule:  "no access to the Go module proxy",
	xcaddy.StepCompile:     "a plugin that does not fit this version of Caddy, or a package that is not in the folder of its module",
}

// build runs xcaddy with its output on standard error.
func build(ctx context.Context, c *config) error {
	b, err := c.builder()
	if err != nil {
		return err
	}
	var failed xcaddy.Step
	b.OnStep = func(e *xcaddy.StepEvent) error {
		if e.Step != xcaddy.StepCleanup { // always the last one, whatever failed
			failed = e.Step
		}
		_, err := io.Copy(os.Stderr, e.Output)
		return err
	}
	// The output ends up in public CI logs; the address of a private module proxy may
	// contain a password.
	b.RedactCredentials = true

	err = b.Build(ctx, c.Output)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		hint, ok := remedies[failed]
		if !ok {
			hint = "see xcaddy's output above"
		}
		return fmt.Errorf("building Caddy %s: xcaddy's step %s failed: %w (see its output above; usually: %s)", c.Caddy, failed, err, hint)
	}
	return nil
}

// checkModules runs the new program and looks for the expected modules: a plugin may
// compile without registering anything.
func checkModules(ctx context.Context, c *config) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Output, "list-modules")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s was built, but does not start: %w: %s", c.Output, err, strings.TrimSpace(stderr.String()))
	}
	if missing := missingModules(string(out), c.Expect); len(missing) > 0 {
		return fmt.Errorf("%s was built, but does not list %s: no [[plugin]] registers that; add the plugin, or correct expect",
			c.Output, strings.Join(missing, ", "))
	}
	return nil
}

// missingModules returns those of want that "caddy list-modules" does not list.
func missingModules(listing string, want []string) []string {
	lines := strings.Split(listing, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	var missing []string
	for _, id := range want {
		if !slices.Contains(lines, id) {
			missing = append(missing, id)
		}
	}
	return missing
}
