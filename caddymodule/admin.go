package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/rejected"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/stores"
	"github.com/verify-webhook/caddy-verify-webhook/internal/version"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI serves /verify_webhook/ on Caddy's admin endpoint.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.verify_webhook", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return append(inboxes.Routes(), []caddy.AdminRoute{
		{Pattern: adminapi.DeliveriesPath + "/", Handler: caddy.AdminHandlerFunc(a.forget)},
		{Pattern: adminapi.DeliveriesPath, Handler: caddy.AdminHandlerFunc(a.deliveries)},
		{Pattern: adminapi.RejectionsPath + "/", Handler: caddy.AdminHandlerFunc(a.rejection)},
		{Pattern: adminapi.RejectionsPath, Handler: caddy.AdminHandlerFunc(a.rejections)},
		{Pattern: adminapi.StatusPath, Handler: caddy.AdminHandlerFunc(a.status)},
	}...)
}

// status shows the state of the handlers: GET /verify_webhook/status[?name=NAME&hour=1].
func (a *adminAPI) status(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet); err != nil {
		return err
	}
	app, err := asked(r)
	if err != nil {
		return err
	}
	s := statusOf(app, r.URL.Query().Get("name"))
	if r.URL.Query().Get("hour") == "1" {
		for i := range s.Handlers {
			s.Handlers[i].Hour = lastHour(s.Handlers[i].Name, time.Now())
		}
	}
	return adminhttp.Answer(w, s)
}

// rejections lists kept rejections, newest first: GET
// /verify_webhook/rejections[?name=NAME].
func (a *adminAPI) rejections(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet); err != nil {
		return err
	}
	app, err := asked(r)
	if err != nil {
		return err
	}
	return adminhttp.Answer(w, rejected.Show(kept.List(r.URL.Query().Get("name")), app.handlersNow()))
}

// rejection shows one in full, with a possible cause: GET
// /verify_webhook/rejections/ID.
func (a *adminAPI) rejection(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet); err != nil {
		return err
	}
	request := kept.Find(strings.TrimPrefix(r.URL.Path, adminapi.RejectionsPath+"/"))
	if request == nil {
		return adminhttp.Error(http.StatusNotFound, errors.New("rejection not found: it may have been evicted: GET "+adminapi.RejectionsPath+" lists them"))
	}
	detail, err := request.ShowAll(r.Context(), current().handlersNow())
	if err != nil {
		return adminhttp.Error(http.StatusInternalServerError, err)
	}
	return adminhttp.Answer(w, detail)
}

// asked returns the app in force, or an error if the requested name is unknown.
func asked(r *http.Request) (*App, error) {
	app := current()
	if app == nil {
		return nil, adminhttp.Error(http.StatusNotFound, errors.New("the configuration in force has no verify_webhook handler"))
	}
	if name := r.URL.Query().Get("name"); name != "" && len(app.named(name)) == 0 {
		return nil, adminhttp.Error(http.StatusNotFound, fmt.Errorf("unknown handler; the handlers are: %s", app.handlerNames()))
	}
	return app, nil
}

// statusOf describes the app and its handlers with a name, or all.
func statusOf(a *App, name string) adminapi.Status {
	s := adminapi.Status{
		Version: version.Module(), Since: began.UTC(), Store: a.storeStatus(), BufferedBytes: buffered.used.Load(), MaxBuffered: *a.MaxBuffered,
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
	s.Kind = stores.Kind(a.store)
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
		s.Tenants = addTenants(s.Tenants, h.tenants, t.Lookups)
	}
	return s
}

// addTenants adds the figures of a handler's tenants to those of others of its name.
func addTenants(all *adminapi.Tenants, t *tenancy, lookups map[string]uint64) *adminapi.Tenants {
	if t == nil {
		return all
	}
	if all == nil {
		all = &adminapi.Tenants{Lookups: lookups, Guessable: []string{}}
	}
	f := t.cache.Figures()
	all.Cached, all.Max, all.Unknown = all.Cached+f.Cached, all.Max+f.Max, all.Unknown+f.Unknown
	all.Guessable = append(all.Guessable, f.Guessable...)
	if p := f.Problem; p != nil && (all.Problem == nil || p.Time.After(all.Problem.Time)) {
		all.Problem = &adminapi.TenantProblem{Tenant: p.Tenant, Text: p.Text, Time: p.Time.UTC()}
	}
	return all
}

// lastHour returns the counts of a handler's name by minute.
func lastHour(name string, now time.Time) map[string][]uint32 {
	byOutcome := make(map[string][]uint32)
	for outcome, counts := range metrics.Of(name).LastHour(now) {
		byOutcome[string(outcome)] = counts[:]
	}
	return byOutcome
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

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
