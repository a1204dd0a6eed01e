package caddymodule

import (
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// began is when the process started, from which everything is counted.
var began = time.Now()

// status is what GET /verify_webhook/status answers.
type status struct {
	Since         time.Time       `json:"since"` // the start of the process
	Store         storeStatus     `json:"store"`
	BufferedBytes int64           `json:"buffered_bytes"`
	MaxBuffered   int64           `json:"max_buffered"`
	Kept          int             `json:"rejections_kept"`
	KeptBytes     int64           `json:"rejections_kept_bytes"`
	Handlers      []handlerStatus `json:"handlers"`
}

type storeStatus struct {
	Kind     string `json:"kind"` // memory, bolt, redis
	Degraded bool   `json:"degraded"`
	// What ails the store; absent while it is healthy.
	Problem string `json:"problem,omitempty"`
	// Deliveries remembered in this process.
	Entries int `json:"entries"`
	// Deliveries that are being forwarded, and dones that wait for the store.
	InFlight  int `json:"in_flight"`
	Unwritten int `json:"unwritten"`
}

// handlerStatus is of all handlers of one name.
type handlerStatus struct {
	Name         string            `json:"name"`
	Provider     string            `json:"provider"` // "" without one
	Observe      bool              `json:"observe"`
	Accepted     uint64            `json:"accepted"`
	Duplicates   uint64            `json:"duplicates"`
	Handshakes   uint64            `json:"handshakes"`
	Observed     map[string]uint64 `json:"observed"` // let through all the same, by reason
	Rejected     map[string]uint64 `json:"rejected"` // by reason
	LastAccepted *time.Time        `json:"last_accepted"`
	Keys         []keyStatus       `json:"keys"`
	// Files that cannot be used now. Where keys is not empty, the last usable
	// ones stay in use.
	KeyProblems   []string `json:"key_problems"`
	BufferedBytes int64    `json:"buffered_bytes"`
}

// keyStatus is when a key last verified a delivery; null: not since the start.
type keyStatus struct {
	Label    string     `json:"label"`
	LastUsed *time.Time `json:"last_used"`
}

// statusOf describes the app, and its handlers of a name or all.
func statusOf(a *App, name string) status {
	s := status{
		Since: began.UTC(), Store: a.storeStatus(), BufferedBytes: buffered.used.Load(), MaxBuffered: *a.MaxBuffered,
		Handlers: []handlerStatus{},
	}
	s.Kept, s.KeptBytes = kept.totals()
	byName := make(map[string][]*Handler)
	var names []string
	for _, h := range a.named(name) {
		if byName[h.Name] == nil {
			names = append(names, h.Name)
		}
		byName[h.Name] = append(byName[h.Name], h)
	}
	slices.Sort(names)
	for _, n := range names {
		s.Handlers = append(s.Handlers, statusOfName(byName[n]))
	}
	return s
}

func (a *App) storeStatus() (s storeStatus) {
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

func statusOfName(handlers []*Handler) handlerStatus {
	h := handlers[0]
	t := h.metrics
	s := handlerStatus{
		Name: h.Name, Provider: h.providerID(), Accepted: t.accepted.Load(), Duplicates: t.duplicates.Load(),
		Handshakes: t.handshakes.Load(), Observed: t.observed.counts(), Rejected: t.rejected.counts(),
		LastAccepted: moment(t.lastAccepted.Load()), Keys: []keyStatus{}, KeyProblems: []string{},
	}
	for _, k := range t.keys() {
		s.Keys = append(s.Keys, keyStatus{Label: k.label, LastUsed: moment(k.used)})
	}
	for _, h := range handlers {
		s.Observe = s.Observe || h.Observe
		s.BufferedBytes += h.buffered.used.Load()
		if problems := h.keys.trouble.Load(); problems != nil {
			s.KeyProblems = append(s.KeyProblems, *problems...)
		}
	}
	return s
}

// moment makes a time of nanoseconds since 1970; 0 is nil, never.
func moment(nanoseconds int64) *time.Time {
	if nanoseconds == 0 {
		return nil
	}
	return new(time.Unix(0, nanoseconds).UTC())
}

// handlerNames lists the names of a configuration, for who asks for another.
func (a *App) handlerNames() string {
	var names []string
	for _, h := range a.named("") {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
