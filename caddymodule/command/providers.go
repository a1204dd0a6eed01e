package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
		Use:   "providers [<id> | <word>] [--category <name>] [--check <file>]",
		Short: "Lists senders, shows how one signs, or checks a provider file",
		Long: `
Without an argument: every sender of the catalogue, by category. COPIES BY is what
makes two deliveries copies (none: every copy is forwarded); REPLAY says which copies
of a captured delivery are kept from the app: all, exact ones, or none.

With a word: the senders whose id, name, aliases or category contain it.

With an id or alias, in any case: a Caddyfile to paste, the signed content, how copies are
recognised and for how long, retries, parameters, traps, proof and sources.

With --check: reads a provider file of your own, runs its vectors, alters each
genuine one in every way that must be refused, and reports what is wrong; with
--catalogue, also what a file of the catalogue needs, such as its sources. Exit
status: 0 correct; 1 something is wrong or missing; 2 the file cannot be read.

Needs no configuration and no network.`,
		Example: `  caddy webhook providers
  caddy webhook providers stripe
  caddy webhook providers pay
  caddy webhook providers --category payments
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
	cmd.Flags().StringVar(&c.category, "category", "", "List the senders of a category, by `name`")
	cmd.Flags().StringVar(&c.check, "check", "", "Check a provider `file`")
	cmd.Flags().BoolVar(&c.catalogue, "catalogue", false, "Require with --check what the catalogue requires")
	_ = cmd.MarkFlagFilename("check", "json") // fails only for an unknown flag
	_ = cmd.RegisterFlagCompletionFunc("category", cobra.FixedCompletions(providers.CategoryIDs(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

type providersRun struct {
	json, catalogue bool
	category, check string
}

func (c *providersRun) run(cmd *cobra.Command, args []string) error {
	w, checks := cmd.OutOrStdout(), cmd.Flags().Changed("check")
	switch {
	case checks && (len(args) > 0 || c.json || c.category != ""):
		return errors.New("--check accepts a file and no argument: caddy webhook providers --check ./acme.json")
	case checks:
		return checkFile(w, c.check, c.catalogue)
	case c.catalogue:
		return errors.New("--catalogue belongs to --check: caddy webhook providers --check ./acme.json --catalogue")
	case len(args) > 1:
		return fmt.Errorf("one provider at a time, not %d: caddy webhook providers %s", len(args), args[0])
	}
	list, one, err := c.selected(args)
	switch {
	case err != nil:
		return err
	case c.json:
		return writeJSON(w, providerpage.Senders(list), "\t")
	case one:
		_, err = io.WriteString(w, providerpage.Text(list[0]))
	default:
		_, err = io.WriteString(w, providerpage.List(list))
	}
	return err
}

// selected returns the one provider that the argument names, or else the providers that
// contain it, or all; with --category only those of it.
func (c *providersRun) selected(args []string) (list []*providers.Provider, one bool, err error) {
	word := strings.Join(args, "")
	category := strings.ToLower(c.category)
	if category != "" && !slices.Contains(providers.CategoryIDs(), category) {
		return nil, false, fmt.Errorf("unknown category %q: known are %s", c.category, strings.Join(providers.CategoryIDs(), ", "))
	}
	if word != "" && category == "" {
		p, err := providers.Get(word)
		if _, unknown := errors.AsType[*providers.UnknownError](err); !unknown {
			return []*providers.Provider{p}, true, err
		}
	}
	list, err = providers.Search(word)
	if category != "" {
		list = slices.DeleteFunc(list, func(p *providers.Provider) bool { return p.Category != category })
	}
	if err != nil || len(list) > 0 {
		return list, false, err
	}
	_, err = providers.Get(word)
	if e, ok := errors.AsType[*providers.UnknownError](err); !ok || e.Near == "" {
		err = fmt.Errorf("no provider matches %q: caddy webhook providers lists them; to check your own file, add --check %s", word, word)
	}
	return nil, false, err
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

// checkFile reports whether a provider file is correct, and for the catalogue whether it
// could be part of it.
func checkFile(w io.Writer, path string, catalogue bool) error {
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
	checkMessage(report, p)
	for _, problem := range report.Problems {
		kind := "wrong"
		if problem.Advice || problem.Catalogue && !catalogue {
			kind = "advice"
		}
		fmt.Fprintf(w, "%s: %s: %s\n", path, kind, problem)
	}
	fmt.Fprintf(w, "%s: vectors: %d, genuine: %d, alterations tried: %d, proof: %s\n", path, report.Vectors, report.Genuine, report.Alterations, p.Proof())
	verdict := "complete"
	switch {
	case !report.Correct(), catalogue && !report.Complete():
		fmt.Fprintf(w, "%s: incomplete\n", path)
		return negative("")
	case !report.Complete():
		verdict = "correct"
	}
	fmt.Fprintf(w, "%s: %s. Next, in a verify_webhooks block: sender ./%s …\n", path, verdict, filepath.Base(path))
	return nil
}

// checkID compares the id with the file's name and the ids of the catalogue.
func checkID(report *check.Report, p *providers.Provider, path string) {
	problem := func(field, format string, args ...any) {
		report.Problems = append(report.Problems, check.Problem{Path: field, Text: fmt.Sprintf(format, args...), Catalogue: true})
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

// checkMessage advises against slots that touch. Those of the catalogue have texts of known
// forms.
func checkMessage(report *check.Report, p *providers.Provider) {
	rules, err := p.Rules()
	if err != nil { // a param has no value
		return
	}
	if first, second := rules.Touching(); first != "" {
		report.Problems = append(report.Problems, check.Problem{Path: "scheme.message", Advice: true, Text: fmt.Sprintf(
			"no text separates %s and %s, so bytes of a captured delivery can move from one to the other: write the text that the sender signs between them, {timestamp} where one is the time, or body_format if every body is JSON or XML", first, second)})
	}
}
