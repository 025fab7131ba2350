package study

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// titles are short names of Nets for tables.
var titles = map[string]string{
	UnifiedBestNorm: "unified, best norm", recipe.UnifiedSubsetBatches: "one-subset batches", UnifiedCustomized: "unified, customized", MeanSubnet: "mean of sub-nets", BestSubnet: "best sub-net",
}

// Title returns a short name of one of Nets for tables.
func Title(net string) string {
	if t := titles[net]; t != "" {
		return t
	}
	return net
}

// Title names the difference in tables.
func (d Difference) Title() string {
	if d.First {
		return "routed - first arm's"
	}
	return Title(d.Net) + " - " + Title(d.Over)
}

// String returns the difference with its interval, and whether it is level.
func (c *Comparison) String() string {
	return evaluate.Comparison{Difference: c.Difference, Low: c.Low, High: c.High, Level: c.Level}.String()
}

// WriteTable writes one human-readable table per protocol, with a line for each arm and budget.
func (r *Results) WriteTable(w io.Writer) error { return r.render(w, table.Writer.Render) }

// WriteMarkdown writes the same tables as WriteTable in Markdown.
func (r *Results) WriteMarkdown(w io.Writer) error { return r.render(w, table.Writer.RenderMarkdown) }

func (r *Results) render(w io.Writer, as func(table.Writer) string) error {
	byProtocol := map[string][]Line{}
	var protocols []string
	for _, l := range r.Lines("") {
		if byProtocol[l.Protocol] == nil {
			protocols = append(protocols, l.Protocol)
		}
		byProtocol[l.Protocol] = append(byProtocol[l.Protocol], l)
	}
	for _, p := range protocols {
		title := fmt.Sprintf("%s, %% on the test images, mean of tasks (%d) and seeds (%d)", p, len(r.Tasks()), r.Seeds())
		if _, err := fmt.Fprintln(w, as(render(title, r.Nets(), byProtocol[p]))); err != nil {
			return err
		}
	}
	return nil
}

// render makes a table of the lines of one protocol.
func render(title string, nets []string, lines []Line) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.SuppressEmptyColumns() // differences of nets that were not measured
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("%s", title)
	header := table.Row{"arm", "images"}
	for _, net := range nets {
		header = append(header, broken(Title(net)))
	}
	for _, d := range Differences {
		header = append(header, broken(d.Title()))
	}
	t.AppendHeader(header)
	for _, l := range lines {
		row := table.Row{l.Arm, humanize.Comma(l.Images)}
		for _, m := range l.Means {
			row = append(row, fmt.Sprintf("%.1f", m.Mean))
		}
		for _, c := range l.Over {
			if c == nil {
				row = append(row, "")
				continue
			}
			row = append(row, c)
		}
		t.AppendRow(row)
	}
	var configs []table.ColumnConfig
	for n := range 1 + len(nets) {
		configs = append(configs, table.ColumnConfig{Number: 2 + n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	return t
}

// broken breaks a title into two lines, before its last word or after its minus.
func broken(title string) string {
	if before, after, ok := strings.Cut(title, " - "); ok {
		return before + " -\n" + after
	}
	if at := strings.LastIndexByte(title, ' '); at >= 0 {
		return title[:at] + "\n" + title[at+1:]
	}
	return title
}

// WriteCSV writes one line for each arm, budget and protocol in the mean over all tasks, where task is empty, and for
// each task.
func (r *Results) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	header := []string{"arm", "images", "protocol", "task"}
	for _, net := range r.Nets() {
		header = append(header, net, net+"_low", net+"_high")
	}
	for _, d := range Differences {
		name := d.Net + "_over_" + d.Over
		if d.First {
			name = "routed_over_first_arm"
		}
		header = append(header, name, name+"_low", name+"_high", name+"_level")
	}
	if err := c.Write(header); err != nil {
		return err
	}
	figure := func(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }
	for _, task := range slices.Concat([]string{""}, r.Tasks()) {
		for _, l := range r.Lines(task) {
			row := []string{l.Arm, fmt.Sprint(l.Images), l.Protocol, task}
			for _, m := range l.Means {
				row = append(row, figure(m.Mean), figure(m.Low), figure(m.High))
			}
			for _, o := range l.Over {
				if o == nil {
					row = append(row, "", "", "", "")
					continue
				}
				row = append(row, figure(o.Difference), figure(o.Low), figure(o.High), fmt.Sprint(o.Level))
			}
			if err := c.Write(row); err != nil {
				return err
			}
		}
	}
	c.Flush()
	return c.Error()
}

// WriteJSON writes all results, means and comparisons as indented JSON.
func (r *Results) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
