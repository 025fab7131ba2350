package study

import (
	"slices"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// What is measured on a task, besides the baselines, which package recipe names.
const (
	UnifiedBestNorm = evaluate.UnifiedBestNorm
	Routed          = evaluate.Routed
	// Customized is the routed net after customizing, and UnifiedCustomized the unified net after the same.
	Customized        = "customized"
	UnifiedCustomized = "unified_customized"
	// MeanSubnet is the mean of all candidates of the router.
	MeanSubnet = "mean"
	// BestSubnet is the candidate that is best on the test images: no router can do better.
	BestSubnet = "best"
)

// Nets lists what is measured on a task. A study that customizes nets also measures CustomizedNets.
var Nets = []string{recipe.Random, recipe.Unified, UnifiedBestNorm, recipe.UnifiedSubsetBatches, Routed, MeanSubnet, BestSubnet}

// CustomizedNets lists the nets that are customized for the task.
var CustomizedNets = []string{UnifiedCustomized, Customized}

// Result is the schema of a study's results: one net of one training on one task.
type Result struct {
	Arm      string `arrow:"arm" json:"arm"`
	Seed     int64  `arrow:"seed" json:"seed"`
	Images   int64  `arrow:"images" json:"images"`
	Protocol string `arrow:"protocol" json:"protocol"`
	Task     string `arrow:"task" json:"task"`
	// Net is one of Nets, and Subnet the net that it is; empty for the mean.
	Net    string `arrow:"net" json:"net"`
	Subnet string `arrow:"subnet" json:"subnet"`
	// Norm says where its BatchNorm statistics come from, one of route.Norms.
	Norm string `arrow:"norm" json:"norm"`
	// Value is the task's metric, in percent.
	Value float64 `arrow:"value" json:"value"`
}

// Mean is the schema of a study's means over seeds, with 95 % confidence intervals.
type Mean struct {
	Arm      string `arrow:"arm" json:"arm"`
	Images   int64  `arrow:"images" json:"images"`
	Protocol string `arrow:"protocol" json:"protocol"`
	// Task is empty for the mean over all tasks.
	Task string `arrow:"task" json:"task"`
	// Net is one of Nets.
	Net string `arrow:"net" json:"net"`
	// Mean is in percent, and its interval is from Low to High.
	Mean float64 `arrow:"mean" json:"mean"`
	Low  float64 `arrow:"low" json:"low"`
	High float64 `arrow:"high" json:"high"`
}

// Comparison is the schema of a study's paired differences, in the mean over seeds, with 95 % confidence intervals.
type Comparison struct {
	Arm      string `arrow:"arm" json:"arm"`
	Images   int64  `arrow:"images" json:"images"`
	Protocol string `arrow:"protocol" json:"protocol"`
	// Task is empty for the mean over all tasks.
	Task string `arrow:"task" json:"task"`
	// Net is one of Nets, which is compared with Over of the arm OverArm.
	Net     string `arrow:"net" json:"net"`
	OverArm string `arrow:"over_arm" json:"over_arm"`
	Over    string `arrow:"over" json:"over"`
	// Difference is by how much Net is better, in percentage points, and its interval is from Low to High.
	Difference float64 `arrow:"difference" json:"difference"`
	Low        float64 `arrow:"low" json:"low"`
	High       float64 `arrow:"high" json:"high"`
	// Level is true if the interval contains 0.
	Level bool `arrow:"level" json:"level"`
}

// Results holds the results of a study.
type Results struct {
	Results     []Result     `json:"results"`
	Means       []Mean       `json:"means"`
	Comparisons []Comparison `json:"comparisons"`
}

// Line holds the estimates of one arm at one budget under one protocol.
type Line struct {
	Arm      string
	Images   int64
	Protocol string
	// Task is empty for the mean over all tasks.
	Task string
	// Means has one entry for each of Results.Nets.
	Means []Mean
	// Over has one entry for each of Differences; nil for the first arm over itself, and for nets that were not measured.
	Over []*Comparison
}

// Difference is a difference that tables show: of the routed net to another of the same arm, or to the first arm's.
type Difference struct {
	// Net is one of Nets or CustomizedNets, compared with Over, another one.
	Net, Over string
	// First is true for the first arm's net.
	First bool
}

// Differences lists the differences that tables show.
var Differences = []Difference{
	{Net: Routed, Over: recipe.Unified}, {Net: Routed, Over: UnifiedBestNorm}, {Net: Routed, Over: recipe.UnifiedSubsetBatches},
	{Net: Customized, Over: recipe.Unified}, {Net: Customized, Over: UnifiedCustomized}, {Net: Customized, Over: Routed},
	{Net: Routed, Over: Routed, First: true},
}

// Lines returns the estimates for a task, or the mean over all tasks if it is empty, ordered by protocol, arm and budget.
func (r *Results) Lines(task string) (lines []Line) {
	for _, m := range r.Means {
		if m.Task != task {
			continue
		}
		if m.Net == r.Means[0].Net {
			lines = append(lines, Line{Arm: m.Arm, Images: m.Images, Protocol: m.Protocol, Task: task})
		}
		l := &lines[len(lines)-1]
		l.Means = append(l.Means, m)
	}
	for i := range lines {
		for _, d := range Differences {
			lines[i].Over = append(lines[i].Over, r.difference(&lines[i], d))
		}
	}
	return lines
}

// difference returns a difference of a line, or nil if there is none.
func (r *Results) difference(l *Line, d Difference) *Comparison {
	at := slices.IndexFunc(r.Comparisons, func(c Comparison) bool {
		return c.Arm == l.Arm && c.Images == l.Images && c.Protocol == l.Protocol && c.Task == l.Task &&
			c.Net == d.Net && c.Over == d.Over && (c.OverArm != c.Arm) == d.First
	})
	if at < 0 {
		return nil
	}
	return &r.Comparisons[at]
}

// Nets lists the nets that were measured, in the order of Nets and CustomizedNets.
func (r *Results) Nets() (names []string) {
	for _, m := range r.Means {
		if m.Task == "" && !slices.Contains(names, m.Net) {
			names = append(names, m.Net)
		}
	}
	return names
}

// Tasks lists the tasks.
func (r *Results) Tasks() (names []string) {
	for _, m := range r.Means {
		if m.Task != "" && !slices.Contains(names, m.Task) {
			names = append(names, m.Task)
		}
	}
	return names
}

// Seeds returns the number of seeds.
func (r *Results) Seeds() int {
	seeds := map[int64]bool{}
	for _, row := range r.Results {
		seeds[row.Seed] = true
	}
	return len(seeds)
}
