package caddymodule

import (
	"context"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/keys"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A hint is what the operator is told besides the reason. It is worked out when
// somebody asks, and kept until the keys change.
type hint struct {
	text string
	note string // what the hint could not take into account
	of   *keys.Snapshot
}

// explaining has room for one: Explain is many times as dear as a check, and a
// flood of questions must not take the processor from the deliveries.
var explaining = make(chan struct{}, 1)

// unread stands for a body that was not read: nobody signs it.
const unread = "the body was not read"

// What is said in place of a hint.
const (
	noteGone      = "the handler is no longer part of the configuration, so there is nothing to explain it with"
	noteNoKey     = "the handler has no usable key now: see key_problems of the status"
	noteUnread    = "it was refused before its body was read; the hint knows the headers alone"
	noteTruncated = "its body is longer than what is kept of a rejection, so the signature cannot be tried again"
	noteLimit     = "a limit refused it, before its signature was looked at; of each limit the newest is kept"
	noteHandshake = "it was taken for a handshake: compare the provider's param, see caddy webhook providers"
	noteChanged   = "with the keys and options of now the reason is "
	noteGenuine   = "with the keys and options of now this delivery is genuine"
)

// explain says what the operator could change. A rejection is explained with the
// configuration in force: what has been put right since shows.
func (r *rejection) explain(ctx context.Context) (hint, error) {
	app := current()
	h := app.handlerOf(r)
	switch {
	case r.limit:
		return hint{text: r.remedy, note: noteLimit}, nil
	case h == nil:
		return hint{note: noteGone}, nil
	case h.keys.Current() == nil:
		return hint{note: noteNoKey}, nil
	case r.reason == verifier.HandshakeMismatch:
		return hint{note: noteHandshake}, nil
	case r.read && !r.whole():
		return hint{note: noteTruncated}, nil
	}
	select {
	case explaining <- struct{}{}:
		defer func() { <-explaining }()
	case <-ctx.Done():
		return hint{}, ctx.Err()
	}
	s := h.keys.Current()
	if r.hint.of == s { // only who explains reads and writes it
		return r.hint, nil
	}
	header, body := r.header, r.body
	if !r.read { // an empty body would be taken for one that something had lost
		header, body = header.Clone(), []byte(unread)
		header.Del("Content-Length")
	}
	found, err := verifier.Explain(ctx, verifier.Case{
		Scheme: s.Scheme, Keys: s.Keys, Body: body, Now: r.time, Others: r.others(app, h),
		Request: &verifier.Request{Method: r.method, Header: header, Target: r.target, Host: r.host, TLS: r.tls},
	})
	if err != nil || ctx.Err() != nil { // cut short: the next who asks gets the whole
		return hint{text: found.Hint}, err
	}
	r.hint = hint{text: found.Hint, of: s}
	switch {
	case found.Genuine:
		r.hint.note = noteGenuine
	case !r.read:
		r.hint.note = noteUnread
	case found.Reason != r.reason:
		r.hint.note = noteChanged + string(found.Reason)
	}
	return r.hint, nil
}

// handlerOf returns the handler that refused the request, or the one that has
// its name now.
func (a *App) handlerOf(r *rejection) *Handler {
	if a == nil {
		return nil
	}
	named := a.named(r.name)
	for _, h := range named {
		if h.placed.Place == r.place {
			return h
		}
	}
	if len(named) > 0 {
		return named[0]
	}
	return nil
}

// others are the senders that a request may be of in truth: those of the other
// handlers, and those of the catalogue whose signature's header it has.
func (r *rejection) others(app *App, h *Handler) (others []verifier.Other) {
	for _, other := range app.named("") {
		if s := other.keys.Current(); other != h && s != nil {
			others = append(others, verifier.Other{Name: other.Name, Scheme: s.Scheme, Keys: s.Keys})
		}
	}
	return append(others, providers.OthersFor(r.header, r.provider)...)
}
