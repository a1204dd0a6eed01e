package keys

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// warnOfForeign logs the secrets that do not look like the sender's, such as its API key.
// The sender may have changed how they look, so they are used.
func (k *Set) warnOfForeign() {
	var labels []string
	for _, s := range k.sources {
		for _, t := range s.texts {
			if s.use == useSecret && !looksLike(k.sender, k.scheme.SecretPrefix, t.text) {
				labels = append(labels, s.keyLabel(t))
			}
		}
	}
	if len(labels) > 0 {
		k.logger.Warn("a secret does not look like the sender's webhook secrets, and may be another one, such as an API key: every delivery is refused then", k.foreign(labels)...)
	}
}

// foreign are the fields of a warning.
func (k *Set) foreign(labels []string) []zap.Field {
	fields := []zap.Field{zap.Strings("keys", some(labels)), zap.String("expected", lookOf(k.sender))}
	if k.sender.Where != "" {
		fields = append(fields, zap.String("where", k.sender.Where))
	}
	return fields
}

// Foreign returns what to log of a tenant's secrets that do not look like the sender's; nil
// if all do.
func (s *Snapshot) Foreign() []zap.Field { return s.foreign }

// noteForeign sets what Foreign returns, for a tenant's keys of the handler whose Set k is.
func (s *Snapshot) noteForeign(k *Set) {
	var labels []string
	for _, key := range s.Keys {
		if key.Kind == verifier.Secret && !looksLike(k.sender, k.scheme.SecretPrefix, key.Text) {
			labels = append(labels, key.Label)
		}
	}
	if len(labels) > 0 {
		s.foreign = k.foreign(labels)
	}
}

// looksLike reports whether a text can be a secret of the sender. The scheme's prefix may
// be missing.
func looksLike(sender providers.Key, optional, text string) bool {
	begins := func(text string) bool {
		return slices.ContainsFunc(sender.Prefix, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
	}
	if !begins(text) && begins(optional) {
		text = optional + text
	}
	return (len(sender.Prefix) == 0 || begins(text)) && utf8.RuneCountInString(text) >= sender.MinLength
}

// lookOf describes the sender's secrets: "whsec_…, at least 38 characters".
func lookOf(sender providers.Key) string {
	var said []string
	if len(sender.Prefix) > 0 {
		said = append(said, strings.Join(sender.Prefix, "… or ")+"…")
	}
	if sender.MinLength > 0 {
		said = append(said, fmt.Sprintf("at least %d characters", sender.MinLength))
	}
	return strings.Join(said, ", ")
}
