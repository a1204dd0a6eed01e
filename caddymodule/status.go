package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
)

// statusOf describes the app and its handlers with a name, or all.
func statusOf(a *App, name string) adminapi.Status {
	s := adminapi.Status{
		Since: began.UTC(), Store: a.storeStatus(), BufferedBytes: buffered.used.Load(), MaxBuffered: *a.MaxBuffered,
		Handlers: []adminapi.Handler{},
	}
	s.Kept, s.KeptBytes = kept.Totals()
	byName := make(map[string][]*Handler)
	var names []string
	for _, h := range a.named(name) {
		if byName[h.Name] == nil {
			names = append(names, h.Name)
		}
		byName[h.Name] = append(byName[h.Name], h)
	}
	slices.Sort(names)
	var stored func(name string) *adminapi.InboxQueue
	s.Inbox, stored = a.inbox.Status()
	for _, n := range names {
		h := statusOfName(byName[n])
		h.Inbox = stored(n)
		s.Handlers = append(s.Handlers, h)
	}
	return s
}

func (a *App) storeStatus() (s adminapi.Store) {
	if m, ok := a.store.(caddy.Module); ok {
		s.Kind = m.CaddyModule().ID.Name()
	}
	gate, err := acquire(a.store) // open since Start
	if err != nil {
		s.Degraded, s.Problem = true, err.Error()
		return s
	}
	defer func() { _ = release(a.store) }()
	stats := gate.Stats()
	s.Degraded, s.Problem = stats.Degraded, stats.Problem
	s.Entries, s.InFlight, s.Unwritten = stats.Entries, stats.InFlight, stats.Unwritten
	return s
}

func statusOfName(handlers []*Handler) adminapi.Handler {
	h := handlers[0]
	t := h.metrics.Totals()
	s := adminapi.Handler{
		Name: h.Name, Provider: h.providerID(), Delivered: t.Delivered, Failed: t.Failed, Duplicates: t.Duplicates,
		Handshakes: t.Handshakes, Stored: t.Stored, Bypassed: t.Bypassed, Observed: t.Observed, Rejected: t.Rejected,
		LastDelivered: adminhttp.Moment(t.LastDelivered), Keys: []adminapi.Key{}, KeyProblems: []string{},
	}
	for _, k := range t.Keys {
		s.Keys = append(s.Keys, adminapi.Key{Label: k.Label, LastUsed: adminhttp.Moment(k.Last)})
	}
	for _, h := range handlers {
		s.Observe = s.Observe || h.Observe
		s.BufferedBytes += h.buffered.used.Load()
		s.KeyProblems = append(s.KeyProblems, h.keys.Problems()...)
	}
	return s
}

// handlerNames lists the names of a configuration, for errors.
func (a *App) handlerNames() string {
	var names []string
	for _, h := range a.named("") {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
