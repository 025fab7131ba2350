package detect

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize/english"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Results holds the figures of detectors; its JSON form is the output of `sdr detect eval`. All figures are percentages.
type Results struct {
	// Data and Split are what the detectors were measured on.
	Data  string `json:"data"`
	Split string `json:"split"`
	// Images and Objects are how many there are, and LeftOut is the number of images that are not among them, since they or
	// their annotations are broken.
	Images  int64 `json:"images"`
	LeftOut int64 `json:"left_out"`
	Objects int64 `json:"objects"`
	// Nets holds one entry per net, in the order in which they were given.
	Nets []Net `json:"nets"`

	rows []Row
}

// Net holds the figures of the detectors on one backbone, means over their seeds.
type Net struct {
	Net     string      `json:"net"`
	Seeds   []int64     `json:"seeds"`
	Figures             // over all classes
	AP95    [2]*float64 `json:"ap_interval"` // the 95 % interval of AP
	// Difference is AP less that of the first net; nil for that one.
	Difference   *float64           `json:"difference"`
	Difference95 [2]*float64        `json:"difference_interval"`
	Classes      map[string]Figures `json:"classes"`
}

// Figures are COCO's; nil where no object counts.
type Figures struct {
	AP       *float64 `json:"ap"`
	AP50     *float64 `json:"ap50"`
	AP75     *float64 `json:"ap75"`
	APSmall  *float64 `json:"ap_small"`
	APMedium *float64 `json:"ap_medium"`
	APLarge  *float64 `json:"ap_large"`
	AR       *float64 `json:"ar"`
}

// Collect gathers the rows of Measure.
func Collect(rows []Row, data, split string) *Results {
	r := &Results{Data: data, Split: split, rows: rows}
	for _, row := range rows {
		at := slices.IndexFunc(r.Nets, func(n Net) bool { return n.Net == row.Net })
		if at < 0 {
			at = len(r.Nets)
			r.Nets = append(r.Nets, Net{Net: row.Net, Classes: map[string]Figures{}})
		}
		n := &r.Nets[at]
		same := slices.DeleteFunc(slices.Clone(rows), func(o Row) bool { return o.Net != row.Net || o.Class != row.Class })
		if row.Class != "" {
			n.Classes[row.Class] = means(same)
			continue
		}
		r.Images, r.LeftOut, r.Objects = row.Images, row.LeftOut, row.Objects
		n.Seeds = append(n.Seeds, row.Seed)
		n.Figures = means(same)
		n.AP95 = [2]*float64{figure(row.Low), figure(row.High)}
		n.Difference = figure(row.Difference)
		n.Difference95 = [2]*float64{figure(row.DifferenceLow), figure(row.DifferenceHigh)}
	}
	return r
}

// figure returns nil for NaN.
func figure(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// means returns the means of the rows of several seeds.
func means(rows []Row) Figures {
	mean := func(of func(Row) float64) *float64 {
		sum := 0.
		for _, r := range rows {
			sum += of(r)
		}
		return figure(sum / float64(len(rows)))
	}
	return Figures{
		AP: mean(func(r Row) float64 { return r.AP }), AP50: mean(func(r Row) float64 { return r.AP50 }), AP75: mean(func(r Row) float64 { return r.AP75 }),
		APSmall: mean(func(r Row) float64 { return r.APSmall }), APMedium: mean(func(r Row) float64 { return r.APMedium }), APLarge: mean(func(r Row) float64 { return r.APLarge }),
		AR: mean(func(r Row) float64 { return r.AR }),
	}
}

// WriteJSON writes the results as indented JSON.
func (r *Results) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes one line per detector and class, and one for all classes; a missing figure is an empty field.
func (r *Results) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write([]string{"net", "seed", "class", "objects", "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar"}); err != nil {
		return err
	}
	for _, row := range r.rows {
		line := []string{row.Net, fmt.Sprint(row.Seed), row.Class, fmt.Sprint(row.Objects)}
		for _, v := range []float64{row.AP, row.AP50, row.AP75, row.APSmall, row.APMedium, row.APLarge, row.AR1, row.AR10, row.AR} {
			field := ""
			if !math.IsNaN(v) {
				field = strconv.FormatFloat(v, 'f', 4, 64)
			}
			line = append(line, field)
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// WriteTable writes a human-readable table of the nets, with a column for each class.
func (r *Results) WriteTable(w io.Writer) error {
	show := func(f *float64) string {
		if f == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f", *f)
	}
	between := func(f [2]*float64) string {
		if f[0] == nil || f[1] == nil {
			return ""
		}
		return fmt.Sprintf(" (%.1f to %.1f)", *f[0], *f[1])
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.SuppressEmptyColumns()
	t.Style().Format.Header = text.FormatDefault
	leftOut := ""
	if r.LeftOut > 0 {
		leftOut = fmt.Sprintf(" (%d left out)", r.LeftOut)
	}
	t.SetTitle("%s, %s: %s in %s%s, %%", r.Data, r.Split, english.Plural(int(r.Objects), "object", ""), english.Plural(int(r.Images), "image", ""), leftOut)
	header := table.Row{"net", "seeds", "AP", "AP50", "AP75", "small", "medium", "large", "AR"}
	var classes []string
	for _, row := range r.rows {
		if row.Class != "" && !slices.Contains(classes, row.Class) {
			classes = append(classes, row.Class)
			header = append(header, row.Class)
		}
	}
	first := "difference"
	if len(r.Nets) > 0 {
		first = "AP - " + r.Nets[0].Net
	}
	t.AppendHeader(append(header, first))
	var configs []table.ColumnConfig
	for i := 2; i <= len(header)+1; i++ {
		configs = append(configs, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	for _, n := range r.Nets {
		row := table.Row{
			n.Net, len(n.Seeds), show(n.AP) + between(n.AP95), show(n.AP50), show(n.AP75),
			show(n.APSmall), show(n.APMedium), show(n.APLarge), show(n.AR),
		}
		for _, c := range classes {
			row = append(row, show(n.Classes[c].AP))
		}
		difference := ""
		if n.Difference != nil {
			difference = fmt.Sprintf("%+.1f", *n.Difference) + between(n.Difference95)
		}
		t.AppendRow(append(row, difference))
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}
