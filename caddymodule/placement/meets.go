package placement

import (
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// meets reports whether one path may lead to both seats. In doubt it does: seats that
// seem to meet have the port in their deliveries' identities, those that do not must have
// nothing but the path to tell them apart.
func (s *seat) meets(other *seat) bool {
	for _, these := range s.limits {
		for _, those := range other.limits {
			if !slices.ContainsFunc(these, func(a string) bool {
				return slices.ContainsFunc(those, func(b string) bool { return meet(a, b) })
			}) {
				return false
			}
		}
	}
	return true
}

// meetsAtPort is meets for seats of two servers.
func (s *seat) meetsAtPort(other *seat) bool { return s.server != other.server && s.meets(other) }

// meetingAtPorts returns the handlers in groups of seats that need the port to tell their
// deliveries apart.
func meetingAtPorts(groups map[string][]*seat) map[*Handler]bool {
	ported := make(map[*Handler]bool)
	for _, group := range groups {
		for i, a := range group {
			for _, b := range group[i+1:] {
				if !(ported[a.handler] && ported[b.handler]) && a.meetsAtPort(b) {
					ported[a.handler], ported[b.handler] = true, true
				}
			}
		}
	}
	return ported
}

// limitsOf returns, for each route above a seat that matches listed paths only, those
// paths as they count for an identity. A star at the end is any text.
func limitsOf(steps []step) (limits [][]string) {
	for _, step := range steps {
		if paths, ok := pathsOf(step.route); ok {
			limits = append(limits, paths)
		}
	}
	return limits
}

// pathsOf is not ok if a request may match the route with another path.
func pathsOf(route *caddyhttp.Route) (paths []string, ok bool) {
	if route == nil {
		return nil, false
	}
	for _, set := range matchersOf(route) {
		i := slices.IndexFunc(set, func(matcher any) bool { _, is := matcher.(*caddyhttp.MatchPath); return is })
		if i < 0 {
			return nil, false
		}
		for _, pattern := range *set[i].(*caddyhttp.MatchPath) {
			fixed, isPrefix := strings.CutSuffix(pattern, "*")
			if !isPlain(fixed) || !strings.HasPrefix(fixed, "/") || strings.Contains(fixed, "//") {
				return nil, false
			}
			// The identity has no slash at the end, and on Windows the matcher ignores dots and spaces there.
			fixed = strings.TrimRight(strings.ToLower(path.Clean(fixed)), "/. ")
			if isPrefix {
				fixed += "*"
			}
			paths = append(paths, fixed)
		}
	}
	return paths, len(paths) > 0
}

func meet(a, b string) bool {
	a, anyA := strings.CutSuffix(a, "*")
	b, anyB := strings.CutSuffix(b, "*")
	return a == b || anyA && strings.HasPrefix(b, a) || anyB && strings.HasPrefix(a, b)
}

// keepsPath reports whether a handler certainly leaves the path to the routes after it as it is.
func keepsPath(h caddyhttp.MiddlewareHandler) bool {
	if passesOn(h) {
		return true
	}
	switch kindOf(h) {
	case "http.handlers.authentication", "http.handlers.error", "http.handlers.file_server", "http.handlers.static_response", "http.handlers.vars":
		return true
	}
	return false
}
