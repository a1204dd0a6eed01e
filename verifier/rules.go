package verifier

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Rules are a compiled scheme. They never change and are safe for concurrent use.
type Rules struct {
	scheme     Scheme
	signature  Signature // defaults filled in, header names canonical
	prefix     string    // of a raw signature, its params filled in
	algorithms []Algorithm
	sizes      []int // of their signatures; 0: it varies
	messages   []template.Template
	claims     []claim
	bodySigned bool        // by a claim
	http       *httpScheme // of the syntax http_signature, instead of messages

	signatureAt sources // the index of each is its candidates' place
	timestampAt sources
	idAt        sources
	keyIDAt     sources

	certificatePath *regexp.Regexp  // of KeySource; nil: any
	paths           []jsonpath.Path // of all that is read in a body's JSON
	aloneJSON       bool            // what they lead to may be all that is signed of it: see jsonpath.Value

	timestamp       Timestamp
	timestampSigned bool   // a message has the slot
	bodyDigest      string // the query parameter of {body_digest:…}, if a message has one
	tolerance       time.Duration

	idSigned bool
	varies   []jsonpath.Path

	required     []required // headers
	requiredJSON []required
	origin       string // that is signed, with credentials where public_url has them
	publicOrigin string // the same without: for what people read

	handshakes []handshake
	challenges []input // what anyone can have signed: see isChallenge
}

// A Verifier is Rules with the receiver's keys. It is safe for concurrent use and
// never changes: new keys are a new Verifier.
type Verifier struct {
	*rules
	keys []compiledKey
}

// rules keeps the embedded Rules out of the exported fields.
type rules = Rules

// New compiles a scheme with the receiver's keys: Compile and Rules.Verifier.
func New(s Scheme, keys []Key) (*Verifier, error) {
	r, err := Compile(s)
	if err != nil {
		return nil, err
	}
	return r.Verifier(keys)
}

// Verifier binds the rules to keys. Its errors are *KeyError, and *SchemeError
// where a scheme whose keys are not published has none; neither quotes a key.
func (v *Rules) Verifier(keys []Key) (*Verifier, error) {
	if len(keys) == 0 && v.scheme.KeySource == nil {
		return nil, wrong("secret", "no key: without one nothing can be verified")
	}
	compiled, err := v.scheme.compileKeys(keys)
	if err != nil {
		return nil, err
	}
	return &Verifier{rules: v, keys: compiled}, nil
}

