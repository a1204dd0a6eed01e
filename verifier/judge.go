package verifier

import (
	"time"
)

// Request is what a delivery says besides its body. The maps and strings are
// only read; a Check keeps the pointer until it is dropped.
type Request struct {
	Method string
	// Header by canonical name, as net/http and textproto hold it.
	Header map[string][]string
	// Target is path and query as they were received: "/hooks/square?v=2".
	Target string
	Host   string
	TLS    bool // for schemes that sign the URL and have no public_url
}

// Check is a request between its headers and its body. It is for one request and
// one goroutine.
type Check struct {
	v   *Verifier
	req *Request
	now time.Time

	unmet   *Rejection // of the required headers: see refusal
	refused *Rejection // why Open refused what may yet be a handshake

	timestamp string // as sent: it is signed verbatim
	time      time.Time
	id        string
	json      *bodyJSON    // of the body, once a path into it was asked for
	jws       *jws         // of a scheme whose signature is one
	keyID     string       // that the delivery states; "": any key may have signed it
	key       *compiledKey // that verified the delivery
	message   int          // that it was signed by, of the scheme's

	offered   int        // candidates seen
	public    int        // of them, those that take a public key
	url       signedURL  // that the message is tried with
	malformed *Rejection // why the last unreadable one could not be read
	count     int        // candidates read
	inline    [inlineCandidates]candidate
	more      []candidate
	contents  [][]byte // by message: see content
	apart     apart
	http      *httpCheck // the same, of the syntax http_signature
}

// Verdict is what is known of a genuine delivery.
type Verdict struct {
	// Key is the label of the key that matched.
	Key string
	// KeyID is the id that the delivery states of it; "" where none is stated.
	KeyID string
	// Timestamp of the attempt; zero where the scheme has none.
	Timestamp time.Time
}

// A Judgement is what became of a request that was not refused.
type Judgement struct {
	Verdict Verdict // of a genuine delivery, and of a signed handshake
	Answer  *Answer // to a handshake; nil: the request is a delivery
	ID      string  // of the delivery, "" if it has none: see Check.DeliveryID
}

// Judge takes a request the whole way: Open and Verify with the same body. The
// error is a *Rejection.
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

// Open decides all that headers alone decide. It answers an unsigned handshake
// that they tell from a delivery. Of anything else it checks that a signature is
// there and can be read one way and that the timestamp is fresh, unless only the
// body can tell whether the request is an unsigned handshake. The error is a
// *Rejection.
//
// A required header that is missing or wrong is reported by Verify: its value is a
// secret that a stranger could guess without a signature, and an answer before the
// body is read would tell whether the guess is right.
func (v *Verifier) Open(req *Request, now time.Time) (Check, *Answer, error) {
	c := Check{v: v, req: req, now: now}
	c.unmet = c.checkRequired(v.required, nil)
	answer, rej := c.greet(byHeaders, nil, nil)
	if answer == nil && rej == nil {
		rej = c.open()
		if rej == nil {
			return c, nil, nil
		}
		if c.mayGreet(rej) {
			return Check{v: v, req: req, now: now, unmet: c.unmet, refused: rej}, nil, nil
		}
	}
	if err := c.refusal(rej); err != nil {
		return Check{}, nil, err
	}
	return Check{}, answer, nil
}

// Verify decides whether body is what one of the keys signed, and answers a
// handshake: a signed one beside its verdict, an unsigned one with the zero
// Verdict. It may be called once; the error is a *Rejection.
func (c *Check) Verify(body []byte) (Verdict, *Answer, error) {
	var verdict Verdict
	var answer *Answer
	rej := c.refused
	if rej == nil {
		verdict, rej = c.verify(body)
	}
	switch {
	case rej == nil && c.unmet == nil:
		answer, rej = c.greet(verified, body, nil)
	case rej != nil && !rej.UnknownKey: // which may make it a delivery yet
		unsigned := Check{v: c.v, req: c.req}
		if a, other := unsigned.greet(byBody, body, rej); a != nil || other != nil {
			answer, rej = a, other
		}
	}
	if err := c.refusal(rej); err != nil {
		return Verdict{}, nil, err
	}
	return verdict, answer, nil
}

// refusal is the error of a request that was refused with rej, which may be nil.
// An unmet required header goes first: it is what the operator must see.
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
