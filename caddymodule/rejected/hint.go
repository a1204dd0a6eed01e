package rejected

import (
	"context"
	"net/http"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A hint tells the operator more than the reason. It is computed on request and cached
// until the keys change.
type hint struct {
	text string
	note string // what the hint could not consider
	of   *keys.Snapshot
}

// explaining allows one Explain at a time: it costs many times a verification, and a
// flood of queries must not take the CPU from the deliveries.
var explaining = make(chan struct{}, 1)

// unread replaces a body that was not read: nobody signs it.
const unread = "the body was not read"

// Notes in place of a hint.
const (
	noteGone      = "the handler is no longer part of the configuration, so there are no keys to explain it with"
	noteNoKey     = "the handler has no usable key now: see key_problems in the status"
	noteNoTenant  = "the source of tenants has no such tenant now: add its key, or correct the address or header that names it"
	noteUnread    = "it was refused before its body was read; the hint considers only the headers"
	noteTruncated = "its body is longer than a rejection keeps, so the signature cannot be verified again"
	noteLimit     = "a limit refused it before its signature was verified; only the latest of each limit is kept"
	noteHandshake = "it was treated as a handshake: compare the provider's param, see caddy webhook providers"
	noteChanged   = "with the current keys and options the reason is "
	noteGenuine   = "with the current keys and options this delivery is genuine"
)

// explain says what the operator could change, given the current handlers.
func (r *Request) explain(ctx context.Context, now []Handler) (hint, error) {
	of := r.handlerOf(now)
	h := of.ofTenant(r.Tenant)
	switch {
	case r.Limit:
		return hint{text: r.Remedy, note: noteLimit}, nil
	case h == nil:
		return hint{note: noteGone}, nil
	case h.Keys == nil && h.Tenant != nil:
		return hint{note: noteNoTenant}, nil
	case h.Keys == nil:
		return hint{note: noteNoKey}, nil
	case r.Reason == verifier.HandshakeMismatch:
		return hint{note: noteHandshake}, nil
	case r.Read && !r.whole():
		return hint{note: noteTruncated}, nil
	}
	select {
	case explaining <- struct{}{}:
		defer func() { <-explaining }()
	case <-ctx.Done():
		return hint{}, ctx.Err()
	}
	if r.hint.of == h.Keys { // guarded by explaining
		return r.hint, nil
	}
	request, body := r.Request, r.Body
	if !r.Read { // an empty body would look like a lost one
		request.Header, body = http.Header(r.Header).Clone(), []byte(unread)
		delete(request.Header, "Content-Length")
	}
	found, err := verifier.Explain(ctx, verifier.Case{
		Scheme: h.Keys.Verifier.Scheme(), Keys: h.Keys.Keys, Request: &request, Body: body, Now: r.Time, Others: r.others(of, now),
	})
	if err != nil || ctx.Err() != nil { // interrupted: do not cache it
		return hint{text: found.Hint}, err
	}
	r.hint = hint{text: found.Hint, of: h.Keys}
	switch {
	case found.Genuine:
		r.hint.note = noteGenuine
	case !r.Read:
		r.hint.note = noteUnread
	case found.Reason != r.Reason:
		r.hint.note = noteChanged + string(found.Reason)
	}
	return r.hint, nil
}

// handlerOf returns the handler that refused the request, or else the first that has
// its name now; nil if none has.
func (r *Request) handlerOf(now []Handler) (h *Handler) {
	for i := range now {
		if n := &now[i]; n.Name == r.Handler.Name && (h == nil || n.Place == r.Handler.Place) {
			h = n
		}
	}
	return h
}

// ofTenant returns the handler with the keys of a tenant, which may be none; a handler
// without tenants, or nil, as it is.
func (h *Handler) ofTenant(name string) *Handler {
	if h == nil || h.Tenant == nil {
		return h
	}
	t := *h
	t.Keys = h.Tenant(name)
	return &t
}

// others returns the senders that the request may really come from: those of the other
// handlers, and those of the catalogue whose signature header it has.
func (r *Request) others(h *Handler, now []Handler) (others []verifier.Other) {
	for i := range now {
		if n := &now[i]; n != h && n.Keys != nil {
			others = append(others, verifier.Other{Name: n.Name, Scheme: n.Keys.Verifier.Scheme(), Keys: n.Keys.Keys})
		}
	}
	return append(others, providers.OthersFor(r.Header, r.Handler.Provider)...)
}
