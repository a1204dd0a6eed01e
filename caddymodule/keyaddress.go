package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

var (
	errPlainAddress = errors.New("public_key: http:// lets anyone on the way replace the keys: write https://")
	errTwoAddresses = errors.New("public_key: two addresses: keep the one of the sender's JSON Web Key Set")
	errNamedAddress = errors.New("public_key: an address takes no label: its keys have ids of their own")
	errOwnAddress   = errors.New("public_key: each delivery of this sender names the address of its certificate, which is fetched from the sender's hosts: drop the line, or give the certificate itself")
)

// withPublished separates the address of a JSON Web Key Set from the keys that a
// configuration writes out, and makes it the scheme's source. Keys that are
// written out replace what the sender publishes.
func withPublished(scheme verifier.Scheme, keys []Value) (verifier.Scheme, []Value, error) {
	var written []Value
	address := ""
	for _, v := range keys {
		text := v.Value
		if kind, name, err := parseValue(text); err == nil && kind == envValue {
			text, _ = readEnv(name) // where it fails, it does so again with its option's name
		}
		switch {
		case strings.HasPrefix(text, "http://"):
			return scheme, nil, errPlainAddress
		case !strings.HasPrefix(text, "https://"):
			written = append(written, v)
		case address != "":
			return scheme, nil, errTwoAddresses
		case v.Label != "":
			return scheme, nil, errNamedAddress
		case scheme.KeySource != nil && len(scheme.KeySource.CertificateHosts) > 0:
			return scheme, nil, errOwnAddress
		default:
			address = text
		}
	}
	switch {
	case address != "":
		scheme.KeySource = &verifier.KeySource{JWKS: address}
	case len(written) > 0:
		scheme.KeySource = nil
	}
	return scheme, written, nil
}

// checkParams looks for params that nothing asks for, which are mistyped, and at
// those that have a closed list of values.
func checkParams(p *providers.Provider, scheme verifier.Scheme, given map[string]string) (name string, err error) {
	if p == nil {
		p = new(providers.Provider)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := knownParam(p, scheme, name); err != nil {
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

// knownParam refuses a param that neither provider nor scheme asks for. Its error
// does not repeat the name: who swaps name and value writes a secret there.
func knownParam(p *providers.Provider, scheme verifier.Scheme, name string) error {
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
		return fmt.Errorf("param: nothing asks for one of this name: did you mean %s?", near)
	}
	if len(names) == 0 {
		return errors.New("param: this sender asks for none: drop the line")
	}
	return fmt.Errorf("param: nothing asks for one of this name: known are %s", strings.Join(names, ", "))
}
