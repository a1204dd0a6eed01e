package verifier

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/verify-webhook/caddy-verify-webhook/internal/httptoken"
	"github.com/verify-webhook/caddy-verify-webhook/internal/template"
)

// otherMessage is a form of signed content that some senders use.
type otherMessage struct {
	text      string
	algorithm Algorithm // for a secret in the message
}

var otherMessages = []otherMessage{
	{text: "{body}"},
	{text: "{timestamp}.{body}"},
	{text: "{timestamp}{body}"},
	{text: "{timestamp}:{body}"},
	{text: "v0:{timestamp}:{body}"},
	{text: "v1:{timestamp}:{body}"},
	{text: `{timestamp}\n{body}`},
	{text: "{id}.{timestamp}.{body}"},
	{text: "{id}{timestamp}{body}"},
	{text: "{id}.{body}"},
	{text: "{body}.{timestamp}"},
	{text: "{body}{timestamp}"},
	{text: "{body}{url}"},
	{text: "{url}{body}"},
	{text: "{url}.{body}"},
	{text: "{url}{form_sorted}"},
	{text: "{method}{url}{body}"},
	{text: "{method}{url}{body}{timestamp}"},
	{text: "{timestamp}{method}{path}{body}"},
	{text: "{method}{path}{body}"},
	{text: "{path}{body}"},
	{text: "{url}"},
	{text: "{body|sha256|hex}"},
	{text: "{timestamp}.{body|sha256|hex}"},
	{text: "{body|base64}"},
	{text: "{secret}{body}", algorithm: SHA256},
	{text: "{body}{secret}", algorithm: SHA256},
	{text: "{secret}{body}", algorithm: SHA1},
	{text: "{body}{secret}", algorithm: SHA1},
}

// messages guesses that the sender signs other content. A timestamp or id that the
// scheme does not have is read from a header that looks like one.
func messages(s *search, yield func(guess) bool) {
	if len(s.asked.messages) == 0 {
		return
	}
	own := s.v.scheme.Messages()
	for _, m := range otherMessages {
		if slices.Contains(own, m.text) {
			continue
		}
		t, _ := template.Parse(m.text)
		times, ids := []found{{}}, []found{{}}
		if t.Has(template.Timestamp) {
			times = fillings(s.asked.check.timestamp, s.times)
		}
		if t.Has(template.ID) {
			ids = fillings(s.asked.check.deliveryID(s.c.Body), s.ids)
		}
		for _, at := range times {
			for _, id := range ids {
				g := guess{signing: s.asked, describe: func() string { return s.messageClause(m, at, id) }}
				g.messages = []message{{template: t, algorithm: m.algorithm}}
				if at.text != "" {
					g.check.timestamp = at.text
				}
				if id.text != "" {
					g.check.id = id.text
				}
				if !yield(g) {
					return
				}
			}
		}
	}
}

// fillings lists candidates for a slot: the scheme's own (empty text) or what was
// found.
func fillings(own string, others []found) []found {
	if own != "" {
		return []found{{}}
	}
	return others[:min(len(others), 3)]
}

func signsOrigin(t template.Template) bool {
	return t.Some(func(f *template.Facts) bool { return f.Origin })
}

func signsTarget(t template.Template) bool {
	return t.Some(func(f *template.Facts) bool { return f.Path || f.Query })
}

// signs reports whether a message or a claim contains a part of the request.
func (s *search) signs(part func(template.Template) bool) bool {
	return s.v.http != nil || slices.ContainsFunc(s.asked.messages, func(m message) bool { return part(m.template) }) ||
		slices.ContainsFunc(s.v.claims, func(c claim) bool { return part(c.want) })
}

// renamed guesses that a signature that states its content is in another header;
// other signatures are found anywhere by their bytes.
func renamed(s *search, yield func(guess) bool) {
	if !s.v.statesMessage() || s.v.http != nil || len(s.v.signature.Header) == 0 {
		return
	}
	own := s.v.signature.Header[0]
	for _, name := range slices.Sorted(maps.Keys(s.c.Request.Header)) {
		if !soundsSigned(name) || !httptoken.Valid(name) || slices.Contains(s.v.signature.Header, name) {
			continue
		}
		g := guess{signing: s.asked, clause: fmt.Sprintf("the right signature is in header %s, but the scheme reads header %s: send it under that name", name, own)}
		req := *s.c.Request
		req.Header = maps.Clone(req.Header)
		req.Header[own] = req.Header[name]
		if g.check.req = &req; !yield(g) {
			return
		}
	}
}

// variant is another value for a part of the request, with its description.
type variant struct{ value, words, advice string }

