package study

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// version is a net with BatchNorm statistics of one of route.Norms.
type version struct{ subnet, norm string }

// chooser chooses a net for a task by its scores on the training images.
type chooser struct {
	net    string
	choose func(scores []route.Score) version
}

// choosers has one for each of Nets but the last two.
var choosers = []chooser{
	{recipe.Random, always(recipe.Random)},
	{recipe.Unified, always(recipe.Unified)},
	{UnifiedBestNorm, func(scores []route.Score) version {
		return best(scores, func(s route.Score) bool { return s.Subnet == recipe.Unified })
	}},
	{recipe.UnifiedSubsetBatches, always(recipe.UnifiedSubsetBatches)},
	{Routed, func(scores []route.Score) version {
		return best(scores, func(s route.Score) bool { return s.Candidate })
	}},
}

// customizedChoosers are the same for CustomizedNets, which are nets of their own in the predictions.
var customizedChoosers = []chooser{{UnifiedCustomized, always(UnifiedCustomized)}, {Customized, always(Customized)}}

// always chooses a net with the statistics of its training.
func always(subnet string) func([]route.Score) version {
	return func([]route.Score) version { return version{subnet, route.NormTraining} }
}

// best chooses as the router does, among some of the scores.
func best(scores []route.Score, among func(route.Score) bool) version {
	b := route.Best(slices.DeleteFunc(slices.Clone(scores), func(s route.Score) bool { return !among(s) }))
	return version{b.Subnet, b.Norm}
}

// pairs are the Nets of one training that are compared, the second being subtracted from the first.
var pairs = [][2]string{
	{Routed, recipe.Unified}, {Routed, UnifiedBestNorm}, {Routed, recipe.UnifiedSubsetBatches}, {Routed, MeanSubnet}, {Routed, recipe.Random},
	{recipe.UnifiedSubsetBatches, recipe.Unified},
}

// customizedPairs are further pairs, of nets that are customized.
var customizedPairs = [][2]string{
	{Customized, recipe.Unified}, {Customized, UnifiedCustomized}, {Customized, Routed}, {UnifiedCustomized, recipe.Unified},
}

// overFirst are the Nets that are compared with the same of the first arm.
var overFirst = []string{recipe.Unified, Routed}

// Collector collects what the nets of a study's trainings predicted.
type Collector struct {
	tasks     []tasks.Task
	protocols []string
	nets      []string
	choosers  []chooser // of CustomizedNets, or none
	pairs     [][2]string
	results   []Result
	groups    []group                    // in order of appearance
	right     map[measured][][][]float32 // [tasks][seeds][images]
	labels    [][]int64                  // [tasks][images]
}

// group is an arm at a budget, with all seeds.
type group struct {
	arm    string
	images int64
}

// measured is one of a group's Nets under a protocol.
type measured struct {
	group
	protocol, net string
}

// NewCollector returns a collector of predictions for tasks under protocols.
func NewCollector(of []tasks.Task, protocols []string, customized bool) *Collector {
	c := &Collector{tasks: of, protocols: protocols, nets: Nets, pairs: pairs, right: map[measured][][][]float32{}, labels: make([][]int64, len(of))}
	if customized {
		c.nets, c.choosers, c.pairs = slices.Concat(Nets, CustomizedNets), customizedChoosers, slices.Concat(pairs, customizedPairs)
	}
	return c
}

// Add adds a training: the predictions of its nets, and the router's scores of its candidates. All groups have the same
// seeds.
func (c *Collector) Add(cell Cell, predictions []evaluate.Row, scores []route.Score) error {
	g := group{cell.Arm, cell.Images}
	if !slices.Contains(c.groups, g) {
		c.groups = append(c.groups, g)
	}
	answered := gather(predictions)
	for _, protocol := range c.protocols {
		for i, t := range c.tasks {
			ask := func(v version) answers { return answered[question{protocol, t.Name, v}] }
			ofTask := slices.DeleteFunc(slices.Clone(scores), func(s route.Score) bool { return s.Task != t.Name || s.Scorer != evaluate.Scorer(protocol) })
			chosen, err := choose(ask, ofTask, t.Metric, c.choosers)
			if err != nil {
				return fmt.Errorf("%v, task %s, %s: %w", cell, t.Name, protocol, err)
			}
			if labels := ask(version{recipe.Unified, route.NormTraining}).labels; c.labels[i] == nil {
				c.labels[i] = labels
			} else if !slices.Equal(c.labels[i], labels) {
				return fmt.Errorf("%v, task %s: its test images changed during the study", cell, t.Name)
			}
			for _, n := range chosen {
				c.results = append(c.results, Result{cell.Arm, int64(cell.Seed), cell.Images, protocol, t.Name, n.net, n.subnet, n.norm, n.value})
				key := measured{g, protocol, n.net}
				if c.right[key] == nil {
					c.right[key] = make([][][]float32, len(c.tasks))
				}
				c.right[key][i] = append(c.right[key][i], n.right)
			}
		}
	}
	return nil
}

// question is what a net answers: the classes of a task's test images under a protocol.
type question struct {
	protocol, task string
	version
}

// answers are a net's predictions, next to the labels.
type answers struct{ labels, predicted []int64 }

