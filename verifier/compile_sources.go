package verifier

import (
	"slices"
	"time"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/jsonpath"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

func (v *Verifier) compileTimestamp() (err error) {
	if v.scheme.Timestamp == nil {
		if v.scheme.Tolerance != nil {
			return wrong("tolerance", "the scheme has no timestamp to compare: add timestamp, or drop tolerance")
		}
		return nil
	}
	ts := *v.scheme.Timestamp
	if ts.Header, err = canonicalHeaders("timestamp", ts.Header); err != nil {
		return err
	}
	n := ts.sources()
	if n == 0 && ts.Off {
		return wrong("timestamp", "off: the scheme has no timestamp to switch off: drop the line")
	}
	if n != 1 {
		return wrong("timestamp", "needs exactly one source: header, kv, json, form or claim; form and json together are of a sender that posts either")
	}
	ts.Unit = orDefault(ts.Unit, "s")
	if err := known("timestamp", "unit", ts.Unit, "s", "ms", "us", "rfc3339", "iso8601_utc", "http_date"); err != nil {
		return err
	}
	if ts.KV != "" {
		switch syntax := v.signature.Syntax; {
		case v.http != nil: // see compileCreated
		case syntax != "kv" && syntax != "positional":
			return wrong("timestamp", "kv: the signature's syntax is %s, which has no keys", syntax)
		case slices.Contains(v.signature.Key, ts.KV):
			return wrong("timestamp", "kv: that key carries the signature")
		case syntax == "positional" && !slices.Contains(v.signature.Names, ts.KV):
			return wrong("timestamp", "kv: none of the names %s", join(v.signature.Names))
		}
		v.timestampKV = ts.KV
	}
	if ts.Claim != "" && v.signature.Syntax != syntaxJWT {
		return wrong("timestamp", "claim: only a jwt has claims, not a signature of syntax %s", v.signature.Syntax)
	}
	if ts.JSON != "" {
		if v.timestampPath, err = jsonpath.Parse(ts.JSON); err != nil {
			return wrong("timestamp", "json: %v", err)
		}
	}
	v.tolerance = DefaultTolerance
	if v.scheme.Tolerance != nil {
		v.tolerance = time.Duration(*v.scheme.Tolerance)
	}
	if v.tolerance <= 0 {
		return wrong("tolerance", "%s would refuse every delivery: give a positive duration, or switch the check off with: timestamp off", v.tolerance)
	}
	v.timestamp = ts
	return nil
}

func (v *Verifier) compileDeliveryID() (err error) {
	if v.scheme.DeliveryID == nil {
		return nil
	}
	id := *v.scheme.DeliveryID
	if id.Header, err = canonicalHeaders("delivery_id", id.Header); err != nil {
		return err
	}
	n := id.sources()
	if n == 0 && id.Off {
		return wrong("delivery_id", "off: the scheme has no delivery id to switch off: drop the line")
	}
	if n != 1 {
		return wrong("delivery_id", "needs exactly one source: header, json, form or claim; form and json together are of a sender that posts either")
	}
	if id.Claim != "" && v.signature.Syntax != syntaxJWT {
		return wrong("delivery_id", "claim: only a jwt has claims, not a signature of syntax %s", v.signature.Syntax)
	}
	if id.JSON != "" {
		if v.idPath, err = jsonpath.Parse(id.JSON); err != nil {
			return wrong("delivery_id", "json: %v", err)
		}
	}
	v.id = id
	if v.http != nil {
		v.idSigned = v.http.signsID(&id)
		return nil
	}
	v.idSigned = v.everyMessage(func(t template.Template) bool {
		switch {
		case id.Claim != "":
			return true
		case id.JSON != "" || id.Form != "":
			return v.bodySigned || t.CoversBody() || t.Proves(template.ID, "") ||
				(id.JSON == "" || t.Proves(template.JSON, id.JSON) || t.ProvesMember(id.JSON)) &&
					(id.Form == "" || t.Has(template.FormPHP) || t.Proves(template.Form, id.Form))
		case len(id.Header) == 1 && t.Proves(template.Header, id.Header[0]):
			return true
		}
		return t.Proves(template.ID, "")
	})
	return nil
}

// checkSlots ties the message to its sources: a slot without one cannot be
// filled, and a timestamp that is not signed proves nothing.
func (v *Verifier) checkSlots() error {
	for _, t := range v.messages {
		v.timestampSigned = v.timestampSigned || t.Has(template.Timestamp)
		if t.Has(template.Timestamp) && v.scheme.Timestamp == nil {
			return wrong("message", "{timestamp} has no source: add a timestamp line")
		}
		if t.Has(template.ID) && v.scheme.DeliveryID == nil {
			return wrong("message", "{id} has no source: add a delivery_id line")
		}
	}
	for _, t := range v.messages {
		if sig := &v.signature; (sig.Form != "" || len(sig.JSON) > 0) && t.HasBody() {
			return wrong("message", "{body} holds the signature itself: name what the sender signs, {json:…} or {form:…}")
		}
		if v.signature.Syntax != syntaxDetached && t.Has(template.ListedHeaders) {
			return wrong("message", "{jws_headers:…} is listed in a detached JWS, not in a signature of syntax %s", v.signature.Syntax)
		}
		for _, p := range t {
			if err := v.checkSlot(&p); err != nil {
				return err
			}
		}
		for _, a := range v.algorithms {
			if facts[a].plain && !t.Has(template.Secret) {
				return wrong("message", "%s is a hash without a key: the message must hold {secret}", a)
			}
		}
	}
	if err := v.checkDecoded(); err != nil {
		return err
	}
	ts := &v.timestamp
	if v.scheme.Timestamp == nil || ts.Off || v.http != nil {
		return nil
	}
	if ts.Optional && (ts.JSON == "" || ts.Form != "" || v.timestampSigned || !v.coversBody()) {
		return wrong("timestamp", "optional: only one at a JSON path of a body that the message covers may be missing, or anyone could leave it out")
	}
	signed := v.everyMessage(func(t template.Template) bool {
		return ts.Claim != "" || t.Has(template.Timestamp) ||
			len(ts.Header) > 0 && t.Has(template.ListedHeaders) ||
			(ts.JSON != "" || ts.Form != "") && (v.bodySigned || t.CoversBody() ||
				(ts.JSON == "" || t.HasArg(template.JSON, ts.JSON) || t.ProvesMember(ts.JSON)) && (ts.Form == "" || t.HasArg(template.Form, ts.Form))) ||
			len(ts.Header) > 0 && t.Has(template.SignedHeaders) || // which wants it among them
			len(ts.Header) == 1 && t.HasArg(template.Header, ts.Header[0])
	})
	if !signed {
		return wrong("timestamp", "the message does not contain it, so anyone could set it anew: put {timestamp} where the sender signs it, or write: timestamp off")
	}
	return nil
}

// everyMessage reports whether all messages are so; a token has none, and
// proves nothing of what stands beside it.
func (v *Verifier) everyMessage(is func(template.Template) bool) bool {
	return len(v.messages) > 0 && !slices.ContainsFunc(v.messages, func(t template.Template) bool { return !is(t) })
}

func canonicalHeaders(field string, names StringList) (StringList, error) {
	out := make(StringList, 0, len(names))
	for _, name := range names {
		if !httptoken.Valid(name) {
			return nil, wrong(field, notAHeaderName)
		}
		out = append(out, canonicalHeader(name))
	}
	return out, nil
}

func (ts *Timestamp) sources() int {
	return sources(len(ts.Header) > 0, ts.KV != "", ts.JSON != "" || ts.Form != "", ts.Claim != "")
}

func (id *DeliveryID) sources() int {
	return sources(len(id.Header) > 0, id.JSON != "" || id.Form != "", id.Claim != "")
}

func sources(present ...bool) (n int) {
	for _, p := range present {
		if p {
			n++
		}
	}
	return n
}
