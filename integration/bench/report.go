package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes a group for a terminal.
func (g *group) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s. Medians of %d rounds; ratios to %s, with the least and the most.\n\n", g.title, len(g.rounds), g.cases[0].name())
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range g.table() {
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	t.Flush()
	for _, what := range g.missing {
		fmt.Fprintln(out, what)
	}
}

// table is the group as text, with a head.
func (g *group) table() [][]string {
	table := [][]string{{"", "deliveries/s", "ratio", "CPU µs", "ratio", "p50 µs", "p99 µs", "p99.9 µs", "p99 ratio", "allocs", "KB"}}
	base := g.cases[0].name()
	for _, m := range g.cases {
		name := m.name()
		median := func(of func(sample) float64, format string) string {
			s := spreadOf(g.column(name, of))
			if s.median == 0 {
				return ""
			}
			return fmt.Sprintf(format, s.median)
		}
		ratio := func(of func(sample) float64) string {
			if name == base {
				return ""
			}
			return paired(g.column(name, of), g.column(base, of)).String()
		}
		row := []string{name,
			median(func(s sample) float64 { return s.Throughput }, "%.0f"), ratio(func(s sample) float64 { return s.Throughput }),
			median(func(s sample) float64 { return s.CPU }, "%.1f"), ratio(func(s sample) float64 { return s.CPU }),
			median(func(s sample) float64 { return s.P50 }, "%.0f"), median(func(s sample) float64 { return s.P99 }, "%.0f"),
			median(func(s sample) float64 { return s.P999 }, "%.0f"), "",
			median(func(s sample) float64 { return s.Allocations }, "%.0f"), median(func(s sample) float64 { return s.Bytes / 1024 }, "%.1f"),
		}
		if m.mix == fresh {
			row[8] = ratio(func(s sample) float64 { return s.P99 })
		}
		table = append(table, row)
	}
	return table
}

// String is a ratio with its range.
func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.least, s.most) }
