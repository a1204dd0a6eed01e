package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminhttp"
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

// status shows the state of the handlers: GET /verify_webhook/status[?name=NAME].
func (a *adminAPI) status(w http.ResponseWriter, r *http.Request) error {
	if err := adminhttp.Only(w, r, http.MethodGet); err != nil {
		return err
	}
	app, err := asked(r)
	if err != nil {
		return err
	}
	return adminhttp.Answer(w, statusOf(app, r.URL.Query().Get("name")))
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
	list := []adminapi.Rejection{}
	now := app.handlersNow()
	for _, request := range kept.List(r.URL.Query().Get("name")) {
		list = append(list, request.Show(now))
	}
	return adminhttp.Answer(w, list)
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

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
