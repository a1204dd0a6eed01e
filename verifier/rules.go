package verifier

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// Rules are a compiled scheme: immutable and safe for concurrent use.
type Rules struct {
	scheme     Scheme
	signature  Signature // with defaults and canonical header names
	prefix     string    // of a raw signature, with its params
	algorithms []Algorithm
	sizes      []int // of their signatures; 0 if it varies
	messages   []template.Template
	claims     []claim
	bodySigned bool        // by a claim
	http       *httpScheme // for the syntax http_signature, instead of messages
	x5c        *chainRules // nil: a JWS's certificates are ignored

	signatureAt sources // candidates refer to it by index
	timestampAt sources
	idAt        sources
	keyIDAt     sources

	certificatePath *regexp.Regexp  // of KeySource; nil: any
	paths           []jsonpath.Path // all paths read in a JSON body
	aloneJSON       bool            // their members may be all that is signed of it: see jsonpath.Value

	timestamp       Timestamp
	timestampSigned bool   // a message has the slot
	bodyDigest      string // the query parameter of {body_digest:…}, if a message has that slot
	tolerance       time.Duration

	typeFixed bool // the Content-Type is signed, or one that the operator lists

	idSigned bool
	varies   []jsonpath.Path
	// What else varies: headers and keys beside the signature.
	variesBeside []source

	required     []required // headers
	requiredJSON []required
	opening      string // one of these bytes begins every body; "": any
	origin       string // the signed origin, with the credentials of public_url
	publicOrigin string // the same without credentials, for messages

	handshakes []handshake
	challenges []input // what anyone can get signed: see isChallenge
}

// A Verifier is Rules with the receiver's keys. It is immutable and safe for
// concurrent use; to change keys, make a new Verifier.
type Verifier struct {
	*rules
	keys   []compiledKey
	one    [1]compiledKey // room for keys: one object of each of thousands of Verifiers
	hidden hidden
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

// Verifier binds the rules to keys. Without any it uses the roots that the scheme pins
// (X5C). Errors are *KeyError, or *SchemeError if there are no keys and the scheme
// does not say where they are; neither quotes a key.
func (v *Rules) Verifier(keys []Key) (*Verifier, error) {
	if len(keys) == 0 && !v.scheme.SelfKeyed() {
		return nil, wrong("secret", "no key: without one nothing can be verified")
	}
	compiled, err := v.scheme.compileKeys(keys)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		compiled = v.pinnedKeys()
	}
	of := &Verifier{rules: v}
	of.keys = append(of.one[:0], compiled...)
	slices.SortStableFunc(of.keys, func(a, b compiledKey) int { // those that a delivery may name first
		return cmp.Compare(b.id, "") - cmp.Compare(a.id, "")
	})
	return of, nil
}

