package placement

import (
	"go.uber.org/zap"
)

// impossible finds handlers that none of their requests can reach.
func (s *survey) impossible() (findings []Finding) {
	for _, seat := range s.seats {
		if seen, missed := s.misses(seat); missed {
			findings = append(findings, Finding{
				"no request can reach this verify_webhook: its matcher does not fit what handle_path, a rewrite or the route around it leaves of the path; write the path as it is there",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.Strings("matcher", seat.own), zap.String("request", seat.paths[0]), zap.String("path_there", seen)},
			})
		}
	}
	return findings
}

// misses reports whether requests come to the seat's route and none can match it,
// and the path that the first one has there.
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

// shadowed finds handlers before which something else has answered all of their
// requests: what looks guarded is open.
func (s *survey) shadowed() (findings []Finding) {
	for _, seat := range s.seats {
		if by := s.shadow(seat); by != "" {
			findings = append(findings, Finding{
				"no request reaches this verify_webhook: " + by + " answers before it, and nothing is verified; write it before what answers, or into the same handle or route",
				[]zap.Field{zap.String("name", seat.handler.Name), zap.String("request", seat.paths[0])},
			})
		}
	}
	return findings
}

func (s *survey) shadow(seat seat) (by string) {
	if _, impossible := s.misses(seat); impossible || seat.vague || s.touched[seat.handler] || s.budget <= 0 {
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
