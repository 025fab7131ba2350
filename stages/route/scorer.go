package route

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Scorer says how well a net's features separate a task's classes, given those of its training images.
type Scorer interface {
	// Summary describes the scorer in a few words.
	Summary() string
	// Score returns the score, of which more is better, and its standard error, 0 if that is not known. It computes on the
	// pool, which the features' engine uses, too. set has at least two classes; metric is the task's.
	Score(pool *kernels.Pool, set *labeled.Set, metric string) (score, stdErr float64, err error)
}

// RunScorer says which nets of a run suit a task without running them.
type RunScorer interface {
	// Summary describes the scorer in a few words.
	Summary() string
	// ScoreRun calls yield with the scores and standard errors of those of the pairs, which are of one task and run, that
	// have a score.
	ScoreRun(ctx context.Context, pairs []Pair, yield func(p Pair, score, stdErr float64) error) error
}

var (
	scorers    = map[string]Scorer{}
	runScorers = map[string]RunScorer{}
)

// RegisterScorer makes a scorer available under a name. Call it from init.
func RegisterScorer(name string, s Scorer) { scorers[name] = s }

// RegisterRunScorer makes a scorer of runs available under a name. Call it from init.
func RegisterRunScorer(name string, s RunScorer) { runScorers[name] = s }

// Scorers lists the names of the scorers.
func Scorers() []string {
	return slices.Sorted(maps.Keys(summaries()))
}

// Summary describes a scorer in a few words.
func Summary(name string) string { return summaries()[name] }

// FormatScore formats a score: LogME's is the logarithm of an evidence, and all others are in percent.
func FormatScore(scorer string, score float64) string {
	if scorer == LogME {
		return fmt.Sprintf("%.3f", score)
	}
	return fmt.Sprintf("%.1f %%", score)
}

// summaries describes the scorers of both kinds.
func summaries() map[string]string {
	all := map[string]string{}
	for name, s := range scorers {
		all[name] = s.Summary()
	}
	for name, s := range runScorers {
		all[name] = s.Summary()
	}
	return all
}

// check returns an error unless there is a scorer of each name, and at least one.
func check(names []string) error {
	for _, n := range names {
		if scorers[n] == nil && runScorers[n] == nil {
			return fmt.Errorf("there is no scorer %q; want one of %v", n, Scorers())
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no scorer is given; want one of %v", Scorers())
	}
	return nil
}

// ranked returns the mean average precision of scores, [images, classes], in percent, and its standard error.
func ranked(scores []float32, sets [][]int64, classes int) (percent, stdErr float64) {
	r := metrics.NewRanked(scores, sets, classes)
	return 100 * r.MeanAP(), 100 * r.Error()
}

// accuracy returns a metric of predictions, in percent, and its standard error.
func accuracy(metric string, predicted, labels []int64) (percent, stdErr float64) {
	if metric == tasks.MeanPerClass {
		stdErr = metrics.MeanPerClassError(predicted, labels, int(slices.Max(labels))+1)
	} else {
		stdErr = metrics.AccuracyError(predicted, labels)
	}
	return tasks.Percent(metric, predicted, labels), 100 * stdErr
}