// Compile checks and compiles a scheme. It reports the first problem as a
// *SchemeError.
func Compile(s Scheme) (*Rules, error) {
	v := &Rules{scheme: s, algorithms: s.algorithms()}
	for _, a := range v.algorithms {
		v.sizes = append(v.sizes, facts[a].size)
	}
	for _, step := range []func() error{
		v.compileKeyFields, v.compileKeySource, v.compileSignature, v.compileX5C, v.compileMessage, v.compileClaims,
		v.compileTimestamp, v.compileDeliveryID, v.compileVaries, v.checkSlots,
		v.compileRequired, v.compileRequiredJSON, v.compileBodyFormat, v.compilePublicURL, v.compileURLForms, v.compileHandshakes,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	v.typeFixed = v.SignsHeader("Content-Type") || slices.ContainsFunc(v.required, func(r required) bool {
		return !r.any && r.name == "Content-Type"
	})
	v.collectPaths()
	return v, nil
}

// Scheme returns the compiled scheme.
func (v *Rules) Scheme() Scheme { return v.scheme }

// SecretPrefix returns what a secret may begin with in addition, such as whsec_.
func (v *Rules) SecretPrefix() string { return v.scheme.SecretPrefix }

// SignsID reports whether the signature covers the delivery id. An attacker who
// captured a genuine request can change what it does not cover and resend it.
func (v *Rules) SignsID() bool { return v.idSigned }

// SignsContent reports whether the signature covers the result of Check.Content.
func (v *Rules) SignsContent() bool {
	return v.coversBody() || v.everyMessage(func(t template.Template) bool {
		return t.CoversBody() || t.Some(func(f *template.Facts) bool { return f.Fields })
	})
}

// Fresh returns for how long a captured delivery may be accepted: its time may be ahead of
// the clock by the tolerance, and behind it. 0 if no time is checked.
func (v *Rules) Fresh() time.Duration {
	if v.scheme.Timestamp == nil || v.timestamp.Off {
		return 0
	}
	return 2 * min(v.tolerance, math.MaxInt64/2)
}

// SignsMembers reports whether members of a JSON body count while its other bytes are not
// signed: what an app reads then depends on the Content-Type too.
func (v *Rules) SignsMembers() bool {
	return v.aloneJSON && v.scheme.BodyForm == "" && (len(v.paths) > 0 || slices.ContainsFunc(v.messages, func(t template.Template) bool {
		return t.Has(template.JSONLines) || t.Has(template.JSONPairs)
	}))
}

// SignsHeader reports whether the signature covers a header's value.
func (v *Rules) SignsHeader(name string) bool {
	if v.http != nil {
		return v.http.covers(strings.ToLower(name))
	}
	return v.everyMessage(func(t template.Template) bool { return t.Proves(template.Header, canonicalHeader(name)) })
}

// Unread returns the headers that hold another delivery id or time than the one that is
// signed, where a sender has one of several (svix-id or webhook-id): anyone may have added
// them, and an app may read them. An id or time that is not signed is anyone's as well, and
// its sender may write several.
func (v *Rules) Unread(h map[string][]string) (names []string) {
	for _, of := range []struct {
		all    sources
		signed bool
	}{{v.idAt, v.idSigned}, {v.timestampAt, v.timestampSigned}} {
		first := ""
		for _, s := range of.all {
			if !of.signed {
				break
			}
			if s.kind != inHeader || len(h[s.name]) == 0 {
				continue
			}
			switch text := h[s.name][0]; {
			case first == "":
				first = text
			case text != first && !v.SignsHeader(s.name):
				names = append(names, s.name)
			}
		}
	}
	return names
}

// coversBody reports whether the signature covers every byte of the body.
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

// SignsHost reports whether the signature covers the host of the URL, as some message or
// claim of the scheme may.
func (v *Rules) SignsHost() bool {
	if v.http != nil {
		return slices.ContainsFunc([]string{"@authority", "@target-uri", "host"}, v.http.covers)
	}
	origin := func(f *template.Facts) bool { return f.Origin }
	return slices.ContainsFunc(v.messages, func(t template.Template) bool { return t.Some(origin) }) ||
		slices.ContainsFunc(v.claims, func(c claim) bool { return c.want.Some(origin) })
}

// SignsQuery reports whether the signature covers the query of the URL.
func (v *Rules) SignsQuery() bool {
	return v.covers(func(f *template.Facts) bool { return f.Query }, "@query", "@target-uri", "@request-target")
}

// covers reports whether every message has a slot of a kind, or the RFC 9421
// signature covers one of the components.
func (v *Rules) covers(kind func(*template.Facts) bool, components ...string) bool {
	if v.http != nil {
		return slices.ContainsFunc(components, v.http.covers)
	}
	return v.everyMessage(func(t template.Template) bool { return t.Covers(kind) })
}

// A SchemeError names the wrong field of a scheme and what to write instead.
type SchemeError struct {
	Field   string // as in JSON and the Caddyfile
	Problem string
}

func (e *SchemeError) Error() string { return e.Field + ": " + e.Problem }

func wrong(field, format string, args ...any) error {
	return &SchemeError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// With returns s with every field that o sets replaced by o's. Required headers and
// JSON paths are added; an Off without a source switches off the source of s.
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
	replace(&s.KeySet, o.KeySet)
	replace(&s.KeySource, o.KeySource)
	replace(&s.X5C, o.X5C)
	replace(&s.Signature, o.Signature)
	replace(&s.HTTPSignature, o.HTTPSignature)
	replace(&s.MessageDigest, o.MessageDigest)
	replace(&s.Tolerance, o.Tolerance)
	replace(&s.BodyUnsigned, o.BodyUnsigned)
	replace(&s.BodyDecoded, o.BodyDecoded)
	if len(o.BodyFormat) > 0 {
		s.BodyFormat = o.BodyFormat
	}
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

// UsesToken reports whether deliveries carry the secret itself instead of a
// signature, or may.
func (s Scheme) UsesToken() bool {
	return s.Algorithm == Token || s.Signature != nil && slices.Contains(slices.Collect(maps.Values(s.Signature.Accept)), Token)
}

// UsesBasic reports whether the secret is user:password of Basic authentication.
func (s Scheme) UsesBasic() bool {
	return s.Algorithm == Token && s.Signature != nil && strings.EqualFold(strings.TrimSpace(s.Signature.Prefix), "basic")
}
