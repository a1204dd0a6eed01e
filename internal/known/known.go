// Package known combines a provider file's facts with what its scheme proves, to
// determine how copies of a delivery are recognised. Handlers and provider pages use
// it.
package known

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/internal/appview"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// Facts returns the facts about deliveries of a provider under rules and methods,
// which may be the provider's own or configured.
func Facts(p *providers.Provider, rules *verifier.Rules, methods []string) dedupe.Facts {
	s := rules.Scheme()
	return dedupe.Facts{
		HasID:        s.DeliveryID != nil && !s.DeliveryID.Off,
		IDSigned:     rules.SignsID(),
		UniqueID:     p.UniqueID && reflect.DeepEqual(s.DeliveryID, p.Scheme.DeliveryID), // said of the file's own id
		BodySigned:   rules.SignsContent(),
		BodiesDiffer: p.BodiesDiffer,
		EventUnsigned: slices.ContainsFunc(p.DecidingHeaders(), func(name string) bool {
			return !rules.SignsHeader(name) && !pinned(s, name)
		}),
		MethodUnsigned: len(methods) > 1 && !rules.SignsMethod(),
	}
}

// Windows returns how long an accepted delivery is remembered by default, and one without
// the id that identifies the others. Neither ends before the delivery's signed time is
// stale, but for bodies that may repeat, of which the second would be lost.
func Windows(p *providers.Provider, rules *verifier.Rules, i dedupe.Identity) (usual, unnamed time.Duration) {
	unnamed = dedupe.ContentTTL
	if p.BodiesDiffer {
		unnamed = max(unnamed, rules.Fresh())
	}
	return i.TTL(max(time.Duration(p.Retry.Span), rules.Fresh())), unnamed
}

// pinned reports whether a header is required to have one specific value. Entries of one
// name are alternatives, and so are the lines of a variable or a file.
func pinned(s verifier.Scheme, name string) bool {
	var values []string
	for _, h := range s.RequireHeader {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Values...)
		}
	}
	return len(values) == 1 && values[0] != "*" && !strings.ContainsAny(values[0], "{\r\n")
}

// Lines returns all lines of the headers by which an app decides, exactly as the app gets them, each with
// its header's name, as they enter an identity. Headers that an app may read as one of
// them count too (X_Github_Event).
func Lines(header map[string][]string, names []string) (lines []string) {
	if len(names) == 0 {
		return nil
	}
	var room [2]string
	found := room[:0]
	for name := range header {
		if appview.IsHeader(name, names) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	for _, name := range found {
		for _, line := range header[name] {
			lines = append(lines, name+":"+line)
		}
	}
	return lines
}
