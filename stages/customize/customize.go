// Package customize is the stage that adapts nets to tasks. A net that pre-training finished, usually the sub-net that
// the router chose, goes on with the run's self-supervised training on the task's own training images; their labels
// only serve to choose, among the net as it was and its adapted versions, the one that separates the classes best. It
// never reads test images.
package customize

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Routed is the name of the net that the router chose for a task; other starts have the name of their net.
const Routed = "routed"

// Config says what to customize and how.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Nets are the names of nets to customize for every task besides the routed one, such as "unified".
	Nets []string
	// Dir is the folder for the models: Dir/TASK/START.safetensors.
	Dir string
	// Metrics is the folder for the metrics of the trainings, named TASK/NET-RATE; see [curves.Path].
	Metrics string
	// Recipe is the run's recipe as YAML, with every key set.
	Recipe string
	// Rates are the peak learning rates to try.
	Rates []float64
	// Images is the training budget per task and start: the number of images seen, over all rates together.
	Images int64
	// Seconds is the budget as a time on the device instead, if Images is 0. It is translated to a number of images by
	// timing a few steps, so results may differ from run to run.
	Seconds float64
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
}

// Start is a net to customize for a task.
type Start struct {
	Task   string `arrow:"task"`
	Metric string `arrow:"metric"`
	Train  string `arrow:"train"`
	// Start is Routed or the name of the net.
	Start string `arrow:"start"`
	// Subnet is the name of the net, and Model its file.
	Subnet string `arrow:"subnet"`
	Model  string `arrow:"model"`
}

// Candidate is the schema of Customize's output: one version of a net for a task.
type Candidate struct {
	Task   string `arrow:"task"`
	Start  string `arrow:"start"`
	Subnet string `arrow:"subnet"`
	// Candidate describes the version, such as AsIs.
	Candidate string `arrow:"candidate"`
	// Score is the task's metric by a leave-one-out nearest-neighbor vote on the training images, in percent. Error is
	// the standard error of its difference to that of the net as it was.
	Score float64 `arrow:"score"`
	Error float64 `arrow:"error"`
	// Images is the number of images that the version was trained on beyond the net as it was, and Seconds how long that took.
	Images  int64   `arrow:"images"`
	Seconds float64 `arrow:"seconds"`
	// Chosen is true for one version per task and start; Model is its file, and empty for the others.
	Chosen bool   `arrow:"chosen"`
	Model  string `arrow:"model"`
}

// Norm says where the version's BatchNorm statistics come from, see route.Norms: all but the net as it was have those of the
// task.
func (c Candidate) Norm() string {
	if c.Candidate == AsIs {
		return route.NormTraining
	}
	return route.NormTask
}

// Pairs pairs every task with the version that was chosen for it from each start, as a net of the name that names gives
// the start.
//
// in: *record.Batch of Candidate. out: *record.Batch of route.Pair, one row per batch.
func Pairs(s beam.Scope, candidates beam.PCollection, of []tasks.Task, names map[string]string) beam.PCollection {
	s = s.Scope("customize.Pairs")
	return beam.ParDo(s, &pairFn{Tasks: of, Names: names}, candidates)
}

type pairFn struct {
	Tasks []tasks.Task
	Names map[string]string
}

func (fn *pairFn) ProcessElement(b *record.Batch, emit func(*record.Batch)) error {
	type version struct { // not all of a Candidate: the seconds are not known of what earlier versions have left in a study
		Task   string `arrow:"task"`
		Start  string `arrow:"start"`
		Chosen bool   `arrow:"chosen"`
		Model  string `arrow:"model"`
	}
	rows, err := record.Rows[version](b)
	if err != nil {
		return err
	}
	for _, r := range rows {
		at := slices.IndexFunc(fn.Tasks, func(t tasks.Task) bool { return t.Name == r.Task })
		if !r.Chosen || at < 0 {
			continue
		}
		t := fn.Tasks[at]
		emit(record.Of([]route.Pair{{
			Task: t.Name, Metric: t.Metric, Train: t.Train, Test: t.Test,
			Subnet: fn.Names[r.Start], Model: r.Model, Norm: route.NormTraining,
		}}))
	}
	return nil
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterDoFn(reflect.TypeFor[startsFn]())
	beam.RegisterDoFn(reflect.TypeFor[customizeFn]())
}

// Customize adapts, for every task, the routed net and cfg.Nets, and writes the version of each that suits the task
// best.
//
// in: *record.Batch of train.Model and *record.Batch of route.Score, both as side inputs. out: *record.Batch of
// Candidate, one batch per task and start.
func Customize(s beam.Scope, models, scores beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("customize.Customize")
	starts := beam.ParDo(s, &startsFn{Tasks: cfg.Tasks, Nets: cfg.Nets}, beam.Impulse(s), beam.SideInput{Input: models}, beam.SideInput{Input: scores})
	return compute.ParDo(s, &customizeFn{cfg}, starts)
}

// startsFn lists what to customize, one batch each.
type startsFn struct {
	Tasks []tasks.Task
	Nets  []string
}

func (fn *startsFn) ProcessElement(_ []byte, models, scores func(**record.Batch) bool, emit func(*record.Batch)) error {
	nets, err := record.All[train.Model](models)
	if err != nil {
		return err
	}
	all, err := record.All[route.Score](scores)
	if err != nil {
		return err
	}
	for _, t := range fn.Tasks {
		start := Start{Task: t.Name, Metric: t.Metric, Train: t.Train}
		best := route.Best(route.Candidates(all, t.Name, route.KNN))
		if best.Model == "" {
			return fmt.Errorf("customize: the router scored no net for task %s", t.Name)
		}
		start.Start, start.Subnet, start.Model = Routed, best.Subnet, best.Model
		emit(record.Of([]Start{start}))
		for _, net := range fn.Nets {
			at := slices.IndexFunc(nets, func(m train.Model) bool { return m.Subnet == net })
			if at < 0 {
				return fmt.Errorf("customize: there is no net %q", net)
			}
			start.Start, start.Subnet, start.Model = net, net, nets[at].Path
			emit(record.Of([]Start{start}))
		}
	}
	return nil
}

type customizeFn struct{ Config Config }

func (fn *customizeFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	starts, err := record.Rows[Start](b)
	if err != nil {
		return nil, err
	}
	var rows []Candidate
	for _, start := range starts {
		found, err := fn.customize(ctx, start)
		if err != nil {
			return nil, fmt.Errorf("customize: task %s, net %s: %w", start.Task, start.Subnet, err)
		}
		rows = append(rows, found...)
	}
	return record.Of(rows), nil
}

// customize makes the versions of a net, scores them and saves the best.
func (fn *customizeFn) customize(ctx context.Context, start Start) ([]Candidate, error) {
	r, err := recipe.Parse([]byte(fn.Config.Recipe))
	if err != nil {
		return nil, err
	}
	model, err := inference.Load(ctx, start.Model)
	if err != nil {
		return nil, err
	}
	images, err := labeled.Images(ctx, start.Train, model.Input.Size, nil)
	if err != nil {
		return nil, err
	}
	versions, err := fn.adapt(ctx, r, model, images, start)
	if err != nil {
		return nil, err
	}
	rows, best, err := choose(ctx, versions, images, start)
	if err != nil {
		return nil, err
	}
	rows[best].Model = files.Join(fn.Config.Dir, start.Task, start.Start+".safetensors")
	return rows, inference.Save(ctx, rows[best].Model, &versions[best].model.Model) // with its heads, to be customized again
}
