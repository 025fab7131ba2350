package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// comparison says in words how the routed sub-nets compare with a baseline.
type comparison struct {
	evaluate.Comparison
	// Of is the number of tasks, with or without both results.
	Of int
}

// compare returns the comparisons of a protocol in the mean over the tasks, one per baseline that has results.
func compare(r *evaluate.Results, protocol string, tasks int) (all []comparison) {
	for _, c := range r.Comparisons {
		if c.Protocol == protocol && c.Task == "" {
			all = append(all, comparison{c, tasks})
		}
	}
	return all
}

// baselines names the baselines in sentences.
var baselines = map[string]string{
	recipe.Unified:              "the unified net",
	evaluate.UnifiedBestNorm:    "the unified net with the BatchNorm statistics that the router chose",
	recipe.UnifiedSubsetBatches: "the unified net trained on one-subset batches",
}

// Baseline names the baseline, such as "the unified net".
func (c comparison) Baseline() string { return baselines[c.Over] }

// Words says how far the routed sub-nets are above or below the baseline.
func (c comparison) Words() string {
	d := math.Round(10*c.Difference) / 10
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

// Verdict says whether the difference is significant, and what it consists of.
func (c comparison) Verdict() string {
	chance := "does not contain 0, so the difference is unlikely to be chance"
	if c.Level {
		chance = "contains 0, so the difference may be chance"
	}
	of := fmt.Sprintf("Only the routed sub-nets are right about %s test images, only the other net about %s.", humanize.Comma(c.Gained), humanize.Comma(c.Lost))
	if c.Episodes > 0 {
		of = fmt.Sprintf("Both were measured on the same %d episodes of each task.", c.Episodes)
	}
	return fmt.Sprintf("The 95\u00a0%% interval, %s to %s, %s. %s", signed(c.Low), signed(c.High), chance, of)
}

// gapOf returns the difference of the routed sub-net to the unified net on a task; nil if a result is missing.
func gapOf(r *evaluate.Results, t evaluate.Task) *difference {
	at := slices.IndexFunc(r.Comparisons, func(c evaluate.Comparison) bool {
		return c.Protocol == t.Protocol && c.Task == t.Name && c.Over == recipe.Unified
	})
	if at < 0 {
		return nil
	}
	c := r.Comparisons[at]
	return &difference{c.Difference, c.Low, c.High, c.Level}
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
