package providerpage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A Sender is a provider for other programs: an element of docs/providers/index.json
// and of what "caddy webhook providers --json" prints. docs/providers.md describes the
// fields. Every field is always present; a list without elements is [].
type Sender struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Aliases    []string `json:"aliases"`
	Category   string   `json:"category"`
	Confidence string   `json:"confidence"`
	Proof      string   `json:"proof"` // vendor-doc, vendor-sdk, library, openssl, construction
	// A shared secret is enough to sign any JSON body.
	Signable bool `json:"signable"`
	// The signature covers the body.
	CoversBody bool `json:"covers_body"`
	// A well-formed secret; "" for a sender verified with a public key.
	ExampleSecret string            `json:"example_secret"`
	Key           keyFacts          `json:"key"`
	Params        []providers.Param `json:"params"`

	Methods       []string    `json:"methods"`
	Headers       []string    `json:"headers"` // that are read, in alphabetical order
	EventHeader   []string    `json:"event_header"`
	OriginHeader  []string    `json:"origin_header"`
	Scheme        schemeFacts `json:"scheme"`
	UniqueID      bool        `json:"unique_id"`
	BodiesDiffer  bool        `json:"bodies_differ"`
	Copies        copyFacts   `json:"copies"`
	MaxBody       int64       `json:"max_body"`      // bytes; 0: not documented
	RejectStatus  int         `json:"reject_status"` // 0: 401, the default
	ReadsAnswer   bool        `json:"reads_answer"`
	ReadsAnswerTo string      `json:"reads_answer_to"`
	// AnswerWithinSeconds is the time after which an attempt failed; 0: not documented.
	AnswerWithinSeconds int64        `json:"answer_within_seconds"`
	Retry               retryFacts   `json:"retry"`
	Sources             []sourceFact `json:"sources"`
	Docs                string       `json:"docs"` // path from the repository's root
}

// keyFacts say where the secret or public key is found and what it looks like.
type keyFacts struct {
	Where     string   `json:"where"`      // "": not documented
	Prefix    []string `json:"prefix"`     // every secret begins with one of them; none: any
	MinLength int      `json:"min_length"` // characters; 0: not documented
	Rotation  string   `json:"rotation"`   // what the sender does when it is changed; "": not documented
}

// schemeFacts summarises how a sender signs.
type schemeFacts struct {
	Algorithms []string `json:"algorithms"`
	// Key is what verifies a delivery: secret, public_key, published (fetched from the
	// sender) or x5c (certificates in the delivery).
	Key string `json:"key"`
	// Syntax of the signature, as in provider files.
	Syntax string `json:"syntax"`
	// Messages are the templates of the signed content. Empty for a token, for a JWT and
	// for http_signature.
	Messages []string `json:"messages"`
	// BodyFormat lists the formats of all bodies, json and xml; none: any text.
	BodyFormat []string `json:"body_format"`
	// ToleranceSeconds is the largest accepted difference between the delivery's time and
	// now; 0: the time is not checked.
	ToleranceSeconds int64 `json:"tolerance_seconds"`
	// Summary is the same in sentences, for people.
	Summary []string `json:"summary"`
}

// retryFacts are what the sender documents about retries.
type retryFacts struct {
	Schedule    string `json:"schedule"`     // in words; "": not documented
	SpanSeconds int64  `json:"span_seconds"` // from the first attempt to the last; 0: not documented
}

// A sourceFact is a page or file, what it proves, and the date on which it was read.
type sourceFact struct {
	URL    string `json:"url"`
	Proves string `json:"proves"`
	Read   string `json:"read"` // YYYY-MM-DD; "": not recorded
}

// Senders describes providers for other programs, in the given order.
func Senders(list []*providers.Provider) []Sender {
	senders := make([]Sender, 0, len(list))
	for _, p := range list {
		senders = append(senders, sender(p))
	}
	return senders
}

// export returns docs/providers/index.json.
func export(all []*providers.Provider) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	err := e.Encode(Senders(all))
	return b.Bytes(), err
}

func sender(p *providers.Provider) Sender {
	methods := list(p.Methods)
	if len(methods) == 0 {
		methods = []string{"POST"}
	}
	sources := make([]sourceFact, 0, len(p.Sources))
	for _, s := range p.Sources {
		sources = append(sources, sourceFact(s))
	}
	return Sender{
		ID: p.ID, Name: p.Name, Aliases: list(p.Aliases), Category: p.Category,
		Confidence: p.Confidence, Proof: string(p.Proof()), Signable: p.Signable(), CoversBody: p.CoversBody(),
		ExampleSecret: p.ExampleSecret(), Key: keyFacts{Where: p.Key.Where, Prefix: list(p.Key.Prefix), MinLength: p.Key.MinLength, Rotation: p.Key.Rotation}, Params: append([]providers.Param{}, p.Params...),
		Methods: methods, Headers: headers(p), EventHeader: list(p.EventHeader), OriginHeader: list(p.OriginHeader), Scheme: scheme(p),
		UniqueID: p.UniqueID, BodiesDiffer: p.BodiesDiffer, Copies: copyFactsOf(p), MaxBody: p.MaxBody, RejectStatus: p.RejectStatus,
		ReadsAnswer: p.ReadsAnswer, ReadsAnswerTo: p.ReadsAnswerTo, AnswerWithinSeconds: seconds(p.AnswerWithin),
		Retry:   retryFacts{Schedule: p.Retry.Schedule, SpanSeconds: seconds(p.Retry.Span)},
		Sources: sources, Docs: Path(p),
	}
}

// headers lists every header that verification or a handshake reads, and those by which an
// app may decide, once each.
func headers(p *providers.Provider) []string {
	s := p.Scheme
	s.Handshakes = p.Handshake
	names := append(s.HeaderNames(), p.DecidingHeaders()...)
	slices.SortFunc(names, compareFold)
	return list(slices.CompactFunc(names, strings.EqualFold))
}

func compareFold(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}

func scheme(p *providers.Provider) schemeFacts {
	s := p.Scheme
	facts := schemeFacts{Algorithms: algorithmNames(s), Key: "public_key", Syntax: or(s.Signature.Syntax, "raw"), Messages: list(s.Messages()), BodyFormat: list(s.BodyFormat), Summary: []string{}}
	switch {
	case s.KeySource != nil:
		facts.Key = "published"
	case s.X5C != nil:
		facts.Key = "x5c"
	case p.UsesSecret():
		facts.Key = "secret"
	}
	if ts := s.Timestamp; ts != nil && !ts.Off {
		facts.ToleranceSeconds = seconds(verifier.Duration(verifier.DefaultTolerance))
		if s.Tolerance != nil {
			facts.ToleranceSeconds = seconds(*s.Tolerance)
		}
	}
	for _, line := range signed(p) {
		facts.Summary = append(facts.Summary, plain.Replace(line))
	}
	return facts
}

// algorithmNames lists the accepted algorithms.
func algorithmNames(s verifier.Scheme) []string {
	accepted := slices.Collect(maps.Values(s.Signature.Accept))
	if len(accepted) == 0 {
		return []string{or(string(s.Algorithm), string(verifier.HMACSHA256))}
	}
	names := []string{}
	for _, a := range verifier.Algorithms {
		if slices.Contains(accepted, a) {
			names = append(names, string(a))
		}
	}
	return names
}

func seconds(d verifier.Duration) int64 { return int64(time.Duration(d) / time.Second) }

// list returns a list that JSON writes as [] if it is empty.
func list(texts []string) []string { return append([]string{}, texts...) }
