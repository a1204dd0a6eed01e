package placement

import (
	"slices"
	"strings"

	"go.uber.org/zap"
)

// unmarked finds other sites that lead to the app of a block, or ask it, and delete neither
// marks nor headers that an app may route by: there a client can write what the app believes.
func (s *survey) unmarked() (findings []Finding) {
	ofAll, ofLocal, budget := s.prefixes(false), s.prefixes(true), surveyBudget
	tried := make(map[string]bool) // servers and hosts
	for _, exposed := range []bool{true, false} {
		for _, to := range s.apps {
			if to.exposed != exposed || to.guarded || !slices.ContainsFunc(to.addresses, func(a string) bool { return ofAll[a] != "" }) {
				continue
			}
			prefixes := ofAll
			if s.isPrivate(to.server) {
				prefixes = ofLocal
			}
			for _, host := range to.hosts {
				site := strings.TrimSpace(host + " " + strings.Join(s.servers[to.server].Listen, " "))
				if tried[to.server+site] {
					continue
				}
				tried[to.server+site] = true
				if exposed { // already reported
					continue
				}
				findings = append(findings, s.bypass(to.server, host, &budget).unmarked(prefixes, site)...)
			}
		}
	}
	return findings
}

// bypass returns a search for the apps that requests of a host reach without any block.
func (s *survey) bypass(server, host string, budget *int) *bypass {
	return &bypass{server: s.servers[server], host: host, budget: budget, fixed: s.fixed[server]}
}

// prefixes returns the prefix of a block for each address of the apps behind it; local:
// of blocks that only this machine reaches.
func (s *survey) prefixes(local bool) map[string]string {
	of := make(map[string]string)
	for _, seat := range s.seats {
		if seat.block == nil || local && !s.local[seat.server] {
			continue
		}
		for _, a := range s.behind[seat.handler] {
			for _, address := range a.addresses {
				of[address] = seat.prefix()
			}
		}
	}
	return of
}

// unmarked lists the apps of blocks that open requests reach.
func (b *bypass) unmarked(prefixes map[string]string, site string) (findings []Finding) {
	told := make(map[string]bool)
	tell := func(replies []reply, why string, remedy func(prefix string) string) {
		for _, a := range replies {
			i := slices.IndexFunc(a.addresses, func(address string) bool { return prefixes[address] != "" })
			if i < 0 || told[a.by] {
				continue
			}
			told[a.by] = true
			prefix := prefixes[a.addresses[i]]
			findings = append(findings, Finding{
				"requests reach " + a.by + " with marks that a client may have written, without passing verify_webhook: " + why + "; " + remedy(prefix),
				[]zap.Field{zap.String("prefix", prefix), zap.String("site", site)},
			})
		}
	}
	atOnce, later := b.reached()
	if b.met { // already reported
		return nil
	}
	tell(atOnce, "another site has the app of a block", guardRemedy)
	tell(b.askedAsCalled, asks, guardRemedy)
	tell(b.asked, asks, func(string) string { return beforeQuestion })
	tell(later, "intercept or handle_errors of another site leads to the app of a block", func(prefix string) string { return "write verify_webhooks " + prefix + besideErrors })
	return findings
}

// reached lists the apps that open requests reach: at once, and after an app has answered
// or something has refused them.
func (b *bypass) reached() (atOnce, later []reply) {
	b.routes(b.server.Routes, fromClients(some))
	if atOnce = slices.Concat(b.past, b.perhaps); len(atOnce) > 0 {
		b.ended = some
	}
	b.afterwards()
	return atOnce, b.refused
}

// guardRemedy returns what to write into another site of a block's app.
func guardRemedy(prefix string) string { return "write verify_webhooks " + prefix + beforeProxy }

const asks = "forward_auth of another site asks the app of a block"

// beforeQuestion deletes no more: that app gets a path of the configuration, and the prefix
// may be one of the site's own app.
const beforeQuestion = "write request_header -Webhook* before that forward_auth"

// Places of a guard.
const (
	beforeProxy  = ", without a block, before that proxy: it refuses the prefix and deletes forged marks"
	besideErrors = ", without a block, into that site, beside intercept and handle_errors: it refuses the prefix and deletes forged marks"
)
