package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
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
	return []caddy.AdminRoute{
		{Pattern: adminapi.DeliveriesPath + "/", Handler: caddy.AdminHandlerFunc(a.forget)},
		{Pattern: adminapi.DeliveriesPath, Handler: caddy.AdminHandlerFunc(a.deliveries)},
		{Pattern: adminapi.InboxPath + "/", Handler: caddy.AdminHandlerFunc(a.inboxItem)},
		{Pattern: adminapi.InboxPath, Handler: caddy.AdminHandlerFunc(a.inbox)},
		{Pattern: adminapi.RejectionsPath + "/", Handler: caddy.AdminHandlerFunc(a.rejection)},
		{Pattern: adminapi.RejectionsPath, Handler: caddy.AdminHandlerFunc(a.rejections)},
		{Pattern: adminapi.StatusPath, Handler: caddy.AdminHandlerFunc(a.status)},
	}
}

// only reports a method that a path does not have.
func only(method string, w http.ResponseWriter, r *http.Request) error {
	if r.Method == method {
		return nil
	}
	return notAllowed(w, method)
}

func notAllowed(w http.ResponseWriter, methods ...string) error {
	w.Header().Set("Allow", strings.Join(methods, ", ")) // RFC 9110 §15.5.6
	return adminError(http.StatusMethodNotAllowed, fmt.Errorf("use %s", strings.Join(methods, " or ")))
}

// status shows the state of the handlers: GET /verify_webhook/status[?name=NAME].
func (a *adminAPI) status(w http.ResponseWriter, r *http.Request) error {
	if err := only(http.MethodGet, w, r); err != nil {
		return err
	}
	app, err := asked(r)
	if err != nil {
		return err
	}
	return answerJSON(w, statusOf(app, r.URL.Query().Get("name")))
}

// rejections lists kept rejections, newest first: GET
// /verify_webhook/rejections[?name=NAME].
func (a *adminAPI) rejections(w http.ResponseWriter, r *http.Request) error {
	if err := only(http.MethodGet, w, r); err != nil {
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
	return answerJSON(w, list)
}

// rejection shows one in full, with a possible cause: GET
// /verify_webhook/rejections/ID.
func (a *adminAPI) rejection(w http.ResponseWriter, r *http.Request) error {
	if err := only(http.MethodGet, w, r); err != nil {
		return err
	}
	request := kept.Find(strings.TrimPrefix(r.URL.Path, adminapi.RejectionsPath+"/"))
	if request == nil {
		return adminError(http.StatusNotFound, errors.New("rejection not found: it may have been evicted: GET "+adminapi.RejectionsPath+" lists them"))
	}
	detail, err := request.ShowAll(r.Context(), current().handlersNow())
	if err != nil {
		return adminError(http.StatusInternalServerError, err)
	}
	return answerJSON(w, detail)
}

// asked returns the app in force, or an error if the requested name is unknown.
func asked(r *http.Request) (*App, error) {
	app := current()
	if app == nil {
		return nil, adminError(http.StatusNotFound, errors.New("the configuration in force has no verify_webhook handler"))
	}
	if name := r.URL.Query().Get("name"); name != "" && len(app.named(name)) == 0 {
		return nil, adminError(http.StatusNotFound, fmt.Errorf("unknown handler; the handlers are: %s", app.handlerNames()))
	}
	return app, nil
}

func answerJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func adminError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
