package placement

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// A meeting is a handler with a request that reaches it.
type meeting struct {
	placed
	at spot
}

// conflict refuses two handlers without names that one request may reach, depending
// on a header or the sender's address, or two requests whose paths count as one: their scope
// is provider, host and path, so a delivery of one sender would be a duplicate for the other.
func (s *survey) conflict() error {
	for a, b := range s.sharing() {
		if a.at == b.at && a.server == b.server || len(s.differs(a.handler, b.handler)) > 0 {
			return s.needNames(a, b)
		}
	}
	return nil
}

// sharing yields each two handlers without names that have one scope at these addresses. A
// site with two addresses has each of its handlers twice.
func (s *survey) sharing() iter.Seq2[meeting, meeting] {
	return func(yield func(a, b meeting) bool) {
		scopes := make(map[string][]meeting)
		for _, at := range slices.SortedFunc(maps.Keys(s.met), func(a, b spot) int { return cmp.Compare(a.String(), b.String()) }) {
			for _, p := range s.met[at] {
				h, this := p.handler, meeting{p, at}
				if h.Named || h.NoDedupe {
					continue
				}
				scope := h.Provider + " " + at.counted()
				for _, first := range scopes[scope] {
					if first.at != at && first.server != p.server {
						continue // of sites for any host the port counts
					}
					if first.handler != h && !yield(first, this) {
						return
					}
				}
				if !slices.Contains(scopes[scope], this) {
					scopes[scope] = append(scopes[scope], this)
				}
			}
		}
	}
}

// counted returns the address as it counts for a delivery's identity.
func (s spot) counted() string { return strings.ToLower(s.host + path.Clean("/"+s.path)) }

func (s *survey) needNames(first, second meeting) error {
	a, b := first.handler, second.handler
	both := fmt.Sprintf("verify_webhook %s: the handlers %d and %d of the configuration have no name and", a.Name, min(a.Place, b.Place)+1, max(a.Place, b.Place)+1)
	remedy := fmt.Sprintf("a delivery accepted by one would be a duplicate for the other. Give each a name: name %s-1, and name %s-2", a.Name, a.Name)
	if first.at != second.at {
		return fmt.Errorf("%s get requests for %s and %s, which count as one path: %s", both, first.at, second.at, remedy)
	}
	var seats []seat
	for _, seat := range s.seats {
		if seat.handler == a || seat.handler == b {
			seats = append(seats, seat)
		}
	}
	how := "a port"
	if kinds := kindsOf(seats...); len(kinds) > 0 {
		how = strings.Join(kinds, ", ")
	}
	return fmt.Errorf("%s can both get a request for %s (distinguished by: %s): %s", both, first.at, how, remedy)
}

func (s *survey) differs(a, b *Handler) (how []string) {
	if a.Keys != b.Keys {
		how = append(how, "keys")
	}
	if one, other := s.appBehind(a), s.appBehind(b); one != "" && other != "" && one != other {
		how = append(how, "apps")
	}
	return how
}

