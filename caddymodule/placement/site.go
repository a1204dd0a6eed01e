package placement

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A Site is the hosts under which requests reach a handler. A listed host is part of
// a delivery's identity; otherwise the client chooses the host.
type Site struct {
	hosts    []string // literal ones
	patterns []string // with a star or a placeholder; "" for every host
	listen   string   // of the server, if a path may lead to a handler of the same address at another one
	paths    []string // as called
	room     string
}

// Places says where in the routes a handler is.
type Places struct {
	Count int // routes that lead to it
	// Watched is set if something around the handler acts on its errors or responses:
	// error routes of a subroute, which get errors, or intercept, which gets responses.
	Watched bool
	// Strips is set if a route before it removes or replaces headers of the request, which
	// what comes earlier may ask for.
	Strips bool
}

// SitesOf returns the sites of all handlers in the routes, and their places. A handler
// has no site if its host is matched other than by a host matcher (an expression, a
// header), and neither site nor places if its place is unknown.
func SitesOf(app *caddyhttp.App) (sites map[*Handler]*Site, places map[*Handler]Places) {
	sites, places = make(map[*Handler]*Site), make(map[*Handler]Places)
	guessed := make(map[*Handler]bool)
	seats := make(map[*Handler][]*seat) // of handlers without a name
	repl := caddy.NewReplacer()
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		for _, seat := range placeOf(name, app.Servers[name]).seats {
			h := seat.handler
			if sites[h] == nil {
				sites[h] = &Site{listen: strings.Join(app.Servers[name].Listen, " ")}
			}
			guessed[h] = guessed[h] || seat.guessed
			places[h] = Places{places[h].Count + 1, places[h].Watched || seat.watched, places[h].Strips || seat.strips}
			sites[h].paths = sorted(append(sites[h].paths, seat.paths...))
			for _, host := range few(seat.named, "") {
				sites[h].add(strings.ToLower(repl.ReplaceKnown(host, "")))
			}
			if !h.Named {
				seats[h] = append(seats[h], &seat)
			}
		}
	}
	groups := make(map[string][]*seat) // with one scope, but for path and port
	for h, all := range seats {
		for _, pattern := range sites[h].patterns {
			key := h.Provider + " " + pattern
			groups[key] = append(groups[key], all...)
		}
	}
	ported := meetingAtPorts(groups)
	maps.DeleteFunc(sites, func(h *Handler, _ *Site) bool { return guessed[h] })
	for h, site := range sites {
		if !ported[h] {
			site.listen = ""
		}
		sum := sha256.Sum256([]byte(strings.Join(slices.Concat(site.hosts, site.patterns, site.paths), "\n")))
		site.room = h.Name + " " + hex.EncodeToString(sum[:4])
	}
	return sites, places
}

func (s *Site) add(host string) {
	list := &s.hosts
	if host == "" || strings.ContainsAny(host, "*{") {
		list = &s.patterns
	}
	if i, found := slices.BinarySearch(*list, host); !found {
		*list = slices.Insert(*list, i, host)
	}
}

// Room is whose space in a store the deliveries of the site's handler take, if it has no
// name. No request can choose it.
func (s *Site) Room() string { return s.room }

// Lists reports whether the configuration lists the host of a request.
func (s *Site) Lists(host string) bool {
	_, listed := slices.BinarySearch(s.hosts, hostOf(host))
	return listed
}

// AnyHost reports whether requests for every host reach the handler.
func (s *Site) AnyHost() bool { return slices.Contains(s.patterns, "") }

// Covers reports whether a pattern of the configuration, or any host, matches the host
// of a request. A pattern with a placeholder may.
func (s *Site) Covers(host string) bool {
	host = hostOf(host)
	return slices.ContainsFunc(s.patterns, func(pattern string) bool {
		return pattern == "" || strings.Contains(pattern, "{") || covers(pattern, host)
	})
}

// Port returns the addresses of the site's server if they are part of [Site.Address].
func (s *Site) Port() string { return s.listen }

// Address replaces a host that the site does not list: the pattern that it matches,
// which the client cannot choose. It includes the port only if handlers on several
// ports need it: two gateways that share a store may listen on different ones.
func (s *Site) Address(host string) string {
	return strings.TrimSpace(s.patternOf(hostOf(host)) + " " + s.listen)
}

// Pattern returns what the configuration has for a host: the host itself if it is listed, or
// the pattern that matches it, "*" if any does.
func (s *Site) Pattern(host string) string {
	if s.Lists(host) {
		return hostOf(host)
	}
	return cmp.Or(s.patternOf(hostOf(host)), "*")
}

// patternOf returns the first pattern that matches a host, "" if none does but any host.
func (s *Site) patternOf(host string) string {
	for _, pattern := range s.patterns {
		if pattern != "" && (strings.Contains(pattern, "{") || covers(pattern, host)) {
			return pattern
		}
	}
	return ""
}

// hostOf drops a port, like Caddy's host matcher.
func hostOf(host string) string {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// covers matches like Caddy's host matcher: a star is one label.
func covers(pattern, host string) bool {
	want, got := strings.Split(pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(want, got, func(w, g string) bool { return w == "*" || w == g })
}

// mayLookAtHost reports whether a matcher other than a host matcher may depend on the
// host.
func mayLookAtHost(matcher any) bool {
	var headers []string
	switch m := matcher.(type) {
	case *caddyhttp.MatchHeader:
		for name := range *m {
			headers = append(headers, name)
		}
	case *caddyhttp.MatchHeaderRE:
		for name := range *m {
			headers = append(headers, name)
		}
	case *caddyhttp.MatchNot: // all hosts but some: nothing that distinguishes the others
		return slices.ContainsFunc(m.MatcherSets, func(set caddyhttp.MatcherSet) bool {
			return slices.ContainsFunc(set, func(matcher any) bool { return mayLookAtHost(matcher) })
		})
	case *caddyhttp.MatchExpression:
		return !isHostless(m.Expr)
	default:
		switch kindOf(matcher) {
		case "http.matchers.host", "http.matchers.path", "http.matchers.path_regexp", "http.matchers.method", "http.matchers.query",
			"http.matchers.remote_ip", "http.matchers.client_ip", "http.matchers.protocol", "http.matchers.verify_webhook_prefix":
			return false
		}
		return true
	}
	return slices.ContainsFunc(headers, func(name string) bool { return http.CanonicalHeaderKey(name) == "Host" })
}

// isHostless reports whether an expression certainly ignores the host: its placeholders are
// those of other parts of the request, and it names none.
func isHostless(expression string) bool {
	for _, name := range placeholders.FindAllStringSubmatch(expression, -1) {
		rest, ok := strings.CutPrefix(name[1], "http.request.")
		kind, _, _ := strings.Cut(rest, ".")
		if !ok || !slices.Contains([]string{"header", "uri", "method", "body", "cookie", "remote", "proto", "scheme"}, kind) {
			return false
		}
	}
	return !strings.Contains(strings.ToLower(expression), "host") && !strings.Contains(expression, "vars")
}
