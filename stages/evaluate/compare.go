package evaluate

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Nets that are compared, besides the baselines, which package recipe names.
const (
	// UnifiedBestNorm is the unified net with the BatchNorm statistics that the router would choose for it.
	UnifiedBestNorm = "unified_best_norm"
	// Routed is the sub-net that the router chooses, from the training images.
	Routed = "routed"
)

// Baselines lists what the routed sub-nets are compared with.
var Baselines = []string{recipe.Unified, UnifiedBestNorm, recipe.UnifiedSubsetBatches}

// Comparison compares the routed sub-nets with a baseline on the same test images or episodes.
type Comparison struct {
	Protocol string `json:"protocol"`
	// Task is empty for the mean over all tasks that have both results.
	Task string `json:"task,omitempty"`
	// Over is one of Baselines.
	Over string `json:"over"`
	// Tasks is the number of these tasks.
	Tasks int `json:"tasks"`
	// Episodes is the number of episodes of each task, 0 if the protocol has none.
	Episodes int `json:"episodes,omitempty"`
	// Routed and Base are the two results, in percent.
	Routed float64 `json:"routed"`
	Base   float64 `json:"base"`
	// Difference is by how many percentage points the routed sub-nets are better. Low and High are the ends of its 95 %
	// interval, see metrics.Bootstrap: what it would be with other test images of these tasks, or with other episodes of the
	// same images, not with other seeds.
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	// Level is true if the interval contains 0.
	Level bool `json:"level"`
	// Gained is the number of test images about which only the routed sub-nets are right, and Lost that of those about
	// which only the baseline is; of images with several classes and of episodes, neither is counted.
	Gained int64 `json:"gained"`
	Lost   int64 `json:"lost"`
}

// String returns the difference with its interval, and whether it is level.
func (c Comparison) String() string {
	level := ""
	if c.Level {
		level = " level"
	}
	return fmt.Sprintf("%s (%s to %s)%s", Signed(c.Difference), Signed(c.Low), Signed(c.High), level)
}

// Signed formats percentage points with their sign; 0 has a plus.
func Signed(points float64) string { return fmt.Sprintf("%+.1f", math.Round(10*points)/10+0) }

// compare compares the nets of the tasks under a protocol: for each baseline the mean over the tasks that have both
// results, and then each of these. Tasks without predictions or episodes are left out.
func compare(protocol string, of map[string]map[string]Row) (all []Comparison) {
	for _, over := range Baselines {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(of)) {
			if paired(of[name][Routed], of[name][over]) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		mean := Comparison{Protocol: protocol, Over: over, Tasks: len(names)}
		var each []Comparison
		var strata []metrics.Task
		var routed, base [][][]float32
		for _, name := range names {
			a, b := of[name][Routed], of[name][over]
			c := Comparison{Protocol: protocol, Task: name, Over: over, Tasks: 1, Episodes: a.episodes(), Routed: a.Value, Base: b.Value}
			task, rightA := a.answers()
			_, rightB := b.answers()
			strata = append(strata, task)
			routed, base = append(routed, [][]float32{rightA}), append(base, [][]float32{rightB})
			c.count(task, rightA, rightB)
			mean.Routed, mean.Base = mean.Routed+a.Value/float64(len(names)), mean.Base+b.Value/float64(len(names))
			mean.Gained, mean.Lost = mean.Gained+c.Gained, mean.Lost+c.Lost
			mean.Episodes = c.Episodes
			each = append(each, c)
		}
		boot := metrics.NewBootstrap(strata, 1)
		ofMean, ofEach := boot.Measure(routed).Minus(boot.Measure(base)).Intervals()
		mean.set(ofMean)
		for i := range each {
			each[i].set(ofEach[i])
		}
		all = append(append(all, mean), each...)
	}
	return all
}

// Difference compares two nets' results on the same test images of a task, as if the first were routed.
func Difference(a, base Row) Comparison {
	c := Comparison{Protocol: a.Protocol, Task: a.Task, Over: base.Subnet, Tasks: 1, Routed: a.Value, Base: base.Value}
	task, rightA := a.answers()
	_, rightB := base.answers()
	c.count(task, rightA, rightB)
	boot := metrics.NewBootstrap([]metrics.Task{task}, 1)
	difference, _ := boot.Measure([][][]float32{{rightA}}).Minus(boot.Measure([][][]float32{{rightB}})).Intervals()
	c.set(difference)
	return c
}

// count counts the images about which only one of two nets is right.
func (c *Comparison) count(task metrics.Task, routed, base []float32) {
	for i := range routed {
		switch {
		case task.Classes > 0 || c.Episodes > 0: // these are scores
		case routed[i] > base[i]:
			c.Gained++
		case routed[i] < base[i]:
			c.Lost++
		}
	}
}

// paired reports whether two nets have results for the same test images or episodes.
func paired(a, b Row) bool {
	return len(a.Labels)+len(a.Scores) > 0 && slices.Equal(a.Labels, b.Labels) && len(a.Scores) == len(b.Scores)
}

// episodes returns the number of episodes, 0 for test images.
func (r Row) episodes() int {
	if len(r.Labels) > 0 {
		return 0
	}
	return len(r.Scores)
}

// answers returns the task and what is right about each image or episode, as metrics.Bootstrap takes them.
func (r Row) answers() (metrics.Task, []float32) {
	if n := r.episodes(); n > 0 {
		accuracies := make([]float32, n)
		for i, s := range r.Scores {
			accuracies[i] = float32(s)
		}
		return metrics.Task{Labels: make([]int64, n)}, accuracies // all in one stratum
	}
	if r.Metric == tasks.MeanAP {
		ranked := r.ranked()
		return metrics.Task{Labels: ranked.Has, Classes: ranked.Classes}, ranked.Scores
	}
	labels, predicted := r.Classes()
	return metrics.Task{Labels: labels, MeanPerClass: r.Metric == tasks.MeanPerClass}, metrics.Right(predicted, labels)
}

// set sets the difference.
func (c *Comparison) set(i metrics.Interval) {
	c.Difference, c.Low, c.High, c.Level = 100*i.Mean, 100*i.Low, 100*i.High, i.Level()
}