// remedy says what to do if another path or query was signed.
func (v *variant) remedy() string {
	return orDefault(v.advice, "make sure nothing in front rewrites path or query, or register the URL at the sender as it reaches this gateway")
}

// requests guesses that the sender called another URL or used another method.
func requests(s *search, yield func(guess) bool) {
	origins, targets, methods := []variant{{}}, []variant{{}}, []variant{{}}
	if s.signs(signsOrigin) {
		origins = append(origins, s.origins()...)
	}
	if s.signs(signsTarget) {
		targets = append(targets, s.targets()...)
	}
	if s.signs(func(t template.Template) bool { return t.Has(template.Method) }) {
		for _, method := range []string{"POST", "GET", "PUT", "post"} {
			if method != s.c.Request.Method {
				methods = append(methods, variant{value: method, words: "the method " + method})
			}
		}
	}
	for _, m := range methods {
		for _, target := range targets {
			for _, origin := range origins {
				if origin.words+target.words+m.words == "" {
					continue
				}
				if !yield(s.withRequest(origin, target, m)) {
					return
				}
			}
		}
	}
}

func (s *search) withRequest(origin, target, method variant) guess {
	g := guess{signing: s.asked}
	v, req := s.v.copy(), *s.c.Request
	g.check.v, g.check.req = v, &req
	if origin.words != "" {
		v.origin, v.publicOrigin = origin.value, origin.value
		_, req.Host, _ = strings.Cut(origin.value, "://")
	}
	if target.words != "" {
		req.Target = target.value
	}
	if method.words != "" {
		req.Method = method.value
	}
	g.clause = "the sender signed " + strings.Join(slices.DeleteFunc([]string{origin.words, target.words, method.words}, func(w string) bool { return w == "" }), " and ")
	switch {
	case origin.words != "" && target.words == "" && method.words == "":
		g.clause += ": write: public_url " + v.origin
	case origin.words != "":
		g.clause += ": write: public_url " + v.origin + ", and " + target.remedy()
	default:
		g.clause += ", not what arrived here: " + target.remedy()
	}
	return g
}

// exchangedSlots guesses that the sender signs another part of the URL than the
// scheme says.
func exchangedSlots(s *search, yield func(guess) bool) {
	slots := []template.Slot{template.URL, template.URLNoQuery, template.URI, template.Path, template.Query, template.QuerySorted, template.Host}
	for _, text := range s.v.scheme.Messages() {
		own, _ := template.Parse(text)
		for _, from := range slots {
			at := slices.IndexFunc(own, func(p template.Part) bool { return p.Slot == from && len(p.Filters) == 0 })
			for _, to := range slots {
				if at < 0 || from == to {
					continue
				}
				other := slices.Clone(own)
				other[at].Slot = to
				t, err := other.With(s.v.scheme.Params)
				if err != nil {
					continue
				}
				g := guess{signing: s.asked, describe: func() string { return s.slotClause(from, to, other) }}
				if g.messages = []message{{template: t}}; !yield(g) {
					return
				}
			}
		}
	}
}

// maxOrders is the largest number of query pairs of which all orders are tried.
const maxOrders = 4

// queries guesses that the sender signed the query's pairs in another order, or with
// one escaped character unescaped.
func queries(s *search, yield func(guess) bool) {
	path, query, asked := strings.Cut(s.c.Request.Target, "?")
	if !asked || query == "" || len(query) > maxHeaderText || !s.signs(signsTarget) {
		return
	}
	origins := []variant{{}}
	if s.signs(signsOrigin) { // TLS may also end in front
		origins = append(origins, s.origins()[:1]...)
	}
	try := func(query, words, advice string) bool {
		return !slices.ContainsFunc(origins, func(origin variant) bool {
			return !yield(s.withRequest(origin, variant{path + "?" + query, words, advice}, variant{}))
		})
	}
	for _, order := range orders(strings.Split(query, "&")) {
		if !try(strings.Join(order, "&"), "the query's pairs in another order", "make sure nothing in front sorts them, or register the URL with its parameters as they arrive here") {
			return
		}
	}
	seen := make(map[string]bool)
	for i := 0; i+2 < len(query) && len(seen) < 24; i++ {
		escape := query[i:min(i+3, len(query))]
		plain, err := url.QueryUnescape(escape)
		if query[i] != '%' || err != nil || seen[escape] {
			continue
		}
		seen[escape] = true
		if !try(strings.ReplaceAll(query, escape, plain), fmt.Sprintf("the query with %q as it is, which arrived as %s", plain, escape), "register the URL at the sender with that character escaped, or leave it out") {
			return
		}
	}
}

