package verifier

import (
	"fmt"
	"strings"
	"time"
)

// Reason is the stable, one-word reason why a delivery is not genuine. Logs, metrics
// and placeholders show it; senders never see it.
type Reason string

// The complete list of verification reasons.
const (
	MissingSignature   Reason = "missing_signature"   // no signature, or an empty one
	MalformedSignature Reason = "malformed_signature" // a signature, id or signed field that is ambiguous or invalid
	SignatureMismatch  Reason = "signature_mismatch"  // well-formed, but no key matches
	MissingTimestamp   Reason = "missing_timestamp"
	MalformedTimestamp Reason = "malformed_timestamp"
	StaleTimestamp     Reason = "stale_timestamp"  // older than the tolerance
	FutureTimestamp    Reason = "future_timestamp" // further ahead than the tolerance
	MissingHeader      Reason = "missing_header"   // a required or signed header, or a required member of the body, is absent
	HeaderMismatch     Reason = "header_mismatch"  // a required header or member has another value, or several
	// A handshake with the wrong token, or a challenge that must not be repeated.
	HandshakeMismatch Reason = "handshake_mismatch"
	// The delivery names no customer that the receiver has keys of. A Verifier knows its
	// keys, and never gives this reason.
	UnknownTenant Reason = "unknown_tenant"
)

// Reasons lists every Reason, for documentation and bounded metric labels.
var Reasons = []Reason{
	MissingSignature, MalformedSignature, SignatureMismatch,
	MissingTimestamp, MalformedTimestamp, StaleTimestamp, FutureTimestamp,
	MissingHeader, HeaderMismatch, HandshakeMismatch, UnknownTenant,
}

// Rejection is the error of Open and Verify. Its text is for the operator's log: it
// names headers and times, never a secret, an expected MAC, a received signature or
// part of a body.
type Rejection struct {
	Reason Reason
	Detail string
	Skew   time.Duration // now minus the delivery's timestamp; zero without one

	// UnknownKey reports that the sender publishes its keys (Scheme.KeySource) and no
	// known key matches, but another may: of a set, which may have changed, or the
	// certificate named by KeyID. The caller may fetch the keys and verify again.
	UnknownKey bool
	KeyID      string // as stated by the delivery, unverified; on KeySource's hosts
}

func (r *Rejection) Error() string {
	if r.Detail == "" {
		return string(r.Reason)
	}
	return string(r.Reason) + ": " + r.Detail
}

// maxDetail is the longest detail in bytes: log lines and kept rejections hold it,
// and part of it may be a name chosen by the client.
const maxDetail = 512

func reject(reason Reason, format string, args ...any) *Rejection {
	detail := fmt.Sprintf(format, args...)
	return &Rejection{Reason: reason, Detail: strings.ToValidUTF8(detail[:min(len(detail), maxDetail)], "")}
}
