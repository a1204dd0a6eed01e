package providers

import (
	"net/textproto"
	"slices"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// maxOthers limits the schemes that an explanation tries: at most a dozen senders
// share a header name.
const maxOthers = 32

// OthersFor returns the senders of the catalogue whose signature header is present,
// for Explain to try. They have no keys: Explain tries those of the request's
// handler. Token senders are left out, because a header alone proves nothing about
// them; so is the configured provider.
func OthersFor(header map[string][]string, configured string) []verifier.Other {
	all, _ := catalogue() // an unreadable catalogue is reported elsewhere
	var others []verifier.Other
	for _, p := range all {
		if p.ID == configured || p.Scheme.Signature == nil || p.Scheme.Algorithm == verifier.Token || !hasAny(header, p.Scheme.Signature.Header) {
			continue
		}
		scheme := p.Scheme
		scheme.Params = p.ExampleParams() // the real values are unknown, but without params it does not compile
		if others = append(others, verifier.Other{Name: p.ID, Scheme: scheme}); len(others) == maxOthers {
			break
		}
	}
	return others
}

func hasAny(header map[string][]string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(header[textproto.CanonicalMIMEHeaderKey(name)]) > 0 })
}
