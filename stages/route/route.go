// Package route is the stage that chooses a sub-net for each downstream task. It scores every candidate by how well its
// features separate the task's classes on the labeled training images; it never reads test images.
package route

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/knn"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// KNN scores by the leave-one-out accuracy of a weighted nearest-neighbor vote on the training images.
const KNN = "knn"

// Scorers lists the available scorers.
var Scorers = []string{KNN}

// Config says which tasks to score and how.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Scorer is one of Scorers.
	Scorer string
}

// Pair is a task and a model to try on it.
type Pair struct {
	Task   string `arrow:"task"`
	Metric string `arrow:"metric"`
	Train  string `arrow:"train"`
	Test   string `arrow:"test"`
	Subnet string `arrow:"subnet"`
	// Candidate is true if the router may choose the net.
	Candidate bool   `arrow:"candidate"`
	Level     int64  `arrow:"level"`
	Model     string `arrow:"model"`
	// Norm says where the model's BatchNorm statistics come from, see Norms.
	Norm string `arrow:"norm"`
}

// Norms: where the BatchNorm statistics of a net come from.
const (
	// NormTraining are the statistics in the model file, those of the images that the net was trained on.
	NormTraining = "training"
	// NormTask are statistics of the task's training images (AdaBN, arXiv 1603.04779). They change much, for better or
	// worse, so every net is a candidate with either.
	NormTask = "task"
)

// Norms lists these.
var Norms = []string{NormTraining, NormTask}

// net returns a model with the statistics of a norm.
func net(model, norm, train string) labeled.Net {
	if norm == NormTask {
		return labeled.Net{Model: model, Norm: train}
	}
	return labeled.Net{Model: model}
}

// Features embeds the training images of pairs of one task or, given their classes, its test images, and calls yield with
// the features of each pair in order.
func Features(ctx context.Context, pairs []Pair, classes []string, yield func(i int, s *labeled.Set) error) error {
	var nets []labeled.Net
	for _, p := range pairs {
		nets = append(nets, net(p.Model, p.Norm, p.Train))
	}
	path := pairs[0].Train
	if classes != nil {
		path = pairs[0].Test
	}
	return labeled.Split(ctx, nets, path, classes, yield)
}

// Score is the schema of Route's output: how well one net suits one task.
type Score struct {
	Task   string `arrow:"task"`
	Subnet string `arrow:"subnet"`
	// Norm is one of Norms.
	Norm string `arrow:"norm"`
	// Candidate is true for nets that the router may choose; the others are the baselines, of which it only chooses the
	// statistics.
	Candidate bool   `arrow:"candidate"`
	Scorer    string `arrow:"scorer"`
	// Score is the task's metric, in percent.
	Score float64 `arrow:"score"`
	// Level is the number of choices in the sub-net's code.
	Level int64 `arrow:"level"`
	// Model is the path of the sub-net's model file, and Train that of the task's training images.
	Model string `arrow:"model"`
	Train string `arrow:"train"`
}

// Open returns the net's backbone with the statistics that were scored. It is shared and must not be modified.
func (s Score) Open(ctx context.Context) (*inference.Model, error) {
	return net(s.Model, s.Norm, s.Train).Open(ctx)
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterDoFn(reflect.TypeFor[embedFn]())
	beam.RegisterDoFn(reflect.TypeFor[scoreFn]())
}

// Route scores every net with either BatchNorm statistics on every task. The runner fuses embedding and scoring, so
// features never leave the worker that computes them. Route panics on an unknown scorer.
//
// in: *record.Batch of train.Model. out: *record.Batch of Score, one row per batch.
func Route(s beam.Scope, models beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("route.Route")
	if cfg.Scorer != KNN {
		panic(fmt.Sprintf("route: unknown scorer %q; want one of %v", cfg.Scorer, Scorers))
	}
	sets := beam.ParDo(s, &embedFn{}, beam.Reshuffle(s, Pairs(s, models, cfg.Tasks)))
	scores := beam.ParDo(s, &scoreFn{Scorer: cfg.Scorer}, knn.LeaveOneOut(s, sets, knn.Default))
	return beam.Reshuffle(s, scores) // see compute.ParDo
}

