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

// Show returns requests for a list, in order. now are the handlers of the current
// configuration, whose keys are hidden too. Strangers choose what the requests hold, so of
// each no more than a part is looked at, and equal texts once.
func Show(list []*Request, now []Handler) []adminapi.Rejection {
	shown, _ := show(list, now)
	return shown
}

// show also returns the number of bytes that were searched for keys.
func show(list []*Request, now []Handler) (shown []adminapi.Rejection, searched int) {
	all := keysOf(list, now)
	cached := make([]*keys.Snapshot, len(list))
	for i, r := range list {
		if h := r.handlerOf(now); h != nil && h.Cached != nil {
			cached[i] = h.Cached(r.Tenant)
		}
	}
	hide := redactionOf(append(all, cached...))
	hide.limit = listed(len(list))
	shown = make([]adminapi.Rejection, 0, len(list))
	for i, r := range list {
		hide.covert = r.covert(cached[i])
		shown = append(shown, r.shown(hide))
	}
	return shown, hide.needles.searched
}

// keysOf returns the keys of all handlers, now and when the requests arrived.
func keysOf(list []*Request, now []Handler) (all []*keys.Snapshot) {
	for _, h := range now {
		all = append(all, h.Keys)
	}
	var last **keys.Snapshot
	for _, r := range list {
		all = append(all, r.Handler.Keys)
		if len(r.Tried) > 0 && &r.Tried[0] != last { // most requests share one list
			last = &r.Tried[0]
			all = append(all, r.Tried...)
		}
	}
	return all
}

// covert reports whether the request may hold a key that is not known: one of its tenant,
// which has these now.
func (r *Request) covert(now *keys.Snapshot) bool {
	return r.ofMany && !r.Known && now == nil
}

func (r *Request) shown(hide redaction) adminapi.Rejection {
	target := r.Target
	if hide.covert {
		target = UpToTenant(target, r.Tenant)
	}
	v := adminapi.Rejection{
		ID: r.id, Time: r.Time.UTC(), Name: r.Handler.Name, Provider: r.Handler.Provider, Tenant: hide.text(r.Tenant), Reason: string(r.Reason), Detail: hide.text(r.Detail),
		Keys: append([]string{}, r.Handler.Keys.Labels()...), Observed: r.Observed, Remote: r.Remote, Method: hide.text(r.Method), Host: hide.text(r.Host), URL: hide.target(target),
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
	all := keysOf([]*Request{r}, now)
	var tenant *keys.Snapshot
	if of := r.handlerOf(now); of != nil && of.Tenant != nil {
		tenant = of.Tenant(r.Tenant)
	}
	hide := redactionOf(append(all, tenant))
	hide.covert = r.covert(tenant)
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

// Redact returns what may be shown of a request that was verified, hiding the keys of
// all snapshots as well. Nil snapshots have no keys.
func Redact(r verifier.Request, all []*keys.Snapshot) (host, target string, header map[string][]string) {
	hide := redactionOf(all)
	return hide.text(r.Host), hide.target(r.Target), hide.header(r.Header)
}
