// Package report is the stage that writes what a run found for people to read:
// one HTML file that needs no network, with the results of every task, how the
// routed sub-nets stand to the baselines, the loss curves, the collapse watch
// and a sample of every subset. The figures themselves lie beside as JSON and
// CSV.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// Page is the content of a report. A part that is empty is left out.
type Page struct {
	// Title is the heading.
	Title string
	// RunID identifies the run.
	RunID string
	// Created is when the run began.
	Created time.Time
	// Command is the command line that made the run.
	Command string
	// Facts are what else to know of the run: names and values, in order.
	Facts [][2]string
	// Curves are the measurements of the training, one curve a variant.
	Curves []Curve
	// HealthyStd is the collapse watch of an embedding that has not collapsed,
	// 1/sqrt(d) of d dimensions; 0 draws no such line.
	HealthyStd float64
	// Sheets are samples of the subsets.
	Sheets []Sheet
	// Results are the figures of the tasks.
	Results *evaluate.Results
	// Files are the paths of the files that the run left, to be listed.
	Files []string
}

// Curve is how a variant's training went. Its slices are of one length; values
// that are not finite are left out.
type Curve struct {
	// Name is the variant's name.
	Name string
	// Steps are the optimizer steps at which was measured.
	Steps []int
	// Loss is the training loss.
	Loss []float64
	// Std is the collapse watch: the standard deviation of the l2-normalised
	// embedding; 0 is collapsed.
	Std []float64
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"comma":    humanize.Comma,
	"figure":   figure,
	"metric":   metricName,
	"protocol": protocolName,
	"best":     best,
}).Parse(pageHTML))

// Write writes the page as one HTML document without references to anything
// outside it. Text is escaped. Curves or sheets whose slices do not fit
// together are errors.
func Write(w io.Writer, p *Page) error {
	d := struct {
		*Page
		Loss, Std *chart
		Protocols []protocol
		Contact   []contact
	}{Page: p}
	var err error
	if d.Loss, err = lossChart(p.Curves); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Std, err = stdChart(p.Curves, p.HealthyStd); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if d.Protocols, err = protocols(p.Results); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, s := range p.Sheets {
		c, err := newContact(s)
		if err != nil {
			return fmt.Errorf("report: subset %s: %w", s.Code, err)
		}
		d.Contact = append(d.Contact, c)
	}
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// protocol is what the page shows of one protocol.
type protocol struct {
	Name        string
	Tasks       []evaluate.Task
	Mean        evaluate.Mean
	Chart       *chart
	Comparisons []comparison
	Chosen      []chosen
}

// protocols sorts the results by protocol, in the order in which they come.
func protocols(r *evaluate.Results) ([]protocol, error) {
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
		ps[at].Tasks = append(ps[at].Tasks, t)
	}
	for i := range ps {
		p := &ps[i]
		var err error
		if p.Chart, err = resultChart(p.Name, p.Tasks); err != nil {
			return nil, err
		}
		p.Comparisons = compare(p.Tasks)
		p.Chosen = choices(p.Tasks)
	}
	return ps, nil
}

// figure writes a percentage; one that is not there is a dash.
func figure(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", *f)
}

// best reports whether a figure, as shown, is the highest of the unified nets
// and the routed one, when there are others to compare it with.
func best(f *float64, t evaluate.Task) bool {
	if f == nil {
		return false
	}
	figures := 0
	for _, o := range []*float64{t.Unified, t.UnifiedSubsetBatches, t.Routed} {
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
