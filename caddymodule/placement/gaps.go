package placement

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// unguarded finds answered requests near a handler's path that pass no handler: its
// matcher does not match them, but a later route does.
func (s *survey) unguarded() (findings []Finding) {
	type gap struct{ folder, by, loose string }
	names, example := make(map[gap][]string), make(map[gap]spot)
	var gaps []gap
	for _, seat := range s.seats {
		for at := range seat.spots() {
			near, by, loose := s.gapAt(seat, at)
			if by == "" {
				continue
			}
			g := gap{seat.folderOf(at.path), by, strings.Join(loose, ", ")}
			if names[g] == nil {
				gaps, example[g] = append(gaps, g), near
			}
			names[g] = append(names[g], seat.handler.Name)
		}
	}
	for _, g := range gaps {
		fields := []zap.Field{zap.Strings("names", sorted(names[g])), zap.Stringer("request", example[g])}
		if g.loose != "" {
			fields = append(fields, zap.String("unless_matched_by", g.loose))
		}
		findings = append(findings, Finding{
			"requests reach " + g.by + " without passing verify_webhook: list the senders in one block, verify_webhooks " + g.folder + "; it lets nothing else below that prefix through",
			fields,
		})
	}
	return findings
}

// gapAt returns a request near one that the seat's handler verifies, or should, and
// what answers it; "" if nothing does. loose names the matchers that the request must
// miss.
func (s *survey) gapAt(seat seat, at spot) (near spot, by string, loose []string) {
	_, impossible := s.misses(seat)
	met := slices.Contains(s.try(seat.server, seat.handler.Method, at).met, seat.handler)
	if impossible || met {
		for _, near := range seat.near(at) {
			for _, a := range s.try(seat.server, seat.handler.Method, near).open {
				if impossible || s.mayBeBehind(a) {
					return near, a.by, nil
				}
			}
		}
	}
	for _, l := range seat.loose {
		if !met || seat.tried || l.kind == "file" { // the walk only assumed that the file exists
			loose = append(loose, l.kind)
		}
	}
	if impossible || len(loose) == 0 {
		return spot{}, "", nil
	}
	behind := s.verified(seat, at)
	for _, given := range []verdict{never, always} { // so that a matcher and its opposite leave no gap
		for _, a := range s.probe(probe{server: seat.server, method: seat.handler.Method, at: at, strays: true, given: given}).open {
			if s.mayBeBehind(a) || slices.ContainsFunc(behind, a.mayBe) {
				return at, a.by, sorted(loose)
			}
		}
	}
	return spot{}, "", nil
}

// mayBeBehind reports whether the reply may come from an app that handlers protect.
// Other apps may be open.
func (s *survey) mayBeBehind(a reply) bool {
	if a.app == "" {
		return true
	}
	for _, answers := range s.behind {
		if slices.ContainsFunc(answers, a.mayBe) {
			return true
		}
	}
	return false
}

// mayBe reports whether two replies may be from the same app.
func (a reply) mayBe(b reply) bool { return b.app == "" || share(a.addresses, b.addresses) }

// folderOf proposes a prefix for a block. A part of a guess may be any.
func (s seat) folderOf(p string) string {
	folder := path.Dir(p)
	if s.tried {
		folder, _, _ = strings.Cut(folder+"/", "/x/")
		folder = path.Clean("/" + folder)
	}
	if folder != "/" {
		return folder + "/*"
	}
	return "/hooks/*"
}

// unanswered finds requests that Caddy answers with an empty 200, which a sender with
// a wrong address reads as success.
func (s *survey) unanswered() (findings []Finding) {
	example, where := make(map[string]spot), make(map[string][]string) // by message
	try := func(seat seat, at spot, message, place string) {
		if !slices.Contains(where[message], place) && s.try(seat.server, seat.handler.Method, at).empty {
			example[message] = cmp.Or(example[message], at)
			where[message] = append(where[message], place)
		}
	}
	for _, seat := range s.seats {
		listen := strings.Join(s.servers[seat.server].Listen, " ")
		for at := range seat.spots() {
			for _, near := range append(seat.near(at), spot{at.host, "/no-such-path"}) {
				try(seat, near, "requests for other paths get Caddy's empty 200, which a sender reads as success: end the site with respond 404", cmp.Or(at.host, listen))
			}
			if !s.secure[seat.server] { // otherwise a client that requests another host gets no certificate
				try(seat, spot{"other.invalid", at.path}, "requests for other hosts get Caddy's empty 200, which a sender reads as success: add a site for all hosts, "+everyHost(listen), listen)
			}
		}
	}
	for _, message := range slices.Sorted(maps.Keys(where)) {
		findings = append(findings, Finding{message, []zap.Field{zap.Strings("sites", where[message]), zap.Stringer("request", example[message])}})
	}
	return findings
}

// everyHost is a site for all other hosts.
func everyHost(listen string) string {
	first, _, _ := strings.Cut(listen, " ")
	a, err := caddy.ParseNetworkAddress(first)
	switch {
	case err != nil || a.StartPort == 0:
		return "http:// { respond 404 }"
	case a.Host != "":
		return fmt.Sprintf("http://:%d { respond 404 }, with bind %s like this one", a.StartPort, a.Host)
	}
	return fmt.Sprintf("http://:%d { respond 404 }", a.StartPort)
}
