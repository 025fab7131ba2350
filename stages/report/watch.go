package report

import (
	"fmt"
	"io"
	"math"
)

// WatchPage is the content of the page that follows a run, or another training, while it trains. Empty parts are left out.
type WatchPage struct {
	About
	// State says what the run is doing, and Detail says more.
	State, Detail string
	// Trainings are those of the run, begun or not.
	Trainings []Training
	// Curves and HealthyStd are as on Page.
	Curves     []Curve
	HealthyStd float64
	// Stages are the stages of the run in order.
	Stages []Stage
	// Subsets are the subsets of the images.
	Subsets []Subset
	// Log has the last lines of the log.
	Log []string
	// Refresh is the number of seconds after which the page is to be updated.
	Refresh int
}

// Training is how far the training of a variant is.
type Training struct {
	// Name is the variant's name.
	Name string
	// Images is the number of images that it has seen of the Of that it will see; Of is 0 if that is not known.
	Images, Of int64
	// Speed is how many it sees per second; 0 if it does not train now.
	Speed float64
	// Measured says that there is a measurement, of which Loss, Std and Wait, from 0 to 1, are the latest values. Std is 0 if
	// the training has neither Std nor Wait.
	Measured        bool
	Loss, Std, Wait float64
}

// Percent returns the part of the images that it has seen.
func (t Training) Percent() int64 { return 100 * t.Images / max(1, t.Of) }

// WaitPercent returns Wait in percent.
func (t Training) WaitPercent() float64 { return 100 * t.Wait }

// Stage is a stage of a run.
type Stage struct {
	// Name is its name, and State says whether it is done.
	Name, State string
	// Seconds is how long it took, or has taken so far; 0 if it has not begun.
	Seconds float64
}

// Subset is a subset of the images.
type Subset struct {
	// Code is its code.
	Code string
	// Images is the number of its images.
	Images int64
}

// WriteWatch writes the page as one HTML document. Text is escaped. It fails on curves whose slices have mismatched lengths.
func WriteWatch(w io.Writer, p *WatchPage) error {
	d := struct {
		*WatchPage
		Loss, Validation, Std, Subsets *chart
	}{WatchPage: p, Subsets: subsetChart(p.Subsets)}
	var err error
	if d.Loss, err = lossChart(p.Curves); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Validation, err = validationChart(p.Curves); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Std, err = stdChart(p.Curves, p.HealthyStd); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := pages.ExecuteTemplate(w, "watch.html", d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// subsetChart draws a bar per subset; nil if there is none.
func subsetChart(subsets []Subset) *chart {
	if len(subsets) == 0 {
		return nil
	}
	const height = 18.
	var x span // contains 0
	left, least := 0., int64(math.MaxInt64)
	for _, s := range subsets {
		left = max(left, 8+textWidth(s.Code))
		x.add(float64(s.Images))
		least = min(least, s.Images)
	}
	a := newAxes(50+float64(len(subsets))*height, left, x, span{0, 1})
	a.xAxis("images", ticks(a.x), func(v float64) string { return compact(int64(v)) }, true)
	for i, s := range subsets {
		top := a.top + height*float64(i)
		a.text(a.left-6, top+height/2, "end", s.Code, "")
		a.bar(hueName(i), float64(s.Images), top+2, height-4)
	}
	return &chart{SVG: a.html(), Alt: fmt.Sprintf("Images of %d subsets, from %d to %.0f", len(subsets), least, x.high)}
}
