package verifier

import (
	"slices"
	"strings"
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
	return Coverage{ID: v.idSigned, Body: v.coversBody() || v.everyMessage(template.coversForm), Path: v.coversPath(), v: v}
}

// Header reports whether the signature covers a header's value.
func (c Coverage) Header(name string) bool {
	switch {
	case c.v == nil:
		return false
	case c.v.http != nil:
		return c.v.http.covers(strings.ToLower(name))
	}
	return c.v.everyMessage(func(t template) bool { return t.proves(slotHeader, canonicalHeader(name)) })
}

// coversBody reports whether changing any byte of the body is noticed.
func (v *Verifier) coversBody() bool {
	if v.http != nil {
		return v.http.covers(contentDigestField)
	}
	return v.bodySigned || v.everyMessage(template.coversBody)
}

// coversPath reports whether another path of the URL is noticed.
func (v *Verifier) coversPath() bool {
	if v.http != nil {
		return v.http.covers("@path") || v.http.covers("@target-uri") || v.http.covers("@request-target")
	}
	return v.everyMessage(func(t template) bool {
		return slices.ContainsFunc(t, func(p part) bool {
			switch p.slot {
			case slotURL, slotURLNoQuery, slotURI, slotURIEncodedTwice, slotURLFormSorted, slotPath:
				return covers(p.filters)
			}
			return false
		})
	})
}

// coversForm reports whether t holds the body, or all fields of a form.
func (t template) coversForm() bool {
	return t.coversBody() || t.hasKind(slotFormSorted) || t.hasKind(slotURLFormSorted) || t.hasKind(slotFormPHP)
}
