package verifier

import (
	"fmt"
	"strings"
	"time"
)

// Reason says in one stable word why a delivery is not genuine. Senders never
// see it; logs, metrics and placeholders do.
type Reason string

// The closed list of reasons that verification gives.
const (
	MissingSignature   Reason = "missing_signature"   // no signature header, or an empty one
	MalformedSignature Reason = "malformed_signature" // a signature, id or signed field that cannot be read one way
	SignatureMismatch  Reason = "signature_mismatch"  // well-formed, but no key makes it
	MissingTimestamp   Reason = "missing_timestamp"
	MalformedTimestamp Reason = "malformed_timestamp"
	StaleTimestamp     Reason = "stale_timestamp"  // older than the tolerance
	FutureTimestamp    Reason = "future_timestamp" // further ahead than the tolerance
	MissingHeader      Reason = "missing_header"   // a required or signed header, or required member of the body, is absent
	HeaderMismatch     Reason = "header_mismatch"  // one that is required has another value, or several
	// A handshake with the wrong token, or a challenge that is not to be repeated.
	HandshakeMismatch Reason = "handshake_mismatch"
)

// Reasons lists every Reason, for documentation and bounded metric labels.
var Reasons = []Reason{
	MissingSignature, MalformedSignature, SignatureMismatch,
	MissingTimestamp, MalformedTimestamp, StaleTimestamp, FutureTimestamp,
	MissingHeader, HeaderMismatch, HandshakeMismatch,
}

// Rejection is the error of Open and Verify. Its text is for the operator's
// log: it names headers and times, never a secret, an expected MAC, a
// presented signature or a piece of a body.
type Rejection struct {
	Reason Reason
	Detail string
	Skew   time.Duration // now minus the delivery's timestamp, where one was read

	// UnknownKey says that the sender publishes its keys (Scheme.KeySource) and
	// that none of those at hand made the signature: with KeyID, because none has
	// that id; without, because the set may have changed. Whoever holds the keys
	// may fetch them anew and ask again.
	UnknownKey bool
	KeyID      string // as the delivery states it, unverified; of KeySource's hosts
}

func (r *Rejection) Error() string {
	if r.Detail == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Detail
}

// maxDetail is the longest detail in bytes: log lines and kept rejections hold
// one, and part of it may be a name that the request chose.
const maxDetail = 512

func reject(reason Reason, format string, args ...any) *Rejection {
	detail := fmt.Sprintf(format, args...)
	return &Rejection{Reason: reason, Detail: strings.ToValidUTF8(detail[:min(len(detail), maxDetail)], "")}
}
