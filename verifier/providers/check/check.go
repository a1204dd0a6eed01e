// Package check reviews a provider file as contributors must: it runs the vectors,
// alters every genuine one, and reports what is missing. Gateways do not import it.
package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
	"github.com/verify-webhook/caddy-verify-webhook/verifier/providers"
)

// A Report is the result of Run.
type Report struct {
	Vectors     int // run
	Genuine     int // expected to pass
	Alterations int // tried; each must be refused
	Problems    []Problem
}

// A Problem keeps a provider out of the catalogue, unless it is advice.
type Problem struct {
	Path      string // of the field in the file: "vectors[2]"
	Text      string // what is wrong and what to do
	Advice    bool   // optional
	Catalogue bool   // of no matter for a file that stays out of the catalogue
}

func (p Problem) String() string { return p.Path + ": " + p.Text }

// Complete reports whether there are no problems other than advice.
func (r *Report) Complete() bool {
	return !slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Advice })
}

// Correct reports whether there are no problems for a file that stays out of the
// catalogue.
func (r *Report) Correct() bool {
	return !slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Advice && !p.Catalogue })
}

// lacks reports what only the catalogue requires.
func (r *Report) lacks(path, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Path: path, Text: fmt.Sprintf(format, args...), Catalogue: true})
}

func (r *Report) wrong(path, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (r *Report) advise(path, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Path: path, Text: fmt.Sprintf(format, args...), Advice: true})
}

// Run checks a provider's vectors, applies every alteration that its scheme must
// detect to each genuine one, and reports what the file lacks.
func Run(p *providers.Provider) *Report {
	r := new(Report)
	r.facts(p)
	for i := range p.Vectors {
		r.vector(p, i)
	}
	switch {
	case len(p.Vectors) == 0:
		r.lacks("vectors", "missing: add a delivery signed by someone else: an example of the documentation, the SDK's, or openssl over the documented message")
	case r.Genuine == 0:
		r.wrong("vectors", "none is genuine: nothing shows that real deliveries pass")
	case r.Genuine == len(p.Vectors):
		r.advise("vectors", "all are genuine: add one that must be refused, such as an altered body with the reason signature_mismatch")
	}
	return r
}

// Confidences are the usual values of a provider's confidence.
var Confidences = []string{"official-doc", "official-sdk", "official-code", "official-sample", "secondary", "seed", "low"}

// facts checks everything except the vectors.
func (r *Report) facts(p *providers.Provider) {
	if p.Name == "" {
		r.lacks("name", "missing: write the sender's name as it spells it")
	}
	if p.Category == "" {
		r.lacks("category", "missing: write one of %s", strings.Join(providers.CategoryIDs(), ", "))
	}
	switch {
	case p.Confidence == "":
		r.lacks("confidence", "missing: write one of %s", strings.Join(Confidences, ", "))
	case !slices.Contains(Confidences, p.Confidence):
		r.advise("confidence", "%q is unusual: others write one of %s", p.Confidence, strings.Join(Confidences, ", "))
	case p.Confidence == "low" && len(p.Notes) == 0:
		r.lacks("notes", "missing: confidence is low, so name the open point")
	}
	if len(p.Sources) == 0 {
		r.lacks("sources", "missing: give the address of the vendor's page or of its SDK's code, and what it proves")
	}
	for i, s := range p.Sources {
		path := fmt.Sprintf("sources[%d]", i)
		if s.URL == "" {
			r.lacks(path, "url is missing: a fact without its source cannot be looked up again")
		}
		if s.Proves == "" {
			r.lacks(path, "proves is missing: say which facts of this file it supports")
		}
	}
	if id := p.Scheme.DeliveryID; p.UniqueID && (id == nil || id.Off) {
		r.wrong("unique_id", "there is no delivery_id that could be unique: say where it is, or drop unique_id")
	}
	for i, param := range p.Params {
		if param.Name == "" || param.Description == "" {
			r.wrong(fmt.Sprintf("params[%d]", i), "name or description is missing: the user is asked for it in these words")
		}
	}
	if !saysWhoseKey(p) {
		r.lacks("notes", "missing: whose the public key is: begin a note with \"The same key signs for every customer\" and what the app has to check, or say that \"the key signs for one account only\"; or have a param that ties deliveries to the customer")
	}
	if p.Retry.Schedule == "" {
		r.advise("retry", "no schedule: if the sender documents its retries, write them in words, and their span (\"72h\"), from which the window of dedupe follows")
	}
	id := p.Scheme.DeliveryID
	if (id == nil || id.Off) && !p.BodiesDiffer {
		r.advise("delivery_id", "copies cannot be recognised, so they are forwarded: name the id in scheme.delivery_id, or say bodies_differ if two events never share a body")
	}
}