// orders lists other orders of a query's pairs: all for a few, otherwise those that
// libraries produce.
func orders(pairs []string) (out [][]string) {
	if len(pairs) > maxOrders {
		sorted, reversed := slices.Clone(pairs), slices.Clone(pairs)
		slices.Sort(sorted)
		slices.Reverse(reversed)
		return [][]string{sorted, reversed}
	}
	var permute func(done, left []string)
	permute = func(done, left []string) {
		if len(left) == 0 && !slices.Equal(done, pairs) {
			out = append(out, slices.Clone(done))
		}
		for i := range left {
			permute(append(slices.Clone(done), left[i]), slices.Concat(left[:i], left[i+1:]))
		}
	}
	permute(nil, pairs)
	return out
}

// origins lists what the sender may have signed as scheme, host and port: the other
// scheme, with and without a port, and what proxies in front report.
func (s *search) origins() []variant {
	own := s.asked.check.requestOrigin()
	hosts := []variant{{value: s.c.Request.Host}}
	if _, host, ok := strings.Cut(own, "://"); ok && host != s.c.Request.Host {
		hosts = append(hosts, variant{value: host})
	}
	for _, name := range []string{"X-Forwarded-Host", "X-Original-Host", "Forwarded"} {
		for _, line := range s.c.Request.Header[name] {
			host := strings.TrimSpace(strings.Split(line, ",")[0])
			if name == "Forwarded" {
				host = forwardedHost(line)
			}
			if u, err := url.Parse("https://" + host); err == nil && host != "" && u.Host == host {
				hosts = append(hosts, variant{value: host, words: " (from header " + name + ")"})
			}
		}
	}
	var out []variant
	for _, h := range hosts[:min(len(hosts), 4)] {
		name, port, err := net.SplitHostPort(h.value)
		if err != nil {
			name, port = h.value, ""
		}
		for _, scheme := range []string{"https", "http"} {
			for _, p := range slices.Compact([]string{"", port, map[string]string{"https": "443", "http": "80"}[scheme]}) {
				origin := scheme + "://" + name
				if p != "" {
					origin += ":" + p
				}
				seen := slices.ContainsFunc(out, func(v variant) bool { return v.value == origin })
				if origin != own && !seen {
					out = append(out, variant{value: origin, words: fmt.Sprintf("a URL that begins with %s%s, but the gateway received %s", origin, h.words, own)})
				}
			}
		}
	}
	return out
}

// forwardedHost reads the host of RFC 7239's first element.
func forwardedHost(line string) string {
	first, _, _ := strings.Cut(line, ",")
	for pair := range strings.SplitSeq(first, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "host") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// targets lists the path and query that a proxy or a typo in the registered URL may
// have changed. Descriptions do not repeat them: a query may hold a token.
func (s *search) targets() (out []variant) {
	own := s.c.Request.Target
	add := func(target, words string) {
		if target != own && !slices.ContainsFunc(out, func(v variant) bool { return v.value == target }) {
			out = append(out, variant{value: target, words: words})
		}
	}
	path, query, asked := strings.Cut(own, "?")
	tail := strings.TrimPrefix(own, path)
	if strings.HasSuffix(path, "/") {
		add(strings.TrimSuffix(path, "/")+tail, "a path without the slash at its end")
	} else {
		add(path+"/"+tail, "a path with a slash at its end")
	}
	if asked {
		add(path, "a URL without the query")
		if n := len(out); n > 0 && out[n-1].value == path {
			out[n-1].advice = "if the sender adds these parameters after it signs, the message is {url_no_query}; if a proxy does, stop it"
		}
	}
	if plain, err := url.PathUnescape(path); err == nil {
		add(plain+tail, "a path without its percent escapes")
	}
	if plain, err := url.QueryUnescape(query); err == nil && asked {
		add(path+"?"+plain, "a query without its percent escapes")
	}
	add(strings.ToLower(path)+tail, "a lower-case path")
	for _, name := range []string{"X-Original-Uri", "X-Forwarded-Uri", "X-Rewrite-Url", "X-Original-Url"} {
		if lines := s.c.Request.Header[name]; len(lines) == 1 {
			if u, err := url.Parse(lines[0]); err == nil {
				add(u.RequestURI(), "the path and query of header "+name)
			}
		}
	}
	if lines := s.c.Request.Header["X-Forwarded-Prefix"]; len(lines) == 1 {
		add(strings.TrimSuffix(lines[0], "/")+own, "a path with the prefix of header X-Forwarded-Prefix")
	}
	add("", "only the origin, without a path")
	if n := len(out); n > 0 && out[n-1].value == "" {
		out[n-1].advice = "register the URL at the sender with its path, or with a slash after the host"
	}
	return out
}
