package dedupe

import (
	"crypto/sha256"
	"net/netip"
	"path"
	"strings"
	"time"
)

// IDTrust says how far a sender's delivery id identifies a delivery.
type IDTrust uint8

const (
	// NoID: there is no id, or it is not to be used.
	NoID IDTrust = iota

	// IDWithBody: the id counts together with the body's digest. For an id that
	// the signature does not cover, because who captured one genuine request could
	// otherwise send it under a fresh id (and pass as new) or under a future one
	// (and have the real event taken for a duplicate); and for an id that names a
	// resource rather than an event, because it comes back with every change.
	IDWithBody

	// IDAlone: the id is covered by the signature and the provider's file calls it
	// unique per event. Bodies may then differ between the attempts of one delivery
	// (a counter of pending webhooks, a time of sending).
	IDAlone
)

// An Identity is the rule by which the deliveries of one handler are told apart.
// The zero Identity identifies nothing: dedupe is off.
type Identity struct {
	ID IDTrust

	// Content lets the body's digest stand in where there is no id. Only where the
	// provider's file says that two events never share a body: otherwise the second
	// of two equal events would be swallowed.
	Content bool
}

// IdentityOf derives the rule from what is known about a scheme.
// signed: the signature covers the id. unique: the id is new for each event.
// content: two events never share a body.
func IdentityOf(hasID, signed, unique, content bool) Identity {
	id := NoID
	switch {
	case hasID && signed && unique:
		id = IDAlone
	case hasID:
		id = IDWithBody
	}
	return Identity{ID: id, Content: content}
}

// TTL returns how long a delivery is remembered by default: as long as its
// sender goes on retrying (span), and no less than is usual for what identifies
// it. A body alone is remembered for a short time, since equal events do happen.
func (i Identity) TTL(span time.Duration) time.Duration {
	if i.ID != NoID {
		return max(DefaultTTL, span)
	}
	return max(contentTTL, span)
}

const contentTTL = 15 * time.Minute

// Off reports whether the rule can never identify a delivery.
func (i Identity) Off() bool { return i == Identity{} }

// Key returns the key of one verified delivery, or false if nothing identifies
// it: then it is forwarded without dedupe. id is the sender's, "" where it is
// missing, null or not a scalar. scheme is the id of the signature scheme.
//
// Neither the secret (it rotates) nor the timestamp (it changes with each
// attempt) is part of a key.
func (i Identity) Key(scope Scope, scheme, id string, body []byte) (Key, bool) {
	if id == "" || i.ID == NoID {
		if !i.Content {
			return Key{}, false
		}
		return NewKey(string(scope), scheme, "content", digest(body)), true
	}
	if i.ID == IDAlone {
		return NewKey(string(scope), scheme, "id", id), true
	}
	return NewKey(string(scope), scheme, "id+content", id, digest(body)), true
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return string(sum[:])
}

// A Scope separates deliveries that carry the same id but are not the same:
// GitHub gives one event the same id at every hook that listens to it, so two
// apps behind one gateway must not swallow each other's copy.
type Scope string

// NamedScope is the scope of a handler whose operator gave it a name. Handlers
// with the same name share their deliveries, whatever their address.
func NamedScope(name string) Scope { return "name\x00" + Scope(name) }

// RouteScope is the scope of a handler without an explicit name: the provider,
// and host and path as the sender called them. Host and path are brought into
// one form (lower case, no port, no final dot, cleaned), since Caddy's matchers
// ignore these differences too: whoever captured a request could otherwise have
// it taken for new by calling /Hooks/stripe.
func RouteScope(provider, host, urlPath string) Scope {
	return Scope(strings.Join([]string{
		"route", provider, canonicalHost(host), strings.ToLower(path.Clean("/" + urlPath)),
	}, "\x00"))
}

func canonicalHost(host string) string {
	if ap, err := netip.ParseAddrPort(host); err == nil {
		return ap.Addr().String()
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ':') == i {
		host = host[:i]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
