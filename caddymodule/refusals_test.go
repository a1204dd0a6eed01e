package caddymodule

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/placement"
)

// An unforwarded request is one that the gateway answers itself, on a server without
// handle_errors.
type unforwarded struct {
	name   string
	allocs float64 // the most that it may allocate: lower it with each improvement
	alter  func(*http.Request)
	option string
}

var allUnforwarded = []unforwarded{
	{name: "bad_mac", allocs: 18, alter: func(r *http.Request) {
		r.Header.Set("X-Hub-Signature-256", "sha256="+sign("another", "x"))
	}},
	{name: "no_signature", allocs: 12, alter: func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }},
	{name: "stale", allocs: 9, alter: func(r *http.Request) { r.Header.Set("X-Time", "1600000000") }, option: signedTime},
	{name: "wrong_method", allocs: 17, alter: func(*http.Request) {}, option: `"methods":["PUT"]`},
	{name: "duplicate", allocs: 30, alter: func(r *http.Request) { r.Header.Set("X-Github-Delivery", "done") }},
}

// source returns a source of such requests.
func (u unforwarded) source(t testing.TB) func() *arrival {
	options := []string{`"name":"github"`}
	if u.option != "" {
		options[0] = u.option
	}
	next := arrivals(t, options...)
	return func() *arrival {
		a := next()
		a.r = a.r.WithContext(context.WithValue(a.r.Context(), caddyhttp.ServerCtxKey, new(caddyhttp.Server)))
		u.alter(a.r)
		a.h.app.locate()
		a.h.app.placesOf = map[*placement.Handler]placement.Places{&a.h.placed: {Count: 1}}
		return a
	}
}

// BenchmarkRefusal measures in the handler what a request costs that it does not forward.
//
//	go test ./caddymodule -run=- -bench=Refusal -count=10 | benchstat -
func BenchmarkRefusal(b *testing.B) {
	for _, u := range allUnforwarded {
		b.Run(u.name, func(b *testing.B) {
			next := u.source(b)
			a := next()
			_ = a.h.ServeHTTP(a.w, a.r, taker)
			measure(b, next, nil, []step{{take: func(a *arrival) { a.err = a.h.ServeHTTP(a.w, a.r, taker) }}}, nil)
		})
	}
}
