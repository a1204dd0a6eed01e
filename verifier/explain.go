package verifier

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// A Case is a delivery to explain, with the scheme and keys it was checked against.
type Case struct {
	Scheme  Scheme
	Keys    []Key
	Request *Request
	Body    []byte
	Now     time.Time
	// Other senders that may have sent it.
	Others []Other
	// Contents asks for the contents of the explanation, also of a genuine delivery.
	Contents bool
}

// Other is another scheme that the delivery may follow: one of the catalogue, without
// keys (tried with the case's), or that of another handler of the same gateway, with
// its own.
type Other struct {
	// Name appears in the hint: a provider's id or a handler's name.
	Name   string
	Scheme Scheme
	Keys   []Key
}

// An Explanation says why a delivery is not genuine. It is only for the operator: it
// holds no secret, expected MAC, signature or, without Contents, part of a body, but it
// does reveal which guess at them was right.
type Explanation struct {
	Genuine bool
	Reason  Reason        // "" when genuine
	Detail  string        // of the Rejection
	Skew    time.Duration // now minus the delivery's timestamp; zero without one
	Hint    string        // one sentence: what to change and where; "" if no cause was found
	// Contents is nil unless the case asks for it, and where a message would show a secret
	// or does not describe what is signed: a token, a JWS, RFC 9421.
	Contents *Contents
}

// The limits of one explanation keep the worst case, a forged delivery of 64 KiB,
// below 50 ms; beyond them a mistake may remain unnamed. Costs are in bytes that
// SHA-256 hashes in the same time.
const (
	maxTrials = 512      // signatures computed or verified, and bodies rewritten
	maxCost   = 24 << 20 // 24 MiB; for a larger body,
	maxPasses = 48       // this many times its length,
	maxLarge  = 96 << 20 // but at most this
)

// Explain checks a delivery again and, if it is not genuine, looks for the mistake:
// it alters one thing at a time (a line break at the body's end, the encoding of the
// secret, the port in the URL, …) and checks whether the signature is valid then. A
// hint names a cause only if an altered check verifies, or if the headers alone prove
// it.
//
// The result is a forging oracle for anyone who reads it, and costs many times a
// verification: use it only in the operator's tools, never while serving a request or
// in a response.
//
// The search is bounded and ends with ctx, returning what was found. The error is a
// *SchemeError or a *KeyError of the case's own scheme and keys; others that do not
// compile are skipped.
func Explain(ctx context.Context, c Case) (Explanation, error) {
	v, err := New(c.Scheme, c.Keys)
	if err != nil {
		return Explanation{}, err
	}
	if c.Request == nil {
		c.Request = &Request{}
	}
	rej := v.check(c.Request, c.Now, c.Body)
	if rej == nil && !c.Contents {
		return Explanation{Genuine: true}, nil
	}
	s := newSearch(ctx, v, &c, rej)
	e := Explanation{Genuine: rej == nil}
	if rej == nil {
		_, _ = s.matches(s.asked)
	} else {
		e = Explanation{Reason: rej.Reason, Detail: rej.Detail, Skew: rej.Skew, Hint: s.silent(s.hint())}
	}
	if c.Contents {
		e.Contents = s.contents()
	}
	return e, nil
}

// check is Judge without handshakes: it says why the request is not a delivery.
func (v *Verifier) check(req *Request, now time.Time, body []byte) *Rejection {
	c := Check{v: v, req: req, now: now}
	c.unmet = c.checkRequired(v.required, nil)
	rej := c.open()
	if rej == nil {
		_, rej = c.verify(body)
	}
	return cmp.Or(c.unmet, rej)
}

// search is an explanation in progress.
type search struct {
	ctx   context.Context
	v     *Verifier
	c     *Case
	rej   *Rejection
	asked signing // what should have been signed according to the configuration

	presented []presented // texts of the request that could be signatures
	times     []found     // and those that could be a timestamp or id, if the scheme has none
	ids       []found

	trials, cost int
	limit        int
	refused      bool     // the limits left something untried
	hidden       []string // secrets and the like, in lower case
	seed         maphash.Seed
	bodies       map[uint64]bool // hashes of bodies tried: edits often give the same result

	found        *signing          // the last one that matches a signature
	foundMessage template.Template // of that
}

// signing is what a sender may have signed, and with which keys.
type signing struct {
	check    Check
	messages []message
	keys     []compiledKey
	body     []byte
}

// message is one candidate for the signed content.
type message struct {
	template  template.Template
	algorithm Algorithm // replaces the key's: a hash without a key
}

// guess is a signing that differs from the configured one in one respect. The clause
// says in which, and what to change; describe makes a clause that costs something.
type guess struct {
	signing
	clause   string
	describe func() string
}

// mistake is one kind of guess.
type mistake struct {
	name    string
	guesses func(*search, func(guess) bool)
}

// mistakes in the order they are tried: common and cheap ones first, since a large
// body leaves time for only a few.
var mistakes = []mistake{
	{"none: only the signature is read wrongly", func(s *search, yield func(guess) bool) { yield(guess{signing: s.asked}) }},
	{"another header of a JWS", renamed},
	{"a body that was unpacked", unpackedInFront},
	{"line breaks and marks around the body", bodies(bodyEdges)},
	{"secret", secrets},
	{"another handler's key", otherKeys},
	{"public key's algorithm", publicAlgorithms},
	{"line breaks and encoding of the body", bodies(bodyTexts)},
	{"message", messages},
	{"a form in place of JSON", formMessages},
	{"method and URL", requests},
	{"parts of the URL exchanged", exchangedSlots},
	{"query written otherwise", queries},
	{"body wrapped", bodies(bodyWraps)},
	{"re-serialized form", bodies(bodyForms)},
	{"re-serialized JSON", jsonBodies},
}

