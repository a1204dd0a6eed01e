package providers

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A Key says where the sender shows the secret or public key, and what it looks like.
type Key struct {
	// Where it is found: the path of menus, "Developers > Webhooks > Signing secret", or
	// the call that returns it. At most 300 characters. Default: not documented.
	Where string `json:"where,omitempty"`
	// Prefix lists the beginnings of a secret, of which every one has one: whsec_.
	// Default: any.
	Prefix verifier.StringList `json:"prefix,omitempty"`
	// MinLength is the number of characters of the shortest secret, with the prefix.
	// Default: not documented.
	MinLength int `json:"min_length,omitempty"`
	// Rotation says what the sender does when its key is changed, in whole sentences: "The
	// old secret stays valid for 24 hours." At most 300 characters. Default: not documented.
	Rotation string `json:"rotation,omitempty"`
}

// check refuses what no key can have.
func (k Key) check() error {
	for _, prefix := range k.Prefix {
		if prefix == "" || strings.ContainsFunc(prefix, unicode.IsSpace) {
			return fmt.Errorf("prefix %q: write the characters with which every secret begins", prefix)
		}
	}
	switch {
	case k.MinLength < 0 || k.MinLength > 4096:
		return fmt.Errorf("min_length %d: write a number of characters from 1 to 4096", k.MinLength)
	case !isLine(k.Where):
		return errors.New("where: write at most 300 characters on one line")
	case !isLine(k.Rotation):
		return errors.New("rotation: write at most 300 characters on one line")
	}
	return nil
}

func isLine(text string) bool {
	return utf8.RuneCountInString(text) <= 300 && !strings.ContainsFunc(text, unicode.IsControl) && strings.TrimSpace(text) == text
}
