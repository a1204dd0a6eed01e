package check

import (
	"regexp"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A note that says whose key it is. If a sender signs for all customers with one key,
// anyone can replay to one what it signed for another.
var whoseKey = regexp.MustCompile(`(?i)\bthe same key signs for every customer\b|\bthe key signs for one [a-z ]+ (only|alone)\b`)

// saysWhoseKey reports whether users learn that a stranger may get deliveries signed:
// from a note, or from a param that ties deliveries to the customer. A shared secret
// belongs to one customer.
func saysWhoseKey(p *providers.Provider) bool {
	return p.UsesSecret() || tiedByParam(p) || slices.ContainsFunc(p.Notes, whoseKey.MatchString)
}

// tiedByParam reports whether a mandatory param is part of the message or of the
// scheme's requirements.
func tiedByParam(p *providers.Provider) bool {
	asked := p.Scheme.ParamNames()
	return slices.ContainsFunc(p.Params, func(param providers.Param) bool {
		return !param.Optional && slices.Contains(asked, param.Name)
	})
}
