package placement

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// refusals are the errors of the gateway and of Caddy for a request that is not verified.
var refusals = []int{401, 404, 400, 403, 405, 408, 411, 413, 421, 425, 429, 431, 500, 501, 503}

// unreachable are the errors for an app that does not answer: of a request that a proxy
// or another module gets before the handler. Any others are of verified deliveries.
var unreachable = []int{502, 504}

// statuses lists the errors under which the error routes get a request that its handler
// has not verified.
func (s *survey) statuses(p probe) []int {
	all := slices.Concat(refusals, s.errors[p.server], []int{p.refuses.Refuses})
	w := s.try(p.server, p.method, p.at)
	if w.opaque || slices.ContainsFunc(w.open, func(a reply) bool { return len(a.addresses) > 0 }) {
		all = append(all, unreachable...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// statusesOf lists the statuses that an error handler may have, all that are errors if
// a request decides.
func statusesOf(h *caddyhttp.StaticError, f fixed) (statuses []int) {
	for _, text := range f.expand(h.StatusCode.String()) {
		if text, ok := constant(text); ok {
			if status, err := strconv.Atoi(text); err == nil {
				statuses = append(statuses, status)
			}
			continue
		}
		for status := http.StatusBadRequest; text != "" && status < 600; status++ {
			statuses = append(statuses, status)
		}
	}
	return statuses
}
