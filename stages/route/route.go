// Package route is the stage that chooses a sub-net for each downstream task. It scores every candidate by how well its
// features separate the task's classes on the labeled training images, or by which subsets these are near to; it never reads
// test images.
package route

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Config says which tasks to score and how.
type Config struct {
	// Tasks are the downstream tasks.
	Tasks []tasks.Task
	// Scorers are the scorers to use, by name; see Scorers. Each chooses for itself.
	Scorers []string
	// Norms are those to try; empty means all.
	Norms []string
	// Beam, if not 0, searches the tree from the root down: of each level, only the children of the Beam nodes with the
	// best scores are scored. It needs a single scorer, which looks at features.
	Beam int
	// Dir, if not empty, is a folder where the scores of every task are kept as soon as they are known. A job that is run
	// again reads them from there. They must be of the same models and settings.
	Dir string
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
	// Score is the router's under Scorer; empty unless the router chose the pair.
	Scorer string  `arrow:"scorer"`
	Score  float64 `arrow:"score"`
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

// Open returns the pair's backbone with the statistics of its norm. It is shared and must not be modified.
func (p Pair) Open(ctx context.Context) (*inference.Model, error) {
	return net(p.Model, p.Norm, p.Train).Open(ctx)
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
	// Score is the scorer's, in percent if it is an accuracy by the task's metric, and StdErr its standard error, or 0.
	Score  float64 `arrow:"score"`
	StdErr float64 `arrow:"std_err"`
	// Rank counts the candidates of a task and scorer from 1, the one that is chosen; 0 for others.
	Rank int64 `arrow:"rank"`
	// Level is the number of choices in the sub-net's code.
	Level int64 `arrow:"level"`
	// Cost is the number of multiplications per image, in millions.
	Cost float64 `arrow:"cost"`
	// Model is the path of the sub-net's model file, and Train that of the task's training images.
	Model string `arrow:"model"`
	Train string `arrow:"train"`
}

// Run returns the folder of the run that trained the net.
func (s Score) Run() string { return files.Dir(files.Dir(s.Model)) }

// Open returns the net's backbone with the statistics that were scored. It is shared and must not be modified.
func (s Score) Open(ctx context.Context) (*inference.Model, error) {
	return net(s.Model, s.Norm, s.Train).Open(ctx)
}

// Dead is the schema of RouteEach's second output: a task that could not be routed.
type Dead struct {
	Task string `arrow:"task"`
	// Train is the path of its training images, and Reason says what is wrong.
	Train  string `arrow:"train"`
	Reason string `arrow:"reason"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterDoFn(reflect.TypeFor[scoreFn]())
	beam.RegisterDoFn(reflect.TypeFor[eachFn]())
	beam.RegisterDoFn(reflect.TypeFor[chosenFn]())
}

// Route scores the nets on every task; features never leave the worker that computes them. It panics on an unknown
// scorer.
//
// in: *record.Batch of train.Model. out: *record.Batch of Score, one batch per task, ranked.
func Route(s beam.Scope, models beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("route.Route")
	must(cfg.Validate())
	return compute.ParDo(s, &scoreFn{cfg}, Pairs(s, models, cfg.Tasks, cfg.Norms))
}

// RouteEach is Route where a task that cannot be routed does not stop the others.
//
// in: as of Route. out: as of Route, and *record.Batch of Dead, one row per batch.
func RouteEach(s beam.Scope, models beam.PCollection, cfg Config) (scores, dead beam.PCollection) {
	s = s.Scope("route.RouteEach")
	must(cfg.Validate())
	scores, dead = beam.ParDo2(s, &eachFn{cfg}, beam.Reshuffle(s, Pairs(s, models, cfg.Tasks, cfg.Norms)))
	return beam.Reshuffle(s, scores), beam.Reshuffle(s, dead) // see compute.ParDo
}

// Validate reports an unknown scorer, and a beam that does not fit.
func (c Config) Validate() error {
	if c.Beam < 0 || c.Beam > 0 && len(c.Scorers) != 1 {
		return fmt.Errorf("route: a beam of %d with the scorers %v; want a beam of at least 1 and one scorer, or 0", c.Beam, c.Scorers)
	}
	if err := check(c.Scorers); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	if c.Beam > 0 && runScorers[c.Scorers[0]] != nil {
		return fmt.Errorf("route: the scorer %s does not score level by level, as a beam needs", c.Scorers[0])
	}
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Pairs pairs every task with every model under statistics of each norm; empty norms mean all. It leaves out the phase 0
// net.
//
// in: *record.Batch of train.Model, as a side input. out: *record.Batch of Pair, one batch per task.
func Pairs(s beam.Scope, models beam.PCollection, of []tasks.Task, norms []string) beam.PCollection {
	s = s.Scope("route.Pairs")
	if len(norms) == 0 {
		norms = Norms
	}
	return beam.ParDo(s, &pairFn{Tasks: of, Norms: norms}, beam.Impulse(s), beam.SideInput{Input: models})
}

type pairFn struct {
	Tasks []tasks.Task
	Norms []string
}

func (fn *pairFn) ProcessElement(_ []byte, models func(**record.Batch) bool, emit func(*record.Batch)) error {
	rows, err := record.All[train.Model](models)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(m train.Model) bool { return m.Subnet == train.Phase0 })
	slices.SortFunc(rows, InOrder)
	for _, t := range fn.Tasks {
		var pairs []Pair
		for _, norm := range fn.Norms { // nets with the same statistics have the most in common
			for _, m := range rows {
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

// InOrder orders nets so that neighbors have the most in common: by run and level, then by the choices of the last levels,
// which are those of the first stages (unless split.order is another than the default).
func InOrder(a, b train.Model) int {
	x, y := sdrnet.Choices(code(a.Subnet)), sdrnet.Choices(code(b.Subnet))
	slices.Reverse(x)
	slices.Reverse(y)
	return cmp.Or(strings.Compare(path.Dir(a.Path), path.Dir(b.Path)), cmp.Compare(a.Level, b.Level), slices.Compare(x, y), strings.Compare(a.Subnet, b.Subnet))
}

// scoreFn scores the pairs of one task.
type scoreFn struct{ Config Config }

func (fn *scoreFn) ProcessElement(ctx context.Context, in *record.Batch) (*record.Batch, error) {
	pairs, err := record.Rows[Pair](in)
	if err != nil {
		return nil, err
	}
	scores, err := fn.Config.kept(ctx, pairs)
	if err != nil {
		return nil, fmt.Errorf("route: task %s: %w", pairs[0].Task, err)
	}
	return record.Of(scores), nil
}

// eachFn is scoreFn with dead letters.
type eachFn struct{ Config Config }

func (fn *eachFn) ProcessElement(ctx context.Context, in *record.Batch, emit, emitDead func(*record.Batch)) error {
	pairs, err := record.Rows[Pair](in)
	if err != nil {
		return err
	}
	scores, err := fn.Config.kept(ctx, pairs)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		emitDead(record.Of([]Dead{{pairs[0].Task, pairs[0].Train, err.Error()}}))
	default:
		emit(record.Of(scores))
	}
	return nil
}
