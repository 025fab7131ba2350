package forecast

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// WriteTable writes a row for each plan.
func WriteTable(w io.Writer, plans []*Plan) error {
	var stages []string
	for _, p := range plans {
		for _, st := range p.Stages {
			if !slices.Contains(stages, st.Name) {
				stages = append(stages, st.Name)
			}
		}
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	header := table.Row{"images", "seen", "workers", "total"}
	for _, name := range stages {
		header = append(header, name)
	}
	t.AppendHeader(append(header, "shuffled", "stored", "memory per worker", "rounds", "of"))
	var columns []table.ColumnConfig
	for number := range len(stages) + 9 {
		columns = append(columns, table.ColumnConfig{Number: number + 1, Align: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for i, p := range plans {
		if i > 0 && plans[i-1].Images != p.Images {
			t.AppendSeparator()
		}
		row := table.Row{count(p.Images), count(p.Seen), p.Workers, duration(p.Seconds)}
		for _, name := range stages {
			at := slices.IndexFunc(p.Stages, func(st StagePlan) bool { return st.Name == name })
			if at < 0 {
				row = append(row, "")
				continue
			}
			row = append(row, duration(p.Stages[at].Seconds))
		}
		row = append(row, bytesOf(p.Shuffled), bytesOf(p.Stored), fmt.Sprintf("%s (%s)", bytesOf(p.Memory), p.MemoryStage))
		if p.Rounds == 0 {
			row = append(row, "", "")
		} else {
			row = append(row, humanize.Comma(int64(p.Rounds)), duration(p.RoundSeconds))
		}
		t.AppendRow(row)
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

// WriteJSON writes the profile and the plans.
func WriteJSON(w io.Writer, p *Profile, plans []*Plan) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Profile *Profile `json:"profile"`
		Plans   []*Plan  `json:"plans"`
	}{p, plans})
}

// count formats a number of images as ParseCount reads it.
func count(n int64) string {
	return strings.NewReplacer(" ", "", "G", "B").Replace(humanize.SIWithDigits(float64(n), 2, ""))
}

// duration formats seconds in the largest unit of which there are several.
func duration(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case seconds >= 3*24*3600:
		return humanize.CommafWithDigits(seconds/(24*3600), 1) + " days"
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.1f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// bytesOf formats bytes.
func bytesOf(n int64) string { return humanize.IBytes(uint64(n)) }
