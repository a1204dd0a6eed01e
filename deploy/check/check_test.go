package check

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	alertsFile    = "../prometheus/alerts.yml"
	testsFile     = "../prometheus/alerts_test.yml"
	dashboardFile = "../grafana/dashboard.json"
)

func TestAlertRules(t *testing.T) {
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) == 0 {
		t.Fatal("no rules")
	}
	for _, g := range groups.Groups {
		for _, rule := range g.Rules {
			if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s: severity, summary or description is missing", rule.Alert)
			}
			if url := rule.Annotations["runbook_url"]; !strings.HasPrefix(url, "https://") {
				t.Errorf("%s: runbook_url %q: write an absolute address", rule.Alert, url)
			}
		}
	}
}

// TestDashboardQueries parses each query as Grafana would send it.
func TestDashboardQueries(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$name", ".*")
	queries := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries++
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(target.Expr)); err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
		}
	}
	if queries == 0 {
		t.Error("no queries")
	}
}

// TestPrometheusFiles loads each prometheus.yml as Prometheus would.
func TestPrometheusFiles(t *testing.T) {
	for _, path := range []string{"../prometheus/prometheus.yml", "../compose/prometheus.yml"} {
		c, err := config.LoadFile(path, false, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(c.ScrapeConfigs) != 1 || len(c.RuleFiles) != 1 {
			t.Errorf("%s: %d jobs, %d files of rules, want one each", path, len(c.ScrapeConfigs), len(c.RuleFiles))
		}
	}
}