// oneQueue refuses handlers with an inbox and one name that lead to different apps:
// they would share a queue, and what holds one app's deliveries would hold the other's.
// It has one set of options too.
func (s *survey) oneQueue() error {
	first := make(map[string]seat)
	options := make(map[string]*Handler)
	for _, at := range s.seats {
		h := at.handler
		if !h.Inbox {
			continue
		}
		if other := options[h.Name]; other == nil {
			options[h.Name] = h
		} else if other.Options != h.Options {
			return fmt.Errorf("verify_webhook %s: the handlers %d and %d of the configuration have an inbox, one name and different options of it (retry, expire, dead_on, keep). They would share a queue, which has one set of options. "+
				"Write the same options, or give each a name when the inbox holds nothing of them: name %s-1, and name %s-2", h.Name, min(other.Place, h.Place)+1, max(other.Place, h.Place)+1, h.Name, h.Name)
		}
	}
	for _, at := range s.seats {
		if !at.handler.Inbox || s.appsAt(at) == "" {
			continue
		}
		h, other := at.handler, first[at.handler.Name]
		if other.handler == nil {
			first[h.Name] = at
			continue
		}
		one, another := s.appsAt(other), s.appsAt(at)
		switch {
		case one == another:
		case other.handler == h:
			return fmt.Errorf("verify_webhook %s: several routes invoke it, with different apps behind it (%s; %s). Its inbox has one queue: while one app is down, the other's deliveries would wait too, or reach the wrong app. "+
				"Write the handler once for each app, each with a name: name %s-1, and name %s-2", h.Name, one, another, h.Name, h.Name)
		default:
			return fmt.Errorf("verify_webhook %s: the handlers %d and %d of the configuration have an inbox, one name and different apps (%s; %s). They would share a queue: while one app is down, the other's deliveries would wait too. "+
				"Give each a name: name %s-1, and name %s-2", h.Name, min(other.handler.Place, h.Place)+1, max(other.handler.Place, h.Place)+1, one, another, h.Name, h.Name)
		}
	}
	return nil
}

// appsAt is what answers behind a handler in one of its places, "" if that is unknown.
func (s *survey) appsAt(at seat) string {
	return appsOf(s.repliesAt(at))
}

// repliesAt lists what answers behind a handler in one of its places.
func (s *survey) repliesAt(at seat) (replies []reply) {
	for spot := range at.spots() {
		replies = append(replies, s.try(at.server, at.handler.Method, spot).behind[at.handler]...)
	}
	return replies
}

// shared finds different handlers with the same configured name, and so the same
// scope, and one that several routes invoke for different apps.
func (s *survey) shared() (findings []Finding) {
	find := func(message string, h *Handler, how ...string) {
		if len(how) > 0 {
			findings = append(findings, Finding{message, []zap.Field{zap.String("name", h.Name), zap.Strings("different", sorted(how))}})
		}
	}
	behind := make(map[*Handler][]reply)
	for _, at := range s.seats {
		h, replies := at.handler, s.repliesAt(at)
		if !h.Named || h.NoDedupe || appsOf(replies) == "" {
			continue
		}
		if before := behind[h]; before != nil {
			how := apart(before, replies)
			if appsOf(before) != appsOf(replies) {
				how = []string{"apps"}
			}
			find("several routes invoke this handler, with different apps behind it: a delivery accepted by one is a duplicate for the others. Write the handler once for each app, each with its own name", h, how...)
		}
		behind[h] = replies
	}
	for _, handlers := range s.byName(func(h *Handler) bool { return h.Named && !h.NoDedupe }) {
		var how []string
		first := make(map[string]*Handler) // by provider, which is part of the scope
		for _, h := range handlers {
			before := first[h.Provider]
			if before != nil {
				how = slices.Concat(how, s.differs(before, h), s.apart(before, h))
			}
			if before == nil || s.appBehind(before) == "" {
				first[h.Provider] = h
			}
		}
		find("handlers with one name share their deliveries: a delivery accepted by one is a duplicate for the others. Unless they have the same app, give each its own name", handlers[0], how...)
	}
	return findings
}

// sameName finds handlers with the same default name.
func (s *survey) sameName() (findings []Finding) {
	addresses := make(map[*Handler]string)
	for _, seat := range s.seats {
		addresses[seat.handler] += strings.Join(seat.paths, " ") + "\n"
	}
	for _, handlers := range s.byName(func(*Handler) bool { return true }) {
		if !slices.ContainsFunc(handlers, func(h *Handler) bool { return !h.Named }) {
			continue
		}
		kinds := make(map[string]bool) // a site with two addresses has each handler twice
		for _, h := range handlers {
			kinds[h.Keys+addresses[h]] = true
		}
		if len(kinds) > 1 {
			findings = append(findings, Finding{
				fmt.Sprintf("%d handlers are called %s: metrics, status and the mark Webhook-Verified do not tell them apart. Give each a name", len(kinds), handlers[0].Name), nil,
			})
		}
	}
	return findings
}