// Compile reads a scheme. It reports the first thing that is wrong with it, as a
// *SchemeError.
func Compile(s Scheme) (*Rules, error) {
	v := &Rules{scheme: s, algorithms: s.algorithms()}
	for _, a := range v.algorithms {
		v.sizes = append(v.sizes, facts[a].size)
	}
	for _, step := range []func() error{
		v.compileKeyFields, v.compileKeySource, v.compileSignature, v.compileMessage, v.compileClaims,
		v.compileTimestamp, v.compileDeliveryID, v.compileVaries, v.checkSlots,
		v.compileRequired, v.compileRequiredJSON, v.compilePublicURL, v.compileURLForms, v.compileHandshakes,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	v.collectPaths()
	return v, nil
}

// Scheme returns what was compiled.
func (v *Rules) Scheme() Scheme { return v.scheme }

// SignsID reports whether the signature covers the delivery id. Whoever captured a
// genuine request can change what it does not cover and send it again.
func (v *Rules) SignsID() bool { return v.idSigned }

// SignsContent reports whether the signature covers what Check.Content returns.
func (v *Rules) SignsContent() bool {
	return v.coversBody() || v.everyMessage(func(t template.Template) bool {
		return t.CoversBody() || t.Some(func(f *template.Facts) bool { return f.Fields })
	})
}

// SignsHeader reports whether the signature covers a header's value.
func (v *Rules) SignsHeader(name string) bool {
	if v.http != nil {
		return v.http.covers(strings.ToLower(name))
	}
	return v.everyMessage(func(t template.Template) bool { return t.Proves(template.Header, canonicalHeader(name)) })
}

// coversBody reports whether changing any byte of the body is noticed.
func (v *Rules) coversBody() bool {
	if v.http != nil {
		return v.http.covers(contentDigestField)
	}
	return v.bodySigned || v.everyMessage(template.Template.CoversBody)
}

// SignsMethod reports whether the signature covers the request's method.
func (v *Rules) SignsMethod() bool {
	return v.covers(func(f *template.Facts) bool { return f.Name == template.Method.Facts().Name }, "@method")
}

// SignsPath reports whether the signature covers the path of the URL.
func (v *Rules) SignsPath() bool {
	return v.covers(func(f *template.Facts) bool { return f.Path }, "@path", "@target-uri", "@request-target")
}

// SignsQuery reports whether the signature covers the query of the URL.
func (v *Rules) SignsQuery() bool {
	return v.covers(func(f *template.Facts) bool { return f.Query }, "@query", "@target-uri", "@request-target")
}

// covers reports whether every message has a slot of a kind, or the signature of
// RFC 9421 covers one of the components.
func (v *Rules) covers(kind func(*template.Facts) bool, components ...string) bool {
	if v.http != nil {
		return slices.ContainsFunc(components, v.http.covers)
	}
	return v.everyMessage(func(t template.Template) bool { return t.Covers(kind) })
}

// A SchemeError says which field of a scheme is wrong and what to write instead.
type SchemeError struct {
	Field   string // the field's word in JSON and Caddyfile
	Problem string
}

func (e *SchemeError) Error() string { return e.Field + ": " + e.Problem }

func wrong(field, format string, args ...any) error {
	return &SchemeError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// With returns s with every field that o sets replaced by o's. Required headers
// add up, and so do required JSON paths; an Off without a source switches off the source that s has.
func (s Scheme) With(o Scheme) Scheme {
	replace(&s.Algorithm, o.Algorithm)
	replace(&s.AllowWeak, o.AllowWeak)
	replace(&s.SecretEncoding, o.SecretEncoding)
	replace(&s.SecretPrefix, o.SecretPrefix)
	replace(&s.SecretSuffix, o.SecretSuffix)
	replace(&s.SecretNormalize, o.SecretNormalize)
	replace(&s.KeyDerivation, o.KeyDerivation)
	replace(&s.PublicKeyEncoding, o.PublicKeyEncoding)
	replace(&s.PublicKeyPrefix, o.PublicKeyPrefix)
	replace(&s.PrivateKeyPrefix, o.PrivateKeyPrefix)
	replace(&s.KeyID, o.KeyID)
	replace(&s.KeySource, o.KeySource)
	replace(&s.Signature, o.Signature)
	replace(&s.HTTPSignature, o.HTTPSignature)
	replace(&s.Tolerance, o.Tolerance)
	replace(&s.BodyUnsigned, o.BodyUnsigned)
	replace(&s.BodyDecoded, o.BodyDecoded)
	replace(&s.BodyForm, o.BodyForm)
	replace(&s.PublicURL, o.PublicURL)
	if len(o.URLForms) > 0 {
		s.URLForms = o.URLForms
	}
	if len(o.Claims) > 0 {
		s.Claims = o.Claims
	}
	if len(o.Message) > 0 {
		s.Message = o.Message
	}
	if ts := o.Timestamp; ts != nil && ts.Off && s.Timestamp != nil && len(ts.sources()) == 0 {
		off := *s.Timestamp
		off.Off = true
		s.Timestamp = &off
	} else {
		replace(&s.Timestamp, ts)
	}
	if id := o.DeliveryID; id != nil && id.Off && s.DeliveryID != nil && len(id.sources()) == 0 {
		off := *s.DeliveryID
		off.Off = true
		s.DeliveryID = &off
	} else {
		replace(&s.DeliveryID, id)
	}
	if len(o.Varies) > 0 {
		s.Varies = o.Varies
	}
	s.RequireHeader = slices.Concat(s.RequireHeader, o.RequireHeader)
	if len(o.RequireJSON) > 0 {
		s.RequireJSON = maps.Clone(s.RequireJSON)
		if s.RequireJSON == nil {
			s.RequireJSON = make(map[string]StringList)
		}
		maps.Copy(s.RequireJSON, o.RequireJSON)
	}
	if o.Params != nil {
		s.Params = o.Params
	}
	return s
}

func replace[T comparable](field *T, with T) {
	var unset T
	if with != unset {
		*field = with
	}
}

// UsesToken reports whether deliveries carry the secret itself in place of a
// signature, or may.
func (s Scheme) UsesToken() bool {
	return s.Algorithm == Token || s.Signature != nil && slices.Contains(slices.Collect(maps.Values(s.Signature.Accept)), Token)
}