// vector runs one vector and, if it is genuine, its alterations.
func (r *Report) vector(p *providers.Provider, i int) {
	vec := &p.Vectors[i]
	path := fmt.Sprintf("vectors[%d]", i)
	switch source := strings.ToLower(vec.Source); {
	case source == "":
		r.lacks(path, "source is missing: say who made the signature: the documentation, SDK and version, or openssl and its command")
	case strings.Contains(source, "caddy-verify-webhook"), strings.Contains(source, "caddy webhook"):
		r.wrong(path, "source is this project's own signer, which repeats our own mistakes: take one from elsewhere")
	}
	switch {
	case vec.Proof == "":
		r.lacks(path, "proof is missing: say what made or accepted the signature: one of %s", proofWords())
	case !slices.Contains(providers.Proofs, vec.Proof):
		r.wrong(path, "proof %q: write one of %s", string(vec.Proof), proofWords())
	}
	if vec.Expect != providers.Genuine && !slices.Contains(verifier.Reasons, verifier.Reason(vec.Expect)) {
		r.wrong(path, "expect %q is not a verdict: %s", vec.Expect, verdictHint(vec.Expect))
		return
	}
	r.Vectors++
	if vec.Expect == providers.Genuine {
		r.Genuine++
	}
	t, err := newTrial(p, vec)
	if err != nil {
		r.wrong(path, "cannot be run: %v", err)
		return
	}
	got := t.run()
	if got != vec.Expect {
		r.wrong(path, "got %s, want %s: %s (%s)", got, vec.Expect, failureHint(vec.Expect), vec.Source)
		return
	}
	if got == providers.Genuine {
		r.answered(path, p, vec, t)
		r.alter(path, p, vec, t)
	}
}

// answered reports a genuine delivery that a handshake matches: the gateway would
// answer it, and the app would never see it. Optional handshakes count too. A
// delivery that becomes a handshake with one of these is listed among the handshake
// vectors as well.
func (r *Report) answered(path string, p *providers.Provider, vec *providers.Vector, t *trial) {
	rules, _ := json.Marshal(p.Handshake) // they were parsed from JSON
	params := make(map[string]string)
	for _, param := range p.Params {
		if bytes.Contains(rules, []byte("{param:"+param.Name+"}")) || bytes.Contains(rules, []byte(`"opt_in":"`+param.Name+`"`)) {
			params[param.Name] = append(param.Values, "any")[0]
		}
	}
	maps.Copy(params, vec.Params)
	scheme := p.Scheme
	scheme.Params, scheme.Handshakes = params, p.Handshakes(params)
	v, err := verifier.New(scheme, []verifier.Key{keyOf(vec)})
	if err != nil {
		r.wrong("handshake", "cannot be read: %v", err)
		return
	}
	judgement, err := v.Judge(t.req, t.body, t.now)
	switch {
	case err != nil:
		r.wrong(path, "is refused once handshakes are answered: %v (%s)", err, vec.Source)
	case judgement.Answer != nil && !slices.ContainsFunc(p.HandshakeVectors, func(h providers.Vector) bool { return h.Body == vec.Body && h.Answer != nil }):
		r.wrong(path, "is answered as a handshake, so the app never sees it: let \"when\" name what only the handshake has; one that really is a handshake belongs to handshake_vectors (%s)", vec.Source)
	}
}

