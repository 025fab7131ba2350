package pipelines

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Selections: how a study chooses a net for a task.
const (
	Routed          = "routed" // by the router, from the training images
	Best            = "best"   // by the test images: an upper bound
	UnifiedBestNorm = "unified_best_norm"
)

// StudyResult is the schema of a study's results: one net, chosen in one way, on one task.
type StudyResult struct {
	Arm      string `arrow:"arm"`
	Seed     int64  `arrow:"seed"`
	Images   int64  `arrow:"images"`
	Protocol string `arrow:"protocol"`
	Task     string `arrow:"task"`
	// Net is the selection: unified, unified_subset_batches, routed, mean (over all candidates) or best.
	Net string `arrow:"net"`
	// Subnet is the chosen net; empty for the mean.
	Subnet string `arrow:"subnet"`
	// Value is the task's metric, in percent.
	Value float64 `arrow:"value"`
}

// StudyResults holds the results of a study.
type StudyResults struct {
	Results []StudyResult
	// Comparisons are means over tasks and seeds, in the order of the study file.
	Comparisons []Comparison
}

// Comparison compares the nets of one arm at one budget under one protocol, on the mean of all tasks and seeds, in
// percent.
type Comparison struct {
	Arm      string
	Images   int64
	Protocol string
	// Means holds the mean per selection.
	Means map[string]float64
	// Over is the difference of the routed net to each baseline, and to the routed net of the first arm (under "").
	Over map[string]metrics.Interval
}

// answers are a net's predictions for the test images of a task.
type answers struct{ labels, predicted []int64 }

func (a answers) percent(metric string) float64 {
	if metric == tasks.MeanPerClass {
		return 100 * metrics.MeanPerClass(a.predicted, a.labels, int(slices.Max(a.labels))+1)
	}
	return 100 * metrics.Accuracy(a.predicted, a.labels)
}

// question is what a net is asked: a task under a protocol.
type question struct{ protocol, task string }

