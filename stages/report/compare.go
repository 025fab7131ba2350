package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// comparison compares the routed sub-nets with a baseline, by the mean over the tasks that have both results.
type comparison struct {
	// Baseline names the baseline, such as "the unified net".
	Baseline string
	// Tasks of the Of tasks have both results.
	Tasks, Of int
	// Routed and Base are the two means, in percent.
	Routed, Base float64
	// Err is the standard error of the difference of the means in percentage points, from the number of test images;
	// NaN if a task has none.
	Err float64
}

// compare returns one comparison per baseline that has results.
func compare(tasks []evaluate.Task) []comparison {
	var all []comparison
	for _, baseline := range []struct {
		name   string
		figure func(evaluate.Task) *float64
	}{
		{"the unified net", func(t evaluate.Task) *float64 { return t.Unified }},
		{"the unified net with the BatchNorm statistics that the router chose", func(t evaluate.Task) *float64 { return t.UnifiedBestNorm }},
		{"the unified net trained on one-subset batches", func(t evaluate.Task) *float64 { return t.UnifiedSubsetBatches }},
	} {
		c := comparison{Baseline: baseline.name, Of: len(tasks)}
		variance := 0.
		for _, t := range tasks {
			base := baseline.figure(t)
			if base == nil || t.Routed == nil {
				continue
			}
			c.Tasks++
			c.Routed += *t.Routed
			c.Base += *base
			// Each result is a proportion p of n images; its variance is p(1-p)/n.
			for _, p := range []float64{*t.Routed, *base} {
				variance += p * (100 - p) / float64(t.TestImages)
			}
		}
		if c.Tasks > 0 {
			n := float64(c.Tasks)
			c.Routed, c.Base, c.Err = c.Routed/n, c.Base/n, math.Sqrt(variance)/n
			all = append(all, c)
		}
	}
	return all
}

// Difference says in words how far the routed sub-nets are above or below the baseline.
func (c comparison) Difference() string {
	d := math.Round(10*(c.Routed-c.Base)) / 10
	switch {
	case d > 0:
		return fmt.Sprintf("%.1f points above", d)
	case d < 0:
		return fmt.Sprintf("%.1f points below", -d)
	}
	return "level with"
}

// Figures formats the two means.
func (c comparison) Figures() string {
	s := fmt.Sprintf("%.1f\u00a0%% against %.1f\u00a0%%", c.Routed, c.Base)
	if c.Tasks < c.Of {
		s += fmt.Sprintf(", over the %d of %d tasks that have both results", c.Tasks, c.Of)
	}
	return s
}

// Verdict says whether the difference is significant, by its standard error.
func (c comparison) Verdict() string {
	d := math.Abs(c.Routed - c.Base)
	switch {
	case math.IsNaN(c.Err) || math.IsInf(c.Err, 0):
		return "The number of test images is unknown, and so is the standard error."
	case d > 2*c.Err:
		return fmt.Sprintf("The standard error is %.1f: the difference is more than twice that and unlikely to be chance.", c.Err)
	}
	return fmt.Sprintf("The standard error is %.1f: the difference is within twice that and may be chance.", c.Err)
}

// chosen is a sub-net with the tasks that the router chose it for.
type chosen struct {
	Subnet string
	Tasks  []string
}

// choices lists the chosen sub-nets, most frequent first.
func choices(tasks []evaluate.Task) []chosen {
	var all []chosen
	for _, t := range tasks {
		if t.Subnet == "" {
			continue
		}
		at := slices.IndexFunc(all, func(c chosen) bool { return c.Subnet == t.Subnet })
		if at < 0 {
			at = len(all)
			all = append(all, chosen{Subnet: t.Subnet})
		}
		all[at].Tasks = append(all[at].Tasks, t.Name)
	}
	slices.SortFunc(all, func(a, b chosen) int {
		return cmp.Or(cmp.Compare(len(b.Tasks), len(a.Tasks)), cmp.Compare(a.Subnet, b.Subnet))
	})
	return all
}
