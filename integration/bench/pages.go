package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Pages are written between marks:
//
//	<!-- bench: candidates -->
//	what a run of this command writes
//	<!-- /bench -->

// marked matches what is written under a name.
func marked(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)(<!-- bench: ` + regexp.QuoteMeta(name) + ` -->\n).*?(<!-- /bench -->)`)
}

// fillPage puts texts between the marks of their names, and leaves other marks alone.
// Every text needs its marks.
func fillPage(page string, texts map[string]string) (string, error) {
	for name, text := range texts {
		marks := marked(name)
		if !marks.MatchString(page) {
			return "", fmt.Errorf("no <!-- bench: %s --> … <!-- /bench -->", name)
		}
		page = marks.ReplaceAllStringFunc(page, func(whole string) string {
			m := marks.FindStringSubmatch(whole)
			return m[1] + strings.TrimRight(text, "\n") + "\n" + m[2]
		})
	}
	return page, nil
}

// writePages writes tables and plots into the documentation.
func writePages(docs, page string, tables []*table, more map[string]string) error {
	texts := make(map[string]string)
	for name, text := range more {
		texts[name] = text
	}
	for _, t := range tables {
		image := "images/bench-" + t.id + ".svg"
		if err := os.WriteFile(filepath.Join(docs, image), []byte(t.plot()), 0o644); err != nil {
			return err
		}
		texts[t.section()] += t.markdown(image) + "\n"
	}
	path := filepath.Join(docs, page)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	filled, err := fillPage(string(text), texts)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(filled), 0o644)
}

// writePerformance fills docs/performance.md, and the rates of docs/sizing.md.
func (e *environment) writePerformance(tables []*table, texts map[string]string) error {
	docs, err := docsFolder()
	if err != nil {
		return err
	}
	if texts["machine"], err = e.machine(time.Now()); err != nil {
		return err
	}
	texts["legend"] = legend()
	if err := writePages(docs, "performance.md", tables, texts); err != nil {
		return err
	}
	if tables[0].id != "candidates" {
		return nil
	}
	return writePages(docs, "sizing.md", nil, map[string]string{"rates": rates(tables)})
}

// writeSizing fills docs/sizing.md.
func (e *environment) writeSizing(tables []*table, texts map[string]string) (err error) {
	docs, err := docsFolder()
	if err != nil {
		return err
	}
	if texts["machine"], err = e.machine(time.Now()); err != nil {
		return err
	}
	return writePages(docs, "sizing.md", tables, texts)
}

// rates says how many deliveries a second one core of the gateway takes.
func rates(tables []*table) string {
	text := "| | deliveries a second and core | CPU µs |\n|---|---:|---:|\n"
	for _, t := range tables {
		if t.id != "candidates" && t.id != "inbox" {
			continue
		}
		for _, r := range t.rows {
			if cpu := spreadOf(t.column(r, func(s sample) float64 { return s.CPU })).median; cpu > 0 && r.verifies && r.needs == "" && (t.id == "inbox") == strings.HasPrefix(r.name, "inbox") {
				text += fmt.Sprintf("| %s | %.0f | %.0f |\n", r, 1e6/cpu, cpu)
			}
		}
	}
	return text
}

// section is the name of its marks: the tables of all sizes of bodies are in one.
func (t *table) section() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(t.id, "scale-"), "-")
	return name
}

// markdown is the table with its plot.
func (t *table) markdown(image string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**, medians of %d rounds:\n\n", t.title, len(t.rounds))
	for i, row := range t.text() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(row)-1) + "\n")
		}
	}
	for _, what := range t.missing {
		fmt.Fprintf(&b, "\n%s.\n", what)
	}
	fmt.Fprintf(&b, "\n![%s: CPU](%s)\n", t.title, image)
	return b.String()
}

func (t *table) plot() string {
	var bars []bar
	for _, r := range t.rows {
		bars = append(bars, bar{r.String(), spreadOf(t.column(r, func(s sample) float64 { return s.CPU }))})
	}
	return plot("CPU µs of the gateway for a delivery; "+t.title, bars)
}

// legend says what the candidates are.
func legend() string {
	text := "| row | what it is |\n|---|---|\n"
	for _, c := range append(candidates, refusing) {
		text += fmt.Sprintf("| %s | %s |\n", c.name, c.about)
	}
	return text
}

// machine says where and when the figures were taken, and of which versions.
func (e *environment) machine(now time.Time) (string, error) {
	built, err := buildinfo.ReadFile(e.caddy)
	if err != nil {
		return "", err
	}
	versions := []string{built.GoVersion, runtime.GOOS + "/" + runtime.GOARCH}
	for _, m := range built.Deps {
		if m.Path == "github.com/caddyserver/caddy/v2" {
			versions = append(versions, "Caddy "+m.Version)
		}
	}
	for _, program := range []struct{ name, flag, known string }{{"redis-server", "--version", "Redis"}, {"nginx", "-v", "nginx"}} {
		if out, err := exec.Command(program.name, program.flag).CombinedOutput(); err == nil {
			versions = append(versions, program.known+" "+regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out)))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, on %d cores of %s, Linux %s; %s.\n", now.Format(time.DateOnly), runtime.NumCPU(), processor(), strings.TrimSpace(string(kernel)), strings.Join(versions, ", ")), nil
}

// processor is its name, as Linux knows it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return "an unnamed processor"
}

// docsFolder is that of the module in whose tree the command runs.
func docsFolder() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "docs"), nil
}
