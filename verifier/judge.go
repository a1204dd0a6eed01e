package verifier

import (
	"fmt"
	"strings"
	"time"
)

// Request is a delivery without its body. A Check only reads it, and keeps the
// pointer.
type Request struct {
	Method string
	// Header by canonical name, as in net/http and textproto.
	Header map[string][]string
	// Target is the path and query as received: "/hooks/square?v=2".
	Target string
	Host   string
	TLS    bool // used if the scheme signs the URL and has no public_url
}

// Check is a request in verification, after its headers and before its body. Use it
// for one request and in one goroutine.
type Check struct {
	v   *Verifier
	req *Request
	now time.Time

	unmet   *Rejection // an unmet required header: see refusal
	refused *Rejection // why Open refused what may still be a handshake

	timestamp string // as sent: it is signed verbatim
	time      time.Time
	id        string
	json      *bodyJSON    // of the body, after the first lookup of a path
	jws       *jws         // if the signature is a JWS
	list      string       // of signed headers, while signing: see kvHeaders
	keyID     string       // stated by the delivery; "": any key may have signed it
	keySet    string       // address of the key set that the delivery names
	key       *compiledKey // the key that verified the delivery
	message   int          // index of the message that matched

	offered   int        // candidates seen
	public    int        // those checked with a public key
	work      int        // of the checks with public keys so far: see affords
	limit     int        // of work; 0 before the first check
	gaveUp    bool       // a check was left out because of the limit
	url       signedURL  // the form of the URL being tried
	malformed *Rejection // why the last malformed one was
	count     int        // candidates kept
	inline    [inlineCandidates]candidate
	more      []candidate
	contents  [][]byte // by message: see content
	bodySlots bodySlots
	http      *httpCheck // for the syntax http_signature
}

// Verdict describes a genuine delivery.
type Verdict struct {
	// Key is the label of the key that matched.
	Key string
	// KeyID is the key's id as stated by the delivery, "" if it states none.
	KeyID string
	// Timestamp of the attempt; zero if the scheme has none.
	Timestamp time.Time
}

// A Judgement is the result for a request that was not refused.
type Judgement struct {
	Verdict Verdict // for a delivery or a signed handshake
	Answer  *Answer // to a handshake; nil for a delivery
	ID      string  // of the delivery; "" if it has none: see Check.DeliveryID. For display: see Verifier.Redact

	FieldInQuery bool // see Check.FieldInQuery
}

// Judge combines Open and Verify, for tools that show the result. The error is a
// *Rejection.
func (v *Verifier) Judge(req *Request, body []byte, now time.Time) (Judgement, error) {
	c, answer, err := v.Open(req, now)
	if err != nil || answer != nil {
		return Judgement{Answer: answer}, err
	}
	verdict, answer, err := c.Verify(body)
	if err != nil || answer != nil {
		return Judgement{Verdict: verdict, Answer: answer}, err
	}
	id, _ := c.DeliveryID(body)
	if id = v.Redact(id); c.isSignature(id) {
		id = Redacted
	}
	return Judgement{Verdict: verdict, ID: id, FieldInQuery: c.FieldInQuery(body)}, nil
}

// Open decides what the headers alone decide. It answers an unsigned handshake that
// headers identify. For any other request it checks that there is an unambiguous
// signature and that the timestamp is fresh, unless the request may be an unsigned
// handshake that only the body identifies. The error is a *Rejection.
//
// Verify, not Open, reports a missing or wrong required header: its value is a
// secret, and a response before the body is read would tell an attacker whether a
// guess is right.
func (v *Verifier) Open(req *Request, now time.Time) (Check, *Answer, error) {
	c := Check{v: v, req: req, now: now}
	c.unmet = c.checkRequired(v.required, nil)
	answer, rej := c.answerHandshake(byHeaders, nil, nil)
	if answer == nil && rej == nil {
		rej = c.open()
		if rej == nil {
			return c, nil, nil
		}
		if c.mayBeHandshake(rej) {
			return Check{v: v, req: req, now: now, unmet: c.unmet, refused: rej}, nil, nil
		}
	}
	if err := c.refusal(rej); err != nil {
		return Check{}, nil, err
	}
	return Check{}, answer, nil
}

// Verify decides whether one of the keys signed body, and answers a handshake: a
// signed one with its verdict, an unsigned one with the zero Verdict. Call it at most
// once. The error is a *Rejection.
func (c *Check) Verify(body []byte) (Verdict, *Answer, error) {
	var verdict Verdict
	var answer *Answer
	rej := c.refused
	if rej == nil {
		verdict, rej = c.verify(body)
	}
	switch {
	case rej == nil && c.unmet == nil:
		answer, rej = c.answerHandshake(verified, body, nil)
	case rej != nil && !rej.UnknownKey: // a newer key may make it a delivery
		unsigned := Check{v: c.v, req: c.req}
		if a, other := unsigned.answerHandshake(byBody, body, rej); a != nil || other != nil {
			answer, rej = a, other
		}
	}
	if err := c.refusal(rej); err != nil {
		return Verdict{}, nil, err
	}
	return verdict, answer, nil
}

// refusal returns the error for a request refused with rej, which may be nil. An
// unmet required header goes first: the operator must see it.
func (c *Check) refusal(rej *Rejection) error {
	switch {
	case c.unmet == nil && rej == nil:
		return nil
	case c.unmet == nil:
		return c.v.silence(rej)
	case rej == nil:
		return c.unmet
	}
	unmet := *c.unmet
	unmet.UnknownKey, unmet.KeyID = rej.UnknownKey, rej.KeyID
	return &unmet
}

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
// part of a body, not even one that the request has in the place of a name.
type Rejection struct {
	Reason Reason
	Detail string
	Skew   time.Duration // now minus the delivery's timestamp; zero without one

	// UnknownKey reports that the sender publishes its keys (Scheme.KeySource) and no
	// known key matches, but another may: of a set, which may have changed, or the
	// certificate named by KeyID. The caller may fetch the keys and verify again.
	UnknownKey bool
	// As stated by the delivery, unverified; on KeySource's hosts. If the delivery names
	// its key set, the address of that, which is one of KeySource's.
	KeyID string
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
