package page

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/waybill-dev/waybill/bench/internal/suite"
)

// The measures of the plot, in points.
const (
	width, labels, numbers = 760, 210, 90
	barHeight, barGap      = 18, 8
	titleHeight, panelGap  = 34, 22
)

// style makes the plot readable on a light and on a dark page: it has no background of its own.
const style = `
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.other { fill: #8c959f; }
.ours { fill: #1f6feb; }
.spread { stroke: #1f2328; stroke-width: 1.5; fill: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .other { fill: #6e7681; }
  .ours { fill: #4493f8; }
  .spread { stroke: #e6edf3; }
}
`

// plotted are the panels, from above.
var plotted = []measure{
	{"noop", "Handler that does nothing: jobs a second (more is better)", "/s", false, rate},
	{"noop", "Handler that does nothing: processor time a job (less is better)", " µs", true, micros},
	{"work", "Handler of 1 ms: jobs a second (more is better)", "/s", false, rate},
	{"latency", "Idle, from enqueue to start: p99 (less is better)", " ms", true, p99},
}

// plot writes horizontal bars, a panel for each measure that has results: the median, and a line from the lowest to the highest round.
func plot(w io.Writer, results []suite.Result) error {
	var b strings.Builder
	y := 0
	for _, m := range plotted {
		if list := bars(results, m); len(list) > 0 {
			y = panel(&b, y, m, list)
		}
	}
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"Benchmarks\">\n<style>%s</style>\n%s</svg>\n",
		width, y, width, y, style, b.String())
	return err
}

func panel(b *strings.Builder, y int, m measure, list []bar) int {
	fmt.Fprintf(b, "<text class=\"title\" x=\"0\" y=\"%d\">%s</text>\n", y+20, html.EscapeString(m.Title))
	y += titleHeight
	most := 0.0
	for _, l := range list {
		most = max(most, l.spread.high)
	}
	scale := func(v float64) float64 { return v / most * (width - labels - numbers) }
	for _, l := range list {
		class := "other"
		if strings.HasPrefix(l.peer.ID, "waybill") {
			class = "ours"
		}
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", labels-8, y+14, html.EscapeString(l.peer.Name))
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", class, labels, y, scale(l.spread.median), barHeight)
		from, to := labels+scale(l.spread.low), labels+scale(l.spread.high)
		fmt.Fprintf(b, "<path class=\"spread\" d=\"M%.1f %dH%.1f\"/>\n", from, y+barHeight/2, to)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s%s</text>\n", to+6, y+14, show(l.spread.median), m.Unit)
		y += barHeight + barGap
	}
	return y + panelGap
}
