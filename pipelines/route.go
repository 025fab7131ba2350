package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// RouteOptions are the arguments of Route.
type RouteOptions struct {
	// Run is the run folder.
	Run string
	// Task holds the labeled training images: a file that imageio reads, a folder with train/CLASS/*, or a folder
	// CLASS/*.
	Task string
	// Out is the folder for scores.parquet, model.safetensors and model.json.
	Out string
	// Scorer is one of route.Scorers.
	Scorer string
	// Runner is the name of a registered Beam runner.
	Runner string
}

// Route chooses a sub-net for a task, using its training images, and writes it to o.Out.
func Route(ctx context.Context, o RouteOptions) (*route.Delivery, error) {
	if !slices.Contains(route.Scorers, o.Scorer) {
		return nil, run.Usagef("there is no scorer %q; want one of %s", o.Scorer, strings.Join(route.Scorers, ", "))
	}
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	of, err := openTask(ctx, o.Task)
	if err != nil {
		return nil, err
	}
	dir := resultDir(ctx, folder, "routings", models, of, o)
	p, s := beam.NewPipelineWithRoot()
	scores := route.Route(s, createModels(s, models), route.Config{Tasks: of, Scorer: o.Scorer})
	arrowio.WriteDir(s, dir, route.Deliver(s, scores, route.DeliverConfig{Dir: o.Out, Run: folder.Info.ID.String()}))
	if err := runPipeline(ctx, o.Runner, p); err != nil {
		return nil, err
	}
	rows, err := readOut[route.Delivery](ctx, dir)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("route: the job ended without a result: it was canceled or lost its workers; run it again")
	}
	return &rows[0], nil
}

// openTask returns the task, alone in a list, whose training images are at a path, and checks that they have labels.
func openTask(ctx context.Context, path string) ([]tasks.Task, error) {
	task, err := tasks.Open(path)
	if err != nil {
		return nil, run.Usage(err)
	}
	if err := tasks.Check(ctx, task); err != nil {
		return nil, run.Usage(err)
	}
	return []tasks.Task{task}, nil
}
