package caddymodule

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/verify-webhook/caddy-verify-webhook/caddymodule/metrics"
	"github.com/verify-webhook/caddy-verify-webhook/dedupe"
	"github.com/verify-webhook/caddy-verify-webhook/inbox"
	"github.com/verify-webhook/caddy-verify-webhook/internal/known"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// Dedupe says how copies of one delivery are recognised and answered.
type Dedupe struct {
	// Forward every genuine delivery, including copies.
	Off bool `json:"off,omitempty"`
	// What identifies a delivery: id (the sender's), id+content (and the body), or
	// content (only the body). Default: determined by the provider's file; off if it
	// says nothing.
	Key string `json:"key,omitempty"`
	// How long an accepted delivery is remembered. Default: 7d if an id counts,
	// otherwise 15m, but at least the provider's retry span, and twice the tolerance of a
	// signed time.
	Window *caddy.Duration `json:"window,omitempty"`
	// How long a copy waits for the one in flight. Default: 10s.
	Wait *caddy.Duration `json:"wait,omitempty"`
	// How long a claim outlives its process. It is renewed every third of this while
	// the app works. Default: 9s.
	Lease *caddy.Duration `json:"lease,omitempty"`
	// The response to a copy of an accepted delivery. Default: 200, empty.
	DuplicateResponse *DuplicateResponse `json:"duplicate_response,omitempty"`
}

// DuplicateResponse is the response to a copy of an accepted delivery.
type DuplicateResponse struct {
	// A 2xx. Some senders accept only 200. Default: 200.
	Status *int `json:"status,omitempty"`
	// Default: empty.
	Body string `json:"body,omitempty"`
}

const (
	defaultWait    = 10 * time.Second
	minimumWarning = 24 * time.Hour
)

// A recogniser is a handler's compiled dedupe configuration.
type recogniser struct {
	identity dedupe.Identity
	scope    dedupe.Scope // "" without a configured name: by route
	scheme   string
	event    []string // headers with the event type, in canonical form
	counts   []string // those that are not signed: part of the identity
	method   bool     // the method is part of the identity
	terms    dedupe.Terms
	unnamed  dedupe.Terms // for a delivery without its usual id
	status   int          // of the response to a copy
	body     string       // of that response
	off      bool
}

// provisionDedupe compiles the rules.
func (h *Handler) provisionDedupe() error {
	p := h.provider
	if p == nil {
		p = new(providers.Provider)
	}
	c := h.Dedupe
	if c == nil {
		c = new(Dedupe)
	}
	facts := known.Facts(p, h.rules, h.methods)
	identity, err := c.identity(facts)
	if err != nil {
		return err
	}
	r := &h.recogniser
	*r = recogniser{
		identity: identity, scheme: p.ID, off: c.Off || identity.Off(), status: http.StatusOK,
		method: facts.MethodUnsigned,
	}
	for _, name := range p.EventHeader {
		r.event = append(r.event, http.CanonicalHeaderKey(name))
	}
	if facts.EventUnsigned {
		r.counts = p.DecidingHeaders()
	}
	if h.named { // the name is the scope, otherwise the route
		r.scope = dedupe.NamedScope(h.Name)
	}
	if d := c.DuplicateResponse; d != nil {
		r.status, r.body = orElse(d.Status, http.StatusOK), d.Body
	}
	if s := r.status; s < 200 || s > 299 {
		return fmt.Errorf("dedupe: duplicate_response: %d: the response to a copy must be a 2xx, or its sender keeps retrying", s)
	}
	usual, unnamed := known.Windows(p, h.rules, identity)
	r.terms = dedupe.Terms{
		TTL:   time.Duration(orElse(c.Window, caddy.Duration(usual))),
		Wait:  time.Duration(orElse(c.Wait, caddy.Duration(defaultWait))),
		Limit: time.Duration(*h.UpstreamTimeout),
		Lease: time.Duration(orElse(c.Lease, caddy.Duration(dedupe.DefaultLease))),
		Room:  h.Name,
	}
	r.unnamed = r.terms
	if c.Window == nil {
		r.unnamed.TTL = unnamed
	}
	switch {
	case r.terms.TTL <= 0:
		return fmt.Errorf("dedupe: window: %s: give a positive duration, such as 7d", r.terms.TTL)
	case r.terms.Wait < 0:
		return fmt.Errorf("dedupe: wait: %s: give a duration, such as 10s, or 0s for none", r.terms.Wait)
	case r.terms.Lease < time.Second:
		return fmt.Errorf("dedupe: lease: %s: give at least 1s", r.terms.Lease)
	}
	h.adviseDedupe(c, identity, facts.IDSigned)
	return nil
}

