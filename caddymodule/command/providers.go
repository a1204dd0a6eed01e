package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/internal/providerpage"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers/check"
)

// providersCommand is "caddy webhook providers".
func providersCommand() *cobra.Command {
	c := new(providersRun)
	cmd := &cobra.Command{
		Use:   "providers [<id>] [--json] | --check <file>",
		Short: "Lists senders, shows how one signs, or checks a provider file",
		Long: `
Without an argument: every sender of the catalogue, with the proof of its entry.

With an id or alias: a Caddyfile to paste, the signed content, how copies are
recognised and for how long, retries, parameters, traps, proof and sources.

With --check: reads a provider file of your own, runs its vectors, alters each
genuine one in every way that must be refused, and reports what is missing. Exit
status: 0 complete; 1 something is wrong or missing; 2 the file cannot be read.

Needs no configuration and no network.`,
		Example: `  caddy webhook providers
  caddy webhook providers stripe
  caddy webhook providers --json
  caddy webhook providers --check ./acme.json`,
		RunE: c.run,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return providerIDs(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "Print a JSON list")
	cmd.Flags().StringVar(&c.check, "check", "", "Check a provider `file`")
	_ = cmd.MarkFlagFilename("check", "json") // fails only for an unknown flag
	return cmd
}

type providersRun struct {
	json  bool
	check string
}

func (c *providersRun) run(cmd *cobra.Command, args []string) error {
	w, checks := cmd.OutOrStdout(), cmd.Flags().Changed("check")
	switch {
	case checks && (len(args) > 0 || c.json):
		return errors.New("--check accepts a file and no argument: caddy webhook providers --check ./acme.json")
	case checks:
		return checkFile(w, c.check)
	case len(args) > 1:
		return fmt.Errorf("one provider at a time, not %d: caddy webhook providers %s", len(args), args[0])
	}
	list, err := selected(args)
	switch {
	case err != nil:
		return err
	case c.json:
		return writeJSON(w, providerpage.Senders(list), "\t")
	case len(args) > 0:
		_, err = io.WriteString(w, providerpage.Text(list[0]))
	default:
		_, err = io.WriteString(w, providerpage.List(list))
	}
	return err
}

// selected returns the provider in args, or all without arguments.
func selected(args []string) ([]*providers.Provider, error) {
	if len(args) == 0 {
		return providers.All()
	}
	p, err := providers.Get(args[0])
	if e, ok := errors.AsType[*providers.UnknownError](err); ok {
		if e.Near != "" {
			return nil, err
		}
		return nil, fmt.Errorf("unknown provider %q: caddy webhook providers lists them; to check your own file, add --check %s", e.ID, e.ID)
	}
	return []*providers.Provider{p}, err
}

func providerIDs() []string {
	all, err := providers.All()
	if err != nil {
		return nil
	}
	var ids []string
	for _, p := range all {
		ids = append(ids, p.ID+"\t"+p.Name)
	}
	return ids
}

// checkFile reports whether a provider file could be part of the catalogue.
func checkFile(w io.Writer, path string) error {
	if path == "" {
		return errors.New("--check: no file: caddy webhook providers --check ./acme.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("provider file: %w", err)
	}
	p, err := providers.Parse(path, data)
	if err != nil {
		return err
	}
	report := check.Run(p)
	checkID(report, p, path)
	for _, problem := range report.Problems {
		kind := "wrong"
		if problem.Advice {
			kind = "advice"
		}
		fmt.Fprintf(w, "%s: %s: %s\n", path, kind, problem)
	}
	fmt.Fprintf(w, "%s: vectors: %d, genuine: %d, alterations tried: %d, proof: %s\n", path, report.Vectors, report.Genuine, report.Alterations, p.Proof())
	if !report.Complete() {
		fmt.Fprintf(w, "%s: incomplete\n", path)
		return negative("")
	}
	fmt.Fprintf(w, "%s: complete. Next, in a verify_webhooks block: sender ./%s …\n", path, filepath.Base(path))
	return nil
}

// checkID compares the id with the file's name and the ids of the catalogue.
func checkID(report *check.Report, p *providers.Provider, path string) {
	problem := func(field, format string, args ...any) {
		report.Problems = append(report.Problems, check.Problem{Path: field, Text: fmt.Sprintf(format, args...)})
	}
	if want := strings.TrimSuffix(filepath.Base(path), ".json"); want != p.ID {
		problem("id", "%q is not the file's name: the catalogue requires %s.json", p.ID, p.ID)
	}
	for _, alias := range append([]string{p.ID}, p.Aliases...) {
		if other, err := providers.Get(alias); err == nil && other.ID != p.ID {
			problem("aliases", "%q means %s in the catalogue: drop it, or choose another", alias, other.ID)
		}
	}
}
