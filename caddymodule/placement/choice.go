package placement

import (
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// A client chooses the target of a rewrite in two ways. What it writes beside the path,
// in a header, cookie, query or body, a walk takes for whatever leads to the wanted path.
// What is in the path, a segment or a group of path_regexp, is found with markers: a walk
// takes them along, and where they arrive says what the client has to write for them.

// clients reports whether a placeholder may be whatever the client likes: the walk cannot
// know its value, nor do host, path and configuration decide it.
func (m imagined) clients(name string) bool {
	if rest, ok := strings.CutPrefix(name, "http.request."); ok {
		kind, _, _ := strings.Cut(rest, ".")
		switch kind {
		case "header", "cookie", "body", "body_base64", "tls":
			return true
		}
		return strings.Contains(rest, "query")
	}
	if _, ok := m.fixed[name]; ok {
		return true
	}
	for _, known := range []string{varsPrefix, prefix, "http.matchers.file.", "http.error.status_", "http.intercept.status_", "http.reverse_proxy.status_"} {
		if strings.HasPrefix(name, known) {
			return false
		}
	}
	_, set := m.replacer().Get(name)
	return !set
}

// known replaces the placeholders of a text, except those that the client chooses or that
// may have several values.
func (m imagined) known(text string) string {
	return placeholders.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.Trim(found, "{}")
		if written, ok := m.written[name]; ok {
			return written
		}
		if m.clients(name) {
			return found
		}
		value, _ := m.replacer().GetString(name)
		return value
	})
}

// choose returns the paths that a text becomes if the client chooses it to be a wanted
// one, as far as it can. Markers stay.
func (m imagined) choose(text string) (paths []string) {
	text, _, _ = strings.Cut(text, "?")
	for _, text := range m.captures.expand(m.fixed.expand(m.known(text))) {
		for _, wanted := range m.wanted {
			for _, text := range ended(text) {
				for _, find := range finds {
					if path, ok := m.fit(text, wanted, find); ok {
						paths = append(paths, path)
					}
				}
			}
		}
	}
	return sorted(paths)
}

// ended lists a text and what is left of it if what the client writes ends the path: it
// may have a question mark.
func ended(text string) []string {
	texts := []string{text}
	for i := range len(text) - 1 {
		if text[i] == '}' {
			texts = append(texts, text[:i+1]+"?")
		}
	}
	return texts
}

// rewrite lists what a request may be after a rewrite.
func (m imagined) rewrite(h *rewrite.Rewrite) []imagined {
	all := []imagined{m.after(func(r *http.Request, repl *caddy.Replacer) { h.Rewrite(r, repl) })}
	target, _, _ := strings.Cut(h.URI, "?")
	paths := m.choose(target)
	if strings.Contains(m.known(changesOf(h)), "{") {
		paths = append(paths, m.wanted...)
	}
	for _, path := range paths {
		if path == all[0].r.URL.Path {
			continue
		}
		chosen := m.after(func(r *http.Request, _ *caddy.Replacer) { r.URL.Path, r.URL.RawPath, r.RequestURI = path, "", path })
		chosen.free, chosen.chosen = true, true
		all = append(all, chosen)
	}
	return all
}

// changesOf joins the texts by which a rewrite changes parts of the path.
func changesOf(h *rewrite.Rewrite) string {
	texts := []string{h.StripPathPrefix, h.StripPathSuffix}
	for _, swap := range h.URISubstring {
		texts = append(texts, swap.Find, swap.Replace)
	}
	for _, swap := range h.PathRegexp {
		texts = append(texts, swap.Replace)
	}
	return strings.Join(texts, "")
}

// hasFree reports whether a rewrite has a placeholder from which the path of a call does
// not follow.
func hasFree(h *rewrite.Rewrite) bool {
	target, _, _ := strings.Cut(h.URI, "?")
	target = strings.NewReplacer("{http.request.uri}", "", "{http.matchers.file.relative}", "").Replace(target)
	return len(h.PathRegexp) > 0 || strings.Contains(target+changesOf(h), "{")
}

// remember adds what vars sets to what the walk knows.
func (m imagined) remember(vars *caddyhttp.VarsMiddleware) map[string]string {
	written := maps.Clone(m.written)
	if written == nil {
		written = make(map[string]string)
	}
	for name, value := range valuesOf(vars) {
		written[varsPrefix+name] = m.known(value)
	}
	return written
}

// markers are parts of imagined paths and hosts. They are texts that most regular
// expressions match.
var (
	markers  = []string{"xqa", "xqb", "xqc", "xqd", "xqe", "xqf"}
	isMarker = regexp.MustCompile(`xq[a-z]`)
	choices  = regexp.MustCompile(`\{[^{}]*\}|xq[a-z]`)
)