// identity returns the configured rule, or the one that follows from the provider's
// facts.
func (c *Dedupe) identity(f dedupe.Facts) (dedupe.Identity, error) {
	switch c.Key {
	case "":
		return dedupe.IdentityOf(f), nil
	case "content":
		return dedupe.Identity{Content: true}, nil
	case "id", "id+content":
		if !f.HasID {
			return dedupe.Identity{}, fmt.Errorf("dedupe: key %s: the scheme has no delivery_id: add one, or use key content", c.Key)
		}
		if c.Key == "id" {
			return dedupe.Identity{ID: dedupe.IDAlone, Content: !f.IDSigned}, nil
		}
		return dedupe.Identity{ID: dedupe.IDWithBody, Content: !f.IDSigned}, nil
	}
	return dedupe.Identity{}, errors.New("dedupe: unknown key: known are id, id+content, content")
}

// adviseDedupe warns of probable mistakes.
func (h *Handler) adviseDedupe(c *Dedupe, identity dedupe.Identity, signed bool) {
	name := zap.String("name", h.Name)
	window := time.Duration(orElse(c.Window, math.MaxInt64))
	switch fresh := h.rules.Fresh(); {
	case c.Off, identity.Off(): // the app reports the latter in one line
		return
	case window < fresh:
		h.logger.Warn("dedupe window is shorter than twice the tolerance: a captured delivery passes again after the window, while its time is still accepted",
			name, zap.Duration("window", window), zap.Duration("tolerance", fresh/2))
	}
	switch {
	case c.Key == "id" && !signed:
		h.logger.Warn("dedupe key id: the signature does not cover the id, so anyone who captured one delivery can mark the id of another as done: use key id+content", name)
	case identity.ID == dedupe.IDAlone && window < minimumWarning:
		h.logger.Warn("dedupe window is shorter than a day: many senders wait longer between two attempts", name, zap.Duration("window", window))
	}
}

// claim decides whether the app should get this delivery now. Only verified
// deliveries are looked up. The inbox is asked first: the app must still get what it
// holds, whatever the store remembers.
func (d *delivery) claim() error {
	r := &d.h.recogniser
	if d.unverified != nil {
		return nil
	}
	key, ok := d.identify()
	if d.h.Inbox != nil {
		if d.box = d.h.app.box(d.h.Name); d.box != nil && !ok {
			key, d.nameless = dedupe.Key(dedupe.NewToken()), true // names it in the inbox
		}
	}
	if !ok && d.box == nil { // the answer still shows that the gateway let it through
		d.w.Header().Set(markVerified, d.h.Name)
		return nil
	}
	d.name(key)
	if !ok {
		return nil
	}
	if d.box != nil {
		if has, err := d.inInbox(); has || err != nil {
			return err
		}
	}
	if r.off {
		return nil
	}
	gate, err := d.h.app.gate()
	if err != nil { // a doubt about a duplicate forwards
		d.h.logger.Error("the dedupe store cannot be opened; forwarding without it", zap.String("name", d.h.Name), zap.Error(err))
		return nil
	}
	d.store = d.h.app.store
	d.gate = gate
	defer d.took(metrics.Claim, time.Now())
	terms := d.terms()
	terms.From = d.from()
	switch decision := gate.Claim(d.r.Context(), key, terms); decision.Outcome {
	case dedupe.Held:
		d.claimed = decision.Claim
		return nil
	case dedupe.Duplicate:
		return d.isMarked(decision.Status)
	default:
		return &refusal{
			reason: decision.Outcome.String(), status: http.StatusServiceUnavailable,
			retryAfter: int(math.Ceil(decision.RetryAfter.Seconds())), detail: notNow[decision.Outcome],
		}
	}
}

func (d *delivery) from() dedupe.From {
	return dedupe.From{Client: clientOf(d.r), Request: likeness(d.r)}
}

// isMarked follows what the store has about the delivery. What is stored is looked for also
// if the handler has no inbox any more.
func (d *delivery) isMarked(status int) error {
	d.duplicate, d.stored = true, dedupe.IsStored(status)
	switch {
	case d.loan != nil && d.stored: // which says nothing about the app
		d.duplicate, d.stored = false, false
	case d.loan != nil && !d.loan.Entry.Replayed: // another instance has delivered it
		d.repay(inbox.Result{Taken: true})
	case d.loan == nil && d.stored: // perhaps while this copy waited
		if d.box == nil {
			d.box = d.h.app.box(d.h.Name)
		}
		has := false
		if d.box != nil {
			var err error
			if has, err = d.inInbox(); err != nil || d.loan != nil {
				return err
			}
		}
		if !has && d.isStuck(status) {
			d.duplicate, d.stored = false, false
			return inboxRefuses("the inbox has this delivery and cannot be read or written now, so it may be a dead letter")
		}
		d.duplicate, d.stored = true, true
	}
	return nil
}