// gather finds the answers in predictions.
func gather(predictions []evaluate.Row) map[question]answers {
	all := map[question]answers{}
	for _, p := range predictions {
		labels, predicted := p.Classes()
		all[question{p.Protocol, p.Task, version{p.Subnet, p.Norm}}] = answers{labels, predicted}
	}
	return all
}

// choice is one of Nets on a task with one seed.
type choice struct {
	net string
	version
	value float64   // in percent
	right []float32 // how right it is about each image
}

// choose returns the choices for a task, in the order of Nets, from the answers of the nets and the router's scores of
// its candidates.
func choose(ask func(version) answers, scores []route.Score, metric string, further []chooser) ([]choice, error) {
	candidates := slices.DeleteFunc(slices.Clone(scores), func(s route.Score) bool { return !s.Candidate })
	if len(candidates) == 0 {
		return nil, errors.New("the router scored no sub-net")
	}
	take := func(net string, v version) (choice, error) {
		a := ask(v)
		if len(a.labels) == 0 {
			return choice{}, fmt.Errorf("there are no predictions of the net %s with the norm %s", v.subnet, v.norm)
		}
		return choice{net, v, tasks.Percent(metric, a.predicted, a.labels), metrics.Right(a.predicted, a.labels)}, nil
	}
	var chosen []choice
	for _, c := range choosers {
		n, err := take(c.net, c.choose(scores))
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, n)
	}
	mean, best := choice{net: MeanSubnet, right: make([]float32, len(chosen[0].right))}, choice{value: -1}
	slices.SortFunc(candidates, func(a, b route.Score) int {
		return cmp.Or(cmp.Compare(a.Subnet, b.Subnet), cmp.Compare(a.Norm, b.Norm))
	})
	for _, candidate := range candidates {
		n, err := take(BestSubnet, version{candidate.Subnet, candidate.Norm})
		if err != nil {
			return nil, err
		}
		mean.value += n.value / float64(len(candidates))
		for i, right := range n.right {
			mean.right[i] += right / float32(len(candidates))
		}
		if n.value > best.value {
			best = n
		}
	}
	chosen = append(chosen, mean, best)
	for _, c := range further {
		n, err := take(c.net, c.choose(scores))
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// Results estimates means and differences from all that was added.
func (c *Collector) Results() *Results {
	out := &Results{Results: c.results}
	if len(c.groups) == 0 {
		return out
	}
	of, seeds := make([]metrics.Task, len(c.tasks)), 0
	for i, t := range c.tasks {
		of[i] = metrics.Task{Labels: c.labels[i], MeanPerClass: t.Metric == tasks.MeanPerClass}
	}
	for _, right := range c.right {
		seeds = len(right[0])
	}
	boot := metrics.NewBootstrap(of, seeds)
	for _, protocol := range c.protocols {
		samples := c.measure(boot, protocol)
		for _, g := range c.groups {
			for _, net := range c.nets {
				out.Means = append(out.Means, c.means(measured{g, protocol, net}, samples)...)
			}
			for _, p := range c.pairs {
				out.Comparisons = append(out.Comparisons, c.compare(measured{g, protocol, p[0]}, measured{g, protocol, p[1]}, samples)...)
			}
			first := group{c.groups[0].arm, g.images}
			for _, net := range overFirst {
				if g != first {
					out.Comparisons = append(out.Comparisons, c.compare(measured{g, protocol, net}, measured{first, protocol, net}, samples)...)
				}
			}
		}
	}
	return out
}

// measure measures all nets under a protocol.
func (c *Collector) measure(boot *metrics.Bootstrap, protocol string) map[measured]metrics.Sample {
	var keys []measured
	for _, g := range c.groups {
		for _, net := range c.nets {
			keys = append(keys, measured{g, protocol, net})
		}
	}
	found := make([]metrics.Sample, len(keys))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, key := range keys {
		work.Go(func() error {
			found[i] = boot.Measure(c.right[key])
			return nil
		})
	}
	_ = work.Wait() // there are no errors
	samples := map[measured]metrics.Sample{}
	for i, key := range keys {
		samples[key] = found[i]
	}
	return samples
}

// means returns a net's means: over all tasks, then for each task.
func (c *Collector) means(n measured, samples map[measured]metrics.Sample) (rows []Mean) {
	c.each(samples[n], func(task string, i metrics.Interval) {
		rows = append(rows, Mean{n.arm, n.images, n.protocol, task, n.net, i.Mean, i.Low, i.High})
	})
	return rows
}

// compare returns the differences between two nets: over all tasks, then for each task.
func (c *Collector) compare(n, over measured, samples map[measured]metrics.Sample) (rows []Comparison) {
	c.each(samples[n].Minus(samples[over]), func(task string, i metrics.Interval) {
		rows = append(rows, Comparison{n.arm, n.images, n.protocol, task, n.net, over.arm, over.net, i.Mean, i.Low, i.High, i.Level()})
	})
	return rows
}

// each yields a sample's intervals, in percent, over all tasks and for each.
func (c *Collector) each(s metrics.Sample, yield func(task string, i metrics.Interval)) {
	percent := func(i metrics.Interval) metrics.Interval {
		return metrics.Interval{Mean: 100 * i.Mean, Low: 100 * i.Low, High: 100 * i.High}
	}
	mean, each := s.Intervals()
	yield("", percent(mean))
	for t, i := range each {
		yield(c.tasks[t].Name, percent(i))
	}
}
