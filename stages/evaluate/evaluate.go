// Package evaluate is the stage that measures, on test images, the nets of a
// run: the unified baselines, every sub-net and the one that the router chose.
package evaluate

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/embed"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/logistic"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Protocols are the ways to classify with frozen features.
const (
	// KNN is a weighted nearest-neighbour vote.
	KNN = "knn"
	// Linear is a logistic regression.
	Linear = "linear"
)

// Protocols lists them.
var Protocols = []string{KNN, Linear}

// Config says what to evaluate.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Protocols are some of Protocols.
	Protocols []string
}

// Row is a row of what Evaluate emits: one net on one task.
type Row struct {
	Task     string `arrow:"task"`
	Metric   string `arrow:"metric"`
	Protocol string `arrow:"protocol"`
	Subnet   string `arrow:"subnet"`
	// Value is in percent, of the task's metric on its test images.
	Value      float64 `arrow:"value"`
	TestImages int64   `arrow:"test_images"`
	// Candidate says that the router could choose the net, Score how it scored
	// and Routed that it was chosen.
	Candidate bool    `arrow:"candidate"`
	Score     float64 `arrow:"score"`
	Routed    bool    `arrow:"routed"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[evaluateFn]())
	beam.RegisterDoFn(reflect.TypeFor[markFn]())
}

// Evaluate measures every net of a run on every task.
//
// in: *record.Batch of train.Model and, as a side input, of route.Score. out:
// *record.Batch of Row, one batch a net and task, one row a protocol.
func Evaluate(s beam.Scope, models, scores beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("evaluate.Evaluate")
	pairs := route.Pairs(s, models, cfg.Tasks, false)
	rows := compute.ParDo(s, &evaluateFn{Protocols: cfg.Protocols}, pairs)
	return beam.ParDo(s, &markFn{}, rows, beam.SideInput{Input: scores})
}

type evaluateFn struct{ Protocols []string }

func (fn *evaluateFn) ProcessElement(ctx context.Context, pair *record.Batch) (*record.Batch, error) {
	pairs, err := record.Rows[route.Pair](pair)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, p := range pairs {
		for _, protocol := range fn.Protocols {
			value, n, err := measure(ctx, protocol, p)
			if err != nil {
				return nil, fmt.Errorf("evaluate: task %s, net %s, %s: %w", p.Task, p.Subnet, protocol, err)
			}
			progress.Note("evaluate", "task", p.Task, "net", p.Subnet, protocol, fmt.Sprintf("%.1f", value))
			rows = append(rows, Row{Task: p.Task, Metric: p.Metric, Protocol: protocol, Subnet: p.Subnet, Value: value, TestImages: n})
		}
	}
	return record.Of(rows), nil
}

// markFn adds to the figures of a net how the router scored it.
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
	ofTask := map[string][]route.Score{}
	for _, s := range all {
		ofTask[s.Task] = append(ofTask[s.Task], s)
	}
	for i, row := range rows {
		for _, s := range ofTask[row.Task] {
			if s.Subnet == row.Subnet {
				rows[i].Candidate, rows[i].Score = true, s.Score
				rows[i].Routed = route.Best(ofTask[row.Task]).Subnet == s.Subnet
			}
		}
	}
	return record.Of(rows), nil
}

// measure trains a classifier on the features of a task's training images and
// returns its metric, in percent, on the test images and their number.
func measure(ctx context.Context, protocol string, p route.Pair) (percent float64, n int64, err error) {
	training, err := embed.Split(ctx, p.Model, p.Train, nil)
	if err != nil {
		return 0, 0, err
	}
	test, err := embed.Split(ctx, p.Model, p.Test, training.Classes)
	if err != nil {
		return 0, 0, err
	}
	err = compute.Run(func(*kernels.Pool) error {
		var pred []int64
		var err error
		classes := len(training.Classes)
		switch protocol {
		case KNN:
			pred, err = nearest.Classify(training.Features, training.Labels, classes, test.Features, nearest.Default)
		case Linear:
			var fitted *logistic.Model
			if fitted, err = logistic.Fit(training.Features, training.Labels, classes, logistic.Default); err == nil {
				pred, err = fitted.Predict(test.Features)
			}
		default:
			err = fmt.Errorf("there is no protocol %q; want one of %v", protocol, Protocols)
		}
		if err == nil {
			percent = route.Percent(p.Metric, pred, test.Labels, classes)
		}
		return err
	})
	return percent, int64(len(test.Labels)), err
}

// Collect brings the rows of an evaluation into the form that is shown.
func Collect(rows []Row) *Results {
	type key struct{ protocol, task string }
	byTask := map[key][]Row{}
	for _, r := range rows {
		k := key{r.Protocol, r.Task}
		byTask[k] = append(byTask[k], r)
	}
	var list []Task
	for k, rows := range byTask {
		t := Task{Name: k.task, Protocol: k.protocol, Metric: rows[0].Metric, TestImages: rows[0].TestImages}
		candidates := map[string]float64{}
		for _, r := range rows {
			switch r.Subnet {
			case recipe.Unified:
				t.Unified = new(r.Value)
			case recipe.UnifiedSubsetBatches:
				t.UnifiedSubsetBatches = new(r.Value)
			}
			if r.Candidate {
				candidates[r.Subnet] = r.Value
			}
			if r.Routed {
				t.Routed, t.Subnet = new(r.Value), r.Subnet
			}
		}
		if len(candidates) > 0 {
			var sum float64
			for _, name := range slices.Sorted(maps.Keys(candidates)) {
				sum += candidates[name]
			}
			t.Mean = new(sum / float64(len(candidates)))
			t.Oracle = new(slices.Max(slices.Collect(maps.Values(candidates))))
		}
		list = append(list, t)
	}
	return newResults(list)
}
