package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// handler returns the configured handler that --name selects, or the only one.
func (f *schemeFlags) handler() (*caddymodule.Handler, error) {
	handlers, err := f.handlers()
	if err != nil {
		return nil, err
	}
	names := handlerNames(handlers)
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("%s: no verify_webhook handler found", f.config)
	case f.name == "" && len(names) > 1:
		return nil, fmt.Errorf("%s: several handlers found: choose one with --name: %s", f.config, strings.Join(names, ", "))
	}
	name := cmp.Or(f.name, names[0])
	var found []foundHandler
	for _, h := range handlers {
		if h.name == name && !slices.ContainsFunc(found, func(other foundHandler) bool { return string(other.raw) == string(h.raw) }) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: no handler is called %q: its handlers are %s", f.config, name, strings.Join(names, ", "))
	case 1:
	default:
		return nil, fmt.Errorf("%s: %d different handlers are called %s: give each a unique name", f.config, len(found), name)
	}
	h := new(caddymodule.Handler)
	if err := json.Unmarshal(found[0].raw, h); err != nil {
		return nil, fmt.Errorf("%s: handler %s: %w", f.config, name, err)
	}
	h.Name = name
	return h, nil
}

type foundHandler struct {
	name string
	raw  json.RawMessage
}

func handlerNames(handlers []foundHandler) (names []string) {
	for _, h := range handlers {
		names = append(names, h.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// handlers adapts the configuration and returns its verify_webhook handlers at any
// depth of routes.
func (f *schemeFlags) handlers() ([]foundHandler, error) {
	text, err := os.ReadFile(f.config)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if name := f.adapterName(); name != "" {
		adapter := caddyconfig.GetAdapter(name)
		if adapter == nil {
			return nil, fmt.Errorf("--adapter: this Caddy has no adapter %q: omit --adapter for a Caddyfile or JSON", name)
		}
		if text, _, err = adapter.Adapt(text, map[string]any{"filename": f.config}); err != nil {
			return nil, f.named(err)
		}
	}
	var config any
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s: not JSON: if it is a Caddyfile, add --adapter caddyfile", f.config)
	}
	return findHandlers(config, nil), nil
}

// adapterName follows Caddy's rule: a file called Caddyfile is a Caddyfile.
func (f *schemeFlags) adapterName() string {
	base := strings.ToLower(filepath.Base(f.config))
	ext := filepath.Ext(base)
	switch {
	case f.adapter != "":
		return f.adapter
	case ext != ".json" && (strings.HasPrefix(base, "caddyfile") || strings.HasSuffix(base, "caddyfile")):
		return "caddyfile"
	}
	return ""
}

func findHandlers(config any, found []foundHandler) []foundHandler {
	switch c := config.(type) {
	case []any:
		for _, v := range c {
			found = findHandlers(v, found)
		}
	case map[string]any:
		if c["handler"] == "verify_webhook" {
			delete(c, "handler")      // as Caddy does
			raw, _ := json.Marshal(c) // it came from JSON
			return append(found, foundHandler{configuredName(raw), raw})
		}
		for _, v := range c {
			found = findHandlers(v, found)
		}
	}
	return found
}

// configuredName returns the gateway's name for a handler.
func configuredName(raw json.RawMessage) string {
	var h struct {
		Name     string
		Provider json.RawMessage
	}
	_ = json.Unmarshal(raw, &h) // choosing the handler reports its errors
	if h.Name != "" {
		return h.Name
	}
	p, err := providers.Read(h.Provider)
	if err != nil || p == nil {
		return "(unnamed)"
	}
	return p.ID
}
