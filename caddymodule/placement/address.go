package placement

import (
	"net"
	"net/netip"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// addressesOf lists the addresses of a proxy's app as written.
func addressesOf(h *reverseproxy.Handler) []string {
	addresses := namedBy(reflect.ValueOf(h.DynamicUpstreams))
	for _, u := range h.Upstreams {
		addresses = append(addresses, u.Dial)
	}
	return addresses
}

// namedBy lists the names that a source of upstreams looks up. Those in a multi are in a
// field that only reflect sees.
func namedBy(source reflect.Value) (names []string) {
	for source.Kind() == reflect.Interface || source.Kind() == reflect.Pointer {
		source = source.Elem()
	}
	if !source.IsValid() {
		return nil
	}
	text := func(field string) string { return source.FieldByName(field).String() }
	switch source.Type() {
	case reflect.TypeFor[reverseproxy.AUpstreams]():
		return []string{net.JoinHostPort(text("Name"), text("Port"))}
	case reflect.TypeFor[reverseproxy.SRVUpstreams]():
		name := text("Name")
		if service, proto := text("Service"), text("Proto"); service+proto != "" {
			name = "_" + service + "._" + proto + "." + name
		}
		return []string{"srv " + name}
	case reflect.TypeFor[reverseproxy.MultiUpstreams]():
		if sources := source.FieldByName("sources"); sources.Kind() == reflect.Slice {
			for i := range sources.Len() {
				names = append(names, namedBy(sources.Index(i))...)
			}
		}
	}
	return names
}

// isKnown reports whether two proxies with the same addresses, as addressesOf lists them,
// and such a source of upstreams have the same app.
func isKnown(source reverseproxy.UpstreamSource) bool {
	switch source.(type) {
	case nil, *reverseproxy.AUpstreams, *reverseproxy.SRVUpstreams:
		return true
	}
	return false
}

// share reports whether two lists of normal addresses have one in common.
func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(one string) bool { return slices.Contains(b, one) })
}

// socketsOf lists the addresses of a proxy's app, each in its normal spelling.
func socketsOf(h *reverseproxy.Handler, f fixed) (sockets []string) {
	for _, address := range addressesOf(h) {
		for _, one := range f.expand(address) {
			sockets = append(sockets, normal(one))
		}
	}
	return sorted(sockets)
}

// normal returns the one spelling of all that lead to the same socket: :3000,
// localhost:3000, 127.0.0.1:3000, [::1]:3000, 0.0.0.0:3000, tcp/localhost:3000 and
// {env.APP} with one of them. It looks no name up: app:3000 and the address of app are
// two.
func normal(address string) string {
	if strings.Contains(address, "{") {
		address = caddy.NewReplacer().ReplaceKnown(address, "")
	}
	a, err := caddy.ParseNetworkAddress(address)
	switch {
	case err != nil || strings.Contains(address, "{"):
		return address
	case a.IsUnixNetwork():
		file, _, _ := strings.Cut(a.Host, "|") // its permissions
		return "unix/" + socketFile(file)
	case isThisMachine(a.Host):
		a.Host = "localhost"
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		a.Host = ip.Unmap().String()
	}
	a.Host = strings.ToLower(strings.TrimSuffix(a.Host, "."))
	return a.JoinHostPort(0)
}

// socketFile returns a socket's file, or an abstract name, behind the links in its path, as
// far as there are any yet: /var/run is a link to /run.
func socketFile(file string) string {
	if all, err := filepath.EvalSymlinks(file); err == nil {
		return filepath.ToSlash(all)
	}
	folder, name := path.Split(path.Clean(file))
	if own, err := filepath.EvalSymlinks(folder); err == nil {
		folder = filepath.ToSlash(own)
	}
	return path.Join(folder, name)
}

// isThisMachine reports whether connections to a host end at this machine.
func isThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || isLoopback(host) || ip != nil && ip.IsUnspecified()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 §6.3
}
