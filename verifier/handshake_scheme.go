package verifier

import "encoding/json"

// A Handshake is a request by which a sender checks that the receiver expects it, and
// the answer. It is not a delivery and is not forwarded. A provider file lists
// several; the first one that matches a request decides.
type Handshake struct {
	// Which requests it matches.
	When HandshakeWhen `json:"when"`
	// The handshake is signed as deliveries are, and answered only after
	// verification. Anyone can send an unsigned one.
	Signed bool `json:"signed,omitempty"`
	// The optional param of the provider that enables this rule by having a value.
	// Default: always enabled.
	OptIn string `json:"opt_in,omitempty"`
	// An address to request before answering. Default: none.
	Visit *HandshakeVisit `json:"visit,omitempty"`
	// Further required values; a request without them is refused. Values may be
	// {param:name} and are compared in constant time.
	Require HandshakeFields `json:"require,omitzero"`
	// Pattern of the values that the answer repeats or signs, by source
	// ("query:crc_token"): a regular expression (RE2) for the entire value. Default:
	// up to 512 visible ASCII characters. With any pattern, a value is limited to
	// that length, to ASCII and spaces, without < > " ' & and \.
	Pattern map[string]string `json:"pattern,omitempty"`
	Respond HandshakeResponse `json:"respond"`
}

// HandshakeWhen distinguishes a handshake from a delivery.
type HandshakeWhen struct {
	Method StringList `json:"method,omitempty"` // default: POST
	// For a ping, which the sender does not sign as it signs deliveries: absent (it
	// has no signature) or any (its signature may match none of the keys). A request
	// that a key did sign is a delivery, never this handshake. Default: signatures
	// are not considered.
	Signature string `json:"signature,omitempty"`
	HandshakeFields
}

// HandshakeFields are parameters of the URL, headers, JSON paths and form fields of
// the body with their accepted values; each must appear exactly once. "*" accepts any
// value that is not empty. Form fields are read if Content-Type says that the body is
// a form.
type HandshakeFields struct {
	Query  map[string]StringList `json:"query,omitempty"`
	Header map[string]StringList `json:"header,omitempty"`
	JSON   map[string]StringList `json:"json,omitempty"`
	Form   map[string]StringList `json:"form,omitempty"`
}

// HandshakeResponse is the answer. Its texts, including those inside JSON, may hold
// the slots {query:name} {header:Name} {json:path} {param:name}, and
// {hmac:SOURCE|hex} (base64, base64url): the HMAC of a source, such as
// query:crc_token, with the key and algorithm of deliveries.
type HandshakeResponse struct {
	Status int               `json:"status,omitempty"` // 2xx; default: 200
	Header map[string]string `json:"header,omitempty"` // only headers named in "when"
	Text   string            `json:"text,omitempty"`   // a body of text/plain
	JSON   json.RawMessage   `json:"json,omitempty"`   // or one of application/json
}

// A HandshakeVisit is an address that the sender requires to be requested first: the
// holder of the Answer requests it, and answers if that succeeds. It requires signed,
// and hosts of the sender, so that nobody else can direct the receiver to an address.
type HandshakeVisit struct {
	// Path in the body of the address, which the signature must cover: https, path /.
	JSON string `json:"json"`
	// Hosts, as in KeySource.
	Hosts []string `json:"hosts"`
}
