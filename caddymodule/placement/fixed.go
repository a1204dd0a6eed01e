package placement

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	maphandler "github.com/caddyserver/caddy/v2/modules/caddyhttp/map"
)

// fixed are the placeholders that map and vars set, each with the values that it may
// have. It is never changed.
type fixed map[string][]string

// varsPrefix of the placeholders of vars.
const varsPrefix = "http.vars."

// maxFixed limits the texts that one text with placeholders may be.
const maxFixed = 64

// expand lists the texts that a text may be. Other placeholders stay.
func (f fixed) expand(text string) []string {
	texts := []string{text}
	if len(f) == 0 || !strings.Contains(text, "{") {
		return texts
	}
	for _, name := range placeholders.FindAllStringSubmatch(text, -1) {
		values, ok := f[name[1]]
		if !ok {
			continue
		}
		var all []string
		for _, t := range texts {
			for _, value := range values {
				all = append(all, strings.ReplaceAll(t, name[0], value))
			}
		}
		texts = all[:min(len(all), maxFixed)]
	}
	return texts
}

// single leaves out what may have several values.
func (f fixed) single() fixed {
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(_ string, values []string) bool { return len(values) != 1 })
	return f
}

// fixedIn collects the constants of map and vars in all routes of a server.
func fixedIn(server *caddyhttp.Server) fixed {
	f := make(fixed)
	for range 2 { // vars may have the value of another one
		f.collect(server.Routes)
		if server.Errors != nil {
			f.collect(server.Errors.Routes)
		}
		for _, route := range server.NamedRoutes {
			f.collect(caddyhttp.RouteList{*route})
		}
		for name, values := range f {
			f[name] = sorted(values)
		}
	}
	return f
}

func (f fixed) collect(list caddyhttp.RouteList) {
	for i := range list {
		for _, h := range list[i].Handlers {
			switch h := h.(type) {
			case Block:
				f.collect(h.AsRoutes())
			case *caddyhttp.Subroute:
				f.collect(h.Routes)
			case *maphandler.Handler:
				for i, name := range h.Destinations {
					f[name] = append(f[name], outputs(h, i)...)
				}
			case *caddyhttp.VarsMiddleware:
				for name, value := range valuesOf(h) {
					for _, text := range f.expand(value) {
						if text, ok := constant(text); ok {
							f[varsPrefix+name] = append(f[varsPrefix+name], text)
						}
					}
				}
			}
		}
	}
}

// outputs lists what a map may set a destination to: constants, and for all that a
// request decides the placeholder itself.
func outputs(h *maphandler.Handler, destination int) (values []string) {
	add := func(value any, known bool) {
		if value == nil { // the default's turn
			return
		}
		text, ok := constant(value)
		if !ok || !known {
			text = "{" + h.Destinations[destination] + "}"
		}
		values = append(values, text)
	}
	for _, m := range h.Mappings {
		add(m.Outputs[destination], m.InputRegexp == "" || !strings.Contains(caddy.ToString(m.Outputs[destination]), "$"))
	}
	if destination < len(h.Defaults) {
		add(h.Defaults[destination], true)
	}
	return sorted(values)
}

// constant returns a value that no request changes.
func constant(value any) (text string, ok bool) {
	if text = caddy.ToString(value); text == "" {
		return "", false
	}
	if strings.Contains(text, "{") {
		text = caddy.NewReplacer().ReplaceKnown(text, "")
	}
	return text, !strings.Contains(text, "{")
}

// set takes a request through map or vars.
func (m imagined) set(h caddyhttp.MiddlewareHandler) imagined {
	f := maps.Clone(m.fixed)
	if f == nil {
		f = make(fixed)
	}
	vars, _ := h.(*caddyhttp.VarsMiddleware)
	m.written = m.remember(vars)
	m = m.after(func(r *http.Request, _ *caddy.Replacer) {
		_ = h.ServeHTTP(nil, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	})
	for name, value := range valuesOf(vars) {
		delete(f, varsPrefix+name)
		texts := m.fixed.expand(value)
		if dependsOn(value, isFollowed) {
			text, _ := m.replacer().GetString(varsPrefix + name)
			texts = []string{text}
		}
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "{") }) {
			f[varsPrefix+name] = texts
		}
	}
	if h, ok := h.(*maphandler.Handler); ok {
		for i, name := range h.Destinations {
			f[name] = outputs(h, i)
			if dependsOn(h.Source, isOfHostOrPath) {
				text, _ := m.replacer().GetString(name)
				f[name] = []string{text}
			}
		}
	}
	m.fixed = f
	return m
}

// valuesOf returns the texts that vars sets; none without it.
func valuesOf(vars *caddyhttp.VarsMiddleware) map[string]string {
	texts := make(map[string]string)
	if vars != nil {
		for name, value := range *vars {
			if text, ok := value.(string); ok {
				texts[name] = text
			}
		}
	}
	return texts
}

// dependsOn reports whether all placeholders of a text are of a kind.
func dependsOn(text string, kind func(name string) bool) bool {
	for _, name := range placeholders.FindAllStringSubmatch(text, -1) {
		if !kind(name[1]) {
			return false
		}
	}
	return true
}

func isOfHostOrPath(name string) bool {
	return isFollowed(name) || strings.HasPrefix(name, "http.request.host")
}
