package evaluate

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Results holds the results of an evaluation; its JSON form is the output of `sdr evaluate`.
type Results struct {
	// Tasks holds one entry per task and protocol.
	Tasks []Task `json:"tasks"`
	// Mean holds the means over the tasks, by protocol.
	Mean map[string]Mean `json:"mean"`
	// Comparisons compare the routed sub-nets with the baselines: for each protocol and baseline first in the mean over the
	// tasks, then for each.
	Comparisons []Comparison `json:"comparisons,omitempty"`
	// Dead lists tasks that could not be evaluated and are not in the means.
	Dead []Dead `json:"dead,omitempty"`
}

// Dead is a task that could not be evaluated.
type Dead struct {
	// Task is the task's name.
	Task string `json:"task"`
	// Reason says what is wrong with it.
	Reason string `json:"reason"`
}

// Task holds the results of a run's nets on one task under one protocol, as percentages on the task's test images. A
// result is nil if the run has no such net.
type Task struct {
	Name string `json:"name"`
	// Metric is "top1", "mean_per_class" or "map11".
	Metric string `json:"metric"`
	// Protocol is the name of the protocol, such as "knn".
	Protocol string `json:"protocol"`
	// Random is the net that is not trained.
	Random *float64 `json:"random"`
	// Unified is the net trained on all images with mixed mini-batches. UnifiedBestNorm is the same net with the BatchNorm
	// statistics that the router would choose for it, as it does for sub-nets.
	Unified         *float64 `json:"unified"`
	UnifiedBestNorm *float64 `json:"unified_best_norm"`
	// UnifiedSubsetBatches is the net trained on all images with one-subset mini-batches.
	UnifiedSubsetBatches *float64 `json:"unified_subset_batches"`
	// Routed is the sub-net that the router chose from the training images.
	Routed *float64 `json:"routed"`
	// Interval is half of the 95 % interval of Routed over episodes, 0 if the protocol has none.
	Interval float64 `json:"interval,omitempty"`
	// Subnet is that sub-net's name, and Norm says where its BatchNorm statistics come from, see route.Norms.
	Subnet string `json:"subnet"`
	Norm   string `json:"norm"`
	// Mean and Oracle are the mean and the maximum over all candidates.
	Mean   *float64 `json:"mean"`
	Oracle *float64 `json:"oracle"`
	// TestImages is the number of test images.
	TestImages int64 `json:"test_images"`
}

// Mean holds the means over tasks; a mean is nil if any task lacks the result.
type Mean struct {
	Random               *float64 `json:"random"`
	Unified              *float64 `json:"unified"`
	UnifiedBestNorm      *float64 `json:"unified_best_norm"`
	UnifiedSubsetBatches *float64 `json:"unified_subset_batches"`
	Routed               *float64 `json:"routed"`
	Mean                 *float64 `json:"mean"`
	Oracle               *float64 `json:"oracle"`
}

func newResults(tasks []Task, dead []Dead) *Results {
	slices.SortFunc(tasks, func(a, b Task) int {
		return cmp.Or(inOrder(a.Protocol, b.Protocol), cmp.Compare(a.Name, b.Name))
	})
	r := &Results{Tasks: tasks, Mean: map[string]Mean{}, Dead: dead}
	byProtocol := map[string][]Task{}
	for _, t := range tasks {
		byProtocol[t.Protocol] = append(byProtocol[t.Protocol], t)
	}
	for protocol, tasks := range byProtocol {
		over := func(figure func(Task) *float64) *float64 {
			var sum float64
			for _, t := range tasks {
				f := figure(t)
				if f == nil {
					return nil
				}
				sum += *f
			}
			return new(sum / float64(len(tasks)))
		}
		r.Mean[protocol] = Mean{
			Random:               over(func(t Task) *float64 { return t.Random }),
			Unified:              over(func(t Task) *float64 { return t.Unified }),
			UnifiedBestNorm:      over(func(t Task) *float64 { return t.UnifiedBestNorm }),
			UnifiedSubsetBatches: over(func(t Task) *float64 { return t.UnifiedSubsetBatches }),
			Routed:               over(func(t Task) *float64 { return t.Routed }),
			Mean:                 over(func(t Task) *float64 { return t.Mean }),
			Oracle:               over(func(t Task) *float64 { return t.Oracle }),
		}
	}
	return r
}

