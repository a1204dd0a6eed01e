package dedupe

import (
	"crypto/sha256"
	"net/netip"
	"path"
	"strings"
	"time"
)

// IDTrust is how far a sender's delivery id identifies a delivery.
type IDTrust uint8

const (
	// NoID: there is no id, or it is not used.
	NoID IDTrust = iota

	// IDWithBody: the id counts together with the body's digest. For an id that the
	// signature does not cover: an attacker who captured one genuine request could
	// otherwise send it under a future id, so that the real event is treated as a
	// duplicate. Also for an id that names a resource rather than an event, because
	// it repeats with every change.
	IDWithBody

	// IDAlone: the signature covers the id, and the provider's file says that it is
	// unique per event. Bodies may then differ between attempts of one delivery (a
	// counter of pending webhooks, a send time).
	IDAlone
)

// An Identity is the rule that recognises copies of a delivery at one handler. The zero
// Identity identifies nothing: dedupe is off.
type Identity struct {
	ID IDTrust

	// Content uses the body's digest if there is no id: if the provider's file says
	// that two events never share a body, since otherwise the second of two equal
	// events would be dropped; or if the id is not signed, since an attacker could
	// otherwise remove it and have a captured delivery forwarded again.
	Content bool

	// Long remembers content for as long as an id.
	Long bool
}

// Facts describes a sender's deliveries.
type Facts struct {
	HasID    bool // there is a delivery id
	IDSigned bool // the signature covers it
	UniqueID bool // it is different for each event

	BodySigned   bool // the signature covers the meaning of the body
	BodiesDiffer bool // two events never share a body

	// An unsigned header gives the event type, or says which shop or project it is of, so
	// that the same id and body can be made to mean something else.
	EventUnsigned bool

	// Several methods are accepted, and the signature does not cover the method.
	MethodUnsigned bool
}

// IdentityOf derives the rule from the facts.
func IdentityOf(f Facts) Identity {
	switch {
	case !f.HasID:
		return Identity{Content: f.BodiesDiffer}
	case f.IDSigned && f.UniqueID:
		return Identity{ID: IDAlone, Content: f.BodiesDiffer}
	case !f.IDSigned && f.BodiesDiffer && !f.EventUnsigned:
		return Identity{Content: true, Long: true} // a replay can choose the id, not the body
	}
	return Identity{ID: IDWithBody, Content: f.BodiesDiffer || !f.IDSigned}
}

// Replay is how far an identity blocks replays of a captured delivery.
type Replay uint8

const (
	NothingKept Replay = iota // every copy is forwarded
	ExactCopies               // an unsigned part counts
	AllCopies                 // all parts that count are signed
)

// Keeps returns which replays the rule blocks, given the facts.
func (i Identity) Keeps(f Facts) Replay {
	switch {
	case i.Off():
		return NothingKept
	case f.EventUnsigned, f.MethodUnsigned, i.ID != NoID && !f.IDSigned, i.ID != IDAlone && !f.BodySigned:
		return ExactCopies
	}
	return AllCopies
}

// TTL returns how long a delivery is remembered by default: at least the usual time for
// what identifies it, and at least least: as long as its sender retries, and as long as a
// captured one stays fresh. A body alone is remembered only briefly, since equal events
// do happen.
func (i Identity) TTL(least time.Duration) time.Duration {
	if i.ID != NoID || i.Long {
		return max(DefaultTTL, least)
	}
	return max(ContentTTL, least)
}

// ContentTTL is how long a body alone is remembered, unless the sender retries for
// longer, or a captured delivery stays fresh for longer.
const ContentTTL = 15 * time.Minute

// Off reports whether the rule can never identify a delivery.
func (i Identity) Off() bool { return i.ID == NoID && !i.Content }

// A Delivery holds the parts of a verified delivery that may identify it.
type Delivery struct {
	Tenant  string   // whose delivery it is; "" for a handler without tenants
	Signer  string   // the key set that verified it, where each sender of many has one; otherwise ""
	ID      string   // the sender's; "" if it is missing, null or not a scalar
	Event   []string // lines of the event type header, exactly as the app gets them, if it is not signed
	Method  string   // of the request, if it is not signed and several are accepted; otherwise ""
	Content []byte   // what was signed; empty if it identifies nothing
}

// Key returns the key of a verified delivery, or false if nothing identifies it, in
// which case it is forwarded without dedupe. scheme is the id of the signature
// scheme.
//
// Neither the secret (it rotates) nor the timestamp (it changes with each attempt) is
// part of a key.
func (i Identity) Key(scope Scope, scheme string, d Delivery) (Key, bool) {
	var room [keyRoom]byte
	in := keyInput(room[:0]).add(string(scope)).add(scheme)
	if d.Tenant != "" { // tenants choose the same ids
		in = in.add("tenant").add(d.Tenant)
	}
	if d.Signer != "" { // so do senders, and one may choose another's
		in = in.add("signer").add(d.Signer)
	}
	id := d.ID
	if i.ID != IDAlone { // a signed id counts exactly as signed
		id = strings.TrimSpace(id)
	}
	switch {
	case id == "" || i.ID == NoID:
		if !i.Content || len(d.Content) == 0 {
			return Key{}, false
		}
		in = in.add("content").add(digest(d.Content))
	case i.ID == IDAlone:
		in = in.add("id").add(id)
	default:
		in = in.add("id+content").add(id).add(digest(d.Content))
	}
	if d.Method != "" {
		in = in.add("method " + d.Method)
	}
	for _, line := range d.Event {
		in = in.add(line)
	}
	return in.key(), true
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return string(sum[:])
}

// A Scope separates deliveries with the same id that are different: GitHub gives one
// event the same id at every hook, so two apps behind one gateway must not lose each
// other's copy.
type Scope string

// NamedScope is the scope of a handler with a configured name. Handlers with the same
// name share their deliveries, whatever their address.
func NamedScope(name string) Scope { return "name\x00" + Scope(name) }

// RouteScope is the scope of a handler without a configured name: the provider, and
// host and path as the sender called them, if the configuration lists the host
// (otherwise: SiteScope). Host and path are normalized (lower case, no port, no final
// dot, cleaned), since Caddy's matchers ignore these differences too: an attacker
// could otherwise pass off a captured request as new by calling /Hooks/stripe.
func RouteScope(provider, host, urlPath string) Scope {
	return Scope(strings.Join([]string{
		"route", provider, canonicalHost(host), canonicalPath(urlPath),
	}, "\x00"))
}

// SiteScope is RouteScope if the configuration does not fix the host: an attacker
// could otherwise resend a captured request under another one. site, the address as
// configured, replaces the host.
func SiteScope(provider, site, urlPath string) Scope {
	return Scope(strings.Join([]string{"site", provider, site, canonicalPath(urlPath)}, "\x00"))
}

func canonicalPath(urlPath string) string {
	if !strings.HasPrefix(urlPath, "/") {
		urlPath = "/" + urlPath
	}
	return strings.ToLower(path.Clean(urlPath))
}

func canonicalHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 { // otherwise parsing allocates an error
		if ap, err := netip.ParseAddrPort(host); err == nil {
			return ap.Addr().String()
		}
		if strings.IndexByte(host, ':') == i {
			host = host[:i]
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
