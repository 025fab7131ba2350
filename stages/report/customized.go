package report

import (
	"fmt"
	"io"

	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// CustomizedPage is the content of a page of what customizing has cost and changed.
type CustomizedPage struct {
	About
	// Tasks are the tasks, in the order in which they are shown.
	Tasks []CustomizedTask
}

// CustomizedTask is a task that a net was customized for.
type CustomizedTask struct {
	customize.Result
	// Versions are all versions of the net, the first as it was.
	Versions []customize.Candidate
}

// Gap returns the difference on the test images; nil if there are none.
func (t CustomizedTask) Gap() *difference {
	if t.TestImages == 0 {
		return nil
	}
	return &difference{t.Difference, t.Low, t.High, metrics.Interval{Low: t.Low, High: t.High}.Level()}
}

// WriteCustomized writes the page as one HTML document that refers to nothing outside itself. Text is escaped.
func WriteCustomized(w io.Writer, p *CustomizedPage) error {
	if err := pages.ExecuteTemplate(w, "customized.html", p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
