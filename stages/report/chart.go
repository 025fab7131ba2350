package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// chart is a drawing with its description and legend.
type chart struct {
	// SVG is the drawing; its colors are variables of the page's style sheet.
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

// width is the width of a chart in points; the page scales charts to the available space.
const width vg.Length = 560

// Charts are drawn in placeholder colors, which styles replaces by variables of page.html, so that the page can have a
// light and a dark theme.
var (
	ink    = color.RGBA{G: 255, A: 255}
	rule   = color.RGBA{B: 255, A: 255}
	styles = func() *strings.Replacer {
		pairs := []string{":#00FF00", ":var(--ink)", ":#0000FF", ":var(--rule)"}
		for i := range hues {
			c := hue(i)
			pairs = append(pairs, fmt.Sprintf(":#%02X%02X%02X", c.R, c.G, c.B), fmt.Sprintf(":var(--%s)", hueName(i)))
		}
		return strings.NewReplacer(pairs...)
	}()
)

// hues is the number of series colors.
const hues = 6

// hue is the placeholder color of series i.
func hue(i int) color.RGBA { return color.RGBA{R: 255, B: 51 * uint8(i%hues), A: 255} }

// hueName is the CSS variable and class of that color.
func hueName(i int) string { return fmt.Sprintf("hue%d", i%hues) }

// newPlot returns an empty plot in the page's style.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color = rule, rule
		a.Label.Padding = 4
		a.Label.TextStyle.Color, a.Tick.Label.Color = ink, ink
		a.Label.TextStyle.Font.Variant, a.Tick.Label.Font.Variant = "Sans", "Sans"
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = 13, 13
	}
	return p
}

// grid returns thin grid lines.
func grid(vertical, horizontal bool) plot.Plotter {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = nil, nil
	if vertical {
		g.Vertical = draw.LineStyle{Color: rule, Width: .5}
	}
	if horizontal {
		g.Horizontal = draw.LineStyle{Color: rule, Width: .5}
	}
	return g
}

// render draws the plot as an SVG element to embed in HTML.
func render(p *plot.Plot, height vg.Length) (template.HTML, error) {
	c := vgsvg.New(width, height)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	// HTML must not contain an XML declaration.
	svg := b.String()[bytes.Index(b.Bytes(), []byte("<svg")):]
	return template.HTML(styles.Replace(svg)), nil // vgsvg escapes all text
}

// lossChart draws the loss of every variant; nil if there is nothing to draw.
func lossChart(curves []Curve) (*chart, error) {
	p := newPlot("step", "loss")
	return curveChart(p, "Training loss by step", curves, func(c Curve) []float64 { return c.Loss })
}

// stdChart draws the collapse watch of every variant and the healthy level.
func stdChart(curves []Curve, healthy float64) (*chart, error) {
	p := newPlot("step", "std of the embedding")
	p.Y.Min = 0
	if healthy > 0 {
		line := plotter.NewFunction(func(float64) float64 { return healthy })
		line.Samples = 2
		line.LineStyle = draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{5, 4}}
		p.Add(line)
		p.Y.Max = 1.1 * healthy
	}
	c, err := curveChart(p, "Standard deviation of the embedding by step", curves, func(c Curve) []float64 { return c.Std })
	if c != nil && healthy > 0 {
		c.Legend = append(c.Legend, series{"dashed", fmt.Sprintf("healthy: %.3f", healthy)})
		c.Alt += fmt.Sprintf("; the healthy level is %.3f, 0 is collapsed", healthy)
	}
	return c, err
}

func curveChart(p *plot.Plot, title string, curves []Curve, values func(Curve) []float64) (*chart, error) {
	ch := &chart{Alt: title}
	p.X.Min = 0
	p.X.Tick.Marker = plot.TickerFunc(func(low, high float64) []plot.Tick {
		ticks := plot.DefaultTicks{}.Ticks(low, high)
		for i, t := range ticks {
			if !t.IsMinor() {
				ticks[i].Label = humanize.Commaf(t.Value)
			}
		}
		return ticks
	})
	p.Add(grid(false, true))
	for i, c := range curves {
		v := values(c)
		if len(v) != len(c.Steps) {
			return nil, fmt.Errorf("curve %s: %d steps and %d values", c.Name, len(c.Steps), len(v))
		}
		points := thin(c.Steps, v)
		if len(points) == 0 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("curve %s: %w", c.Name, err)
		}
		line.Color, line.Width = hue(i), 1.6
		last := points[len(points)-1]
		end, err := plotter.NewScatter(plotter.XYs{last})
		if err != nil {
			return nil, fmt.Errorf("curve %s: %w", c.Name, err)
		}
		end.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: 3, Shape: draw.CircleGlyph{}}
		p.Add(line, end)
		ch.Legend = append(ch.Legend, series{hueName(i), fmt.Sprintf("%s: %.3f", c.Name, last.Y)})
		ch.Alt += fmt.Sprintf("; %s ends at %.3f", c.Name, last.Y)
	}
	if len(ch.Legend) == 0 {
		return nil, nil
	}
	var err error
	ch.SVG, err = render(p, 300)
	return ch, err
}