// identify sets the sender's id and event, and returns the delivery's key; ok is
// false if nothing identifies it.
func (d *delivery) identify() (key dedupe.Key, ok bool) {
	r := &d.h.recogniser
	scope := r.scope
	if scope == "" {
		scope = d.route()
	}
	d.id, _ = d.check.DeliveryID(d.body)
	if d.id != "" {
		d.repl.Set(prefix+"delivery_id", d.id)
	}
	if d.event = eventOf(d.req.Header, r.event); d.event != "" {
		d.repl.Set(prefix+"event", d.event)
	}
	is := dedupe.Delivery{Tenant: d.tenant, Signer: d.check.KeySet(), ID: d.id, Event: known.Lines(d.req.Header, r.counts), Content: d.check.Content(d.body)}
	if d.h.Inbox != nil {
		d.trace = traceOf(clientOf(d.r), is.Content)
	}
	if r.method {
		is.Method = d.req.Method
	}
	return r.identity.Key(scope, r.scheme, is)
}

// name gives the delivery its key, which the sender also gets.
func (d *delivery) name(key dedupe.Key) {
	d.hash = key
	d.key = key.String()
	d.repl.Set(prefix+"delivery", d.key)
	d.w.Header()[markDelivery] = []string{d.key}
}

// terms returns the parameters of the delivery's claim.
func (d *delivery) terms() dedupe.Terms {
	r := &d.h.recogniser
	terms := r.terms
	if d.id == "" && r.identity.ID != dedupe.NoID {
		terms = r.unnamed
	}
	if !d.h.named { // its scope depends on the site too
		if site := d.h.app.site(d.h); site != nil {
			terms.Room = site.Room()
		}
	}
	terms.Share = d.share()
	return terms
}

// share is the part of the delivery's tenant, or of its key set: a handler has one of them.
func (d *delivery) share() dedupe.Share { return dedupe.ShareOf(d.tenant + d.check.KeySet()) }

// traceOf returns what the inbox takes turns by.
func traceOf(client netip.Prefix, content []byte) (t inbox.Trace) {
	if client.IsValid() {
		t.Client = uint16(maphash.Comparable(likenessSeed, client))
	}
	if len(content) > 0 {
		t.Content = uint32(maphash.Bytes(likenessSeed, content))
	}
	return t
}

var likenessSeed = maphash.MakeSeed()

// likeness is equal for requests that differ only in their bodies: a digest of what
// signatures often leave open.
func likeness(r *http.Request) uint64 {
	sum := maphash.String(likenessSeed, r.Method) + 3*maphash.String(likenessSeed, r.RequestURI) + 5*maphash.String(likenessSeed, r.Host)
	for name, lines := range r.Header {
		of := maphash.String(likenessSeed, name)
		for _, line := range lines { // the order of names is not ours
			sum += of ^ maphash.String(likenessSeed, line)
			of = of*7 + 1
		}
	}
	return sum
}

// route is the scope of a handler without a name.
func (d *delivery) route() dedupe.Scope {
	path, _, _ := strings.Cut(d.req.Target, "?")
	if plain, err := url.PathUnescape(path); err == nil { // as matchers see it
		path = plain
	}
	scheme := d.h.recogniser.scheme
	if site := d.h.app.site(d.h); site != nil && !site.Lists(d.req.Host) {
		return dedupe.SiteScope(scheme, site.Address(d.req.Host), path)
	}
	return dedupe.RouteScope(scheme, d.req.Host, path)
}

const maxEvent = 128

// eventOf returns the event type from the first header present, for logs and
// matchers: visible ASCII, limited to the size of a label.
func eventOf(header map[string][]string, names []string) string {
	for _, name := range names {
		lines := header[name]
		if len(lines) == 0 {
			continue
		}
		if len(lines) > 1 {
			return ""
		}
		text := strings.TrimSpace(lines[0])
		return strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' {
				return '?'
			}
			return c
		}, text[:min(len(text), maxEvent)])
	}
	return ""
}

var notNow = map[dedupe.Outcome]string{
	dedupe.Busy:       "a copy of this delivery is being forwarded",
	dedupe.Overloaded: "too many deliveries are in flight",
	dedupe.StoreDown:  "the dedupe store does not answer, and down reject is configured",
}

// answerDuplicate tells the sender that the app or the inbox already has this
// delivery.
func (d *delivery) answerDuplicate() error {
	d.repl.Set(prefix+"duplicate", true)
	d.end(metrics.Duplicate, "")
	d.w.Header().Set("Webhook-Duplicate", "true")
	if d.stored {
		d.w.Header().Set("Webhook-Stored", "true")
	}
	return d.answerTaken()
}

// answerTaken answers instead of the app.
func (d *delivery) answerTaken() error {
	r := &d.h.recogniser
	d.w.WriteHeader(r.status)
	_, _ = io.WriteString(d.w, r.body) // a sender that is gone does not matter
	return nil
}
