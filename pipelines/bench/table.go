package bench

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Table formats results as a table. Rates are in images/s for cases that count images, otherwise in GFLOPS.
func Table(results []Result) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{
		"case", "threads", "ms", "rate", "of peak", "data wait", "MiB",
		"torch ms", "torch rate", "torch wait", "torch MiB", "torch variant", "ratio", "neighbours",
	})
	var columns []table.ColumnConfig
	for number := range 14 {
		columns = append(columns, table.ColumnConfig{Number: number + 1, Align: text.AlignRight})
	}
	columns[0].Align, columns[11].Align = text.AlignLeft, text.AlignLeft
	t.SetColumnConfigs(columns)
	for _, r := range results {
		rate := func(images, gflops float64) string {
			if r.ImagesPerSecond > 0 {
				return number("%.1f images/s", images)
			}
			return number("%.1f GFLOPS", gflops)
		}
		t.AppendRow(table.Row{
			r.Case, r.Threads, number("%.3f", 1e3*r.Seconds), rate(r.ImagesPerSecond, r.GFLOPS),
			number("%.0f%%", 100*r.PeakShare), number("%.1f%%", 100*r.DataWait), number("%.0f", r.MemoryMiB),
			number("%.3f", 1e3*r.TorchSeconds), rate(r.TorchImagesPerSecond, r.TorchGFLOPS),
			number("%.1f%%", 100*r.TorchDataWait), number("%.0f", r.TorchMemoryMiB), r.TorchVariant,
			number("%.2f", r.Ratio), number("%.0f%%", 100*r.Neighbours),
		})
	}
	return t.Render()
}

// number formats v, or returns "" if nothing was measured.
func number(format string, v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}
