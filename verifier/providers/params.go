package providers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// CheckParams reports params that do not exist, and values outside a closed list.
// scheme is the provider's, or the configured variant; a nil Provider has no params
// of its own. name is the param that err is about. Errors never hold a value.
func (p *Provider) CheckParams(scheme verifier.Scheme, given map[string]string) (name string, err error) {
	if p == nil {
		p = new(Provider)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := p.knownParam(scheme, name); err != nil {
			return name, err
		}
	}
	for _, param := range p.Params {
		value, ok := given[param.Name]
		if ok && len(param.Values) > 0 && !slices.Contains(param.Values, value) {
			return param.Name, fmt.Errorf("param %s: write %s, or drop the line", param.Name, strings.Join(param.Values, " or "))
		}
	}
	return "", nil
}

// knownParam refuses a param that neither provider nor scheme uses. Its error does
// not repeat the name: if name and value are swapped, it is a secret.
func (p *Provider) knownParam(scheme verifier.Scheme, name string) error {
	var names []string
	for _, param := range p.Params {
		names = append(names, param.Name)
	}
	for _, asked := range scheme.ParamNames() {
		if !slices.Contains(names, asked) {
			names = append(names, asked)
		}
	}
	if slices.Contains(names, name) {
		return nil
	}
	if near := nearest.Of(name, names); near != "" {
		return fmt.Errorf("unknown param: did you mean %s?", near)
	}
	if len(names) == 0 {
		return errors.New("param: this sender has none: drop the line")
	}
	return fmt.Errorf("unknown param: known are %s", strings.Join(names, ", "))
}
