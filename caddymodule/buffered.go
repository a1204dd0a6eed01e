package caddymodule

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// proxyBuffer is the request_buffers of the proxies of a block. reverse_proxy hides from
// net/http that a body is in memory already, so headers and body of a request are two
// writes to the app's connection. A body that fits into the buffer of such a connection
// (4 KiB, with the headers) then is one; a larger one gains nothing.
const proxyBuffer = "4096"

// bufferProxies gives a request_buffers to every reverse_proxy over HTTP among the
// handlers of routes and their subroutes that has none.
func bufferProxies(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for i, raw := range route.HandlersRaw {
			route.HandlersRaw[i] = bufferProxy(raw)
		}
	}
}

func bufferProxy(raw json.RawMessage) json.RawMessage {
	var h struct {
		Handler   string              `json:"handler"`
		Routes    caddyhttp.RouteList `json:"routes"`
		Transport struct {
			Protocol string `json:"protocol"`
		} `json:"transport"`
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &h) != nil || json.Unmarshal(raw, &fields) != nil {
		return raw
	}
	switch h.Handler {
	case "subroute":
		bufferProxies(h.Routes)
		fields["routes"] = caddyconfig.JSON(h.Routes, nil)
	case "reverse_proxy":
		if fields["request_buffers"] != nil || !slices.Contains([]string{"", "http"}, h.Transport.Protocol) {
			return raw
		}
		fields["request_buffers"] = json.RawMessage(proxyBuffer)
	default:
		return raw
	}
	return caddyconfig.JSON(fields, nil)
}
