package caddymodule

import (
	"net/textproto"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// maxOthers bounds the schemes that an explanation tries: a dozen senders share
// a header's name at most.
const maxOthers = 32

// othersFor returns the senders of the catalogue whose signature stands in a
// header that a request has: whoever configured the wrong one finds the right
// one among them. They have no keys: those of the request's own handler are
// the ones that may fit. Senders that share a token are none of them, since a
// header alone makes those.
func othersFor(header map[string][]string) []verifier.Other {
	all, err := providers.All()
	if err != nil {
		return nil
	}
	var others []verifier.Other
	for _, p := range all {
		if p.Scheme.Signature == nil || p.Scheme.Algorithm == verifier.Token || !hasAny(header, p.Scheme.Signature.Header) {
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
	for _, name := range names {
		if len(header[textproto.CanonicalMIMEHeaderKey(name)]) > 0 {
			return true
		}
	}
	return false
}
