package keys

import (
	"errors"
	"fmt"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// labelTenant is the label of all keys of all tenants in metrics: there may be any
// number of them.
const labelTenant = "tenant"

// MaxTenantKeys limits the keys of one tenant, so that a forged delivery costs only so
// many signatures. A rotation has two.
const MaxTenantKeys = 16

// maxCompared limits them with the members of key sets and the algorithms of each, and
// the keys of one directory with the lines of each file.
const maxCompared = 64

var (
	// errTenantsNoKeys refuses a handler that has keys besides those of its tenants.
	errTenantsNoKeys = errors.New("tenant: each tenant has keys of its own, so no other key verifies a delivery: write {tenant} into the file's path, secret {file./run/keys/{tenant}}, or remove tenant")
	// errTenantsPublished refuses tenants of a sender that publishes its keys.
	errTenantsPublished = errors.New("tenant: the sender publishes its keys, and signs for all of your customers with them: remove tenant and its secret or public_key")
)

// standIns returns the keys of the snapshot of a handler with tenants: see
// Config.Tenants.
func (k *Set) standIns(c Config) ([]verifier.Key, error) {
	switch {
	case k.scheme.SelfKeyed():
		return nil, errTenantsPublished
	case len(c.Secret)+len(c.PublicKey) > 0:
		return nil, errTenantsNoKeys
	}
	return k.rules.StandIns(labelTenant)
}

// With returns s with other keys: those of a tenant, at most MaxTenantKeys. s is of a Set
// with Tenants. With texts, a key's text is that of a file, which may hold several, one a
// line. A key without a label has its position as one. Without texts, a secret is one text
// of another program, like a variable: a name, a placeholder, a published secret or
// several lines are an error. Errors hold no key.
func (s *Snapshot) With(keys []verifier.Key, texts bool) (*Snapshot, error) {
	t := &Snapshot{Signer: s.Signer, SignerKey: s.SignerKey}
	t.Keys, t.labels = t.oneKey[:0], t.oneLabel[:0]
	basic := s.of.scheme.UsesBasic()
	for i, key := range keys {
		of := source{place: i + 1, kind: fileValue}
		if key.Kind == verifier.PublicKey {
			of.use = usePublicKey
		}
		parts := []labelled{{label: key.Label, text: key.Text}}
		if texts {
			var err error
			if parts, err = s.of.divide(&of, parts); err != nil {
				return nil, err
			}
		} else if err := checkAnswered(key, basic); err != nil {
			return nil, fmt.Errorf("key %s: %w", of.key(parts[0]).Label, err)
		}
		if len(t.Keys)+len(parts) > MaxTenantKeys {
			return nil, errManyKeys
		}
		for _, part := range parts {
			if err := t.add(of.key(part), texts, basic); err != nil {
				return nil, fmt.Errorf("key %s: %w", of.key(part).Label, err)
			}
		}
	}
	var err error
	if t.Verifier, err = s.Verifier.Verifier(t.Keys); err != nil {
		return nil, err
	}
	switch {
	case t.Verifier.KeyCount() > maxCompared:
		return nil, errManyMembers
	case len(t.Verifier.ShortSecrets(2)) > 0:
		return nil, errOneByte
	case t.SignsAs(t):
		return nil, errSharedSecret
	}
	t.short = t.shortKeys(basic)
	t.noteForeign(s.of)
	return t, nil
}

// add fails for a password in a file that a failed program left.
func (s *Snapshot) add(k verifier.Key, ofFile, basic bool) error {
	s.Keys, s.labels = append(s.Keys, k), append(s.labels, k.Label)
	if k.Kind != verifier.Secret {
		return nil
	}
	guessable := false
	for i, part := range secretParts(k.Text, basic) {
		if i > 0 && ofFile { // all of the text has been checked
			if err := CheckRendered(part); err != nil {
				return err
			}
		}
		guessable = guessable || readsAsName(part) || ofFile && checkName(part) != nil || holdsBlank(part) || checkSecret(part) != nil || isDocumented(part) // a name is an error in an answer
	}
	if guessable {
		s.guessable = append(s.guessable, k.Label)
	}
	return nil
}

// Guessable returns the labels of a tenant's secrets that strangers may guess and that
// are no error: those in files, weak ones, those with blanks, which may be a message, and
// those that the documentation prints.
func (s *Snapshot) Guessable() []string { return s.guessable }

// Short returns the labels of a tenant's secrets that are short enough to be guessed.
func (s *Snapshot) Short() []string { return s.short }

// checkAnswered returns an error for a tenant's secret, not of a file, that strangers
// know: what the program that was asked writes without a value, above all.
func checkAnswered(key verifier.Key, basic bool) error {
	if key.Kind != verifier.Secret {
		return nil
	}
	for _, text := range secretParts(key.Text, basic) {
		switch {
		case strings.ContainsAny(text, "\r\n"):
			return errSeveralLines
		case CheckRendered(text) != nil || checkName(text) != nil || strings.HasPrefix(strings.TrimSpace(text), "#"):
			return errNoSecret
		case isPublished(text):
			return errPublished
		}
	}
	return nil
}

var (
	errManyKeys     = fmt.Errorf("more than %d keys: each forged delivery would be compared with all of them; remove those that the sender no longer uses", MaxTenantKeys)
	errManyMembers  = fmt.Errorf("more than %d keys with the members of key sets: give those that the sender signs with", maxCompared)
	errManyTexts    = fmt.Errorf("more than %d keys in the lines of its files, and each forged delivery is compared with all of them: remove those that the sender no longer uses", maxCompared)
	errSeveralLines = errors.New("a secret of several lines: give each one by itself, without line breaks")
	errNoSecret     = errors.New("a name, a placeholder or a masked value, which strangers know, in place of the tenant's secret: give the secret itself, or none")
)
