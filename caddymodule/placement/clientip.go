package placement

import (
	"net/http"
	"reflect"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// claimedAddress finds handlers whose clients can choose their own address: Caddy takes
// the first one of X-Forwarded-For without trusted_proxies_strict, and most proxies add
// the client's behind what it wrote there.
func (s *survey) claimedAddress() []Finding {
	var names []string
	for _, seat := range s.seats {
		if believesClients(s.servers[seat.server]) {
			names = append(names, seat.handler.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Finding{{
		"clients can choose the address that Caddy takes for theirs, unless the proxy replaces X-Forwarded-For, which Caddy cannot tell, and so the share of one client may be no limit: write trusted_proxies_strict beside trusted_proxies, which is right for both kinds of proxies",
		[]zap.Field{zap.Strings("names", sorted(names))},
	}}
}

// believesClients reports whether a server takes the first address of X-Forwarded-For.
func believesClients(server *caddyhttp.Server) bool {
	return server.TrustedProxiesStrict <= 0 && (server.TrustedProxiesUnix || trustsProxies(server)) &&
		len(server.ClientIPHeaders) > 0 && http.CanonicalHeaderKey(server.ClientIPHeaders[0]) == "X-Forwarded-For"
}

// trustsProxies reports whether a server has trusted_proxies. Caddy forgets the
// configuration once it has loaded the module, and keeps that to itself.
func trustsProxies(server *caddyhttp.Server) bool {
	loaded := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesRaw != nil || loaded.Kind() == reflect.Interface && !loaded.IsNil()
}
