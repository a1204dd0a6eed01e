package providers

import (
	"net/textproto"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// maxOthers bounds the schemes that an explanation tries: a dozen senders share
// a header's name at most.
const maxOthers = 32

// OthersFor returns the senders of the catalogue whose signature header is
// present in header, for Explain to try: a request that was configured as one
// sender's may be another's. They have no keys, since those of the request's own
// handler are the ones that may fit. Senders that share a token are left out,
// because a header alone makes those; so is the one whose id is configured.
func OthersFor(header map[string][]string, configured string) []verifier.Other {
	all, _ := catalogue() // one that cannot be read is an error elsewhere
	var others []verifier.Other
	for _, p := range all {
		if p.ID == configured || p.Scheme.Signature == nil || p.Scheme.Algorithm == verifier.Token || !hasAny(header, p.Scheme.Signature.Header) {
			continue
		}
		scheme := p.Scheme
		scheme.Params = p.ExampleParams() // what they are is not known; without any it does not compile
		if others = append(others, verifier.Other{Name: p.ID, Scheme: scheme}); len(others) == maxOthers {
			break
		}
	}
	return others
}

func hasAny(header map[string][]string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(header[textproto.CanonicalMIMEHeaderKey(name)]) > 0 })
}
