package placement

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// An entrance is a server with handlers of one provider and pattern, and their sites.
type entrance struct {
	server *caddyhttp.Server
	sites  []caddyhttp.RouteList
}

func (e *entrance) listen() string { return strings.Join(e.server.Listen, " ") }

func (e *entrance) add(site caddyhttp.RouteList) {
	if !slices.ContainsFunc(e.sites, func(s caddyhttp.RouteList) bool { return &s[0] == &site[0] }) {
		e.sites = append(e.sites, site)
	}
}

// siteAround returns the routes of the site that holds a top-level route. Caddy adapts a
// site to a terminal subroute, or to the top-level routes of a server that has no other.
func siteAround(server *caddyhttp.Server, top *caddyhttp.Route) caddyhttp.RouteList {
	if top.Terminal && len(top.Handlers) == 1 {
		if sub, ok := top.Handlers[0].(*caddyhttp.Subroute); ok {
			return sub.Routes
		}
	}
	return server.Routes
}

// compared holds results for pairs of sites, by their first routes.
type compared map[[2]*caddyhttp.Route]bool

// areOneSite reports whether two servers certainly do the same with a delivery: those of one
// site with two addresses. It compares what is loaded, since Caddy drops what is written.
func (c compared) areOneSite(one, other *entrance) bool {
	return slices.EqualFunc(one.sites, other.sites, func(a, b caddyhttp.RouteList) bool {
		pair := [2]*caddyhttp.Route{&a[0], &b[0]}
		if _, known := c[pair]; !known {
			t := twins{one: one.server, other: other.server, seen: make(map[[2]uintptr]bool)}
			c[pair] = t.same(reflect.ValueOf(a), reflect.ValueOf(b))
		}
		return c[pair]
	})
}

// portsOf returns the listeners that distinguish the sites at different servers: one for
// all entrances of one site, none if there is only one.
func (c compared) portsOf(entrances map[string]*entrance) map[string]string {
	var firsts []*entrance
	ports := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(entrances)) {
		at := entrances[name]
		i := slices.IndexFunc(firsts, func(first *entrance) bool { return c.areOneSite(first, at) })
		if i < 0 {
			i, firsts = len(firsts), append(firsts, at)
		}
		ports[name] = firsts[i].listen()
	}
	if len(firsts) == 1 {
		return nil
	}
	return ports
}

// twins compares two configurations by their exported fields. In doubt they differ.
type twins struct {
	one, other *caddyhttp.Server
	seen       map[[2]uintptr]bool // pointers that are being compared
}

// ofPort finds what may lead requests on two ports to two apps.
var ofPort = regexp.MustCompile(`\bhttp\.request\.(port|hostport|local|scheme|tls)\b|\bprotocol\(`)

func (t *twins) same(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		return a.IsValid() == b.IsValid() && !a.IsValid()
	}
	switch a.Kind() {
	case reflect.Interface:
		return t.same(a.Elem(), b.Elem())
	case reflect.Pointer:
		if a.Pointer() == b.Pointer() || a.IsNil() || b.IsNil() {
			return a.Pointer() == b.Pointer()
		}
		pair := [2]uintptr{a.Pointer(), b.Pointer()}
		if t.seen[pair] {
			return true
		}
		t.seen[pair] = true
		return t.sameModule(a.Interface(), b.Interface()) && t.same(a.Elem(), b.Elem())
	case reflect.Struct:
		return t.sameStruct(a, b)
	case reflect.Slice, reflect.Array:
		if routes, ok := a.Interface().(caddyhttp.RouteList); ok {
			a, b = reflect.ValueOf(leading(routes)), reflect.ValueOf(leading(b.Interface().(caddyhttp.RouteList)))
		}
		for i := range min(a.Len(), b.Len()) {
			if !t.same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Map:
		for _, key := range a.MapKeys() {
			if !t.same(a.MapIndex(key), b.MapIndex(key)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.String:
		return a.String() == b.String() && a.Type() != reflect.TypeFor[caddyhttp.MatchProtocol]() && !ofPort.MatchString(a.String())
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return a.IsNil() == b.IsNil()
	}
	return a.Equal(b)
}

// sameModule compares what the fields of a module do not show.
func (t *twins) sameModule(a, b any) bool {
	switch a := a.(type) {
	case Verifier:
		one, other := *a.Placed(), *b.(Verifier).Placed()
		one.Place, other.Place = 0, 0
		return one == other
	case Block:
		return t.same(reflect.ValueOf(a.AsRoutes()), reflect.ValueOf(b.(Block).AsRoutes()))
	case *caddyhttp.Invoke:
		return t.same(reflect.ValueOf(t.one.NamedRoutes[a.Name]), reflect.ValueOf(t.other.NamedRoutes[b.(*caddyhttp.Invoke).Name]))
	}
	return true
}

func (t *twins) sameStruct(a, b reflect.Value) bool {
	of := a.Type()
	switch domain, _, _ := strings.Cut(of.PkgPath(), "/"); {
	case of == reflect.TypeFor[headers.HeaderOps](): // a header may well show the port
		return reflect.DeepEqual(a.Interface(), b.Interface())
	case of == reflect.TypeFor[caddyhttp.MatchTLS](), of == reflect.TypeFor[reverseproxy.MultiUpstreams](): // which does not show its sources
		return false
	case of.PkgPath() != "" && !strings.Contains(domain, "."): // of the standard library: a lock, a transport
		return true
	}
	for i := range of.NumField() {
		field := of.Field(i)
		if field.Tag.Get("caddy") != "" && !isKnownPackage(of.PkgPath()) {
			return false // it may keep the loaded module where nobody sees it
		}
		if field.IsExported() && !t.same(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}

func isKnownPackage(path string) bool {
	return strings.HasPrefix(path, "github.com/caddyserver/caddy/") || strings.HasPrefix(path, "github.com/verify-webhook/caddy-verify-webhook/")
}

// leading drops routes that only respond, such as Caddy's redirects to HTTPS.
func leading(routes caddyhttp.RouteList) (kept []caddyhttp.Route) {
	for _, route := range routes {
		if len(route.Handlers) != 1 || kindOf(route.Handlers[0]) != "http.handlers.static_response" {
			kept = append(kept, route)
		}
	}
	return kept
}
