package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// axes is a plane of data coordinates in an SVG drawing. Colours are variables of
// the page's style sheet, so that the page can have light and dark ones.
type axes struct {
	svg                      strings.Builder
	height                   float64
	left, right, top, bottom float64 // edges of the plane in pixels, from the top left corner
	x, y                     span
}

// span is what an axis shows.
type span struct{ low, high float64 }

// add widens the span to a value.
func (s *span) add(v float64) { s.low, s.high = min(s.low, v), max(s.high, v) }

// open is the span, or one around it if it is a single value.
func (s span) open() span {
	if s.low < s.high {
		return s
	}
	margin := max(1, math.Abs(s.low)/10)
	return span{s.low - margin, s.high + margin}
}

// padded is the span with a margin for marks and labels at its ends.
func (s span) padded() span {
	margin := (s.high - s.low) / 30
	return span{s.low - margin, s.high + margin}
}

// width of a chart in pixels, which the page scales to the space there is.
const width = 560

// textWidth estimates the width of a text, rather from above: a glyph of the page's fonts is half as wide as it is high, or a little more.
func textWidth(s string) float64 { return 7.6 * float64(utf8.RuneCountInString(s)) }

// newAxes is a plane with room for labels beside and below it.
func newAxes(height, left float64, x, y span) *axes {
	a := &axes{height: height, left: left, right: width - 14, top: 6, bottom: height - 44, x: x.open(), y: y.open()}
	a.line("rule", .5, "none", a.left, a.bottom, a.right, a.bottom)
	return a
}

// at is where a point of the plane lies in pixels.
func (a *axes) at(x, y float64) (float64, float64) {
	return a.left + (x-a.x.low)/(a.x.high-a.x.low)*(a.right-a.left), a.bottom - (y-a.y.low)/(a.y.high-a.y.low)*(a.bottom-a.top)
}

// line draws a line between pixels; dash is its stroke-dasharray.
func (a *axes) line(color string, width float64, dash string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&a.svg, `<path d="M%.2f %.2fL%.2f %.2f" style="stroke:var(--%s);stroke-width:%g;stroke-dasharray:%s"/>`+"\n", x1, y1, x2, y2, color, width, dash)
}

// curve draws a line through points, and a dot at the last.
func (a *axes) curve(color string, points []point) {
	x, y := a.at(points[0].X, points[0].Y)
	fmt.Fprintf(&a.svg, `<path d="M%.2f %.2f`, x, y)
	for _, p := range points[1:] {
		x, y = a.at(p.X, p.Y)
		fmt.Fprintf(&a.svg, "L%.2f %.2f", x, y)
	}
	fmt.Fprintf(&a.svg, `" style="fill:none;stroke:var(--%s);stroke-width:1.6"/>`+"\n", color)
	a.dot(color, false, x, y)
}

// dot draws a dot at a pixel, filled or hollow.
func (a *axes) dot(color string, hollow bool, x, y float64) {
	fill := color
	if hollow {
		fill = "paper"
	}
	fmt.Fprintf(&a.svg, `<circle cx="%.2f" cy="%.2f" r="3" style="fill:var(--%s);stroke:var(--%s);stroke-width:1.6"/>`+"\n", x, y, fill, color)
}

// band shades the area between two lines.
func (a *axes) band(color string, low, high []point) {
	all := slices.Clone(high)
	for _, p := range slices.Backward(low) {
		all = append(all, p)
	}
	command := "M"
	a.svg.WriteString(`<path d="`)
	for _, p := range all {
		x, y := a.at(p.X, p.Y)
		fmt.Fprintf(&a.svg, "%s%.2f %.2f", command, x, y)
		command = "L"
	}
	fmt.Fprintf(&a.svg, `Z" style="fill:var(--%s);fill-opacity:.15;stroke:none"/>`+"\n", color)
}

// bar draws a bar from 0 to a value, of which top and height are pixels.
func (a *axes) bar(color string, value, top, height float64) {
	from, _ := a.at(0, 0)
	to, _ := a.at(value, 0)
	fmt.Fprintf(&a.svg, `<rect x="%.2f" y="%.2f" width="%.2f" height="%g" style="fill:var(--%s)"/>`+"\n", from, top, to-from, height, color)
}

// text writes at a pixel, where it begins ("start"), has its middle or ends; attributes are more SVG.
func (a *axes) text(x, y float64, anchor, text, attributes string) {
	fmt.Fprintf(&a.svg, `<text x="%.2f" y="%.2f" dy=".35em" style="fill:var(--ink);font-size:13px;text-anchor:%s" %s>%s</text>`+"\n",
		x, y, anchor, attributes, template.HTMLEscapeString(text))
}

// xAxis labels the axis below the plane at some values, with lines through the plane if grid.
func (a *axes) xAxis(title string, values []float64, label func(float64) string, grid bool) {
	for _, v := range values {
		x, _ := a.at(v, a.y.low)
		if grid {
			a.line("rule", .5, "none", x, a.top, x, a.bottom)
		}
		a.line("rule", .5, "none", x, a.bottom, x, a.bottom+5)
		a.text(x, a.bottom+14, "middle", label(v), "")
	}
	a.text((a.left+a.right)/2, a.bottom+34, "middle", title, "")
}

// yAxis labels the axis beside the plane, with lines through the plane.
func (a *axes) yAxis(title string, label func(float64) string) {
	a.line("rule", .5, "none", a.left, a.top, a.left, a.bottom)
	for _, v := range ticks(a.y) {
		_, y := a.at(a.x.low, v)
		a.line("rule", .5, "none", a.left-5, y, a.right, y)
		a.text(a.left-8, y, "end", label(v), "")
	}
	middle := (a.top + a.bottom) / 2
	a.text(8, middle, "middle", title, fmt.Sprintf(`transform="rotate(-90 8 %.2f)"`, middle))
}

// html is the drawing as an element of an HTML document.
func (a *axes) html() template.HTML {
	return template.HTML(fmt.Sprintf(`<svg width="%d" height="%g" viewBox="0 0 %d %g">`+"\n%s</svg>", width, a.height, width, a.height, &a.svg)) // text is escaped
}

// tickStep is the least round number of which at most five fit into a span.
func tickStep(s span) float64 {
	power := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/5)))
	for _, digit := range []float64{1, 2, 5} {
		if (s.high-s.low)/(digit*power) <= 5*(1+1e-9) {
			return digit * power
		}
	}
	return 10 * power
}

// ticks are the multiples of the step in a span.
func ticks(s span) []float64 {
	step := tickStep(s)
	var all []float64
	for i := math.Ceil(s.low/step - 1e-9); len(all) <= 5 && i <= s.high/step+1e-9; i++ {
		all = append(all, i*step+0) // -0 is 0
	}
	return all
}

// decimals formats a tick of a span with as many decimals as the step has.
func (s span) decimals(v float64) string {
	return fmt.Sprintf("%.*f", max(0, -int(math.Floor(math.Log10(tickStep(s))+1e-9))), v)
}
