package check

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v3"
)

// alertTests is what we use of the format of "promtool test rules".
type alertTests struct {
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []alertTest
}

type alertTest struct {
	Name        string
	Interval    model.Duration
	InputSeries []struct{ Series, Values string } `yaml:"input_series"`
	AlertRules  []struct {
		EvalTime  model.Duration `yaml:"eval_time"`
		Name      string         `yaml:"alertname"`
		ExpAlerts []struct {
			Labels      map[string]string `yaml:"exp_labels"`
			Annotations map[string]string `yaml:"exp_annotations"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

func TestAlerts(t *testing.T) {
	text, err := os.ReadFile(testsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file alertTests
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fired := make(map[string]bool)
	for _, test := range file.Tests {
		for _, r := range test.AlertRules {
			fired[r.Name] = fired[r.Name] || len(r.ExpAlerts) > 0
		}
		t.Run(test.Name, func(t *testing.T) { test.run(t, time.Duration(file.EvaluationInterval)) })
	}
	for name := range load(t, nil) {
		if !fired[name] {
			t.Errorf("%s: no test in which it fires", name)
		}
	}
}

// run evaluates all alerts as Prometheus would, from time 0 on.
func (test alertTest) run(t *testing.T, every time.Duration) {
	input := fmt.Sprintf("load %s\n", test.Interval)
	for _, s := range test.InputSeries {
		input += fmt.Sprintf("  %s %s\n", s.Series, s.Values)
	}
	suite, err := promqltest.NewLazyLoader(input, promqltest.LazyLoaderOpts{})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	alerts := load(t, suite)
	last := time.Duration(0)
	for _, r := range test.AlertRules {
		last = max(last, time.Duration(r.EvalTime))
	}
	for at := time.Duration(0); at <= last; at += every {
		ts := time.Unix(0, 0).Add(at).UTC()
		suite.WithSamplesTill(ts, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range alerts {
				a.group.Eval(suite.Context(), ts)
				if err := a.LastError(); err != nil {
					t.Fatalf("%s: %v", a.Name(), err)
				}
			}
		})
		for _, r := range test.AlertRules {
			if time.Duration(r.EvalTime) != at {
				continue
			}
			var want []string
			for _, e := range r.ExpAlerts {
				want = append(want, describe(e.Labels, e.Annotations))
			}
			slices.Sort(want)
			if got := alerts[r.Name].firing(); !slices.Equal(got, want) {
				t.Errorf("%s at %s:\n got %q\nwant %q", r.Name, at, got, want)
			}
		}
	}
}

// An alert is a rule in a group of its own, so that each is evaluated once.
type alert struct {
	*rules.AlertingRule
	group *rules.Group
}

// load reads the alerts. Without a suite they can be listed alone.
func load(t *testing.T, suite *promqltest.LazyLoader) map[string]alert {
	t.Helper()
	options := &rules.ManagerOptions{
		Context:    context.Background(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     slog.New(slog.DiscardHandler),
		Parser:     parser.NewParser(parser.Options{}),
	}
	if suite != nil {
		options.Context = suite.Context()
		options.QueryFunc = rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage())
		options.Appendable = suite.Storage()
	}
	groups, errs := rules.NewManager(options).LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, alertsFile)
	if errs != nil {
		t.Fatal(errs)
	}
	all := make(map[string]alert)
	for _, g := range groups {
		for _, rule := range g.Rules() {
			single := rules.NewGroup(rules.GroupOptions{Name: rule.Name(), Interval: time.Minute, Rules: []rules.Rule{rule}, Opts: options})
			all[rule.Name()] = alert{rule.(*rules.AlertingRule), single}
		}
	}
	return all
}

// firing describes what the alert says now.
func (a alert) firing() (all []string) {
	for _, active := range a.ActiveAlerts() {
		if active.State == rules.StateFiring {
			all = append(all, describe(active.Labels.Map(), active.Annotations.Map()))
		}
	}
	slices.Sort(all)
	return all
}

// describe leaves out the alert's name, which the tests give once.
func describe(label, annotation map[string]string) string {
	var b strings.Builder
	for _, m := range []map[string]string{label, annotation} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if name != "alertname" {
				fmt.Fprintf(&b, "%s: %s\n", name, m[name])
			}
		}
	}
	return b.String()
}
