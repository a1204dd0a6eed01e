package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// schemeHelp is part of the help of every command with a SCHEME.
const schemeHelp = `
SCHEME is an id from "caddy webhook providers" or the path of a provider file
(./acme.json). Use --config Caddyfile --name billing instead for a handler of
your configuration, with its keys and options, and --tenant acme for one of its
tenants. Write keys as in the Caddyfile: {env.NAME}, {file./path} or the text
itself. Prefer the first two: other users of the machine can read the text in
the process list.`

// schemeFlags select a sender's scheme and its keys.
type schemeFlags struct {
	secrets, publicKeys, params []string
	privateKey                  string
	config, adapter, name       string
	tenant                      string
	signs                       bool // the command signs deliveries
}

// register adds the flags to a command; signs is set for one that signs deliveries.
func (f *schemeFlags) register(cmd *cobra.Command, signs bool) {
	f.signs = signs
	flags := cmd.Flags()
	flags.StringArrayVar(&f.secrets, "secret", nil, "Shared secret, a `value` as above; repeatable")
	if signs {
		flags.StringVar(&f.privateKey, "private-key", "", "Private key to sign with, PKCS #8, a `value` as above")
	} else {
		flags.StringArrayVar(&f.publicKeys, "public-key", nil, "Public key, a `value` as above; repeatable")
	}
	flags.StringArrayVar(&f.params, "param", nil, "A `name=value` that the provider requires; repeatable")
	flags.StringVar(&f.config, "config", "", "Use a handler of this `file` instead of SCHEME")
	flags.StringVar(&f.adapter, "adapter", "", "The config `adapter` (default: by the file's name)")
	flags.StringVar(&f.name, "name", "", "The `name` of the handler, if --config has several")
	flags.StringVar(&f.tenant, "tenant", "", "The `tenant` whose keys to use, with --config")
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || f.config != "" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return providerIDs(), cobra.ShellCompDirectiveDefault // complete file names if no id matches
	}
	_ = cmd.RegisterFlagCompletionFunc("secret", cobra.NoFileCompletions) // fails only for an unknown flag
	completeFlag(cmd, "param", f.completeParam)
	completeFlag(cmd, "adapter", completeAdapter)
	_ = cmd.RegisterFlagCompletionFunc("tenant", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("name", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		handlers, _ := f.handlers()
		return handlerNames(handlers), cobra.ShellCompDirectiveNoFileComp
	})
}

// A subject is the sender whose deliveries a command verifies or signs.
type subject struct {
	*caddymodule.Sender
	handler  *caddymodule.Handler // with its defaults, not provisioned
	verifier *verifier.Verifier
}

// resolve reads SCHEME, or --config and --name instead, and resolves all values as
// the gateway does. It returns the remaining arguments.
func (f *schemeFlags) resolve(args []string) (*subject, []string, error) {
	h := new(caddymodule.Handler)
	var err error
	switch {
	case f.config != "" && (len(args) > 1 || len(args) == 1 && (args[0] == f.name || namesProvider(args[0]))):
		err = fmt.Errorf("--config replaces SCHEME: omit %q", args[0])
	case f.config != "":
		h, err = f.handler()
	case f.name != "" || f.adapter != "":
		err = errors.New("--name and --adapter require --config: --config Caddyfile --name billing")
	case f.tenant != "":
		err = errors.New("--tenant requires --config: --config Caddyfile --name shop --tenant acme")
	case len(args) == 0:
		err = errors.New("no SCHEME: name a provider (caddy webhook providers lists them), a file such as ./acme.json, or --config Caddyfile --name billing")
	default:
		h.Provider, err = schemeOf(args[0])
		args = args[1:]
	}
	if err != nil {
		return nil, nil, err
	}
	if err := f.override(h); err != nil {
		return nil, nil, err
	}
	s, err := f.open(h)
	if err != nil {
		err = f.named(err)
	}
	return s, args, err
}

