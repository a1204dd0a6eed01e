package keys

import (
	"slices"
)

// documented are the secrets that the documentation and the examples of this project
// print, except those that are an error or cause another warning anyway. They start, so
// that the examples can be tried as they are, with a warning.
var documented = func() map[string]bool {
	secrets := make(map[string]bool)
	for _, text := range []string{
		// Caddyfile.example
		"aK3vX9mQ7dT2sW5p", "yR8nL4hZ6cB1fJ3g", "yV2kD7qM9xT5wP8s", "xG5tN1rC8jH4bS6z", "gW9pF3lK7vQ2mD5x", "whsec_T6zB2cR9nJ4hY8kV1sL5", "hP7wM3xD9qS5tK1v",
		// docs/
		"the-secret-that-github-has", "whsec_stripe-secret", "whsec_the-first-secret", "whsec_the-second-secret", "whsec_the-third-secret", "whsec_the-secret-of-bravo",
	} {
		secrets[bareSecret(text)] = true
	}
	return secrets
}()

func isDocumented(text string) bool { return documented[bareSecret(text)] }

// isKnown reports whether strangers know or guess a secret.
func isKnown(text string) bool {
	return checkLiteral(text) != nil || checkSecret(text) != nil || isDocumented(text)
}

// Documented reports whether a secret that is written out or in a variable is one that
// the documentation prints. Of those in files the Set warns itself.
func (k *Set) Documented() bool {
	return slices.ContainsFunc(k.sources, func(s *source) bool {
		return s.kind != fileValue && s.secret &&
			slices.ContainsFunc(s.texts, func(t labelled) bool { return isDocumented(t.text) })
	})
}