func newSearch(ctx context.Context, v *Verifier, c *Case, rej *Rejection) *search {
	s := &search{ctx: ctx, v: v, c: c, rej: rej, hidden: c.hidden(), seed: maphash.MakeSeed()}
	s.limit = max(maxCost, min(maxPasses*len(c.Body), maxLarge))
	s.bodies = map[uint64]bool{maphash.Bytes(s.seed, c.Body): true}
	check := Check{v: v, req: c.Request, now: c.Now}
	s.asked = signing{check: check, keys: v.keys, body: c.Body}
	if s.collect(); v.statesMessage() {
		return s
	}
	check.openSignatures(c.Body) // malformed candidates end up in presented
	check.openSources()
	if check.timestamp == "" && v.timestampAt.are(inKV) {
		check.timestamp = s.looseTimestamp()
	}
	check.bodyTimestamp(c.Body)
	s.asked.check = check
	for _, text := range v.scheme.Messages() {
		t, _ := v.scheme.parse(text) // compiled before, so it parses
		s.asked.messages = append(s.asked.messages, message{template: t})
	}
	return s
}

// hint combines the findings into one sentence.
func (s *search) hint() string {
	if clause := s.requiredClause(); clause != "" {
		return clause
	}
	clauses, matched := s.run()
	if clause := s.timeClause(matched, len(clauses) > 0); clause != "" {
		clauses = append(clauses, clause)
	}
	for _, f := range evidence {
		if len(clauses) > 0 || matched && !f.besides {
			continue
		}
		if clause := f.clause(s); clause != "" {
			clauses = append(clauses, clause)
		}
	}
	return strings.Join(clauses, "; ")
}

// run tries the other senders, then every mistake. It reports whether a guess made
// the signature valid, even if no clause describes it.
func (s *search) run() (clauses []string, matched bool) {
	others := s.others()
	if others.certain {
		return []string{others.clause}, true
	}
	for _, m := range mistakes {
		var found bool
		m.guesses(s, func(g guess) bool {
			p, ok := s.matches(g.signing)
			if !ok {
				return !s.exhausted()
			}
			found = true
			if g.describe != nil {
				g.clause = g.describe()
			}
			if g.clause != "" {
				clauses = append(clauses, g.clause)
			}
			if clause := s.readingClause(p); clause != "" {
				clauses = append(clauses, clause)
			}
			return false
		})
		if found {
			switch {
			case others.clause != "" && len(clauses) > 1: // another sender rather than a mistake
				return []string{others.clause}, true
			case len(clauses) > 0:
				clauses[0] += others.note
			}
			return clauses, true
		}
	}
	if others.clause != "" {
		return []string{others.clause}, true
	}
	return nil, false
}

// messageAdvice says which options make the scheme sign text, with the timestamp and
// id that were found elsewhere, if any. It advises only what starts, and says what it
// costs.
func (s *search) messageAdvice(text string, at, id found) string {
	scheme := s.c.Scheme
	scheme.Message = StringList{text}
	options := []string{`message "` + strings.ReplaceAll(text, `"`, `\"`) + `"`}
	if at.text != "" {
		scheme.Timestamp = new(Timestamp)
		option := "timestamp header " + at.header
		if scheme.Timestamp.Header = (StringList{at.header}); at.key != "" {
			scheme.Timestamp.Header, scheme.Timestamp.KV = nil, at.key
			option = "timestamp kv " + at.key
		}
		if unit := unitOf(at.text); unit != "" && unit != "s" {
			scheme.Timestamp.Unit = unit
			option += " " + unit
		}
		options = append(options, option)
	}
	if id.text != "" {
		scheme.DeliveryID = &DeliveryID{Header: StringList{id.header}}
		options = append(options, "delivery_id header "+id.header)
	}
	if _, err := Compile(scheme); err == nil {
		return "write: " + strings.Join(options, " and ")
	}
	if _, err := Compile(scheme.With(Scheme{Timestamp: &Timestamp{Off: true}})); err == nil {
		return "let it sign the timestamp too; if it cannot, write: " + strings.Join(append(options, "timestamp off"), " and ") + ": then the age of deliveries is not checked"
	}
	return "correct the sender: a handler with that message does not start, as it proves too little"
}

// messageClause describes a guess of another message.
func (s *search) messageClause(m otherMessage, at, id found) string {
	if m.algorithm != "" {
		return fmt.Sprintf("the sender hashes %s with %s instead of HMAC: write a provider file with algorithm %s and allow_weak", m.text, m.algorithm, m.algorithm)
	}
	return fmt.Sprintf("the sender signs %s, but the scheme says %s: %s", m.text, strings.Join(s.v.scheme.Messages(), " or "), s.messageAdvice(m.text, at, id))
}

// slotClause describes a guess of another slot in the message.
func (s *search) slotClause(from, to template.Slot, message template.Template) string {
	return fmt.Sprintf("the sender signs {%s} where the scheme has {%s}: %s", to.Facts().Name, from.Facts().Name, s.messageAdvice(message.String(), found{}, found{}))
}
