package verifier

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
)

// A source is the place of a text in a delivery: a signature, a timestamp, an id, the
// text of a slot or a field of a handshake.
type source struct {
	kind place
	name string        // canonical for a header; for JSON the path as written
	path jsonpath.Path // in JSON or in the claims of a JWT
	form string        // with JSON: the field read instead if the body is a form
	// With a form field or parameter: it may be all that is signed of the form or query
	// (see formdata.ValueAlone). For JSON this depends on the scheme: see jsonpath.Value.
	alone bool
}

// A place is the kind of a source, or a set of kinds.
type place uint8

const (
	inHeader place = 1 << iota
	inQuery        // a parameter of the URL
	inKV           // a key beside the signature
	inClaim        // of a JWT
	inJSON         // a path in the body
	inForm         // a field of the body
	inBody         // the entire body
)

// newSource returns a source after checking its name.
func newSource(kind place, name string) (s source, err error) {
	s = source{kind: kind, name: name}
	switch kind {
	case inHeader:
		if !httptoken.Valid(name) {
			return s, errors.New(notAHeaderName)
		}
		s.name = canonicalHeader(name)
	case inJSON:
		s.path, err = jsonpath.Parse(name)
	case inClaim:
		s.path = jsonpath.Top(name)
	case inQuery, inForm:
		if name == "" {
			return s, errSource
		}
	}
	return s, err
}

const orEither = "; form and json together for a sender that posts either"

// sources are the alternative places of one text.
type sources []source

func at(kind place, names ...string) (all sources) {
	for _, name := range names {
		all = append(all, source{kind: kind, name: name})
	}
	return all
}

// atOne is at for a name that may be empty.
func atOne(kind place, name string) sources {
	if name == "" {
		return nil
	}
	return at(kind, name)
}

// inBodies returns sources in JSON or in a form; if both are set, the field is read
// if the body is a form.
func inBodies(form string, paths sources) sources {
	for i := range paths {
		paths[i].form = form
	}
	if len(paths) == 0 {
		return atOne(inForm, form)
	}
	return paths
}

func (s *Signature) sources() sources {
	all := slices.Concat(at(inHeader, s.Header...), atOne(inQuery, s.Query), inBodies(s.Form, at(inJSON, s.JSON...)))
	if s.Body {
		all = append(all, source{kind: inBody})
	}
	return all
}

func (ts *Timestamp) sources() sources {
	return slices.Concat(at(inHeader, ts.Header...), atOne(inKV, ts.KV), inBodies(ts.Form, atOne(inJSON, ts.JSON)), atOne(inClaim, ts.Claim))
}

func (id *DeliveryID) sources() sources {
	return slices.Concat(at(inHeader, id.Header...), inBodies(id.Form, atOne(inJSON, id.JSON)), atOne(inClaim, id.Claim))
}

func (id *KeyID) sources() sources {
	return slices.Concat(atOne(inHeader, id.Header), atOne(inJSON, id.JSON))
}

// compileSources checks the sources of a field of the scheme, which must be of one
// kind.
func (v *Rules) compileSources(field string, all sources, kinds string) (out sources, err error) {
	for i := range all {
		if all[i].kind != all[0].kind {
			all = nil
			break
		}
	}
	if len(all) == 0 {
		return nil, wrong(field, "needs exactly one source: %s", kinds)
	}
	for _, s := range all {
		compiled, err := newSource(s.kind, s.name)
		switch {
		case err != nil && s.kind == inJSON:
			return nil, wrong(field, "json: %v", err)
		case err != nil:
			return nil, wrong(field, "%v", err)
		}
		if s.kind == inClaim && v.signature.Syntax != syntaxJWT {
			return nil, wrong(field, "claim: only a jwt has claims, not a signature of syntax %s", v.signature.Syntax)
		}
		compiled.form = s.form
		out = append(out, compiled)
	}
	return out, nil
}

// headers lists the names of the headers among them.
func (all sources) headers() (names []string) {
	for _, s := range all {
		if s.kind == inHeader {
			names = append(names, s.name)
		}
	}
	return names
}

// fields lists the names of the form fields among them.
func (all sources) fields() (names []string) {
	for _, s := range all {
		switch {
		case s.kind == inForm:
			names = append(names, s.name)
		case s.form != "":
			names = append(names, s.form)
		}
	}
	return names
}

// are reports whether the text is in a place of one of the kinds.
func (all sources) are(kinds place) bool { return len(all) > 0 && all[0].kind&kinds != 0 }

