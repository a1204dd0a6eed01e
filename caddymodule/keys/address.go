package keys

import (
	"errors"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

var (
	errPlainAddress = errors.New("public_key: http:// lets anyone on the way replace the keys: write https://")
	errTwoAddresses = errors.New("public_key: two addresses: keep the one of the sender's JSON Web Key Set")
	errNamedAddress = errors.New("public_key: an address takes no label: its keys have ids of their own")
	errOwnAddress   = errors.New("public_key: each delivery of this sender names the address of its certificate, which is fetched from the sender's hosts: drop the line, or give the certificate itself")
)

// WithAddress returns the scheme with the source that a configuration's public keys
// choose: an address, https://…, is that of a JSON Web Key Set, and keys that are
// written out leave nothing to fetch. Errors begin with the option.
func WithAddress(scheme verifier.Scheme, publicKeys []Value) (verifier.Scheme, error) {
	scheme, _, err := withAddress(scheme, publicKeys)
	return scheme, err
}

// withAddress also returns the keys that are written out.
func withAddress(scheme verifier.Scheme, keys []Value) (verifier.Scheme, []Value, error) {
	var written []Value
	address := ""
	for _, v := range keys {
		text := v.Value
		if kind, name, err := parseValue(text); err == nil && kind == envValue {
			text, _ = readEnv(name, false) // an error comes again from add, with the option's name
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
