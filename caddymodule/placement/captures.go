package placement

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// captures are the placeholders of regular expressions that look at what a client writes
// beside the path, each with what it may become. Expressions without a name share theirs.
type captures map[string][]capture

// A capture is a part of a regular expression that a placeholder has the match of.
type capture struct {
	whole   *regexp.Regexp // matches all of it
	samples []string
}

// add reads the matchers of a route. Expressions in CEL may set every placeholder to
// anything: they are left free.
func (c captures) add(sets caddyhttp.MatcherSets) {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHeaderRE:
				c.addAll(*m)
			case *caddyhttp.MatchVarsRE:
				c.addAll(*m)
			case *caddyhttp.MatchNot:
				for _, set := range m.MatcherSets {
					c.add(caddyhttp.MatcherSets{set})
				}
			case *caddyhttp.MatchExpression:
				if strings.Contains(m.Expr, "_regexp") {
					c[anyCapture] = nil
				}
			}
		}
	}
}

// anyCapture is in captures if each may be anything.
const anyCapture = ""

func (c captures) addAll(expressions map[string]*caddyhttp.MatchRegexp) {
	for re := range maps.Values(expressions) {
		if tree, err := syntax.Parse(re.Pattern, syntax.Perl); err == nil {
			c.addCapture(re.Name, "0", tree)
			c.addCaptures(re.Name, tree)
		}
	}
}

// addCaptures adds the captures in a part of an expression.
func (c captures) addCaptures(expression string, part *syntax.Regexp) {
	if part.Op == syntax.OpCapture {
		c.addCapture(expression, strconv.Itoa(part.Cap), part)
		if part.Name != "" {
			c.addCapture(expression, part.Name, part)
		}
	}
	for _, sub := range part.Sub {
		c.addCaptures(expression, sub)
	}
}

func (c captures) addCapture(expression, name string, part *syntax.Regexp) {
	whole, err := regexp.Compile("^(?:" + part.String() + ")$")
	if err != nil {
		c[anyCapture] = nil
		return
	}
	one := capture{whole: whole}
	for _, sample := range few(samplesOf(part), "") {
		one.samples = append(one.samples, strings.ReplaceAll(sample, "\x00", "x"))
	}
	names := []string{"{http.regexp." + name + "}"}
	if expression != "" {
		names = append(names, "{http.regexp."+expression+"."+name+"}")
	}
	for _, name := range names {
		c[name] = append(c[name], one)
	}
}

// allow reports whether a placeholder may become a value.
func (c captures) allow(placeholder, value string) bool {
	all, known := c[placeholder]
	_, free := c[anyCapture]
	return !known || free || value == "" || slices.ContainsFunc(all, func(one capture) bool { return one.whole.MatchString(value) })
}

// expand adds to texts those with samples in the place of placeholders.
func (c captures) expand(texts []string) []string {
	for i := 0; i < len(texts) && len(c) > 0; i++ {
		for _, placeholder := range placeholders.FindAllString(texts[i], -1) {
			for _, one := range c[placeholder] {
				for _, sample := range one.samples {
					if len(texts) < maxFixed {
						texts = append(texts, strings.Replace(texts[i], placeholder, sample, 1))
					}
				}
			}
		}
	}
	return texts
}
