// Package providers is the catalogue of known senders: a JSON file for each, with the
// scheme, the facts that a receiver needs, their sources, and known-answer vectors
// that this project's own signer did not make.
//
// Parse reads a user's own file in the same way.
package providers

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/verify-webhook/caddy-verify-webhook/internal/nearest"
	"github.com/verify-webhook/caddy-verify-webhook/verifier"
)

// A Provider describes one sender.
type Provider struct {
	// Schema is the address of the JSON Schema, for editors. Otherwise ignored.
	Schema string `json:"$schema,omitempty"`

	ID       string   `json:"id"`                 // as in a configuration: lower case, digits, underscores
	Name     string   `json:"name"`               // as the sender spells it
	Aliases  []string `json:"aliases,omitempty"`  // other ids of the same provider
	Category string   `json:"category,omitempty"` // one of Categories

	Scheme verifier.Scheme `json:"scheme"`
	Key    Key             `json:"key,omitzero"`
	Params []Param         `json:"params,omitempty"`

	// Handshakes that the receiver answers: see Provider.Handshakes.
	Handshake []verifier.Handshake `json:"handshake,omitempty"`

	// Methods of deliveries. Default: POST.
	Methods []string `json:"methods,omitempty"`
	// MaxBody is the largest body in bytes that the sender documents.
	MaxBody int64 `json:"max_body,omitempty"`
	// RejectStatus is the status that the sender expects for a refusal. Default: 401.
	RejectStatus int `json:"reject_status,omitempty"`

	// AnswerWithin is the time after which the sender considers an attempt failed.
	// Default: not documented.
	AnswerWithin verifier.Duration `json:"answer_within,omitzero"`

	// ReadsAnswer: the sender uses the app's answer to ordinary deliveries, such as a
	// reply to show or the next step of a call, so the gateway cannot answer before the
	// app.
	ReadsAnswer bool `json:"reads_answer,omitempty"`
	// ReadsAnswerTo names the only requests whose answer the sender uses, if most users
	// do not have them: a noun phrase of at most 100 characters. Default: none.
	ReadsAnswerTo string `json:"reads_answer_to,omitempty"`

	// UniqueID: the delivery id identifies one event and is the same in all retries.
	UniqueID bool `json:"unique_id,omitempty"`
	// BodiesDiffer: two events never share a body.
	BodiesDiffer bool `json:"bodies_differ,omitempty"`
	// EventHeader names the headers with the event type, the most specific first.
	// They are the same in all attempts.
	EventHeader verifier.StringList `json:"event_header,omitempty"`
	// OriginHeader names the headers that say which shop, project, site or app a delivery
	// is of. They are the same in all attempts.
	OriginHeader verifier.StringList `json:"origin_header,omitempty"`
	// RetryHeader names the unsigned headers of later attempts by which apps are known to
	// drop them: no app gets them where the gateway recognises copies.
	RetryHeader verifier.StringList `json:"retry_header,omitempty"`
	Retry       Retry               `json:"retry,omitzero"`

	Sources    []Source `json:"sources,omitempty"`
	Confidence string   `json:"confidence,omitempty"`
	Notes      []string `json:"notes,omitempty"`
	Vectors    []Vector `json:"vectors,omitempty"`
	// Handshakes with a known answer or refusal.
	HandshakeVectors []Vector `json:"handshake_vectors,omitempty"`
}

// A Param is a value that the provider needs in addition to its keys; templates use
// it as {param:name}.
type Param struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Optional    bool   `json:"optional,omitempty"`
	// Accepted values. Default: any.
	Values []string `json:"values,omitempty"`
}

// Retry is what the sender does with a delivery that was not accepted.
type Retry struct {
	Schedule string            `json:"schedule,omitempty"` // in words
	Span     verifier.Duration `json:"span,omitempty"`     // from the first attempt to the last
}

// Genuine is the verdict of a delivery that passes every check.
const Genuine = "genuine"

// A Vector is a delivery with a known verdict. Package check runs it.
type Vector struct {
	Source     string            `json:"source"` // vendor document, SDK with version, or tool
	Proof      Proof             `json:"proof,omitempty"`
	Method     string            `json:"method,omitempty"`
	URL        string            `json:"url,omitempty"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body,omitempty"`
	BodyBase64 []byte            `json:"body_base64,omitempty"` // for bodies that are not UTF-8
	Secret     string            `json:"secret,omitempty"`
	PublicKey  string            `json:"public_key,omitempty"`
	Params     map[string]string `json:"params,omitempty"`
	Now        int64             `json:"now,omitempty"` // unix seconds
	Expect     string            `json:"expect"`        // Genuine, "handshake" or a verifier.Reason
	Answer     *verifier.Answer  `json:"answer,omitempty"`
}