// key returns the name of the key, beside the signature, that holds the text.
func (all sources) key() string {
	if all.are(inKV) {
		return all[0].name
	}
	return ""
}

// inside reports whether the text is inside the signed content.
func (all sources) inside() bool { return all.are(inJSON | inForm | inClaim) }

func (all sources) String() string {
	var words []string
	for _, s := range all {
		words = append(words, s.String())
	}
	return strings.Join(words, " or ")
}

// String describes the place for people.
func (s source) String() string {
	switch s.kind {
	case inQuery:
		return "query parameter " + s.name
	case inKV:
		return "key " + s.name + " beside the signature"
	case inClaim:
		return "claim " + s.name + " of the JWT"
	case inForm:
		return "form field " + s.name
	case inBody:
		return "the body"
	case inJSON:
		if s.form != "" {
			return "form field " + s.form + ", or " + s.name + " of a JSON body"
		}
		return s.name + " of the body"
	}
	return "header " + s.name
}

var (
	errAbsent    = errors.New("it is not there")
	errEmpty     = errors.New("it is empty")
	errAmbiguous = errors.New("it is empty or appears more than once")
)

// absent reports whether a text was not there. Any other error means that it is
// ambiguous or invalid.
func absent(err error) bool {
	return err == errAbsent || errors.Is(err, jsonpath.ErrNoValue) || errors.Is(err, formdata.ErrNoValue)
}

// read returns the text of a source. Empty headers and parameters count as absent.
func (c *Check) read(s *source, body []byte) (string, error) {
	switch s.kind {
	case inHeader:
		return c.header(s.name)
	case inQuery:
		_, query, _ := strings.Cut(c.req.Target, "?")
		text, err := formdata.QueryValue(query, s.name, s.alone)
		switch {
		case err == nil && text != "":
			return text, nil
		case !strings.Contains(query, s.name):
			return "", errAbsent
		case s.alone && err != nil:
			return "", err
		}
		return "", errAmbiguous
	case inKV:
		return c.pairText(s.name)
	case inClaim:
		return s.path.Lookup(c.jws.claims)
	case inBody:
		return string(body), nil
	}
	field := s.name
	if s.kind == inJSON {
		if s.form == "" || !c.postsForm(body) {
			return c.lookup(s.path, body)
		}
		field = s.form
	}
	if c.v.coversBody() {
		return formdata.ValueIn(body, field) // the signed body tells the kind of form, not an unsigned header
	}
	if s.alone {
		return c.aloneInForm(body, field)
	}
	return formdata.ValueAs(c.contentType(), body, field)
}

// header returns a header's value. A header on two lines is refused: the app might
// read the other line.
func (c *Check) header(name string) (string, error) {
	switch lines := c.req.Header[name]; {
	case len(lines) == 0 || len(lines) == 1 && lines[0] == "":
		return "", errAbsent
	case len(lines) > 1:
		return "", fmt.Errorf("%d lines instead of one", len(lines))
	default:
		return lines[0], nil
	}
}

// require reads a text that is required, with one reason if it is missing and another if
// it is malformed. why says who requires it.
func (c *Check) require(s source, body []byte, missing, malformed Reason, why string) (string, *Rejection) {
	text, err := c.read(&s, body)
	if err != nil {
		return "", s.refused(err, missing, malformed, why)
	}
	return text, nil
}

func (s source) refused(err error, missing, malformed Reason, why string) *Rejection {
	if absent(err) {
		return reject(missing, "no %s%s", s, why)
	}
	return reject(malformed, "%s%s: %v", s, why, err)
}

// headerText returns the value of a header that is signed.
func (c *Check) headerText(name string) (string, *Rejection) {
	return c.require(source{kind: inHeader, name: name}, nil, MissingHeader, MalformedSignature, ", which is signed")
}

// firstHeader returns the first header present. A header on two lines is refused.
func (c *Check) firstHeader(all sources, malformed Reason) (first string, rej *Rejection) {
	for i := range all {
		if all[i].kind != inHeader {
			break
		}
		text, err := c.header(all[i].name)
		if err != nil && err != errAbsent {
			return "", all[i].refused(err, malformed, malformed, "")
		}
		if first == "" {
			first = text
		}
	}
	return first, nil
}

// aloneInForm returns the one value of a field of the body whose other fields may be
// unsigned.
func (c *Check) aloneInForm(body []byte, name string) (string, error) {
	if err := c.checkCoding(); err != nil {
		return "", err
	}
	return formdata.ValueAlone(c.req.Header["Content-Type"], body, name)
}
