package verifier

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/formdata"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// The URL that a sender signs may differ in its bytes from the one it requests. A
// scheme's url_forms are the other forms that the sender's own library tries or its
// documentation describes. Each must still be one message of one request: no form may
// let bytes move between the URL and the text after it.
const (
	// Without its port, or with the scheme's default port if it has none.
	formPort = "port"
	// Without the slash of a root: a URL without a path is requested with one.
	formNoSlash = "no_slash"
	// With the query's characters unescaped that HubSpot unescapes.
	formUnescaped = "unescaped"
	// With names and values of the query decoded and escaped again, as ECMA-262's
	// encodeURIComponent does.
	formReencoded = "reencoded"
)

// signedURL is a URL that may have been signed instead of the received one, which is
// the zero value.
type signedURL struct {
	other  bool
	origin string
	target string
}

// urlForms lists the other URLs that the sender may have signed: at most seven, none
// for a URL longer than any sender's.
func (c *Check) urlForms() []signedURL {
	if len(c.req.Target) > maxStructured {
		return nil
	}
	forms := c.v.scheme.URLForms
	origins, targets := []string{string(c.appendOrigin(nil))}, []string{c.req.Target}
	if slices.Contains(forms, formPort) {
		origins = append(origins, otherPort(origins[0]))
	}
	for _, form := range forms {
		target := c.req.Target
		switch form {
		case formNoSlash:
			target = strings.TrimSuffix(target, "/")
			if target != "" {
				continue // a path has its slash for a reason
			}
		case formUnescaped:
			target = unescapeQuery(target)
		case formReencoded:
			target = reencodeQuery(target)
		}
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	var urls []signedURL
	for i, target := range targets {
		for j, origin := range origins {
			if i+j > 0 {
				urls = append(urls, signedURL{true, origin, target})
			}
		}
	}
	return urls
}

// target returns path and query in the form being tried.
func (c *Check) target() string {
	if c.url.other {
		return c.url.target
	}
	return c.req.Target
}

// endsOrigin reports whether an origin without a slash ends before text: text must
// not begin like a port or path, nor, if the request chose the host, like the rest of
// it.
func (c *Check) endsOrigin(text []byte) bool {
	switch {
	case len(text) == 0:
		return true
	case c.v.origin == "":
		return !template.IsURI(text[0])
	}
	return strings.IndexByte("/:?#@", text[0]) < 0
}

// otherPort removes the port from an origin, or adds the scheme's default.
func otherPort(origin string) string {
	scheme, authority, _ := strings.Cut(origin, "://")
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		return origin[:len(origin)-len(host)+i]
	}
	if scheme == "http" {
		return origin + ":80"
	}
	return origin + ":443"
}

// unescaped are the characters that HubSpot signs unescaped:
// https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation.
// None of them separates the fields of a query; in a path a question mark would.
const unescaped = ":/?@!$'()*,;"

func unescapeQuery(target string) string {
	path, query, _ := strings.Cut(target, "?")
	var b strings.Builder
	for i := 0; i < len(query); i++ {
		if query[i] == '%' && i+2 < len(query) {
			c, err := url.QueryUnescape(query[i : i+3])
			if err == nil && strings.Contains(unescaped, c) {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(query[i])
	}
	if b.Len() == 0 {
		return target
	}
	return path + "?" + b.String()
}

func reencodeQuery(target string) string {
	path, query, _ := strings.Cut(target, "?")
	fields, err := formdata.Parse([]byte(query))
	if err != nil || len(fields) == 0 {
		return target
	}
	b := append([]byte(path), '?')
	for i, f := range fields {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(appendEscaped(b, f.Name, "-_.!~*'()", "%"), '=')
		b = appendEscaped(b, f.Value, "-_.!~*'()", "%")
	}
	return string(b)
}

func (v *Rules) compileURLForms() error {
	for _, form := range v.scheme.URLForms {
		if err := known("url_forms", "form", form, formPort, formNoSlash, formUnescaped, formReencoded); err != nil {
			return err
		}
	}
	if len(v.scheme.URLForms) > 0 && !slices.ContainsFunc(v.messages, template.Template.HasURL) {
		return wrong("url_forms", "no message holds {url} or {url_no_query}: drop the field")
	}
	return nil
}

// appendRequest appends the method or URL as received.
func (c *Check) appendRequest(dst []byte, s template.Slot) []byte {
	path, query, _ := strings.Cut(c.req.Target, "?")
	switch s {
	case template.Method:
		return append(dst, c.req.Method...)
	case template.URL:
		return append(c.appendOrigin(dst), c.target()...)
	case template.URLNoQuery:
		path, _, _ = strings.Cut(c.target(), "?")
		return append(c.appendOrigin(dst), path...)
	case template.URI:
		return append(dst, c.req.Target...)
	case template.Path:
		return append(dst, path...)
	case template.Query:
		return append(dst, query...)
	case template.QuerySorted:
		return append(dst, sortedQuery(query)...)
	}
	return append(dst, c.req.Host...)
}

func sortedQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	slices.SortStableFunc(pairs, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return cmp.Compare(a, b)
	})
	return strings.Join(pairs, "&")
}

// host refuses a host that contains a path, which HTTP/2 allows: an attacker could
// then choose which part of the URL is the path, and so the route. With public_url it
// matters only to a message that has the host itself.
func (c *Check) host(itself bool) *Rejection {
	if (itself || c.v.origin == "") && strings.ContainsAny(c.req.Host, "/?#") {
		return reject(MalformedSignature, "the request's host, which is signed, is not a host name")
	}
	return nil
}

// requestOrigin returns the origin without credentials.
func (c *Check) requestOrigin() string {
	if c.v.origin != "" {
		return c.v.publicOrigin
	}
	return string(c.appendOrigin(nil))
}

func (c *Check) appendOrigin(dst []byte) []byte {
	switch {
	case c.url.other:
		return append(dst, c.url.origin...)
	case c.v.origin != "":
		return append(dst, c.v.origin...)
	case c.req.TLS:
		return append(append(dst, "https://"...), c.req.Host...)
	}
	return append(append(dst, "http://"...), c.req.Host...)
}
