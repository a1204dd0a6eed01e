package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
)

func (r *rejection) view(app *App) adminapi.Rejection {
	return r.shown(r.redaction(app))
}

func (r *rejection) shown(hide redaction) adminapi.Rejection {
	v := adminapi.Rejection{
		ID: r.id, Time: r.time.UTC(), Name: r.name, Provider: r.provider, Reason: string(r.reason), Detail: hide.text(r.detail),
		Keys: append([]string{}, r.keys...), Observed: r.observed, Remote: r.remote, Method: r.method, Host: hide.text(r.host), URL: hide.target(r.target),
	}
	if r.skew != 0 {
		v.Skew = r.skew.String()
	}
	return v
}

func (r *rejection) viewAll(app *App, h hint) adminapi.RejectionDetail {
	hide := r.redaction(app)
	body := adminapi.Body{Read: r.read, Bytes: r.length, ContentType: hide.text(r.header.Get("Content-Type")), Truncated: len(r.body) < r.length}
	if !r.read && r.declared >= 0 {
		body.Declared = &r.declared
	}
	if r.read {
		sum := r.digest
		if !body.Truncated {
			sum = sha256.Sum256(r.body)
		}
		body.SHA256 = hex.EncodeToString(sum[:])
	}
	return adminapi.RejectionDetail{Rejection: r.shown(hide), Headers: hide.header(r.header), Body: body, Hint: h.text, Note: h.note}
}

func (r *rejection) redaction(app *App) redaction {
	if app == nil {
		return redactionOf(r.tried)
	}
	return redactionOf(app.snapshots(r.tried...))
}
