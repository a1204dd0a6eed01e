package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestFillPage(t *testing.T) {
	const page = "# Title\n\n<!-- bench: a -->\nold\n<!-- /bench -->\n\nby hand\n\n<!-- bench: b -->\nkept\n<!-- /bench -->\n"
	got, err := fillPage(page, map[string]string{"a": "new $1\n\n"})
	want := "# Title\n\n<!-- bench: a -->\nnew $1\n<!-- /bench -->\n\nby hand\n\n<!-- bench: b -->\nkept\n<!-- /bench -->\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	if again, err := fillPage(got, map[string]string{"a": "new $1"}); err != nil || again != want {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if _, err := fillPage(page, map[string]string{"c": "x"}); err == nil || !strings.Contains(err.Error(), "<!-- bench: c -->") {
		t.Errorf("without marks: %v", err)
	}
}

func sampleTable() *table {
	first, second := named("plain"), named("memory")
	return &table{
		id: "candidates", title: "Bodies of 1 KiB & more", rows: []row{{first, fresh}, {second, forged}},
		rounds: []map[string]sample{
			{"plain": {Throughput: 1000, CPU: 100}, "memory, forged": {Throughput: 2000, CPU: 40}},
			{"plain": {Throughput: 1000, CPU: 200}, "memory, forged": {Throughput: 3000, CPU: 60}},
		},
		missing: []string{"webhook: webhook is not installed"},
	}
}

func TestMarkdown(t *testing.T) {
	text := sampleTable().markdown("images/x.svg")
	for _, want := range []string{
		"|  | deliveries/s | ratio | CPU µs | ratio |\n|---|---:|---:|---:|---:|\n",
		"| plain | 1000 |  | 150.0 |  |\n",
		"| memory, forged | 2500 | 2.50 (2.00–3.00) | 50.0 | 0.35 (0.30–0.40) |\n",
		"\nwebhook: webhook is not installed.\n",
		"(images/x.svg)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestPlotIsXML(t *testing.T) {
	text := sampleTable().plot()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	for _, want := range []string{"memory, forged", ">50.0<", "&amp; more"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// Every table of a run has its marks in a page, and every mark is written.
func TestDocumentedTables(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"performance.md machine": true, "performance.md legend": true, "performance.md generator": true,
		"sizing.md machine": true, "sizing.md rates": true, "sizing.md stores": true, "sizing.md stored": true}
	for page, tables := range map[string][]*table{"performance.md": o.tables(), "sizing.md": o.scaleTables()} {
		for _, t := range tables {
			want[page+" "+t.section()] = true
		}
	}
	marks := regexp.MustCompile(`<!-- bench: (\w+) -->\n(?s:.*?)<!-- /bench -->`)
	got := make(map[string]bool)
	for _, page := range []string{"performance.md", "sizing.md"} {
		for _, m := range marks.FindAllStringSubmatch(read(t, "docs", page), -1) {
			got[page+" "+m[1]] = true
		}
	}
	for name := range want {
		if !got[name] {
			t.Errorf("%s has no marks", name)
		}
	}
	for name := range got {
		if !want[name] {
			t.Errorf("%s is never written", name)
		}
	}
}

// The commands of the documentation have flags that exist.
func TestDocumentedCommands(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^go run \./integration/bench ?(.*?)(?: *#.*)?$`)
	n := 0
	for _, file := range [][]string{{"docs", "performance.md"}, {"CONTRIBUTING.md"}} {
		for _, m := range commands.FindAllStringSubmatch(read(t, file...), -1) {
			n++
			args := strings.Fields(strings.ReplaceAll(m[1], "'", ""))
			if _, err := parse(args, io.Discard); err != nil && m[1] != "-help" {
				t.Errorf("%s: %s: %v", file, m[0], err)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d commands found", n)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEntriesAreBounded(t *testing.T) {
	if got := entries(100_000); len(got) != 2 || got[1] != 100_000 {
		t.Errorf("up to 100000: %v", got)
	}
}