func proofWords() string {
	var words []string
	for _, proof := range providers.Proofs {
		words = append(words, string(proof))
	}
	return strings.Join(words, ", ")
}

func verdictHint(word string) string {
	known := []string{providers.Genuine}
	for _, reason := range verifier.Reasons {
		known = append(known, string(reason))
	}
	if near := nearest.Of(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "write one of " + strings.Join(known, ", ")
}

func failureHint(want string) string {
	if want == providers.Genuine {
		return "the scheme does not say what this delivery's sender did, or headers, body or secret are not copied byte for byte"
	}
	return "the scheme refuses it for another reason, or does not refuse it"
}

// alter applies each alteration on its own.
func (r *Report) alter(path string, p *providers.Provider, vec *providers.Vector, t *trial) {
	for _, a := range alterations(p, vec) {
		altered := t.clone()
		if !a.apply(altered) {
			continue
		}
		r.Alterations++
		switch got := altered.run(); {
		case got == providers.Genuine:
			r.wrong(path, "still passes with %s: the scheme reads less than the sender signs, or names the wrong part (%s)", a.name, vec.Source)
		case !slices.Contains(verifier.Reasons, verifier.Reason(got)):
			r.wrong(path, "cannot be tried with %s: %s", a.name, got)
		}
	}
}

// A trial is a delivery with its verifier.
type trial struct {
	v    *verifier.Verifier
	req  *verifier.Request
	body []byte
	now  time.Time
}

func keyOf(vec *providers.Vector) verifier.Key {
	if vec.PublicKey != "" {
		return verifier.Key{Text: vec.PublicKey, Kind: verifier.PublicKey}
	}
	return verifier.Key{Text: vec.Secret}
}

func compile(p *providers.Provider, vec *providers.Vector, key verifier.Key) (*verifier.Verifier, error) {
	scheme := p.Scheme
	scheme.Params = vec.Params
	return verifier.New(scheme, []verifier.Key{key})
}

func newTrial(p *providers.Provider, vec *providers.Vector) (*trial, error) {
	v, err := compile(p, vec, keyOf(vec))
	if err != nil {
		return nil, err
	}
	t := &trial{v: v, body: []byte(vec.Body), now: time.Unix(vec.Now, 0)}
	if vec.BodyBase64 != nil {
		t.body = vec.BodyBase64
	}
	t.req = &verifier.Request{Method: cmp.Or(vec.Method, "POST"), Header: make(map[string][]string)}
	for name, value := range vec.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		t.req.Header[name] = append(t.req.Header[name], value)
	}
	if vec.URL != "" {
		u, err := url.Parse(vec.URL)
		if err != nil {
			return nil, fmt.Errorf("url: %w", err)
		}
		t.req.Host, t.req.Target, t.req.TLS = u.Host, u.RequestURI(), u.Scheme == "https"
	}
	return t, nil
}

// clone returns a copy that can be altered independently.
func (t *trial) clone() *trial {
	c := *t
	req := *t.req
	req.Header = make(map[string][]string, len(t.req.Header))
	for name, lines := range t.req.Header {
		req.Header[name] = slices.Clone(lines)
	}
	c.req, c.body = &req, slices.Clone(t.body)
	return &c
}

// run returns "genuine" or the reason of the rejection.
func (t *trial) run() string {
	_, err := t.v.Judge(t.req, t.body, t.now)
	if err == nil {
		return providers.Genuine
	}
	if rej, ok := errors.AsType[*verifier.Rejection](err); ok {
		return string(rej.Reason)
	}
	return err.Error()
}