// markedHost is one that no site names.
const markedHost = "xqy.xqz"

// fit returns a text as it is if its placeholders become what makes it the wanted one,
// with markers as they are.
func (m imagined) fit(text, wanted string, find finder) (path string, ok bool) {
	text, cut := strings.CutSuffix(text, "?")
	parts := choices.FindAllString(text, -1)
	if len(parts) == 0 {
		return text, text == wanted
	}
	values := valuesIn(text, wanted, find)
	if values == nil {
		return "", false
	}
	for i, part := range parts {
		value := values[i]
		if cut && i == len(parts)-1 {
			value += "?"
		}
		if !m.captures.allow(part, value) {
			return "", false
		}
	}
	i := 0
	return choices.ReplaceAllStringFunc(text, func(part string) string {
		if i++; part[0] == '{' {
			return values[i-1]
		}
		return part
	}), true
}

// A finder says where a literal in a text is: the first or the last time.
type finder func(text, literal string) int

var finds = []finder{strings.Index, strings.LastIndex}

// valuesIn returns the part of the wanted text for each placeholder and marker. It ends
// where the literal after it is found. If the literal before the first part is another
// folder, that part leaves it by dots.
func valuesIn(text, wanted string, find finder) (values []string) {
	literals := choices.Split(text, -1)
	last := len(literals) - 1
	first := withoutDots(literals[0])
	rest, begins := strings.CutPrefix(wanted, first)
	if !begins {
		up := outOf(first)
		if up == "" {
			return nil
		}
		rest = up + strings.TrimPrefix(wanted, "/")
	}
	rest, ends := strings.CutSuffix(rest, literals[last])
	if !ends {
		return nil
	}
	for _, literal := range literals[1:last] {
		i := find(rest, literal)
		if i < 0 {
			return nil
		}
		values, rest = append(values, rest[:i]), rest[i+len(literal):]
	}
	return append(values, rest)
}

// withoutDots cleans the beginning of a path as apps do.
func withoutDots(begin string) string {
	if !strings.Contains(begin, "/../") {
		return begin
	}
	return strings.TrimSuffix(path.Clean(begin+"x"), "x")
}

// outOf returns what leads from the beginning of a path to the root, "" if that has no
// folder.
func outOf(begin string) string {
	folders := strings.FieldsFunc(begin, func(r rune) bool { return r == '/' })
	up := strings.Repeat("../", len(folders))
	if up == "" || strings.HasSuffix(begin, "/") {
		return up
	}
	return "/" + up
}

// solved returns the calls whose markers become what makes a path the wanted one.
func solved(call spot, path, wanted string) (calls []spot) {
	parts := choices.FindAllString(path, -1)
	if len(parts) == 0 {
		return nil
	}
	for _, find := range finds {
		var pairs []string
		for i, value := range valuesIn(path, wanted, find) {
			pairs = append(pairs, parts[i], value)
		}
		if pairs != nil {
			r := strings.NewReplacer(pairs...)
			calls = append(calls, spot{r.Replace(call.host), r.Replace(call.path)}.unmarked())
		}
	}
	return slices.Compact(calls)
}

// unmarked returns an example of a marked call.
func (s spot) unmarked() spot {
	return spot{isMarker.ReplaceAllString(s.host, "x"), isMarker.ReplaceAllString(s.path, "x")}
}

// marked lists paths with markers that pass the layers, as called.
func marked(layers []layer) (paths []string) {
	for i, l := range layers {
		for _, text := range l.marked() {
			paths = append(paths, calledAs(numbered("/"+strings.TrimPrefix(text, "/")), layers[:i]))
		}
	}
	return append(paths, numbered("/\x00"), numbered("/\x00/\x00"), numbered("/\x00/\x00/\x00"))
}

// marked lists paths that a layer matches, with a zero byte for each marker.
func (l layer) marked() (paths []string) {
	for _, pattern := range l.patterns {
		begin, below := strings.CutSuffix(pattern, "/*")
		begin = strings.ReplaceAll(begin, "*", "\x00")
		if !below {
			paths = append(paths, begin)
			continue
		}
		paths = append(paths, begin+"/\x00", begin+"/\x00/\x00", begin+"/\x00/\x00/\x00")
	}
	for _, sample := range l.samples {
		paths = append(paths, sample, sample+"/\x00")
	}
	return paths
}

// numbered replaces zero bytes by different markers.
func numbered(text string) string {
	for _, marker := range markers {
		text = strings.Replace(text, "\x00", marker, 1)
	}
	return strings.ReplaceAll(text, "\x00", "x")
}