// Handshakes returns the handshakes that are answered with the given params: those
// that name an optional one (opt_in, {param:name}) only if it has a value.
func (p *Provider) Handshakes(given map[string]string) []verifier.Handshake {
	return slices.DeleteFunc(slices.Clone(p.Handshake), func(h verifier.Handshake) bool {
		rule, _ := json.Marshal(h) // it was parsed from JSON
		return slices.ContainsFunc(p.Params, func(param Param) bool {
			return param.Optional && given[param.Name] == "" &&
				(h.OptIn == param.Name || bytes.Contains(rule, []byte("{param:"+param.Name+"}")))
		})
	})
}

// DecidingHeaders are those of EventHeader and OriginHeader: an app may go by them.
func (p *Provider) DecidingHeaders() []string { return slices.Concat(p.EventHeader, p.OriginHeader) }

// Parse reads a provider file. name is the file's name, for errors.
func Parse(name string, data []byte) (*Provider, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	p := new(Provider)
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("provider file %s: %s", name, explainJSON(data, err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("provider file %s: more text after the provider's object: keep one object per file", name)
	}
	if !validID(p.ID) {
		return nil, fmt.Errorf("provider file %s: id %q: give it an id of lower-case letters, digits and underscores; it names the handler in logs and metrics", name, p.ID)
	}
	if err := p.checkCategory(); err != nil {
		return nil, fmt.Errorf("provider file %s: %w", name, err)
	}
	if s := p.RejectStatus; s != 0 && (s < 400 || s > 599 || s == 410) {
		return nil, fmt.Errorf("provider file %s: reject_status %d: write a 4xx or 5xx other than 410, which tells senders to stop for good", name, s)
	}
	if p.AnswerWithin < 0 {
		return nil, fmt.Errorf("provider file %s: answer_within: write a positive duration such as 10s", name)
	}
	if err := p.Key.check(); err != nil {
		return nil, fmt.Errorf("provider file %s: key: %w", name, err)
	}
	if p.MaxBody < 0 {
		return nil, fmt.Errorf("provider file %s: max_body %d: write a size in bytes", name, p.MaxBody)
	}
	for i, fields := range [][]string{p.EventHeader, p.OriginHeader, p.RetryHeader} {
		for _, field := range fields {
			if field == "" || strings.Trim(field, headerLetters) != "" {
				option := [...]string{"event_header", "origin_header", "retry_header"}[i]
				return nil, fmt.Errorf("provider file %s: %s %q: write a header's name, of letters, digits and dashes", name, option, field)
			}
		}
	}
	if err := p.checkReadsAnswer(); err != nil {
		return nil, fmt.Errorf("provider file %s: %w", name, err)
	}
	if err := p.checkSources(); err != nil {
		return nil, fmt.Errorf("provider file %s: %w", name, err)
	}
	for _, h := range p.Handshake {
		if h.OptIn != "" && !slices.ContainsFunc(p.Params, func(param Param) bool { return param.Optional && param.Name == h.OptIn }) {
			return nil, fmt.Errorf("provider file %s: handshake: opt_in %q is not an optional param: add it to params", name, h.OptIn)
		}
	}
	if _, err := p.Rules(); err != nil {
		return nil, fmt.Errorf("provider file %s: %w", name, schemeError(err))
	}
	return p, nil
}

const headerLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// checkReadsAnswer refuses what does not fit into a sentence.
func (p *Provider) checkReadsAnswer() error {
	switch text := p.ReadsAnswerTo; {
	case text == "":
		return nil
	case p.ReadsAnswer:
		return errors.New("reads_answer and reads_answer_to: keep one: reads_answer if the sender uses the app's answer to ordinary deliveries, reads_answer_to if only to some other requests")
	case utf8.RuneCountInString(text) > 100, strings.ContainsFunc(text, unicode.IsControl),
		strings.TrimSpace(text) != text, strings.HasSuffix(text, "."):
		return errors.New(`reads_answer_to: write a noun phrase of at most 100 characters on one line, without a period at the end, such as "requests of CRM cards"`)
	}
	return nil
}

// schemeError names the wrong field of the file.
func schemeError(err error) error {
	if e, ok := errors.AsType[*verifier.SchemeError](err); ok && e.Field == "handshake" {
		return err
	}
	return fmt.Errorf("scheme: %w", err)
}

// explainJSON adds the line, and for a field what is known, to an error of the decoder.
func explainJSON(data []byte, err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("line %d: %v", lineAt(data, int(e.Offset)), err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err.Error()
	}
	start := len(data) - len(bytes.TrimLeft(data, " \t\r\n"))
	if f := findFault(data[start:], start, "", reflect.TypeFor[Provider]()); f != nil {
		return fmt.Sprintf("line %d: %s", lineAt(data, f.offset), f.text)
	}
	return err.Error()
}

func lineAt(data []byte, offset int) int { return 1 + bytes.Count(data[:offset], []byte{'\n'}) }

func validID(id string) bool {
	return id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// The name of a provider's file is its id; one that begins with an underscore is
// none (_template.json).
//
//go:embed [a-z0-9]*.json
var files embed.FS

// parsed holds loaded providers by id. Each file is read on first use: a Caddyfile
// names two or three of over two hundred, and the vectors of all would cost every
// start some milliseconds.
var parsed sync.Map

// load returns the provider of an embedded file, nil if there is none.
func load(id string) (*Provider, error) {
	if p, ok := parsed.Load(id); ok {
		return p.(*Provider), nil
	}
	if !validID(id) {
		return nil, nil
	}
	data, err := files.ReadFile(id + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := Parse(id+".json", data)
	if err != nil {
		return nil, err
	}
	first, _ := parsed.LoadOrStore(id, p)
	return first.(*Provider), nil
}

// ids lists the embedded files without their ending.
func ids() ([]string, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		all = append(all, strings.TrimSuffix(e.Name(), ".json"))
	}
	return all, nil
}

// loadAlias returns the provider with an alias, nil if there is none. Only files that
// contain the word are parsed.
func loadAlias(alias string) (*Provider, error) {
	all, err := ids()
	if err != nil {
		return nil, err
	}
	for _, id := range all {
		data, err := files.ReadFile(id + ".json")
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(data, []byte(`"`+alias+`"`)) {
			continue
		}
		if p, err := load(id); err != nil || slices.Contains(p.Aliases, alias) {
			return p, err
		}
	}
	return nil, nil
}

// catalogue reads every embedded file, once.
var catalogue = sync.OnceValues(func() ([]*Provider, error) {
	names, err := ids()
	if err != nil {
		return nil, err
	}
	var list []*Provider
	owner := make(map[string]string)
	for _, name := range names {
		p, err := load(name)
		if err != nil {
			return nil, err
		}
		if p.ID != name {
			return nil, fmt.Errorf("provider file %s.json: id %q: file and id must agree", name, p.ID)
		}
		for _, id := range append([]string{p.ID}, p.Aliases...) {
			if owner[id] != "" {
				return nil, fmt.Errorf("provider file %s.json: id or alias %s already belongs to %s", name, id, owner[id])
			}
			owner[id] = p.ID
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Provider) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
})

// Get returns the provider of an id or alias, in any case. Treat it as read-only: every
// handler shares it. The error names the nearest id.
func Get(id string) (*Provider, error) {
	word := strings.ToLower(id)
	for _, find := range []func(string) (*Provider, error){load, loadAlias} {
		if p, err := find(word); err != nil || p != nil {
			return p, err
		}
	}
	all, err := All()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, p := range all {
		known = append(append(known, p.ID), p.Aliases...)
	}
	slices.Sort(known)
	return nil, &UnknownError{ID: id, Near: nearest.Of(word, known)}
}

// Read returns the provider named by its id or alias, or defined inline in the
// language of provider files; nil if raw is empty or null.
func Read(raw json.RawMessage) (*Provider, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var id string
	if err := json.Unmarshal(raw, &id); err != nil {
		return Parse("(in the configuration)", raw)
	}
	return Get(id)
}

// All lists the catalogue, ordered by id.
func All() ([]*Provider, error) {
	all, err := catalogue()
	return slices.Clone(all), err
}

// An UnknownError says that the catalogue has no such provider.
type UnknownError struct {
	ID   string
	Near string // the id that was probably meant, or ""
}

func (e *UnknownError) Error() string {
	if e.Near != "" {
		return fmt.Sprintf("unknown provider %q: did you mean %q?", e.ID, e.Near)
	}
	return fmt.Sprintf("unknown provider %q: write the scheme out, or name a provider file (./%s.json)", e.ID, e.ID)
}
