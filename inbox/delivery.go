package inbox

import (
	"encoding/hex"
	"errors"
	"time"
)

// A Key names one delivery and its copies. It is a digest, so it may be logged and
// shown. It is random for a delivery that nothing identifies.
type Key [16]byte

// String returns the key as 32 hex digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey is the inverse of [Key.String]. The error does not repeat s.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) == hex.EncodedLen(len(k)) {
		if _, err := hex.Decode(k[:], []byte(s)); err == nil {
			return k, nil
		}
	}
	return Key{}, errors.New("a delivery key is 32 hex digits")
}

// A Queue has a turn, a pace and a share of the space: the deliveries of one handler,
// or of one of its tenants.
type Queue struct {
	Handler string // its name; a request must not be able to choose it
	Tenant  string // "" for a handler without tenants
}

// A Delivery is a verified request as the handler received it, with the results of
// verification. An attempt rebuilds the request from it. Engines do not change it.
type Delivery struct {
	Key Key
	Queue
	Received time.Time // to the nanosecond, in any zone

	// The results of verification.
	Provider  string    // of the handler
	Label     string    // of the key that signed it; never derived from a secret
	ID        string    // the sender's id, or ""
	Event     string    // the sender's event type, or ""
	Timestamp time.Time // the sender's, or zero

	Method string
	Target string // as received, before any rewrite
	Seen   Seen
	Host   string
	Site   Site   // how the site that received it matches the host
	Place  string // of the handler that received it: equal for one that is known to be the same; "" if unknown, as in older records
	Proto  string // HTTP/1.1, HTTP/2.0, HTTP/3.0
	Remote string // the peer's address and port
	Local  string // the local address and port
	TLS    *TLS   // nil without TLS

	Header map[string][]string // an http.Header, as the handler saw it
	Body   []byte

	Trace Trace // not stored
}

// A Trace tells deliveries of one client, or with one signed content, from others. Both
// are hashes of this process; 0 is unknown, as after a restart.
type Trace struct {
	Content uint32
	Client  uint16
}

// A Site says how a site matches the host of a delivery: one that is not meant for it
// must not get the delivery later.
type Site uint8

const (
	AnySite Site = iota // unknown, because the host was replaced, or without a server
	Covers              // by a pattern, or it takes any host
	Lists               // by its name
)

// Seen is what the handler saw instead, after rewrites; "" where nothing has changed.
type Seen struct{ Method, Target string }

// TLS describes the connection of a delivery.
type TLS struct {
	Version     uint16
	CipherSuite uint16
	ServerName  string
	Protocol    string   // negotiated by ALPN
	Peers       [][]byte // the client's certificates, DER, its own first
}