// resolveAll is resolve for several senders, each with the keys that its page writes
// into a Caddyfile, or for all handlers of --config.
func (f *schemeFlags) resolveAll(args []string) (all []*subject, err error) {
	words, names := args, []string{""}
	if f.config != "" && f.name == "" {
		handlers, err := f.handlers()
		if err != nil {
			return nil, err
		}
		words, names = []string{""}, handlerNames(handlers)
	}
	if len(args) > 0 && f.config != "" {
		return nil, fmt.Errorf("--config replaces SCHEME: omit %q", args[0])
	}
	if len(words)*len(names) <= 1 || f.name != "" {
		s, _, err := f.resolve(args)
		return []*subject{s}, err
	}
	if len(f.secrets)+len(f.publicKeys)+len(f.params) > 0 || f.tenant != "" {
		return nil, errors.New("keys, params and tenants of several senders: set {env.STRIPE_SECRET} and so on, as caddy webhook providers stripe shows, or use --config")
	}
	for _, word := range words {
		for _, name := range names {
			one := *f
			if one.name = name; name == "" {
				if err := one.useEnvironment(word); err != nil {
					return nil, err
				}
			}
			s, _, err := one.resolve(slices.DeleteFunc([]string{word}, func(w string) bool { return w == "" }))
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(all, func(other *subject) bool { return other.Name == s.Name }) {
				return nil, fmt.Errorf("%s twice: name each sender once", s.Name)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// namesProvider reports whether a word is a provider's name and not that of a file here.
func namesProvider(word string) bool {
	_, err := providers.Get(word)
	_, missing := os.Stat(word)
	return err == nil && missing != nil
}

// useEnvironment names a sender's keys and params as its page does.
func (f *schemeFlags) useEnvironment(word string) error {
	raw, err := schemeOf(word)
	if err != nil {
		return err
	}
	p, err := providers.Read(raw)
	if err != nil {
		return err
	}
	env := "{env." + strings.ToUpper(p.ID) + "_"
	switch {
	case p.UsesSecret():
		f.secrets = []string{env + "SECRET}"}
	case !p.Scheme.SelfKeyed():
		f.publicKeys = []string{env + "PUBLIC_KEY}"}
	}
	for _, param := range p.Params {
		if !param.Optional {
			f.params = append(f.params, param.Name+"="+env+strings.ToUpper(param.Name)+"}")
		}
	}
	return nil
}

// named prefixes an error with the configuration's file unless the error names it.
func (f *schemeFlags) named(err error) error {
	if f.config == "" || strings.HasPrefix(err.Error(), f.config+":") {
		return err
	}
	return fmt.Errorf("%s: %w", f.config, err)
}

// schemeOf resolves a provider's id or the path of a provider file.
func schemeOf(word string) (json.RawMessage, error) {
	if strings.HasSuffix(word, ".json") {
		data, err := os.ReadFile(word)
		if err != nil {
			return nil, fmt.Errorf("provider file: %w", err)
		}
		if _, err := providers.Parse(word, data); err != nil {
			return nil, err
		}
		return data, nil
	}
	if strings.ContainsAny(word, `/\.`) {
		return nil, fmt.Errorf("%q is not a provider: provider files end in .json; a delivery's file comes after SCHEME", word)
	}
	_, err := providers.Get(word)
	if e, ok := errors.AsType[*providers.UnknownError](err); ok && e.Near == "" {
		return nil, fmt.Errorf("unknown provider %q: caddy webhook providers lists them; for your own file, write its path, ./%s.json", word, word)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(word)
}

// override replaces the handler's keys and params with those of the command line.
func (f *schemeFlags) override(h *caddymodule.Handler) error {
	if err := f.checkKeys(); err != nil {
		return err
	}
	given := len(f.secrets)+len(f.publicKeys) > 0 || f.privateKey != ""
	switch {
	case given && f.tenant != "":
		return errors.New("--tenant uses the tenant's keys: omit it, or the other keys")
	case given:
		h.Secret, h.PublicKey = values(f.secrets), values(f.publicKeys)
		h.Tenant, h.TenantsRaw, h.MaxTenants, h.CaseSensitive = "", nil, nil, false
	case f.tenant == "" && h.Tenant != "":
		return errors.New("the handler has tenants, each with keys of its own: choose one with --tenant")
	case f.tenant != "" && h.Tenant == "":
		return errors.New("--tenant: the handler has no tenants: omit it")
	}
	for _, p := range f.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return errors.New("--param: write name=value")
		}
		if h.Param == nil {
			h.Param = make(map[string]string)
		}
		h.Param[name] = value
	}
	return nil
}

// checkKeys refuses the values that the gateway refuses in a configuration. Its
// errors name the flag.
func (f *schemeFlags) checkKeys() error {
	type flag struct {
		name  string
		texts []string
	}
	flags := []flag{{"--secret", f.secrets}, {"--public-key", f.publicKeys}}
	if f.privateKey != "" {
		flags = append(flags, flag{"--private-key", []string{f.privateKey}})
	}
	for _, flag := range flags {
		for _, text := range flag.texts {
			err := keys.CheckValue(text)
			if errors.Is(err, keys.ErrUnreplaced) {
				return fmt.Errorf("%s: %w (use single quotes, or the shell expands it)", flag.name, err)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", flag.name, err)
			}
		}
	}
	return nil
}

func values(texts []string) (all []keys.Value) {
	for _, t := range texts {
		all = append(all, keys.Value{Value: t})
	}
	return all
}

// open resolves the sender and compiles its scheme.
func (f *schemeFlags) open(h *caddymodule.Handler) (*subject, error) {
	sender, err := h.Sender(f.tenant)
	if err != nil {
		return nil, f.asFlags(paramHint(err, h))
	}
	s := &subject{Sender: sender, handler: h}
	if f.privateKey != "" {
		text, err := keys.Resolve(f.privateKey)
		if err != nil {
			return nil, fmt.Errorf("--private-key: %w", err)
		}
		s.Keys = append(s.Keys, verifier.Key{Label: "private", Text: text, Kind: verifier.PrivateKey})
	}
	pinned := s.Scheme.X5C != nil && s.Scheme.SelfKeyed() // published keys are not fetched here
	if len(s.Keys) == 0 && (f.signs || !pinned) {
		return nil, f.missingKey(sender.Provider)
	}
	if s.verifier, err = verifier.New(s.Scheme, s.Keys); err != nil {
		if e, ok := errors.AsType[*verifier.KeyError](err); ok && e.Label == "private" {
			return nil, fmt.Errorf("--private-key: %s", f.asFlags(errors.New(e.Problem)))
		}
		return nil, err
	}
	return s, nil
}

// asFlags replaces option names with flag names in an error of the gateway.
func (f *schemeFlags) asFlags(err error) error {
	words := []string{"give it with public_key", "give one with --public-key", "given with public_key", "given with --public-key", "give it with secret", "give one with --secret", "set it before Caddy starts", "export it in this shell"}
	if f.signs {
		words = append([]string{"takes a public key, not a secret: give it with public_key", "takes a private key, not a secret: give one with --private-key"}, words...)
	}
	return errors.New(strings.NewReplacer(words...).Replace(err.Error()))
}

// missingKey returns an error that names the flag to add.
func (f *schemeFlags) missingKey(p *providers.Provider) error {
	name := "SECRET"
	if p != nil {
		name = strings.ToUpper(p.ID) + "_SECRET"
	}
	switch {
	case p == nil || p.UsesSecret():
		return fmt.Errorf("no key: add --secret '{env.%s}'", name)
	case f.signs:
		return errors.New("no key: this sender signs with a private key: add --private-key '{file./path/key.pem}'")
	}
	return errors.New("no key: this sender's deliveries are verified with a public key: add --public-key '{file./path/key.pem}'")
}

// paramHint returns an error that names the flag if a required param is missing, else
// err.
func paramHint(err error, h *caddymodule.Handler) error {
	provider, _ := providers.Read(h.Provider)
	if provider == nil {
		return err
	}
	for _, p := range provider.Params {
		if h.Param[p.Name] == "" && !p.Optional {
			return fmt.Errorf("this sender requires a parameter: add --param %s=…, %s", p.Name, p.Description)
		}
	}
	return err
}
