package placement

import (
	"cmp"
	"slices"

	"go.uber.org/zap"
)

// impossible finds handlers that none of their requests can reach.
func (s *survey) impossible() (findings []Finding) {
	for _, seat := range s.seats {
		if seen, missed := s.misses(seat); missed {
			findings = append(findings, Finding{
				"no request can reach this verify_webhook: its matcher does not match the path after handle_path, a rewrite or the route around it; write the path as it is there",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.Strings("matcher", seat.own), zap.String("request", seat.paths[0]), zap.String("path_there", seen)},
			})
		}
	}
	return findings
}

// misses reports whether requests reach the seat's route but none can match it, and
// the path of the first one there.
func (s *survey) misses(seat seat) (seen string, missed bool) {
	if seat.vague || s.touched[seat.handler] || len(seat.own) == 0 || s.budget <= 0 {
		return "", false
	}
	for at := range seat.spots() {
		w := s.try(seat.server, seat.handler.Method, at)
		if w.opaque {
			return "", false
		}
		if there, ok := w.missed[seat.handler]; ok && !missed {
			seen, missed = there, true
		}
	}
	return seen, missed
}

// shadowed finds handlers whose requests are all answered earlier: what looks guarded
// is open.
func (s *survey) shadowed() (findings []Finding) {
	for _, seat := range s.seats {
		if by := s.shadow(seat); by != "" {
			findings = append(findings, Finding{
				"no request reaches this verify_webhook: " + by + " answers first, and nothing is verified; write verify_webhook before it, or into the same handle or route",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.String("request", seat.paths[0])},
			})
		}
	}
	return findings
}

func (s *survey) shadow(seat seat) (by string) {
	if _, impossible := s.misses(seat); impossible || seat.vague || seat.partial || s.touched[seat.handler] || s.budget <= 0 {
		return ""
	}
	for at := range seat.spots() {
		w := s.try(seat.server, seat.handler.Method, at)
		if w.opaque || len(w.open) == 0 {
			return ""
		}
		by = w.open[0].by
	}
	return by
}

// refused finds handlers whose requests reach another handler first. What both verify
// is answered 500.
func (s *survey) refused() (findings []Finding) {
	told := make(map[*Handler]bool)
	for _, seat := range s.seats {
		for at := range seat.spots() {
			for _, p := range s.try(seat.server, seat.handler.Method, at).second {
				if told[p.second] || !p.always && (seat.vague || s.metFirst(p.second)) {
					continue
				}
				told[p.second] = true
				findings = append(findings, Finding{
					"requests reach two verify_webhook handlers, one after the other, and none passes both: give each its own path, or one handler both secrets",
					[]zap.Field{zap.Strings("names", sorted([]string{p.first.Name, p.second.Name})), zap.Stringer("request", at)},
				})
			}
		}
	}
	return findings
}

// metFirst reports whether some request reaches the handler without passing another
// one.
func (s *survey) metFirst(h *Handler) bool {
	for _, all := range s.met {
		if slices.ContainsFunc(all, func(p placed) bool { return p.handler == h }) {
			return true
		}
	}
	return false
}

// dropped finds handlers without anything that answers behind them: each of their
// deliveries is refused, since no app can have accepted it.
func (s *survey) dropped() (findings []Finding) {
	var names []string
	var example spot
	for _, seat := range s.seats {
		h := seat.handler
		if s.blurred[h] || len(s.behind[h]) > 0 {
			continue
		}
		for at := range seat.spots() {
			if s.try(seat.server, h.Method, at).dropped[h] {
				names, example = append(names, h.Name), cmp.Or(example, at)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Finding{{
		"nothing answers after this verify_webhook, so each delivery is refused with no_upstream: write reverse_proxy after it, in the same handle or route",
		[]zap.Field{zap.Strings("names", sorted(names)), zap.Stringer("request", example)},
	}}
}

// judges finds handlers whose answer alone matters, to an ingress that then passes the
// request to the app, and that answer requests without a signature.
func (s *survey) judges() []Finding {
	var names []string
	for h, answers := range s.behind {
		passes := func(a reply) bool { return !a.fixed }
		if h.Greets && h.NoDedupe && !s.blurred[h] && !slices.ContainsFunc(answers, passes) {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Finding{{
		"only a respond comes after these senders, as for an ingress that asks before it passes a request to the app (auth_request, forward_auth, ext_authz); it would pass every request that carries the mark of a handshake, which needs no signature: write handshake off",
		[]zap.Field{zap.Strings("names", sorted(names))},
	}}
}

// endless finds FastCGI apps that may take longer than their handler allows: that
// transport does not end with its request.
func (s *survey) endless() (findings []Finding) {
	told := make(map[*Handler]bool)
	for _, seat := range s.seats {
		h := seat.handler
		if told[h] || !slices.ContainsFunc(s.behind[h], func(a reply) bool { return a.patience > h.Timeout }) {
			continue
		}
		told[h] = true
		limit := h.Timeout.String()
		findings = append(findings, Finding{
			"upstream_timeout does not end a request to FastCGI: while the app hangs, the sender and its copies wait; write read_timeout " + limit + " and write_timeout " + limit + " into transport fastcgi or php_fastcgi",
			[]zap.Field{zap.String("name", h.Name)},
		})
	}
	return findings
}