// Pairs pairs every task with every model under either statistics. It leaves out the phase 0 net.
//
// in: *record.Batch of train.Model. out: *record.Batch of Pair, one batch per task and batch of models.
func Pairs(s beam.Scope, models beam.PCollection, of []tasks.Task) beam.PCollection {
	s = s.Scope("route.Pairs")
	return beam.ParDo(s, &pairFn{Tasks: of}, models)
}

type pairFn struct{ Tasks []tasks.Task }

func (fn *pairFn) ProcessElement(_ context.Context, models *record.Batch, emit func(*record.Batch)) error {
	rows, err := record.Rows[train.Model](models)
	if err != nil {
		return err
	}
	for _, t := range fn.Tasks {
		var pairs []Pair
		for _, norm := range Norms { // nets with the same statistics have the most in common
			for _, m := range rows {
				if m.Subnet == train.Phase0 {
					continue
				}
				pairs = append(pairs, Pair{
					Task: t.Name, Metric: t.Metric, Train: t.Train, Test: t.Test, Subnet: m.Subnet,
					Candidate: m.Candidate(), Level: m.Level, Model: m.Path, Norm: norm,
				})
			}
		}
		if len(pairs) > 0 {
			emit(record.Of(pairs))
		}
	}
	return nil
}

// embedFn computes the features of the training images of pairs of one task, as one batch per pair.
type embedFn struct{}

func (*embedFn) ProcessElement(ctx context.Context, in *record.Batch, emit func(*record.Batch)) error {
	pairs, err := record.Rows[Pair](in)
	if err != nil {
		return err
	}
	err = Features(ctx, pairs, nil, func(i int, s *labeled.Set) error {
		b, err := s.Batch(record.Of(pairs[i : i+1]))
		if err == nil {
			emit(b)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("route: task %s: %w", pairs[0].Task, err)
	}
	return nil
}

// scoreFn computes a candidate's score from the predictions for one pair.
type scoreFn struct{ Scorer string }

func (fn *scoreFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	pairs, err := record.Rows[Pair](record.New(b.NewSlice(0, 1)))
	if err != nil {
		return nil, err
	}
	value, err := Percent(pairs[0].Metric, b)
	if err != nil {
		return nil, err
	}
	p := pairs[0]
	progress.Note("route", "task", p.Task, "subnet", p.Subnet, "norm", p.Norm, "score", fmt.Sprintf("%.1f", value))
	return record.Of([]Score{{
		Task: p.Task, Subnet: p.Subnet, Norm: p.Norm, Candidate: p.Candidate, Scorer: fn.Scorer, Score: value,
		Level: p.Level, Model: p.Model, Train: p.Train,
	}}), nil
}

// Percent computes a task's metric, in percent, from a batch with the columns label and predicted.
func Percent(metric string, b *record.Batch) (float64, error) {
	labels, predicted, err := Classes(b)
	if err != nil {
		return 0, err
	}
	return tasks.Percent(metric, predicted, labels), nil
}

// Classes returns the columns label and predicted of a batch.
func Classes(b *record.Batch) (labels, predicted []int64, err error) {
	type row struct {
		Label     int64 `arrow:"label"`
		Predicted int64 `arrow:"predicted"`
	}
	rows, err := record.Rows[row](b)
	if err != nil {
		return nil, nil, err
	}
	labels, predicted = make([]int64, len(rows)), make([]int64, len(rows))
	for i, r := range rows {
		labels[i], predicted[i] = r.Label, r.Predicted
	}
	return labels, predicted, nil
}

// Candidates returns the scores of the nets that the router may choose for a task.
func Candidates(scores []Score, task string) []Score {
	return slices.DeleteFunc(slices.Clone(scores), func(s Score) bool { return s.Task != task || !s.Candidate })
}

// Best returns the highest of one task's scores, or the zero Score if there are none. On a tie it prefers the shorter
// code, then the name that sorts first, then the statistics of the training.
func Best(scores []Score) Score {
	if len(scores) == 0 {
		return Score{}
	}
	return slices.MaxFunc(scores, better)
}

// better compares two scores of a task in the order of Best.
func better(a, b Score) int {
	return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(b.Level, a.Level), strings.Compare(b.Subnet, a.Subnet), slices.Index(Norms, b.Norm)-slices.Index(Norms, a.Norm))
}
