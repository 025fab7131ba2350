package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// EvaluateOptions are the arguments of Evaluate.
type EvaluateOptions struct {
	// Run is the run folder.
	Run string
	// Tasks is a folder of downstream tasks.
	Tasks string
	// Columns are those of the tasks' Parquet files.
	Columns imageio.Columns
	// Protocols names the protocols to run, each from evaluate.Protocols.
	Protocols []string
	// Device is the one of distant workers; this process computes on compute.Device.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
	// Out is a Parquet file for the results of every net; if empty, none is written.
	Out string
}

// Evaluate routes every task to a sub-net, using its training images, and measures every net of the run on its test
// images.
func Evaluate(ctx context.Context, o EvaluateOptions) (results *evaluate.Results, err error) {
	if err := evaluate.CheckProtocols(o.Protocols); err != nil {
		return nil, err
	}
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	found, dead, err := findTasks(ctx, o.Tasks, o.Columns)
	if err != nil {
		return nil, err
	}
	if o.Out != "" {
		if err := spareTasks(ctx, o.Tasks, o.Columns, models, o.Out); err != nil {
			return nil, err
		}
	}
	unsuited := evaluate.Unsuited(found, o.Protocols)
	if len(found) > 0 && len(unsuited) == len(found)*len(o.Protocols) {
		return nil, run.Usagef("there is nothing to evaluate: task %s: %s", unsuited[0].Task, unsuited[0].Reason)
	}
	defer shareTuning(ctx, folder.TuningDir())()
	place, remove, err := placeFor(folder, "evaluations", o.Runner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	dir := resultDir(ctx, place, "evaluations", models, found, []any{o.Protocols, evaluate.Form(o.Protocols)})
	p, s := beam.NewPipelineWithRoot()
	nets := createModels(s, models)
	scores := route.Route(s, nets, route.Config{Tasks: found, Scorers: evaluate.Scorers(o.Protocols)})
	measured := evaluate.Evaluate(s, nets, evaluate.Config{Tasks: found, Protocols: o.Protocols})
	arrowio.WriteDir(s, dir, evaluate.Mark(s, measured, scores))
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return nil, err
	}
	rows, err := readOut[evaluate.Row](ctx, dir)
	if err != nil {
		return nil, err
	}
	if o.Out != "" {
		slices.SortFunc(rows, func(a, b evaluate.Row) int {
			return strings.Compare(a.Task+"/"+a.Protocol+"/"+a.Subnet, b.Task+"/"+b.Protocol+"/"+b.Subnet)
		})
		if err := arrowio.SaveParquet(ctx, o.Out, record.Of(rows).Record); err != nil {
			return nil, err
		}
	}
	return evaluate.Collect(rows, append(dead, unsuited...)), nil
}

// openTrained opens a run and lists its finished nets.
func openTrained(ctx context.Context, dir string) (*run.Folder, []train.Model, error) {
	folder, err := run.Open(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	models, err := train.ReadModels(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(models, train.Model.Candidate) {
		return nil, nil, run.Usagef("%s has no finished net yet; resume the run", dir)
	}
	return folder, models, nil
}

// placeFor returns where to keep results of some kind about a run: in its folder, or where that cannot be written, such as
// somebody else's, in a temporary one. remove has to be called when they have been read.
func placeFor(folder *run.Folder, kind, runner string) (place *run.Folder, remove func() error, err error) {
	cause := files.CheckWritable(folder.StageDir(kind))
	if cause == nil {
		return folder, func() error { return nil }, nil
	}
	if !InProcess(runner) {
		return nil, nil, run.Usagef("the folder of the run cannot be written, where the workers of %s leave their results: %w", runner, cause)
	}
	dir, err := os.MkdirTemp("", "sdr-")
	if err != nil {
		return nil, nil, fmt.Errorf("neither the folder of the run can be written nor a temporary one: %w", errors.Join(cause, err))
	}
	slog.Info("the folder of the run cannot be written, so that nothing is kept in it", "error", cause)
	return &run.Folder{Dir: dir}, func() error { return os.RemoveAll(dir) }, nil
}

// resultDir returns the folder for the results of models on tasks under some settings, in a run folder. It holds no
// results of other models or tasks that had the same names before.
func resultDir(ctx context.Context, folder *run.Folder, kind string, models []train.Model, of []tasks.Task, settings any) string {
	var identities []string
	for _, m := range models {
		identities = append(identities, files.Identity(ctx, m.Path))
	}
	return files.Join(folder.StageDir(kind), run.Digest("v3", identities, of, stamps(ctx, of), settings))
}

// createModels creates a collection of models in the form that train emits.
func createModels(s beam.Scope, models []train.Model) beam.PCollection {
	return beam.Create(s, record.Of(models))
}
