// Package route is the stage that chooses a sub-net for each downstream task.
// Every candidate is scored by how well its features tell the task's classes
// apart on the labelled training images; test images are never looked at.
package route

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/embed"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// KNN scores by the leave-one-out accuracy of a weighted nearest-neighbour
// vote on the training images.
const KNN = "knn"

// Scorers lists the scorers that there are.
var Scorers = []string{KNN}

// Config says which tasks to score and how.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Scorer is one of Scorers.
	Scorer string
}

// Pair is a task and a model that could serve it.
type Pair struct {
	Task   string `arrow:"task"`
	Metric string `arrow:"metric"`
	Train  string `arrow:"train"`
	Test   string `arrow:"test"`
	Subnet string `arrow:"subnet"`
	Arm    string `arrow:"arm"`
	Level  int64  `arrow:"level"`
	Model  string `arrow:"model"`
}

// Score is a row of what Route emits: how well a candidate suits a task.
type Score struct {
	Task   string `arrow:"task"`
	Subnet string `arrow:"subnet"`
	Scorer string `arrow:"scorer"`
	// Score is in percent, of the task's metric.
	Score float64 `arrow:"score"`
	// Level is the number of digits of the sub-net's code.
	Level int64 `arrow:"level"`
	// Model is the sub-net's file.
	Model string `arrow:"model"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterDoFn(reflect.TypeFor[scoreFn]())
}

// Route scores every candidate on every task.
//
// in: *record.Batch of train.Model. out: *record.Batch of Score, one row a batch.
func Route(s beam.Scope, models beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("route.Route")
	return compute.ParDo(s, &scoreFn{Scorer: cfg.Scorer}, Pairs(s, models, cfg.Tasks, true))
}

// Pairs makes all pairs of a task and a model, a batch each. The net of phase 0 is left out, and where only candidates
// of the router are wanted, so are the baselines.
func Pairs(s beam.Scope, models beam.PCollection, of []tasks.Task, candidates bool) beam.PCollection {
	s = s.Scope("route.Pairs")
	return beam.ParDo(s, &pairFn{Tasks: of, Candidates: candidates}, models)
}

type pairFn struct {
	Tasks      []tasks.Task
	Candidates bool
}

func (fn *pairFn) ProcessElement(_ context.Context, models *record.Batch, emit func(*record.Batch)) error {
	rows, err := record.Rows[train.Model](models)
	if err != nil {
		return err
	}
	for _, t := range fn.Tasks {
		for _, m := range rows {
			if m.Subnet == train.Phase0 || fn.Candidates && !m.Candidate() {
				continue
			}
			emit(record.Of([]Pair{{
				Task: t.Name, Metric: t.Metric, Train: t.Train, Test: t.Test,
				Subnet: m.Subnet, Arm: m.Arm, Level: m.Level, Model: m.Path,
			}}))
		}
	}
	return nil
}

type scoreFn struct{ Scorer string }

func (fn *scoreFn) ProcessElement(ctx context.Context, pair *record.Batch) (*record.Batch, error) {
	pairs, err := record.Rows[Pair](pair)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(pairs))
	for i, p := range pairs {
		value, err := score(ctx, fn.Scorer, p)
		if err != nil {
			return nil, fmt.Errorf("route: task %s, sub-net %s: %w", p.Task, p.Subnet, err)
		}
		progress.Note("route", "task", p.Task, "subnet", p.Subnet, "score", fmt.Sprintf("%.1f", value))
		scores[i] = Score{Task: p.Task, Subnet: p.Subnet, Scorer: fn.Scorer, Score: value, Level: p.Level, Model: p.Model}
	}
	return record.Of(scores), nil
}

// score returns the leave-one-out accuracy on the training images, in percent.
func score(ctx context.Context, scorer string, p Pair) (percent float64, err error) {
	if scorer != KNN {
		return 0, fmt.Errorf("there is no scorer %q; want one of %v", scorer, Scorers)
	}
	set, err := embed.Split(ctx, p.Model, p.Train, nil)
	if err != nil {
		return 0, err
	}
	err = compute.Run(func(*kernels.Pool) error {
		pred, err := nearest.LeaveOneOut(set.Features, set.Labels, len(set.Classes), nearest.Default)
		percent = Percent(p.Metric, pred, set.Labels, len(set.Classes))
		return err
	})
	return percent, err
}

// Percent is a task's metric of predictions.
func Percent(metric string, pred, labels []int64, classes int) float64 {
	if metric == tasks.MeanPerClass {
		return 100 * metrics.MeanPerClass(pred, labels, classes)
	}
	return 100 * metrics.Accuracy(pred, labels)
}

// Best returns the highest of one task's scores; of equal ones the sub-net
// with the shorter code, then the one whose name sorts first.
func Best(scores []Score) Score {
	return slices.MaxFunc(scores, func(a, b Score) int {
		return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(b.Level, a.Level), strings.Compare(b.Subnet, a.Subnet))
	})
}