// points is the maximum number of points per curve.
const points = 400

// thin drops non-finite values and, beyond the maximum number of points, averages equal runs of consecutive points, so
// that a long training does not make a large page.
func thin(steps []int, values []float64) plotter.XYs {
	var all plotter.XYs
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			all = append(all, plotter.XY{X: float64(steps[i]), Y: v})
		}
	}
	each := (len(all) + points - 1) / points
	if each <= 1 {
		return all
	}
	var thinned plotter.XYs
	for run := range slices.Chunk(all, each) {
		var mean plotter.XY
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
	p := newPlot("% on the test images", "")
	p.Add(grid(true, false))
	ch := &chart{Alt: fmt.Sprintf("Results by task, %s; the table below has the figures", protocolName(protocol))}
	// In the order of the table. The routed sub-nets have the color of the SDRnet's curve, which is the first.
	kinds := []struct {
		name   string
		hue    int
		figure func(evaluate.Task) *float64
	}{
		{"unified", 1, func(t evaluate.Task) *float64 { return t.Unified }},
		{"unified, one-subset batches", 2, func(t evaluate.Task) *float64 { return t.UnifiedSubsetBatches }},
		{"routed", 0, func(t evaluate.Task) *float64 { return t.Routed }},
	}
	for i := range slices.Backward(kinds) {
		if !slices.ContainsFunc(tasks, func(t evaluate.Task) bool { return kinds[i].figure(t) != nil }) {
			kinds = slices.Delete(kinds, i, i+1)
		}
	}
	const bar = vg.Length(9)
	names := make([]string, len(tasks))
	var oracles plotter.XYs
	for i, t := range tasks {
		y := len(tasks) - 1 - i
		names[y] = shorten(t.Name)
		if t.Oracle != nil {
			oracles = append(oracles, plotter.XY{X: *t.Oracle, Y: float64(y)})
		}
	}
	for k, kind := range kinds {
		values := make(plotter.Values, len(tasks)) // 0 draws no bar
		for i, t := range tasks {
			if f := kind.figure(t); f != nil {
				values[len(tasks)-1-i] = *f
			}
		}
		bars, err := plotter.NewBarChart(values, bar)
		if err != nil {
			return nil, err
		}
		bars.Horizontal = true
		bars.Color = hue(kind.hue)
		bars.LineStyle.Width = 0
		bars.Offset = bar * (vg.Length(len(kinds)-1)/2 - vg.Length(k))
		p.Add(bars)
		ch.Legend = append(ch.Legend, series{hueName(kind.hue), kind.name})
	}
	if len(oracles) > 0 {
		marks, err := plotter.NewScatter(oracles)
		if err != nil {
			return nil, err
		}
		group := bar * vg.Length(max(len(kinds), 1))
		marks.GlyphStyle = draw.GlyphStyle{Color: ink, Radius: group / 2, Shape: upright{}}
		p.Add(marks)
		ch.Legend = append(ch.Legend, series{"mark", "best sub-net"})
	}
	if len(ch.Legend) == 0 {
		return nil, nil
	}
	p.NominalY(names...)
	p.Y.Tick.Label.Color = ink
	p.X.Min = 0
	p.X.Max = min(100, 1.04*p.X.Max)
	p.X.Tick.Marker = plot.TickerFunc(percentTicks)
	var err error
	ch.SVG, err = render(p, 50+vg.Length(len(tasks))*(bar*vg.Length(max(len(kinds), 1))+9))
	return ch, err
}

// shorten truncates a name that would leave no room for the bars.
func shorten(name string) string {
	const most = 24
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}

// percentTicks returns about five ticks at round percentages.
func percentTicks(low, high float64) []plot.Tick {
	step := 20.
	for _, s := range []float64{10, 5, 2, 1} {
		if high-low <= 5*s {
			step = s
		}
	}
	var ticks []plot.Tick
	for v := math.Ceil(low/step) * step; v <= high; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprint(v)})
	}
	return ticks
}

// upright is a vertical line as a glyph, 2 x Radius high.
type upright struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (upright) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, at vg.Point) {
	c.StrokeLine2(draw.LineStyle{Color: sty.Color, Width: 2}, at.X, at.Y-sty.Radius, at.X, at.Y+sty.Radius)
}
