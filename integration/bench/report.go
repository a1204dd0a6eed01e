package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes a table for a terminal.
func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s: medians of %d rounds; ratios to %s, with the least and the most.\n\n", t.title, len(t.rounds), t.rows[0])
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range t.text() {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	w.Flush()
	for _, what := range t.missing {
		fmt.Fprintln(out, what)
	}
}

// A column is one figure of a row.
type column struct {
	head  string
	print string // its format
	ratio bool   // beside it, the ratio to the first row
	of    func(sample) float64
}

var columns = []column{
	{"deliveries/s", "%.0f", true, func(s sample) float64 { return s.Throughput }},
	{"CPU µs", "%.1f", true, func(s sample) float64 { return s.CPU }},
	{"p50 µs", "%.0f", false, func(s sample) float64 { return s.P50 }},
	{"p99 µs", "%.0f", true, func(s sample) float64 { return s.P99 }},
	{"p99.9 µs", "%.0f", false, func(s sample) float64 { return s.P999 }},
	{"allocations", "%.0f", false, func(s sample) float64 { return s.Allocations }},
	{"KiB", "%.1f", false, func(s sample) float64 { return s.Bytes / 1024 }},
	{"collector µs", "%.1f", false, func(s sample) float64 { return s.Collecting }},
	{"resident MiB", "%.0f", false, func(s sample) float64 { return s.Resident / (1 << 20) }},
	{"dials", "%.2f", false, func(s sample) float64 { return s.Dialed }},
}

// text is the table with a head, without the columns in which nothing is.
func (t *table) text() [][]string {
	all := make([][]string, 1+len(t.rows))
	all[0] = []string{""}
	for i, r := range t.rows {
		all[i+1] = []string{r.String()}
	}
	for _, c := range columns {
		cells, some := make([][]string, len(all)), false
		cells[0] = []string{c.head}
		if c.ratio {
			cells[0] = append(cells[0], "ratio")
		}
		for i, r := range t.rows {
			values := t.column(r, c.of)
			cell, ratio := "", ""
			if median := spreadOf(values).median; median != 0 {
				cell, some = fmt.Sprintf(c.print, median), true
				if i > 0 {
					ratio = paired(values, t.column(t.rows[0], c.of)).String()
				}
			}
			cells[i+1] = append(cells[i+1], cell)
			if c.ratio {
				cells[i+1] = append(cells[i+1], ratio)
			}
		}
		for i := range all {
			if some {
				all[i] = append(all[i], cells[i]...)
			}
		}
	}
	return all
}

// String is a ratio with its range.
func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.least, s.most) }
