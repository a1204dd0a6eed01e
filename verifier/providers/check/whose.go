package check

import (
	"regexp"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A note that says whose the public key is. A sender that signs for all of its
// customers with one key proves to each what it signed for any other.
var whoseKey = regexp.MustCompile(`(?i)\bthe same key signs for every customer\b|\bthe key signs for one [a-z ]+ (only|alone)\b`)

// saysWhoseKey reports whether users learn if a stranger can have deliveries
// signed: from a note, or since they are asked for what ties them to the customer.
// A shared secret is the customer's own.
func saysWhoseKey(p *providers.Provider) bool {
	return p.UsesSecret() || tiedByParam(p) || slices.ContainsFunc(p.Notes, whoseKey.MatchString)
}

// tiedByParam reports whether a param that users must give is part of what is
// signed, or of what the scheme requires.
func tiedByParam(p *providers.Provider) bool {
	asked := p.Scheme.ParamNames()
	return slices.ContainsFunc(p.Params, func(param providers.Param) bool {
		return !param.Optional && slices.Contains(asked, param.Name)
	})
}
