package rejected

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/adminapi"
	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// Show returns the request for a list. now are the handlers of the current
// configuration, whose keys are hidden too.
func (r *Request) Show(now []Handler) adminapi.Rejection { return r.shown(r.redaction(now)) }

func (r *Request) shown(hide redaction) adminapi.Rejection {
	v := adminapi.Rejection{
		ID: r.id, Time: r.Time.UTC(), Name: r.Handler.Name, Provider: r.Handler.Provider, Tenant: r.Tenant, Reason: string(r.Reason), Detail: hide.text(r.Detail),
		Keys: append([]string{}, r.Handler.Keys.Labels()...), Observed: r.Observed, Remote: r.Remote, Method: r.Method, Host: hide.text(r.Host), URL: hide.target(r.Target),
	}
	if r.Skew != 0 {
		v.Skew = r.Skew.String()
	}
	return v
}

// ShowAll returns the request in full, with a hint at the cause. Requests are explained
// one at a time; it returns an error if ctx ends first.
func (r *Request) ShowAll(ctx context.Context, now []Handler) (adminapi.RejectionDetail, error) {
	h, err := r.explain(ctx, now)
	if err != nil {
		return adminapi.RejectionDetail{}, err
	}
	if of := r.handlerOf(now).ofTenant(r.Tenant); of != nil {
		now = append(now[:len(now):len(now)], *of)
	}
	hide := r.redaction(now)
	body := adminapi.Body{Read: r.Read, Bytes: r.length, ContentType: hide.text(http.Header(r.Header).Get("Content-Type")), Truncated: len(r.Body) < r.length}
	if !r.Read && r.Declared >= 0 {
		body.Declared = &r.Declared
	}
	if r.Read {
		sum := r.digest
		if !body.Truncated {
			sum = new(sha256.Sum256(r.Body))
		}
		if sum != nil {
			body.SHA256 = hex.EncodeToString(sum[:])
		}
	}
	return adminapi.RejectionDetail{Rejection: r.shown(hide), Headers: hide.header(r.Header), Body: body, Hint: hide.sentence(h.text), Note: h.note}, nil
}

func (r *Request) redaction(now []Handler) redaction {
	all := r.Tried
	for _, h := range now {
		all = append(all[:len(all):len(all)], h.Keys)
	}
	return redactionOf(all)
}

// Redact returns what may be shown of a request that was verified, hiding the keys of
// all snapshots as well. Nil snapshots have no keys.
func Redact(r verifier.Request, all []*keys.Snapshot) (host, target string, header map[string][]string) {
	hide := redactionOf(all)
	return hide.text(r.Host), hide.target(r.Target), hide.header(r.Header)
}
