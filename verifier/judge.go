package verifier

import (
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
	key       *compiledKey // the key that verified the delivery
	message   int          // index of the message that matched

	offered   int        // candidates seen
	public    int        // those checked with a public key
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
	ID      string  // of the delivery; "" if it has none: see Check.DeliveryID
}

// Judge combines Open and Verify. The error is a *Rejection.
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
	return Judgement{Verdict: verdict, ID: id}, nil
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
		return rej
	case rej == nil:
		return c.unmet
	}
	unmet := *c.unmet
	unmet.UnknownKey, unmet.KeyID = rej.UnknownKey, rej.KeyID
	return &unmet
}
