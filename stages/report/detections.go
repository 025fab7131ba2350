package report

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sdr-ml/sdr/stages/detect"
)

// DetectionPage is the content of a page of what detectors found. Empty parts are left out.
type DetectionPage struct {
	About
	// Results are the figures of the detectors; nil if nothing is annotated.
	Results *detect.Results
	// Annotated says that the drawings have boxes of what is annotated, too.
	Annotated bool
	// Score is the least score of the objects that are drawn.
	Score float64
	// Galleries are pictures of what each detector found.
	Galleries []Gallery
}

// Gallery has pictures of what a detector found.
type Gallery struct {
	// Title is the heading; empty for none.
	Title string
	// Drawings are the pictures.
	Drawings []detect.Drawing
}

// WriteDetections writes the page as one HTML document that refers to nothing outside itself. Text is escaped.
func WriteDetections(w io.Writer, p *DetectionPage) error {
	d := struct {
		*DetectionPage
		Nets    []detectionRow
		Classes []classRow
	}{DetectionPage: p}
	if p.Results != nil {
		for _, n := range p.Results.Nets {
			d.Nets = append(d.Nets, detectionRow{n, detectionGap(n)})
		}
		d.Classes = classRows(p.Results.Nets)
	}
	if err := pages.ExecuteTemplate(w, "detections.html", d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// detectionRow is a net's row in the table.
type detectionRow struct {
	detect.Net
	Gap *difference
}

// classRow has the AP of a class of each net; nil where no object counts.
type classRow struct {
	Class string
	AP    []*float64
}

// classRows returns the rows of all classes, sorted by name.
func classRows(nets []detect.Net) (rows []classRow) {
	names := map[string]bool{}
	for _, n := range nets {
		for name := range n.Classes {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row := classRow{Class: name}
		for _, n := range nets {
			row.AP = append(row.AP, n.Classes[name].AP)
		}
		rows = append(rows, row)
	}
	return rows
}

// detectionGap returns the difference of a net to the first one; nil if there is none.
func detectionGap(n detect.Net) *difference {
	low, high := n.Difference95[0], n.Difference95[1]
	if n.Difference == nil || low == nil || high == nil {
		return nil
	}
	return &difference{*n.Difference, *low, *high, *low <= 0 && *high >= 0}
}
