package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// chart is a drawing with its description and legend.
type chart struct {
	// SVG is the drawing.
	SVG template.HTML
	// Alt is the text alternative for screen readers.
	Alt string
	// Legend lists the series.
	Legend []series
}

// series is an entry of a legend.
type series struct {
	// Class is the swatch's CSS class: its color, or its shape if it is not a box.
	Class string
	Name  string
}

// hues is the number of colours of series.
const hues = 6

// hueName is the colour of series i, a variable and a class of the style sheet.
func hueName(i int) string { return fmt.Sprintf("hue%d", i%hues) }

// point is a point of a chart's plane.
type point struct{ X, Y float64 }

// lossChart draws the loss of every variant; nil if there is nothing to draw.
func lossChart(curves []Curve) (*chart, error) {
	return curveChart("Training loss by step", "loss", curves, math.NaN(), func(c Curve) []float64 { return c.Loss })
}

// validationChart draws the metric on held-out images of every curve that has one.
func validationChart(curves []Curve) (*chart, error) {
	return curveChart("Metric on held-out images by step", "%", curves, math.NaN(), func(c Curve) []float64 { return orNone(c.Validation, c) })
}

// orNone returns the values of a curve, or NaN for each if there are none.
func orNone(values []float64, c Curve) []float64 {
	if len(values) > 0 {
		return values
	}
	return slices.Repeat([]float64{math.NaN()}, len(c.Steps))
}

// stdChart draws the collapse watch of every variant and the healthy level.
func stdChart(curves []Curve, healthy float64) (*chart, error) {
	c, err := curveChart("Standard deviation of the embedding by step", "std of the embedding", curves, healthy, func(c Curve) []float64 { return orNone(c.Std, c) })
	if c != nil && healthy > 0 {
		c.Legend = append(c.Legend, series{"dashed", fmt.Sprintf("healthy: %.3f", healthy)})
		c.Alt += fmt.Sprintf("; the healthy level is %.3f, 0 is collapsed", healthy)
	}
	return c, err
}

// curveChart draws a value of each curve by step. A level that is not NaN is drawn as a
// line, if it is not 0, and shown with all that is below it.
func curveChart(title, y string, curves []Curve, level float64, values func(Curve) []float64) (*chart, error) {
	ch := &chart{Alt: title}
	drawn := map[int][]point{}
	var x span
	ys := span{math.Inf(1), math.Inf(-1)}
	if !math.IsNaN(level) {
		ys = span{0, 1.1 * level}
	}
	for i, c := range curves {
		v := values(c)
		if len(v) != len(c.Steps) {
			return nil, fmt.Errorf("curve %s: %d steps and %d values", c.Name, len(c.Steps), len(v))
		}
		points := thin(c.Steps, v)
		if len(points) == 0 {
			continue
		}
		drawn[i] = points
		for _, p := range points {
			x.add(p.X)
			ys.add(p.Y)
		}
		last := points[len(points)-1]
		ch.Legend = append(ch.Legend, series{hueName(i), fmt.Sprintf("%s: %.3f", c.Name, last.Y)})
		ch.Alt += fmt.Sprintf("; %s ends at %.3f", c.Name, last.Y)
	}
	if len(drawn) == 0 {
		return nil, nil
	}
	ys = ys.open()
	left := 36.
	for _, v := range ticks(ys) {
		left = max(left, 28+textWidth(ys.decimals(v)))
	}
	a := newAxes(300, left, x, ys)
	a.xAxis("step", ticks(a.x), humanize.Commaf, false)
	a.yAxis(y, a.y.decimals)
	if level > 0 {
		_, at := a.at(0, level)
		a.line("ink", 1, "5 4", a.left, at, a.right, at)
	}
	for i := range curves {
		if points := drawn[i]; points != nil {
			a.curve(hueName(i), points)
		}
	}
	ch.SVG = a.html()
	return ch, nil
}

// points is the maximum number of points per curve.
const points = 400

// thin leaves out what is not finite and replaces each of several equal runs
// of points by its mean, so that a long training does not make a large page.
func thin(steps []int, values []float64) []point {
	var all []point
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			all = append(all, point{X: float64(steps[i]), Y: v})
		}
	}
	each := (len(all) + points - 1) / points
	if each <= 1 {
		return all
	}
	var thinned []point
	for run := range slices.Chunk(all, each) {
		var mean point
		for _, p := range run {
			mean.X += p.X / float64(len(run))
			mean.Y += p.Y / float64(len(run))
		}
		thinned = append(thinned, mean)
	}
	return thinned
}

// resultChart draws a group of bars per task, the first task on top, and marks its best sub-net.
func resultChart(protocol string, tasks []evaluate.Task) (*chart, error) {
	ch := &chart{Alt: fmt.Sprintf("Results by task, %s; the table below has the figures", protocolName(protocol))}
	// In the order of the table. The routed sub-nets have the color of the SDRnet's curve, which is the first.
	kinds := []struct {
		name   string
		hue    int
		figure func(evaluate.Task) *float64
	}{
		{"random", 3, func(t evaluate.Task) *float64 { return t.Random }},
		{"unified", 1, func(t evaluate.Task) *float64 { return t.Unified }},
		{"unified, best norm", 3, func(t evaluate.Task) *float64 { return t.UnifiedBestNorm }},
		{"unified, one-subset batches", 2, func(t evaluate.Task) *float64 { return t.UnifiedSubsetBatches }},
		{"routed", 0, func(t evaluate.Task) *float64 { return t.Routed }},
	}
	for i := range slices.Backward(kinds) {
		if !slices.ContainsFunc(tasks, func(t evaluate.Task) bool { return kinds[i].figure(t) != nil }) {
			kinds = slices.Delete(kinds, i, i+1)
		}
	}
	var x span
	left := 0.
	marked := false
	for _, t := range tasks {
		left = max(left, 8+textWidth(shorten(t.Name)))
		for _, k := range kinds {
			if f := k.figure(t); f != nil {
				x.add(*f)
			}
		}
		if t.Oracle != nil {
			x.add(*t.Oracle)
			marked = true
		}
	}
	if len(kinds) == 0 && !marked {
		return nil, nil
	}
	x.high = min(100, 1.04*x.high)
	const bar, gap = 9., 9.
	group := bar * float64(max(len(kinds), 1))
	a := newAxes(50+float64(len(tasks))*(group+gap), left, x, span{0, 1})
	a.xAxis("% on the test images", ticks(a.x), a.x.decimals, true)
	for i, t := range tasks {
		top := a.top + float64(i)*(group+gap) + gap/2
		a.text(a.left-6, top+group/2, "end", shorten(t.Name), "")
		for k, kind := range kinds {
			if f := kind.figure(t); f != nil {
				a.bar(hueName(kind.hue), *f, top+bar*float64(k), bar)
			}
		}
		if t.Oracle != nil {
			at, _ := a.at(*t.Oracle, 0)
			a.line("ink", 2, "none", at, top, at, top+group)
		}
	}
	for _, kind := range kinds {
		ch.Legend = append(ch.Legend, series{hueName(kind.hue), kind.name})
	}
	if marked {
		ch.Legend = append(ch.Legend, series{"mark", "best sub-net"})
	}
	ch.SVG = a.html()
	return ch, nil
}

// shorten truncates a name that would leave no room for the bars.
func shorten(name string) string {
	const most = 24
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}
