package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A bar is a row of a plot: a median, and a thin line from the least to the most.
type bar struct {
	label string
	spread
}

// plot draws bars as SVG, readable on a light and on a dark page.
func plot(title string, bars []bar) string {
	const width, left, right, top, step = 720, 215, 60, 34, 22
	most := 0.0
	for _, b := range bars {
		most = max(most, b.most)
	}
	x := func(v float64) float64 { return left + v/most*(width-left-right) }
	var svg strings.Builder
	height := top + step*len(bars) + 8
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.bar { fill: #4a7fb5 }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .range { stroke: #e6edf3 } }
</style>
<text class="title" x="0" y="16">%[3]s</text>
`, width, height, html.EscapeString(title))
	for i, b := range bars {
		if math.IsNaN(b.median) {
			continue
		}
		y := top + step*i
		fmt.Fprintf(&svg, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+12, html.EscapeString(b.label))
		fmt.Fprintf(&svg, `<rect class="bar" x="%d" y="%d" width="%.1f" height="14"/>`, left, y, x(b.median)-left)
		fmt.Fprintf(&svg, `<line class="range" x1="%.1f" y1="%d" x2="%.1f" y2="%[2]d"/>`, x(b.least), y+7, x(b.most))
		fmt.Fprintf(&svg, `<text x="%.1f" y="%d">%s</text>`+"\n", x(b.most)+6, y+12, short(b.median))
	}
	return svg.String() + "</svg>\n"
}

// short is a figure with three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
