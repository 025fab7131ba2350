// Package evaluate is the stage that measures a run's nets on test images: the unified baselines, every sub-net, and
// the sub-net that the router chose.
package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Config says what to evaluate.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Protocols names the protocols to run, each from Protocols.
	Protocols []string
}

// Row is the schema of Evaluate's results: one net on one task under one protocol.
type Row struct {
	Task     string `arrow:"task"`
	Metric   string `arrow:"metric"`
	Protocol string `arrow:"protocol"`
	Subnet   string `arrow:"subnet"`
	// Norm says where the net's BatchNorm statistics come from, see route.Norms.
	Norm string `arrow:"norm"`
	// Value is the task's metric on its test images, in percent; of an episodic protocol, the mean of the episodes'
	// accuracies, with a 95 % interval of plus or minus Interval, which is 0 otherwise.
	Value      float64 `arrow:"value"`
	Interval   float64 `arrow:"interval"`
	TestImages int64   `arrow:"test_images"`
	// Score is the net's routing score, Candidate is true if the router could choose the net, and Routed is true if it
	// did. Mark sets them.
	Candidate bool    `arrow:"candidate"`
	Score     float64 `arrow:"score"`
	Routed    bool    `arrow:"routed"`
}

// Prediction is the schema of Evaluate's predictions: the class that a net predicts for one test image of a task.
type Prediction struct {
	Task     string `arrow:"task"`
	Protocol string `arrow:"protocol"`
	Subnet   string `arrow:"subnet"`
	Norm     string `arrow:"norm"`
	// Image is the image's index in the test split.
	Image int32 `arrow:"image"`
	// Label and Predicted are the true and the predicted class.
	Label     int32 `arrow:"label"`
	Predicted int32 `arrow:"predicted"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[embedFn]())
	beam.RegisterDoFn(reflect.TypeFor[measureFn]())
	beam.RegisterDoFn(reflect.TypeFor[markFn]())
}

// Evaluate measures every net of a run on every task: it fits a classifier to the features of the task's training
// images and predicts the classes of its test images. The runner fuses these steps, so features never leave the worker
// that computes them. Evaluate panics on an unknown protocol.
//
// in: *record.Batch of train.Model. out: results, *record.Batch of Row, one row per batch; and predictions,
// *record.Batch of Prediction, one batch per Row, but none of episodic protocols.
func Evaluate(s beam.Scope, models beam.PCollection, cfg Config) (results, predictions beam.PCollection) {
	s = s.Scope("evaluate.Evaluate")
	return Measure(s, route.Pairs(s, models, cfg.Tasks, nil), cfg.Protocols)
}

// Measure is Evaluate for given pairs of a task and a net.
//
// in: *record.Batch of route.Pair. out: as of Evaluate.
func Measure(s beam.Scope, pairs beam.PCollection, protocols []string) (results, predictions beam.PCollection) {
	s = s.Scope("evaluate.Measure")
	sets := beam.ParDo(s, &embedFn{}, beam.Reshuffle(s, pairs))
	var rows, predicted []beam.PCollection
	for _, name := range protocols {
		protocol, ok := named(name)
		if !ok {
			panic(fmt.Sprintf("evaluate: unknown protocol %q; want one or more of %v", name, Protocols()))
		}
		r, p := protocol.measure(s, sets)
		rows, predicted = append(rows, r), append(predicted, p)
	}
	return beam.Reshuffle(s, beam.Flatten(s, rows...)), beam.Reshuffle(s, beam.Flatten(s, predicted...)) // see compute.ParDo
}

// Mark adds the router's scores and choices to the results of an evaluation.
//
// in: *record.Batch of Row, and *record.Batch of route.Score as a side input. out: *record.Batch of Row.
func Mark(s beam.Scope, results, scores beam.PCollection) beam.PCollection {
	s = s.Scope("evaluate.Mark")
	return beam.ParDo(s, &markFn{}, results, beam.SideInput{Input: scores})
}

// embedFn computes the features of pairs of one task: for each pair one batch for the training images and one for the
// test images.
type embedFn struct{}

// together is the number of pairs whose features are computed together.
const together = 16

func (*embedFn) ProcessElement(ctx context.Context, in *record.Batch, emit func(train, test *record.Batch)) error {
	pairs, err := record.Rows[route.Pair](in)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(pairs, together) {
		if err := embed(ctx, some, emit); err != nil {
			return fmt.Errorf("evaluate: task %s: %w", pairs[0].Task, err)
		}
	}
	return nil
}

func embed(ctx context.Context, pairs []route.Pair, emit func(train, test *record.Batch)) error {
	training := make([]*labeled.Set, len(pairs))
	err := route.Features(ctx, pairs, nil, func(i int, s *labeled.Set) error {
		training[i] = s
		return nil
	})
	if err != nil {
		return err
	}
	return route.Features(ctx, pairs, training[0].Classes, func(i int, s *labeled.Set) error {
		of := record.Of(pairs[i : i+1])
		train, err := training[i].Batch(of)
		if err != nil {
			return err
		}
		test, err := s.Batch(of)
		if err == nil {
			emit(train, test)
		}
		return err
	})
}

// measureFn computes the task's metric from the predictions for one pair.
type measureFn struct{ Protocol string }

func (fn *measureFn) ProcessElement(b *record.Batch, emitResult, emitPredictions func(*record.Batch)) error {
	pairs, err := record.Rows[route.Pair](record.New(b.NewSlice(0, 1)))
	if err != nil {
		return err
	}
	p := pairs[0]
	labels, predicted, err := classes(b)
	if err != nil {
		return err
	}
	value, predictions := tasks.Percent(p.Metric, predicted, labels), make([]Prediction, len(labels))
	for i, l := range labels {
		predictions[i] = Prediction{p.Task, fn.Protocol, p.Subnet, p.Norm, int32(i), int32(l), int32(predicted[i])}
	}
	emitPredictions(record.Of(predictions))
	progress.Note("evaluate", "task", p.Task, "net", p.Subnet, "norm", p.Norm, fn.Protocol, fmt.Sprintf("%.1f", value))
	emitResult(record.Of([]Row{{
		Task: p.Task, Metric: p.Metric, Protocol: fn.Protocol, Subnet: p.Subnet, Norm: p.Norm, Value: value, TestImages: b.NumRows(),
	}}))
	return nil
}

// classes returns the columns label and predicted of a batch.
func classes(b *record.Batch) (labels, predicted []int64, err error) {
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

// markFn adds the router's score and choice to each net's results.
type markFn struct{}

func (*markFn) ProcessElement(figures *record.Batch, scores func(**record.Batch) bool) (*record.Batch, error) {
	rows, err := record.Rows[Row](figures)
	if err != nil {
		return nil, err
	}
	all, err := record.All[route.Score](scores)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		best := route.Best(route.Candidates(all, row.Task, Scorer(row.Protocol)))
		for _, s := range all {
			if s.Task == row.Task && s.Scorer == Scorer(row.Protocol) && s.Subnet == row.Subnet && s.Norm == row.Norm {
				rows[i].Score, rows[i].Candidate, rows[i].Routed = s.Score, s.Candidate, s == best
			}
		}
	}
	return record.Of(rows), nil
}

// Collect groups the rows of an evaluation by task and protocol and averages them over the tasks. dead are the tasks
// that could not be evaluated.
func Collect(rows []Row, dead []Dead) *Results {
	type key struct{ protocol, task string }
	byTask := map[key][]Row{}
	for _, r := range rows {
		k := key{r.Protocol, r.Task}
		byTask[k] = append(byTask[k], r)
	}
	var list []Task
	for k, rows := range byTask {
		slices.SortFunc(rows, func(a, b Row) int { // sums do not depend on the order of the rows
			return cmp.Or(strings.Compare(a.Subnet, b.Subnet), slices.Index(route.Norms, a.Norm)-slices.Index(route.Norms, b.Norm))
		})
		t := Task{Name: k.task, Protocol: k.protocol, Metric: rows[0].Metric, TestImages: rows[0].TestImages}
		var sum, count, unifiedScore float64
		for _, r := range rows {
			if r.Norm == route.NormTraining {
				switch r.Subnet {
				case recipe.Random:
					t.Random = new(r.Value)
				case recipe.Unified:
					t.Unified = new(r.Value)
				case recipe.UnifiedSubsetBatches:
					t.UnifiedSubsetBatches = new(r.Value)
				}
			}
			if r.Subnet == recipe.Unified && (t.UnifiedBestNorm == nil || r.Score > unifiedScore) {
				t.UnifiedBestNorm, unifiedScore = new(r.Value), r.Score
			}
			if r.Candidate {
				sum, count = sum+r.Value, count+1
				if t.Oracle == nil || r.Value > *t.Oracle {
					t.Oracle = new(r.Value)
				}
			}
			if r.Routed {
				t.Routed, t.Subnet, t.Norm, t.Interval = new(r.Value), r.Subnet, r.Norm, r.Interval
			}
		}
		if count > 0 {
			t.Mean = new(sum / count)
		}
		list = append(list, t)
	}
	return newResults(list, dead)
}
