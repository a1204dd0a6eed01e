package appview

import (
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// RoutingHeaders are headers by which some apps route instead of path and method. The
// first ones replace the path, or are a prefix to remove or add: Yii reads
// X-Rewrite-Url, IIS and old versions of Symfony and Zend X-Original-Url, WSGI and
// Plack middleware X-Script-Name, X-Forwarded-Script-Name and X-Traversal-Path,
// Pyramid's traversal X-Vhm-Root, Daphne (of Django) Daphne-Root-Path, gunicorn
// Script-Name and Path-Info, Catalyst X-Request-Base, Quarkus X-Forwarded-Prefix, Next.js
// X-Matched-Path and X-Invoke-Path, and apps behind Azure, Envoy, Netlify and Home
// Assistant those of their proxies. The last ones replace the method.
var RoutingHeaders = []string{
	"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Ms-Original-Url", "X-Envoy-Original-Path",
	"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Script-Name", "Script-Name", "Path-Info", "Daphne-Root-Path",
	"X-Forwarded-Script-Name", "X-Traversal-Path", "X-Vhm-Root", "X-Matched-Path", "X-Invoke-Path",
	"X-Request-Uri", "X-Request-Base", "X-Ingress-Path", "X-Base-Path", "X-Forwarded-Base-Path", "X-Path-Info", "X-Servlet-Path",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Forwarded-Method", "X-Original-Method",
}

// HostHeaders are headers from which some apps take the host: Spring reads Forwarded
// (RFC 7239) before X-Forwarded-Host, which Caddy's proxy sets itself.
var HostHeaders = []string{"Forwarded", "X-Original-Host", "X-Host", "X-Forwarded-Server", "X-Http-Host-Override"}

// pathWords are the words of a header's name that tell that its value may be a path, also
// as a part of another one. The word base does so alone: Firebase and databases have it.
var pathWords = []string{"path", "uri", "url", "prefix", "root", "script", "rewrite", "route"}

// maxDetours limits the lines of path headers, in all spellings, that are compared with
// the path: a few proxies in front, with a few headers each.
const maxDetours = 16

// maxCompared limits the bytes that are read of those lines, each with the path, and as
// often as they are read: four proxies in front, with 2 KB each.
const maxCompared = 80 << 10

// DeleteDetours deletes the headers of Detours. Others stay: the proxy in front may have
// set them.
func (m Prefix) DeleteDetours(h http.Header, path string) { DeleteDetours(h, path, m) }

// DeleteDetours deletes those of several prefixes, for the cost of one.
func DeleteDetours(h http.Header, path string, prefixes ...Prefix) {
	for _, name := range detours(h, path, prefixes) {
		delete(h, name)
	}
}

// Detours lists headers that could make an app read a request outside the prefix as one
// below it: those with a word for a path in their name and such a path in their value,
// alone or together with another one, and all with such a name if there are too many to
// tell.
func (m Prefix) Detours(h http.Header, path string) []string {
	return detours(h, path, []Prefix{m})
}

func detours(h http.Header, path string, prefixes []Prefix) (names []string) {
	all, few := pathHeaders(h, path)
	if len(all) == 0 {
		return nil
	}
	leads, left := make([]bool, len(all)), maxCompared
	var whole, paths []detour // without a query
	for _, name := range all {
		if few {
			whole, paths = append(whole, detourOf(name, h[name])), append(paths, detourOf(name, withoutQueries(h[name])))
		}
	}
	for _, m := range prefixes {
		if left -= len(path); !few || left < 0 {
			few = false
			break
		}
		at := path
		if m.Owns(path) { // an error route may give it one outside
			at = "/"
		}
		few = m.leadAlone(whole, at, leads, &left) && m.leadTogether(paths, leads, &left)
	}
	for i, name := range all {
		if !few || leads[i] {
			names = append(names, name)
		}
	}
	return names
}

// pathHeaders lists headers whose name has a word for a path, and reports whether they
// are few and short enough to be read.
func pathHeaders(h http.Header, path string) (names []string, few bool) {
	lines, bytes := 0, 0
	for name, values := range h {
		if mayNamePath(name) {
			names = append(names, name)
			lines += len(values)
			for _, value := range values {
				bytes += len(value) + len(path)
			}
		}
	}
	return names, lines <= maxDetours && bytes <= maxCompared
}

// leadAlone marks the headers that lead below the prefix, and takes what it reads from
// what is left to be read. It reports false if that is too little.
func (m Prefix) leadAlone(read []detour, path string, leads []bool, left *int) bool {
	for i, d := range read {
		if *left -= d.compared(path); *left < 0 {
			return false
		}
		leads[i] = leads[i] || m.mayLead(d, path)
	}
	return true
}

// leadTogether is leadAlone for two headers: an app takes the path of one and removes the
// prefix of the other from it, or adds it.
func (m Prefix) leadTogether(read []detour, leads []bool, left *int) bool {
	alone := slices.Clone(leads)
	for i, prefix := range read {
		for j, other := range read {
			if i == j || alone[i] || alone[j] {
				continue
			}
			for _, path := range other.values {
				path = pathOf(path)
				if *left -= prefix.compared(path); *left < 0 {
					return false
				}
				if m.mayLead(prefix, path) {
					leads[i], leads[j] = true, true
				}
			}
		}
	}
	return true
}

// withoutQueries returns lines up to their first question mark or hash.
func withoutQueries(lines []string) (paths []string) {
	for _, line := range lines {
		if i := strings.IndexAny(line, "?#"); i >= 0 {
			line = line[:i]
		}
		paths = append(paths, line)
	}
	return paths
}

// pathOf returns the path of a value that may be a whole URL.
func pathOf(value string) string {
	if _, rest, ok := strings.Cut(value, "://"); ok {
		_, value, _ = strings.Cut(rest, "/")
	}
	return "/" + strings.TrimPrefix(value, "/")
}

// A detour is a header that apps may read as a path, or as a prefix to remove or add.
type detour struct {
	values []string // its value in all readings
	lists  []string // those that are lists, without blanks
	splits bool     // gunicorn takes what is behind it
}

// detourOf returns a header's lines, and the values that servers make of them.
func detourOf(name string, lines []string) (d detour) {
	d.splits = IsHeader(name, []string{"Script-Name"})
	if len(lines) > 1 {
		lines = append(slices.Clip(lines), strings.Join(lines, ","), strings.Join(lines, ", "))
	}
	for _, line := range lines {
		d.values = append(d.values, readings(line)...)
	}
	for _, value := range d.values {
		if list := strings.NewReplacer(" ", "", "\t", "").Replace(value); strings.Contains(list, ",") && !slices.Contains(d.lists, list) {
			d.lists = append(d.lists, list)
		}
	}
	return d
}

// readings returns a value as written, as most middleware removes it, without a query,
// and both unescaped.
func readings(value string) []string {
	value = strings.Trim(value, " \t")
	all := []string{value}
	if i := strings.IndexAny(value, "?#"); i >= 0 {
		all = append(all, value[:i])
	}
	for _, reading := range all {
		if plain := unescapeAgain(reading); plain != reading {
			all = append(all, plain)
		}
	}
	return all
}

// leastCompared is what a value counts at least, and a list four times: short ones take time
// as well.
const leastCompared = 128

// compared returns how many bytes mayLead reads at most. It counts what is removed only if
// the rest is within the limit.
func (d detour) compared(path string) (n int) {
	for _, value := range d.values {
		n += max(len(value)+len(path), leastCompared)
	}
	for _, list := range d.lists {
		n += max(3*(len(list)+len(path))+(1+strings.Count(list, ","))*len(path), 4*leastCompared)
	}
	if n > maxCompared {
		return n
	}
	path = FoldCase(path)
	for _, value := range d.values {
		n += d.tries(path, asPrefix(value)) * len(path)
	}
	for _, list := range d.lists {
		for _, removed := range removedOf(list) {
			n += d.tries(path, removed) * len(path)
		}
	}
	return n
}

// tries counts the paths that ownsWithout reads.
func (d detour) tries(path, removed string) int {
	times := timesIn(path, FoldCase(removed))
	if d.splits {
		times *= 2
	}
	return times
}

// mayLead reports whether a header could be read as a path below the prefix, or turns
// the requested path into one when removed or added.
func (m Prefix) mayLead(d detour, path string) bool {
	return slices.ContainsFunc(d.values, func(value string) bool { return m.leads(d, value, path) }) ||
		slices.ContainsFunc(d.lists, func(list string) bool { return m.listLeads(d, list, path) })
}

// leads is mayLead for one value.
func (m Prefix) leads(d detour, value, path string) bool {
	if !strings.HasPrefix(value, "/") && mentions(FoldCase(value), FoldCase(m.Base())) { // behind a host
		return true
	}
	value = asPrefix(value)
	return m.Owns(value) || m.Owns(value+path) || m.ownsWithout(d, value, path)
}

// asPrefix returns a value with the slash that apps add in front of it, and without one at
// its end.
func asPrefix(value string) string {
	return strings.TrimSuffix("/"+strings.TrimPrefix(value, "/"), "/")
}

// ownsWithout reports whether the path, which is not below the prefix, is once a part is
// removed from it: everywhere, as most languages replace, in one place, or with all that
// is in front of it, as gunicorn splits a path. Werkzeug adds the slash again if that
// takes it away.
func (m Prefix) ownsWithout(d detour, removed, path string) bool {
	removed, path = FoldCase(removed), FoldCase(path)
	times := timesIn(path, removed)
	if times > 1 && m.ownsRest(strings.ReplaceAll(path, removed, "")) {
		return true
	}
	for at := 0; times > 0; times-- {
		at += strings.Index(path[at:], removed)
		end := at + len(removed)
		if m.ownsRest(path[:at]+path[end:]) || d.splits && m.ownsRest(path[end:]) {
			return true
		}
		at = end
	}
	return false
}

func (m Prefix) ownsRest(rest string) bool { return m.Owns("/" + strings.TrimPrefix(rest, "/")) }

// timesIn counts a part that apps may remove from a path: no slash alone. Both are folded.
func timesIn(path, removed string) int {
	if removed == "" || removed == "/" {
		return 0
	}
	return strings.Count(path, removed)
}

// removedOf returns what apps may remove from a path of a list of prefixes, one per proxy:
// one of them, or all, joined with or without slashes.
func removedOf(list string) (all []string) {
	for prefix := range strings.SplitSeq(list, ",") {
		all = append(all, asPrefix(prefix))
	}
	for _, joined := range joinedOf(list) {
		all = append(all, strings.TrimSuffix(joined, "/"))
	}
	return all
}

// joinedOf joins a list of prefixes as apps do (Spring without slashes).
func joinedOf(list string) []string {
	var trimmed strings.Builder
	for prefix := range strings.SplitSeq(list, ",") {
		trimmed.WriteString(strings.TrimRight(prefix, "/"))
	}
	return []string{trimmed.String(), strings.ReplaceAll(list, ",", ""), strings.ReplaceAll(list, ",", "/")}
}

// listLeads is leads for a list of prefixes.
func (m Prefix) listLeads(d detour, list, path string) bool {
	if slices.ContainsFunc(removedOf(list), func(removed string) bool { return m.ownsWithout(d, removed, path) }) {
		return true
	}
	base := FoldCase(m.Base())
	first, _, _ := strings.Cut(strings.TrimPrefix(base, "/"), "/")
	return slices.ContainsFunc(joinedOf(list), func(joined string) bool {
		added := mentions(decodedAgain(FoldCase(joined)), first) // else the path alone mentions the prefix
		return added && mentions(decodedAgain(FoldCase(joined+path)), base)
	})
}

// mayNamePath reports whether a word of a header's name is one for a path, or begins or
// ends with one: Pathinfo, X-Originalurl.
func mayNamePath(name string) bool {
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r > unicode.MaxASCII || folded(byte(r)) == '-' }) {
		if strings.EqualFold(word, "base") || slices.ContainsFunc(pathWords, func(w string) bool {
			more := len(word) - len(w)
			return more >= 0 && (strings.EqualFold(word[:len(w)], w) || strings.EqualFold(word[more:], w))
		}) {
			return true
		}
	}
	return false
}

// IsHeader reports whether a header is one of names, or becomes one in an app that
// equates other characters with - (CGI does so with _, some servers with all but
// letters and digits).
func IsHeader(name string, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && sameHeader(name, n) {
			return true
		}
	}
	return false
}

// sameHeader compares names of the same length.
func sameHeader(a, b string) bool {
	for i := range len(a) {
		if folded(a[i]) != folded(b[i]) {
			return false
		}
	}
	return true
}

func folded(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		return c
	}
	return '-'
}
