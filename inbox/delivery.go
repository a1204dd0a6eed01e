package inbox

import (
	"encoding/hex"
	"errors"
	"time"
)

// A Key names one delivery; its copies have the same. It is a digest, so it may be
// logged and shown. Of a delivery that nothing identifies it is random.
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

// A Queue is what has a turn, a pace and a share of the room of its own: the
// deliveries of one handler, or of one of its tenants.
type Queue struct {
	Handler string // its name; never anything that a request chooses
	Tenant  string // "" for a handler without tenants
}

// A Delivery is a verified request as the handler received it, and what is known
// of it. An attempt rebuilds the request from it. An engine changes nothing in it.
type Delivery struct {
	Key Key
	Queue
	Server   string    // the name of the server that received it
	Received time.Time // to the nanosecond, in no particular zone

	// What verification found out.
	Label     string    // of the key that signed it; never derived from a secret
	ID        string    // the sender's id; "" for none
	Event     string    // the sender's event type; "" for none
	Timestamp time.Time // the sender's; zero for none

	Method string
	Target string // as received, before any rewrite
	Host   string
	Proto  string // HTTP/1.1, HTTP/2.0, HTTP/3.0
	Remote string // the peer's address and port
	Local  string // the address and port that it called
	TLS    *TLS   // nil if it came without

	Header map[string][]string // an http.Header, as the handler saw it
	Body   []byte
}

// TLS is what an attempt must know of the connection on which a delivery came.
type TLS struct {
	Version     uint16
	CipherSuite uint16
	ServerName  string
	Protocol    string   // negotiated by ALPN
	Peers       [][]byte // the certificates of the client, DER, its own first
}
