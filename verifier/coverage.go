package verifier

import (
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// A Coverage says what of a delivery its signature proves. Whoever captured one
// genuine request can choose the rest when it is sent again.
type Coverage struct {
	ID   bool // the delivery id
	Body bool // what Check.Content returns
	Path bool // of the URL

	v *Verifier
}

// CoverageOf compiles a scheme for what it proves. A scheme that is wrong proves nothing.
func CoverageOf(s Scheme) Coverage {
	v, err := compile(s)
	if err != nil {
		return Coverage{}
	}
	return Coverage{ID: v.idSigned, Body: v.coversBody() || v.everyMessage(func(t template.Template) bool {
		return t.CoversBody() || t.Some(func(f template.Facts) bool { return f.Fields })
	}), Path: v.coversPath(), v: v}
}

// Header reports whether the signature covers a header's value.
func (c Coverage) Header(name string) bool {
	switch {
	case c.v == nil:
		return false
	case c.v.http != nil:
		return c.v.http.covers(strings.ToLower(name))
	}
	return c.v.everyMessage(func(t template.Template) bool { return t.Proves(template.Header, canonicalHeader(name)) })
}

// coversBody reports whether changing any byte of the body is noticed.
func (v *Verifier) coversBody() bool {
	if v.http != nil {
		return v.http.covers(contentDigestField)
	}
	return v.bodySigned || v.everyMessage(template.Template.CoversBody)
}

// coversPath reports whether another path of the URL is noticed.
func (v *Verifier) coversPath() bool {
	if v.http != nil {
		return v.http.covers("@path") || v.http.covers("@target-uri") || v.http.covers("@request-target")
	}
	return v.everyMessage(func(t template.Template) bool {
		return t.Covers(func(f template.Facts) bool { return f.Path })
	})
}
