package keys

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// Config describes the sources of a handler's keys.
type Config struct {
	// Name is the handler's name. A reload keeps the keys fetched under it.
	Name string
	// Rules are the compiled scheme. The values of its params and of RequireHeader are
	// still written like a Value. WithAddress adds the address of a key set.
	Rules *verifier.Rules
	// RequireHeader lists the last required headers of Rules, whose values are written
	// like a Value. The values of the others are literal.
	RequireHeader []verifier.RequiredHeader
	// Secret and PublicKey verify deliveries. One match is enough.
	Secret, PublicKey []Value
	// Sender says what the sender's secrets look like. One that looks otherwise causes a
	// warning. Default: any.
	Sender providers.Key
	// Tenants says that each delivery is verified with the keys of a tenant, which
	// Snapshot.With adds. The Set has no Secret and no PublicKey then, and its snapshot
	// has stand-ins: random keys, to verify the delivery of an unknown tenant with the
	// same work.
	Tenants bool
	// SignUpstream is the secret for signing upstream requests, written like a Value.
	// Default: no signature.
	SignUpstream string

	// Fetcher fetches the sender's published keys. Default: a new one.
	Fetcher *Fetcher
	// Logger reports unusable key files and failed fetches. Default: no logs.
	Logger *zap.Logger
	// Failed is called for each unusable key file or address, Changed after each key
	// change. Both may be nil.
	Failed, Changed func()
}

// ErrNoKey reports a configuration without a key for a sender that publishes none.
var ErrNoKey = errors.New("secret: missing: a key is required to verify deliveries; add: secret {env.NAME} (or public_key); an unset {$NAME} vanishes before this is read")

// Open reads the values and compiles the first snapshot. An unreadable key file is
// not an error: Open logs it, and Refresh tries it again. Errors name the option and
// never hold a secret. The caller must Close the Set.
func Open(c Config) (*Set, error) {
	k, err := gather(c)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Tenants:
		if k.standIn, err = k.standIns(c); err != nil {
			return nil, err
		}
	case len(c.Secret)+len(c.PublicKey) == 0 && !k.scheme.SelfKeyed():
		return nil, ErrNoKey
	}
	if c.SignUpstream != "" {
		if err := k.add("sign_upstream", useUpstream, "", Value{Value: c.SignUpstream}); err != nil {
			return nil, err
		}
	}
	for _, s := range k.sources {
		if s.kind == fileValue || !s.secret {
			continue
		}
		for _, t := range s.texts {
			for _, part := range k.parts(s, t) {
				if err := cmp.Or(checkLiteral(part), checkSecret(part)); err != nil {
					return nil, fmt.Errorf("%s: %w", s, err)
				}
			}
		}
	}
	if k.scheme.KeySource != nil {
		k.id, k.published = publishedOf(c.Name, &k.scheme)
	}
	if err := k.Refresh(); err != nil {
		_ = k.Close()
		return nil, err
	}
	return k, nil
}

// Read returns the scheme with its values filled in and the configured keys, if any.
// It fetches nothing and, unlike Open, fails for an unusable key file. Errors name the
// option and never hold a secret.
func Read(c Config) (verifier.Scheme, []verifier.Key, error) {
	k, err := gather(c)
	if err != nil {
		return verifier.Scheme{}, nil, err
	}
	for _, s := range k.sources {
		if s.kind == fileValue {
			k.reread(s)
		}
		if s.problem != "" {
			return verifier.Scheme{}, nil, fmt.Errorf("%s: %s", s, s.problem)
		}
	}
	scheme, keys, _ := k.resolved()
	return scheme, keys, nil
}

// gather returns a Set with the sources of keys, params and required headers.
func gather(c Config) (*Set, error) {
	k := &Set{rules: c.Rules, scheme: c.Rules.Scheme(), sender: c.Sender, fetcher: cmp.Or(c.Fetcher, new(Fetcher)), logger: cmp.Or(c.Logger, zap.NewNop()), failed: c.Failed, changed: c.Changed}
	k.scheme.RequireHeader = k.scheme.RequireHeader[:len(k.scheme.RequireHeader)-len(c.RequireHeader)]
	for _, name := range slices.Sorted(maps.Keys(k.scheme.Params)) {
		if err := k.add("param "+name, useParam, name, Value{Value: k.scheme.Params[name]}); err != nil {
			return nil, err
		}
	}
	for _, header := range c.RequireHeader {
		for _, value := range header.Values {
			if err := k.add("require_header "+header.Name, useHeader, textproto.CanonicalMIMEHeaderKey(header.Name), Value{Value: value}); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range c.Secret {
		if err := k.add("secret", useSecret, "", v); err != nil {
			return nil, err
		}
	}
	_, publicKeys, err := WithAddress(verifier.Scheme{KeySet: k.scheme.KeySet}, c.PublicKey)
	if err != nil {
		return nil, err
	}
	for _, v := range publicKeys {
		if err := k.add("public_key", usePublicKey, "", v); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// add registers a value, and reads it unless it is a file.
func (k *Set) add(option string, use use, detail string, v Value) error {
	s := &source{option: option, use: use, detail: detail, secret: mustBeSecret(use, detail, v.Value), label: v.Label, place: 1}
	for _, earlier := range k.sources {
		if earlier.isKey() {
			s.place++
		}
	}
	var err error
	if s.kind, s.name, err = parseValue(v.Value); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if s.kind != fileValue {
		text, err := readValue(v.Value, s.secret)
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		if s.texts, err = k.usableTexts(s, []labelled{{text: text}}); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	k.sources = append(k.sources, s)
	return nil
}

// WithAddress returns the scheme with the key source that a configuration's public
// keys select, and the literal keys. An https:// address is that of a JSON Web Key
// Set; several are those of the senders that are trusted, if deliveries name theirs.
// With literal keys nothing is fetched. Errors begin with the option.
func WithAddress(scheme verifier.Scheme, publicKeys []Value) (withSource verifier.Scheme, written []Value, err error) {
	var addresses []string
	for _, v := range publicKeys {
		text := v.Value
		if kind, name, err := parseValue(text); err == nil && kind == envValue {
			text, _ = readEnv(name, false) // add reports an error again, with the option's name
		}
		switch {
		case strings.HasPrefix(text, "http://"):
			return scheme, nil, errors.New("public_key: over http:// anyone on the network path can replace the keys: write https://")
		case !strings.HasPrefix(text, "https://"):
			written = append(written, v)
		case len(addresses) > 0 && scheme.KeySet == nil:
			return scheme, nil, errors.New("public_key: two addresses: keep the one of the sender's JSON Web Key Set")
		case v.Label != "":
			return scheme, nil, errors.New("public_key: an address has no label: its keys have their own ids")
		case scheme.KeySource != nil && len(scheme.KeySource.CertificateHosts) > 0:
			return scheme, nil, errors.New("public_key: this sender's deliveries name the address of its certificate, which is fetched from the sender's hosts: remove the line, or write the certificate itself")
		default:
			addresses = append(addresses, text)
		}
	}
	switch {
	case len(addresses) > 0 && scheme.KeySet != nil:
		scheme.KeySource = &verifier.KeySource{Sets: addresses}
	case len(addresses) > 0:
		scheme.KeySource = &verifier.KeySource{JWKS: addresses[0]}
	case len(written) > 0:
		scheme.KeySource = nil
	}
	return scheme, written, nil
}
