package placement

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// Regular expressions, expressions and patterns with a star in front of a text may exclude
// each other, or the paths around them. So what is guessed from one of them is a sample of a
// seat only if every matcher on the trail to it lets it pass.

// A step of a trail is a route or a rewrite.
type step struct {
	route   *caddyhttp.Route
	rewrite *rewrite.Rewrite
}

// prove keeps those paths of a seat that reach it, or guesses some. Without one the seat
// is vague.
func (s *survey) prove(at *seat) {
	if !at.doubt || at.vague {
		return
	}
	paths := s.reaching(at, at.paths)
	if len(paths) == 0 {
		paths, at.tried = s.reaching(at, at.guesses), true
	}
	if at.vague = len(paths) == 0; !at.vague {
		at.paths = paths
	}
	at.partial = at.tried && slices.ContainsFunc(paths, func(path string) bool { return !slices.Contains(at.literal, path) })
}

// reaching returns the first distinct paths that lead to the seat under one of its hosts.
func (s *survey) reaching(at *seat, paths []string) (reach []string) {
	for i, path := range paths {
		leads := func(host string) bool { return s.leads(at, spot{host, path}) }
		if !slices.Contains(paths[:i], path) && len(reach) < maxSamples && slices.ContainsFunc(at.hosts, leads) {
			reach = append(reach, path)
		}
	}
	return reach
}

// leads reports whether a request passes all matchers and rewrites above the seat. Other
// routes may answer it earlier.
func (s *survey) leads(to *seat, at spot) bool {
	m := imagine(to.handler.Method, s.secure[to.server], at.host, at.path)
	for _, step := range to.steps {
		if s.budget--; s.budget <= 0 {
			return false
		}
		if step.rewrite != nil {
			m = m.rewrite(step.rewrite)[0]
			continue
		}
		if v := m.judge(matchersOf(step.route)); v == never || v == unclear {
			return false
		}
	}
	return true
}

// guesses lists paths, as called, that the matchers of the trail may match: the samples
// of one, alone and below the prefix of another, with a text where any may be.
func (t trail) guesses(any string) (paths []string) {
	var folders []string
	for _, l := range t.layers {
		for _, pattern := range l.patterns {
			if folder, below := strings.CutSuffix(pattern, "/*"); below && isPlain(folder) {
				folders = append(folders, folder)
			}
		}
	}
	for i, l := range slices.Backward(t.layers) {
		for _, path := range l.examples(any) {
			paths = append(paths, calledAs(path, t.layers[:i]))
			for _, folder := range folders {
				paths = append(paths, calledAs(folder+path, t.layers[:i]))
			}
		}
	}
	return paths[:min(len(paths), maxFixed)]
}

// examples lists paths that the layer may match, with a text where any may be.
func (l layer) examples(any string) (paths []string) {
	for _, pattern := range l.patterns {
		paths = append(paths, exampleOf(pattern, any))
	}
	for _, sample := range l.samples {
		paths = append(paths, "/"+strings.TrimPrefix(strings.ReplaceAll(sample, "\x00", any), "/"))
	}
	return slices.DeleteFunc(paths, func(path string) bool { return path == "" })
}

// exampleOf returns a path that a pattern matches, as far as one can tell from it alone; ""
// for one with a placeholder.
func exampleOf(pattern, any string) string {
	if strings.Contains(pattern, "{") {
		return ""
	}
	class := "$1"
	if any != "x" {
		class = "$2"
	}
	text := classes.ReplaceAllString(pattern, class)
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	return "/" + strings.TrimPrefix(strings.NewReplacer("*", any, "?", any, `\`, "").Replace(text), "/")
}

// classes are those of path.Match, with their first two characters. One that excludes
// characters is none of them.
var classes = regexp.MustCompile(`\[([^\]^])-?([^\]]?)[^\]]*\]`)

// samplesOfRoute lists texts that the regular expressions and expressions of a route may
// match, as samplesOfRegexp does.
func samplesOfRoute(route *caddyhttp.Route) (samples []string) {
	for _, set := range matchersOf(route) {
		for _, matcher := range set {
			for _, pattern := range patternsOf(matcher) {
				samples = append(samples, samplesOfRegexp(pattern)...)
			}
			if m, ok := matcher.(*caddyhttp.MatchExpression); ok {
				samples = append(samples, samplesOfExpression(m.Expr)...)
			}
		}
	}
	return samples
}

// samplesOfExpression takes each quoted text that has a slash for a path, a pattern or a
// regular expression.
func samplesOfExpression(expression string) (samples []string) {
	for _, quoted := range quotes.FindAllString(expression, -1) {
		text := quoted[1 : len(quoted)-1]
		switch {
		case !strings.Contains(text, "/"):
		case strings.ContainsAny(text, `^$\()`):
			samples = append(samples, samplesOfRegexp(text)...)
		default:
			begin, _, _ := strings.Cut(text, "*")
			samples = append(samples, strings.ReplaceAll(text, "*", "\x00"), begin)
		}
	}
	return samples
}

var quotes = regexp.MustCompile("'[^']*'|\"[^\"]*\"|`[^`]*`")

// patternsOf lists the regular expressions that a matcher holds against the path.
func patternsOf(matcher any) (patterns []string) {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPathRE:
		patterns = append(patterns, m.Pattern)
	case *caddyhttp.MatchVarsRE:
		for key, re := range *m {
			if isFollowed(strings.Trim(key, "{}")) {
				patterns = append(patterns, re.Pattern)
			}
		}
	}
	return patterns
}