// anyPath finds handlers without a name that requests reach on several paths or ports, or
// under any host that a client writes. These are then part of a delivery's identity,
// although anyone can choose them unless they are signed.
func (s *survey) anyPath() (findings []Finding) {
	var paths, hosts, ports []string
	same := make(map[[4]string][]*seat) // seats that only a port may distinguish
	for _, seat := range s.seats {
		h := seat.handler
		if h.Named || h.NoDedupe {
			continue
		}
		if !h.PathSigned && s.hasSeveralPaths(seat) {
			paths = append(paths, h.Name)
		}
		if seat.guessed && slices.Contains(seat.hosts, "") {
			hosts = append(hosts, h.Name)
		}
		for _, host := range few(seat.named, "") {
			if host != "" && !strings.ContainsAny(host, "*{") {
				continue // listed: the port does not count
			}
			is := [4]string{h.Provider, host, h.Keys, s.appBehind(h)}
			if !seat.guessed && slices.ContainsFunc(same[is], seat.meetsAtPort) {
				ports = append(ports, h.Name)
			}
			same[is] = append(same[is], &seat)
		}
	}
	if len(ports) > 0 {
		findings = append(findings, Finding{
			"handlers without a name include the port in a delivery's identity on sites for any host, and several ports lead to these: a captured delivery can be replayed at another one. Give each a name, the same for ports that lead to one app: name <name>",
			[]zap.Field{zap.Strings("names", sorted(ports))},
		})
	}
	if len(paths) > 0 {
		findings = append(findings, Finding{
			"handlers without a name include the path in a delivery's identity, and requests reach these under any path: a captured delivery can be replayed under another one. Give each a name: name <name>",
			[]zap.Field{zap.Strings("names", sorted(paths))},
		})
	}
	if len(hosts) > 0 {
		findings = append(findings, Finding{
			"handlers without a name include the host in a delivery's identity where a matcher may look at it, and requests reach these under any host: a captured delivery can be replayed under another one. Give each a name: name <name>",
			[]zap.Field{zap.Strings("names", sorted(hosts))},
		})
	}
	return findings
}

// hasSeveralPaths reports whether one host has several paths that lead to the seat, as its
// matchers and the rewrites above it suggest.
func (s *survey) hasSeveralPaths(seat seat) bool {
	for _, host := range seat.hosts {
		met := ""
		for _, path := range seat.alternatives() {
			w := s.probe(probe{server: seat.server, method: seat.handler.Method, at: spot{host, path}})
			if !slices.Contains(w.met, seat.handler) {
				continue
			}
			if met != "" && met != path {
				return true
			}
			met = path
		}
	}
	return false
}

// alternatives lists paths that may lead to the seat.
func (s seat) alternatives() (paths []string) {
	for _, path := range s.paths {
		paths = append(paths, path, path+"x")
	}
	if !s.vague && !s.doubt && !slices.ContainsFunc(s.layers, layer.rewrites) {
		return paths
	}
	for _, path := range slices.Concat(s.inside, s.paths) {
		paths = append(paths, calls(path, s.layers)...)
	}
	for _, l := range s.layers {
		paths = append(append(paths, l.examples("x")...), l.examples("y")...)
	}
	for _, path := range marked(s.layers) {
		other := isMarker.ReplaceAllString(path, "y")
		path = isMarker.ReplaceAllString(path, "x")
		paths = append(paths, path, other, "/x"+path, path+"x")
	}
	return paths
}

// byName lists groups of several handlers with the same name.
func (s *survey) byName(take func(*Handler) bool) (groups [][]*Handler) {
	byName := make(map[string][]*Handler)
	for _, seat := range s.seats {
		if h := seat.handler; take(h) && !slices.Contains(byName[h.Name], h) {
			byName[h.Name] = append(byName[h.Name], h)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if len(byName[name]) > 1 {
			groups = append(groups, byName[name])
		}
	}
	return groups
}