// collect reads what the steps of a study found.
func (p *plan) collect(ctx context.Context, cells []*cell, j judge, file *studyFile, found []tasks.Task) (*StudyResults, error) {
	out := &StudyResults{}
	type group struct {
		arm    string
		images int64
	}
	chosen := map[group]map[question]map[string][][]int64{} // predictions by selection, one per seed
	labels := map[question][]int64{}
	cache := map[string]map[string]map[question]answers{} // step -> net -> question
	var groups []group
	for _, c := range cells {
		g := group{c.Arm, c.Images}
		if chosen[g] == nil {
			chosen[g] = map[question]map[string][][]int64{}
			groups = append(groups, g)
		}
		nets := map[string]map[question]answers{}
		candidates := map[string]bool{}
		for _, v := range variants {
			step := j.evaluate(c.nets[v])
			if cache[step] == nil {
				read, err := p.answers(ctx, step)
				if err != nil {
					return nil, err
				}
				cache[step] = read
			}
			for name, a := range cache[step] {
				nets[name] = a
				candidates[name] = v == train.SDR
			}
		}
		var scores []route.Score
		for _, v := range []string{train.SDR, recipe.Unified} {
			read, err := readOut[route.Score](ctx, p.out(j.route(c.nets[v])))
			if err != nil {
				return nil, err
			}
			scores = append(scores, read...)
		}
		for _, protocol := range file.Protocols {
			for _, t := range found {
				q := question{protocol, t.Name}
				name := func(s route.Score) string { return s.Subnet + "@" + s.Norm }
				pick := map[string]string{recipe.Unified: recipe.Unified + "@" + route.NormTraining, recipe.UnifiedSubsetBatches: recipe.UnifiedSubsetBatches + "@" + route.NormTraining, Routed: name(route.Best(scores, t.Name))}
				score := -1.
				for _, s := range scores {
					if s.Task == t.Name && s.Subnet == recipe.Unified && s.Score > score {
						score, pick[UnifiedBestNorm] = s.Score, name(s)
					}
				}
				sum, n, best := 0., 0, -1.
				for _, name := range slices.Sorted(maps.Keys(nets)) {
					if !candidates[name] {
						continue
					}
					v := nets[name][q].percent(t.Metric)
					sum, n = sum+v, n+1
					if v > best {
						best, pick[Best] = v, name
					}
				}
				if chosen[g][q] == nil {
					chosen[g][q] = map[string][][]int64{}
				}
				for _, sel := range slices.Sorted(maps.Keys(pick)) {
					a := nets[pick[sel]][q]
					labels[q] = a.labels
					chosen[g][q][sel] = append(chosen[g][q][sel], a.predicted)
					out.Results = append(out.Results, StudyResult{c.Arm, int64(c.Seed), c.Images, protocol, t.Name, sel, pick[sel], a.percent(t.Metric)})
				}
				out.Results = append(out.Results, StudyResult{c.Arm, int64(c.Seed), c.Images, protocol, t.Name, "mean", "", sum / float64(n)})
			}
		}
	}
	for _, protocol := range file.Protocols {
		for _, g := range groups {
			c := Comparison{Arm: g.arm, Images: g.images, Protocol: protocol, Means: map[string]float64{}, Over: map[string]metrics.Interval{}}
			counts := map[string]int{}
			for _, r := range out.Results {
				if r.Arm == g.arm && r.Images == g.images && r.Protocol == protocol {
					c.Means[r.Net] += r.Value
					counts[r.Net]++
				}
			}
			for net, n := range counts {
				c.Means[net] /= float64(n)
			}
			first := group{groups[0].arm, g.images}
			against := func(other group, sel string) metrics.Interval {
				var outcomes []metrics.Outcome
				for _, t := range found {
					q := question{protocol, t.Name}
					outcomes = append(outcomes, metrics.Outcome{
						Labels: labels[q], A: chosen[g][q][Routed], B: chosen[other][q][sel], MeanPerClass: t.Metric == tasks.MeanPerClass,
					})
				}
				d := metrics.Difference(outcomes)
				return metrics.Interval{Mean: 100 * d.Mean, Low: 100 * d.Low, High: 100 * d.High}
			}
			c.Over[recipe.Unified] = against(g, recipe.Unified)
			c.Over[recipe.UnifiedSubsetBatches] = against(g, recipe.UnifiedSubsetBatches)
			c.Over[UnifiedBestNorm] = against(g, UnifiedBestNorm)
			c.Over[""] = against(first, Routed)
			out.Comparisons = append(out.Comparisons, c)
		}
	}
	return out, nil
}

// answers reads the predictions that a step made: by net, then by question.
func (p *plan) answers(ctx context.Context, step string) (map[string]map[question]answers, error) {
	rows, err := readOut[evaluate.Prediction](ctx, p.out(step))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b evaluate.Prediction) int { return int(a.Image - b.Image) })
	nets := map[string]map[question]answers{}
	for _, r := range rows {
		name := r.Subnet + "@" + r.Norm
		if nets[name] == nil {
			nets[name] = map[question]answers{}
		}
		q := question{r.Protocol, r.Task}
		a := nets[name][q]
		nets[name][q] = answers{append(a.labels, int64(r.Label)), append(a.predicted, int64(r.Predicted))}
	}
	return nets, nil
}

// WriteTable writes one line per arm and budget.
func (r *StudyResults) WriteTable(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"arm", "images", "protocol", "unified", "one-subset\nbatches", "routed", "unified\nbest norm", "mean", "best", "routed -\nunified", "routed -\nbest norm", "routed -\none-subset", "routed -\nfirst arm"})
	interval := func(i metrics.Interval) string {
		level := ""
		if i.Level() {
			level = " level"
		}
		return fmt.Sprintf("%+.1f (%+.1f to %+.1f)%s", i.Mean, i.Low, i.High, level)
	}
	for _, c := range r.Comparisons {
		row := table.Row{c.Arm, c.Images, c.Protocol}
		for _, net := range []string{recipe.Unified, recipe.UnifiedSubsetBatches, Routed, UnifiedBestNorm, "mean", Best} {
			row = append(row, fmt.Sprintf("%.1f", c.Means[net]))
		}
		row = append(row, interval(c.Over[recipe.Unified]), interval(c.Over[UnifiedBestNorm]), interval(c.Over[recipe.UnifiedSubsetBatches]), interval(c.Over[""]))
		t.AppendRow(row)
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(t.Render(), "\n"))
	return err
}
