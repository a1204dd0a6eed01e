package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
)

func init() {
	caddy.RegisterModule(new(adminAPI))
}

// adminAPI answers the operator under /verify_webhook/ of Caddy's admin endpoint.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.verify_webhook", New: func() caddy.Module { return new(adminAPI) }}
}

// deliveriesPath is followed by a delivery's key in hex.
const deliveriesPath = "/verify_webhook/deliveries/"

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: deliveriesPath, Handler: caddy.AdminHandlerFunc(a.forget)}}
}

// forget makes a delivery that the app took come through again, because a person
// who presses "Redeliver" means it: DELETE /verify_webhook/deliveries/KEY.
func (a *adminAPI) forget(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodDelete {
		return adminError(http.StatusMethodNotAllowed, errors.New("use DELETE to make a delivery come through again"))
	}
	key, err := dedupe.ParseKey(strings.TrimPrefix(r.URL.Path, deliveriesPath))
	if err != nil {
		return adminError(http.StatusBadRequest, err)
	}
	forgotten := false
	eachGate(func(g *dedupe.Gate) {
		found, failure := g.Forget(r.Context(), key)
		forgotten = forgotten || found
		err = errors.Join(err, failure)
	})
	switch {
	case errors.Is(err, dedupe.ErrInFlight):
		return adminError(http.StatusConflict, errors.New("the delivery is in flight: wait for its answer"))
	case err != nil:
		return adminError(http.StatusServiceUnavailable, err)
	case !forgotten:
		return adminError(http.StatusNotFound, errors.New("no such delivery is remembered as done"))
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{
		"forgotten": key.String(),
		"note":      "forgotten here and in the shared store; an instance that decided alone while the store was down keeps its own memory of it",
	})
}

func adminError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
