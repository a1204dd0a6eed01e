package placement

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// isLocal reports whether a server listens only for this machine.
func isLocal(server *caddyhttp.Server) bool {
	return len(server.Listen) > 0 && !slices.ContainsFunc(server.Listen, func(text string) bool {
		a, err := caddy.ParseNetworkAddress(text)
		return err != nil || !a.IsUnixNetwork() && !isLoopback(a.Host)
	})
}

// isPrivate reports whether a server is local and no other one leads strangers to it
// without a guard. What other processes lead there, it does not know.
func (s *survey) isPrivate(server string) bool {
	if !s.local[server] {
		return false
	}
	if s.public == nil {
		s.public = s.findPublic()
	}
	return !s.public[server]
}

// findPublic returns the servers that requests of strangers reach, directly or through
// proxies.
func (s *survey) findPublic() map[string]bool {
	public, listens := make(map[string]bool), make(map[string]string) // local servers by address
	var found []string
	for name, server := range s.servers {
		if !s.local[name] {
			public[name], found = true, append(found, name)
			continue
		}
		for _, text := range server.Listen {
			listens[normal(text)] = name
		}
	}
	isNew := func(address string) bool { return listens[address] != "" && !public[listens[address]] }
	leads := make(map[string][]*app) // to local servers
	for _, a := range s.apps {
		if slices.ContainsFunc(a.addresses, isNew) {
			leads[a.server] = append(leads[a.server], a)
		}
	}
	budget := surveyBudget
	for i := 0; i < len(found); i++ { // which the loop adds to
		tried := make(map[string]bool)
		for _, a := range leads[found[i]] {
			for _, host := range a.hosts {
				if tried[host] || !slices.ContainsFunc(a.addresses, isNew) {
					continue
				}
				tried[host] = true
				atOnce, later := s.bypass(found[i], host, &budget).reached()
				for _, r := range slices.Concat(atOnce, later) {
					for _, address := range r.addresses {
						if isNew(address) {
							public[listens[address]], found = true, append(found, listens[address])
						}
					}
				}
			}
		}
	}
	return public
}