// WriteJSON writes the results as indented JSON.
func (r *Results) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteCSV writes one line per task and protocol; a missing result is an empty field.
func (r *Results) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	figure := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', 4, 64)
	}
	interval := func(half float64) string {
		if half == 0 {
			return ""
		}
		return figure(&half)
	}
	if err := c.Write([]string{"task", "metric", "protocol", "random", "unified", "unified_best_norm", "unified_subset_batches", "routed", "interval", "subnet", "norm", "mean", "oracle", "test_images"}); err != nil {
		return err
	}
	for _, t := range r.Tasks {
		if err := c.Write([]string{t.Name, t.Metric, t.Protocol, figure(t.Random), figure(t.Unified), figure(t.UnifiedBestNorm), figure(t.UnifiedSubsetBatches), figure(t.Routed), interval(t.Interval), t.Subnet, t.Norm, figure(t.Mean), figure(t.Oracle), fmt.Sprint(t.TestImages)}); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// WriteTable writes one human-readable table per protocol, without the random net if there is none, with the differences to the
// baselines, and a line per dead task.
func (r *Results) WriteTable(w io.Writer) error {
	figure := func(f *float64) string {
		if f == nil {
			return "-"
		}
		return fmt.Sprintf("%.1f", *f)
	}
	random := func(f *float64) string {
		if f == nil {
			return ""
		}
		return figure(f)
	}
	interval := func(half float64) string {
		if half == 0 {
			return ""
		}
		return fmt.Sprintf("±%.1f", half)
	}
	for i, task := range r.Tasks {
		if i > 0 && r.Tasks[i-1].Protocol == task.Protocol {
			continue
		}
		t := table.NewWriter()
		t.SetStyle(table.StyleLight)
		t.SuppressEmptyColumns()
		t.Style().Format.Header = text.FormatDefault
		t.Style().Format.Footer = text.FormatDefault
		t.SetTitle("%s, %% on the test images", task.Protocol)
		t.AppendHeader(table.Row{"task", "metric", "random", "unified", "unified,\nbest norm", "unified,\none-subset batches", "routed", "95 %", "sub-net", "norm", "mean of\nsub-nets", "best\nsub-net", "test\nimages"})
		for _, row := range r.Tasks {
			if row.Protocol == task.Protocol {
				t.AppendRow(table.Row{row.Name, row.Metric, random(row.Random), figure(row.Unified), figure(row.UnifiedBestNorm), figure(row.UnifiedSubsetBatches), figure(row.Routed), interval(row.Interval), row.Subnet, row.Norm, figure(row.Mean), figure(row.Oracle), row.TestImages})
			}
		}
		m := r.Mean[task.Protocol]
		t.AppendFooter(table.Row{"mean", "", random(m.Random), figure(m.Unified), figure(m.UnifiedBestNorm), figure(m.UnifiedSubsetBatches), figure(m.Routed), "", "", "", figure(m.Mean), figure(m.Oracle), ""})
		var configs []table.ColumnConfig
		for _, n := range []int{3, 4, 5, 6, 7, 8, 11, 12, 13} {
			configs = append(configs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
		}
		t.SetColumnConfigs(configs)
		if _, err := fmt.Fprintln(w, t.Render()); err != nil {
			return err
		}
		for _, c := range r.Comparisons {
			if c.Protocol != task.Protocol || c.Task != "" {
				continue
			}
			of := "test images"
			if c.Episodes > 0 {
				of = "episodes"
			}
			if _, err := fmt.Fprintf(w, "routed - %s: %s, 95 %% interval over %s, mean of %d tasks\n", strings.ReplaceAll(c.Over, "_", " "), c, of, c.Tasks); err != nil {
				return err
			}
		}
	}
	for _, d := range r.Dead {
		if _, err := fmt.Fprintf(w, "task %s was left out: %s\n", d.Task, d.Reason); err != nil {
			return err
		}
	}
	return nil
}
