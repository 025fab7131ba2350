// Package report is the stage that writes a human-readable report on a run: one self-contained HTML file with the
// results of every task, how the routed sub-nets compare with the baselines, the loss curves, the collapse watch and a
// sample of every subset. The same results are written as JSON and CSV. It also writes the pages of a study and of
// detections.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/train"
)

// About says what a page is about. Empty parts are left out.
type About struct {
	// Title is the heading.
	Title string
	// ID identifies the run or study.
	ID string
	// Created is when it began.
	Created time.Time
	// Command is the command line that made it.
	Command string
	// Facts are further facts: names and values, in order.
	Facts [][2]string
}

// Page is the content of a report on a run. Empty parts are left out.
type Page struct {
	About
	// Curves are the training curves, one per variant.
	Curves []Curve
	// HealthyStd is the collapse watch's value for an embedding that has not collapsed: 1/sqrt(d) for d dimensions. 0
	// draws no such line.
	HealthyStd float64
	// Withheld are the sub-nets that the router was not offered.
	Withheld []train.Judgment
	// Sheets are samples of the subsets.
	Sheets []Sheet
	// Results are the results on the tasks.
	Results *evaluate.Results
	// Rows are the results of every net, with what they predict, and Classes the names of the tasks' classes, by task.
	Rows    []evaluate.Row
	Classes map[string][]string
	// Neighbors are pictures of what is near to a few test images.
	Neighbors []TaskNeighbors
	// Costs say what nets cost: names and values, in order.
	Costs [][2]string
	// Places are images on the map of the pool, and Shares the shares of its directions in the variance.
	Places []Place
	Shares [2]float64
	// Files are the paths of the run's files to list.
	Files []string
}

// Curve is the training curve of one variant. Its slices have equal lengths; non-finite values are left out.
type Curve struct {
	// Name is the variant's name.
	Name string
	// Steps are the optimizer steps of the measurements.
	Steps []int
	// Loss is the training loss.
	Loss []float64
	// Std is the collapse watch: the standard deviation of the l2-normalized embedding; 0 means collapsed. It is empty
	// if nothing is embedded.
	Std []float64
	// Validation is the metric on held-out images, in percent; empty if there are none.
	Validation []float64
}

//go:embed *.html style.css
var templates embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"comma":    humanize.Comma,
	"figure":   figure,
	"metric":   metricName,
	"protocol": protocolName,
	"best":     best,
	"signed":   signed,
	"duration": duration,
	"total":    total,
	"jpeg":     dataURL,
	"shorten":  shorten,
}).ParseFS(templates, "*.html", "style.css"))

// Write writes the page as one HTML document that refers to nothing outside itself. Text is escaped. It fails on curves
// or sheets whose slices have mismatched lengths.
func Write(w io.Writer, p *Page) error {
	d := struct {
		*Page
		Loss, Std *chart
		Protocols []protocol
		Contact   []contact
		Map       *chart
		TaskMaps  []named[*chart]
	}{Page: p, Map: poolMap(p.Places, p.Shares), TaskMaps: taskMaps(p.Places)}
	var err error
	if d.Loss, err = lossChart(p.Curves); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Std, err = stdChart(p.Curves, p.HealthyStd); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Protocols, err = protocols(p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, s := range p.Sheets {
		c, err := newContact(s)
		if err != nil {
			return fmt.Errorf("report: subset %s: %w", s.Code, err)
		}
		d.Contact = append(d.Contact, c)
	}
	if err := pages.ExecuteTemplate(w, "page.html", d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// protocol is what the page shows for one protocol.
type protocol struct {
	Name        string
	Tasks       []resultRow
	Mean        evaluate.Mean
	MeanGap     *difference
	Chart       *chart
	Gains       *chart
	Comparisons []comparison
	Chosen      []chosen
	Routing     *chart
	Confusions  []confusions
	Mistakes    []mistake
}

// Episodic reports whether results have intervals over episodes.
func (p protocol) Episodic() bool {
	return slices.ContainsFunc(p.Tasks, func(t resultRow) bool { return t.Interval > 0 })
}

// resultRow is a task's row in the table.
type resultRow struct {
	evaluate.Task
	Gap *difference
}

// protocols groups the results by protocol, in order of first appearance.
func protocols(page *Page) ([]protocol, error) {
	r := page.Results
	if r == nil {
		return nil, nil
	}
	var ps []protocol
	for _, t := range r.Tasks {
		at := slices.IndexFunc(ps, func(p protocol) bool { return p.Name == t.Protocol })
		if at < 0 {
			at = len(ps)
			ps = append(ps, protocol{Name: t.Protocol, Mean: r.Mean[t.Protocol]})
		}
		ps[at].Tasks = append(ps[at].Tasks, resultRow{t, gapOf(r, t)})
	}
	for i := range ps {
		p := &ps[i]
		var tasks []evaluate.Task
		var gaps []named[difference]
		for _, t := range p.Tasks {
			tasks = append(tasks, t.Task)
			if t.Gap != nil {
				gaps = append(gaps, named[difference]{t.Name, *t.Gap})
			}
		}
		var err error
		if p.Chart, err = resultChart(p.Name, tasks); err != nil {
			return nil, err
		}
		if len(gaps) > 0 {
			p.Gains = gainChart("task", protocolName(p.Name), gaps)
			p.MeanGap = gapOf(r, evaluate.Task{Protocol: p.Name})
		}
		p.Comparisons = compare(r, p.Name, len(tasks))
		p.Chosen = choices(tasks)
		p.Routing = routingMap(scores(page.Rows, p.Name))
		p.Confusions, p.Mistakes = mistakes(page.Rows, p.Name, page.Classes)
	}
	return ps, nil
}

// figure formats a percentage; a missing one is a dash.
func figure(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", *f)
}

// best reports whether f, as shown, is the highest among the unified nets and the routed sub-net, if there are others
// to compare it with.
func best(f *float64, t evaluate.Task) bool {
	if f == nil {
		return false
	}
	figures := 0
	for _, o := range []*float64{t.Unified, t.UnifiedBestNorm, t.UnifiedSubsetBatches, t.Routed} {
		if o == nil {
			continue
		}
		figures++
		if math.Round(*o*10) > math.Round(*f*10) {
			return false
		}
	}
	return figures > 1
}

func metricName(m string) string {
	switch m {
	case "top1":
		return "top-1"
	case "mean_per_class":
		return "mean per class"
	case "map11":
		return "mean average precision"
	}
	return m
}

func protocolName(p string) string {
	switch p {
	case "knn":
		return "kNN"
	case "linear":
		return "linear probe"
	}
	return p
}
