package integration

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// deployed reads a file of deploy/.
func deployed(t testing.TB, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "deploy"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An expression is a query of deploy/ and its place.
type expression struct {
	place, text string
	shows       string // the text that it fills, with {{label}}
}

func expressions(t testing.TB) (all []expression) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(deployed(t, "grafana", "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all = append(all, expression{"panel " + p.Title, target.Expr, target.LegendFormat})
		}
	}
	for _, v := range dashboard.Templating.List {
		if args, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			metric, label, _ := strings.Cut(strings.TrimSuffix(args, ")"), ", ")
			all = append(all, expression{"variable " + v.Name, metric + "{" + label + "=~\".*\"}", ""})
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(deployed(t, "prometheus", "alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			shows := strings.ReplaceAll(strings.Join(slices.Collect(maps.Values(r.Annotations)), " "), "$labels.", "")
			all = append(all, expression{"alert " + r.Alert, r.Expr, shows})
		}
	}
	for _, b := range codeBlocks(t) {
		if b.language == "promql" {
			all = append(all, expression{b.place, b.text, ""})
		}
	}
	return all
}

var (
	sampleLine = regexp.MustCompile(`(?m)^(caddy_verify_webhook_\w+)(?:\{([^}]*)\})? `)
	metricName = regexp.MustCompile(`(caddy_verify_webhook_\w+)(?:\{([^}]*)\})?`)
	labelName  = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	template   = regexp.MustCompile(`\{\{ ?(\w+) ?\}\}`)
)

// exposed returns the metrics of a real gateway, each with its labels.
func exposed(t testing.TB) map[string][]string {
	t.Helper()
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(githubKey), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, setup{site: "handle /hooks/stripe {\nverify_webhook stripe {env.STRIPE_KEY}\nreverse_proxy APP\n}\n" +
		"handle {\nverify_webhook github {\nsecret {file." + keyFile + "} as current\ninbox\n}\nreverse_proxy APP\n}"})
	m := github.message(t)
	if got := g.status(t, m); got != http.StatusOK {
		t.Fatalf("genuine: %d", got)
	}
	g.status(t, m)                                      // a duplicate
	g.status(t, message{path: "/", body: []byte("{}")}) // a refusal
	for range 8 {                                       // of a sender that signs a time, enough to compare the clocks
		m := stripe.deliver(t, stripeKey, time.Now(), []byte(`{"id":"`+newCase()+`"}`))
		if got := g.status(t, m); got != http.StatusOK {
			t.Fatalf("genuine, with a time: %d", got)
		}
	}
	labels := make(map[string][]string)
	for _, sample := range sampleLine.FindAllStringSubmatch(g.adminGet(t, "/metrics"), -1) {
		for _, l := range labelName.FindAllStringSubmatch(sample[2], -1) {
			if !slices.Contains(labels[sample[1]], l[1]) {
				labels[sample[1]] = append(labels[sample[1]], l[1])
			}
		}
		labels[sample[1]] = append([]string{}, labels[sample[1]]...) // without labels, too
	}
	return labels
}

// TestDeployedQueries: a running gateway has every metric and label of a panel or an
// alert. deploy/check tests their syntax.
func TestDeployedQueries(t *testing.T) {
	t.Parallel()
	metrics := exposed(t)
	used := make(map[string]bool)
	for _, e := range expressions(t) {
		named := metricName.FindAllStringSubmatch(e.text, -1)
		if len(named) == 0 {
			t.Errorf("%s: no metric of ours: %s", e.place, e.text)
		}
		every := []string{"instance", "job"} // which Prometheus adds
		for _, m := range named {
			labels, ok := metrics[m[1]]
			if !ok {
				t.Errorf("%s: the gateway has no %s", e.place, m[1])
				continue
			}
			used[strings.TrimSuffix(m[1], "_bucket")] = true
			every = append(every, labels...)
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: %s has no label %s, but %v", e.place, m[1], l[1], labels)
				}
			}
		}
		var wanted []string
		for _, g := range grouping.FindAllStringSubmatch(e.text, -1) {
			wanted = append(wanted, regexp.MustCompile(`\w+`).FindAllString(g[1], -1)...)
		}
		for _, l := range template.FindAllStringSubmatch(e.shows, -1) {
			wanted = append(wanted, l[1])
		}
		for _, l := range wanted {
			if !slices.Contains(every, l) {
				t.Errorf("%s: no label %s in %v", e.place, l, every)
			}
		}
	}
	pages, _ := filepath.Glob(filepath.Join("..", "docs", "*.md"))
	for _, page := range append(pages, filepath.Join("..", "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricName.FindAllStringSubmatch(string(text), -1) {
			if name := strings.TrimSuffix(m[1], "_"); metrics[name] == nil && metrics[name+"_bucket"] == nil && name != "caddy_verify_webhook" {
				t.Errorf("%s: the gateway has no %s", filepath.Base(page), name)
			}
		}
	}
	for name := range metrics {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !used[base] {
			t.Errorf("%s: no panel and no alert looks at it", name)
		}
	}
}

// TestDeployedLinks: what alerts and panels link to is in the documentation.
func TestDeployedLinks(t *testing.T) {
	t.Parallel()
	address := regexp.MustCompile(`https://github\.com/verify-webhook/caddy-verify-webhook/blob/main/(docs/[^\s")#]+)(?:#([^\s")]+))?`)
	links := 0
	for _, file := range [][]string{{"prometheus", "alerts.yml"}, {"grafana", "dashboard.json"}} {
		text := deployed(t, file...)
		if strings.Contains(address.ReplaceAllString(text, ""), "docs/") {
			t.Errorf("%s: a path instead of an address: its reader has no checkout", file[1])
		}
		for _, m := range address.FindAllStringSubmatch(text, -1) {
			links++
			page, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(m[1])))
			if err != nil || m[2] != "" && !slices.Contains(anchors(string(page)), m[2]) {
				t.Errorf("%s: %s is not there", file[1], m[0])
			}
		}
	}
	if links < 10 {
		t.Errorf("%d links", links)
	}
}
