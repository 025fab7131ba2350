package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/study"
)

// drawn are the nets in a study's charts, with the colors that they have in a run's.
var drawn = []struct {
	net string
	hue int
}{{recipe.Unified, 1}, {recipe.UnifiedSubsetBatches, 2}, {study.Routed, 0}}

// budgetChart draws the nets of one arm by budget, each with a band of its interval, on the axes of all arms.
func budgetChart(arm string, lines, all []study.Line) *chart {
	ch := &chart{Alt: fmt.Sprintf("Mean over tasks by images seen, %s, with 95 %% intervals", arm)}
	x, y := span{math.Inf(1), math.Inf(-1)}, span{math.Inf(1), math.Inf(-1)}
	for _, l := range all {
		x.add(math.Log10(float64(l.Images)))
		for _, d := range drawn {
			m := meanOf(l, d.net)
			y.add(m.Low)
			y.add(m.High)
		}
	}
	y = y.open()
	left := 36.
	for _, v := range ticks(y) {
		left = max(left, 28+textWidth(y.decimals(v)))
	}
	a := newAxes(300, left, x.padded(), y)
	var budgets []float64
	for _, l := range lines {
		budgets = append(budgets, math.Log10(float64(l.Images)))
	}
	a.xAxis("images seen", budgets, func(v float64) string { return compact(int64(math.Round(math.Pow(10, v)))) }, true)
	a.yAxis("% on the test images", a.y.decimals)
	points := func(net string, value func(study.Mean) float64) (all []point) {
		for i, l := range lines {
			all = append(all, point{budgets[i], value(meanOf(l, net))})
		}
		return all
	}
	for _, d := range drawn {
		a.band(hueName(d.hue),
			points(d.net, func(m study.Mean) float64 { return m.Low }), points(d.net, func(m study.Mean) float64 { return m.High }))
	}
	for _, d := range drawn {
		mean := points(d.net, func(m study.Mean) float64 { return m.Mean })
		a.curve(hueName(d.hue), mean)
		for _, p := range mean[:len(mean)-1] {
			px, py := a.at(p.X, p.Y)
			a.dot(hueName(d.hue), false, px, py)
		}
		last := mean[len(mean)-1].Y
		ch.Legend = append(ch.Legend, series{hueName(d.hue), fmt.Sprintf("%s: %.1f", study.Title(d.net), last)})
		ch.Alt += fmt.Sprintf("; %s from %.1f to %.1f", study.Title(d.net), mean[0].Y, last)
	}
	ch.SVG = a.html()
	return ch
}

// difference is one between two nets in percentage points, with the ends of its 95 % interval, and level if that contains 0.
type difference struct {
	Difference, Low, High float64
	Level                 bool
}

// gains returns those of lines.
func gains(rows []named[study.Line]) (all []named[difference]) {
	for _, r := range rows {
		all = append(all, named[difference]{r.Name, gain(r.Of)})
	}
	return all
}

// gainChart draws the difference of the routed net to the unified one of every row, with its interval.
func gainChart(of, where string, rows []named[difference]) *chart {
	ch := &chart{Alt: fmt.Sprintf("Routed − unified by %s, %s, with 95 %% intervals", of, where)}
	const height = 22.
	var x span // contains 0
	left := 0.
	for _, r := range rows {
		left = max(left, 8+textWidth(shorten(r.Name)))
		x.add(r.Of.Low)
		x.add(r.Of.High)
	}
	a := newAxes(50+float64(len(rows))*height, left, x.padded(), span{0, 1})
	a.xAxis("percentage points", ticks(a.x), func(v float64) string { return minus(a.x.decimals(v)) }, true)
	zero, _ := a.at(0, 0)
	a.line("ink", 1, "none", zero, a.top, zero, a.bottom)
	for i, r := range rows {
		c, y := r.Of, a.top+height*(float64(i)+.5)
		low, _ := a.at(c.Low, 0)
		at, _ := a.at(c.Difference, 0)
		high, _ := a.at(c.High, 0)
		a.text(a.left-6, y, "end", shorten(r.Name), "")
		a.line(hueName(0), 1.6, "none", low, y, high, y)
		a.dot(hueName(0), c.Level, at, y)
		ch.Alt += fmt.Sprintf("; %s %s", r.Name, interval(c))
	}
	ch.Legend = []series{{hueName(0) + " dot", "routed − unified"}, {"hollow", "level: the interval contains 0"}}
	ch.SVG = a.html()
	return ch
}

// interval formats a difference with its interval.
func interval(c difference) string {
	text := fmt.Sprintf("%s (%s to %s)", signed(c.Difference), signed(c.Low), signed(c.High))
	if c.Level {
		text += ", level"
	}
	return text
}

// compact formats a number of images: 200 k, 1.5 M.
func compact(images int64) string {
	return strings.TrimSpace(humanize.SIWithDigits(float64(images), 1, ""))
}
