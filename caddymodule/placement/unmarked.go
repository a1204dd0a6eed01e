package placement

import (
	"slices"
	"strings"

	"go.uber.org/zap"
)

// unmarked finds other sites that lead to the app of a block and delete neither marks
// nor headers that an app may route by: there a client can write what the app believes.
func (s *survey) unmarked() (findings []Finding) {
	prefixes, budget := s.prefixes(), surveyBudget
	tried := make(map[string]bool) // servers and hosts
	for _, exposed := range []bool{true, false} {
		for _, to := range s.apps {
			if to.exposed != exposed || to.refused || s.isLocal(to.server) || !slices.ContainsFunc(to.addresses, func(a string) bool { return prefixes[a] != "" }) {
				continue
			}
			for _, host := range to.hosts {
				site := strings.TrimSpace(host + " " + strings.Join(s.servers[to.server].Listen, " "))
				if tried[to.server+site] {
					continue
				}
				tried[to.server+site] = true
				b := &bypass{server: s.servers[to.server], host: host, budget: &budget, fixed: s.fixed[to.server]}
				if b.routes(b.server.Routes, flow{open: some}); b.met || exposed { // already reported
					continue
				}
				findings = append(findings, b.unmarked(prefixes, site)...)
			}
		}
	}
	return findings
}

// prefixes returns the prefix of a block for each address of the apps behind it.
func (s *survey) prefixes() map[string]string {
	of := make(map[string]string)
	for _, seat := range s.seats {
		if seat.block == nil {
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

func (b *bypass) unmarked(prefixes map[string]string, site string) (findings []Finding) {
	told := make(map[string]bool)
	for _, a := range slices.Concat(b.past, b.perhaps) {
		i := slices.IndexFunc(a.addresses, func(address string) bool { return prefixes[address] != "" })
		if i < 0 || told[a.by] {
			continue
		}
		told[a.by] = true
		prefix := prefixes[a.addresses[i]]
		findings = append(findings, Finding{
			"requests reach " + a.by + " with marks that a client may have written, without passing verify_webhook: another site has the app of a block; " + guardRemedy(prefix),
			[]zap.Field{zap.String("prefix", prefix), zap.String("site", site)},
		})
	}
	return findings
}

// guardRemedy returns what to write into another site of a block's app.
func guardRemedy(prefix string) string {
	return "write verify_webhooks " + prefix + ", without a block, before that proxy: it refuses the prefix and deletes forged marks"
}
