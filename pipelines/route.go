package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// RouteOptions are the arguments of Route.
type RouteOptions struct {
	// Runs are run folders, whose sub-nets compete; Registry is a folder of run folders, instead or in addition.
	Runs     []string
	Registry string
	// Task holds the labeled training images of one task: a file that imageio reads, a folder with train/CLASS/*, or a
	// folder CLASS/*. Tasks are many, instead; see tasks.FindTraining.
	Task, Tasks string
	// Columns are those of the tasks' Parquet files.
	Columns imageio.Columns
	// Out is the folder for scores.parquet and the model of one task, or for scores.parquet and dead-letter.parquet of many.
	Out string
	// Models writes the model of each of many tasks to a subfolder of Out.
	Models bool
	// Scorer is one of route.Scorers.
	Scorer string
	// Norms are those of route.Norms to try.
	Norms []string
	// Beam is as in route.Config.
	Beam int
	// Device is the one of distant workers; this process computes on compute.Device.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
}

// Routed is the result of Route.
type Routed struct {
	// Chosen is the score of the sub-net chosen for each task, sorted by task.
	Chosen []route.Score
	// Dead are the tasks that could not be routed.
	Dead []route.Dead
	// Seconds is the time the job took, and Engine the part of it in which the tensor engine computed, if it ran in this
	// process; otherwise 0.
	Seconds, Engine float64
}

// Route chooses a sub-net for one task or for many, using their training images, and writes the results to o.Out. A job
// of many tasks that is run again, or with further tasks, reads the scores that it has already found.
func Route(ctx context.Context, o RouteOptions) (made *Routed, err error) {
	if !slices.Contains(route.Scorers(), o.Scorer) {
		return nil, run.Usagef("there is no scorer %q; want one of %s", o.Scorer, strings.Join(route.Scorers(), ", "))
	}
	for _, n := range o.Norms {
		if !slices.Contains(route.Norms, n) {
			return nil, run.Usagef("there is no norm %q; want one or more of %s", n, strings.Join(route.Norms, ", "))
		}
	}
	if o.Beam < 0 {
		return nil, run.Usagef("a beam of %d nodes; want at least 1, or 0 to score all", o.Beam)
	}
	cfg := route.Config{Scorers: []string{o.Scorer}, Norms: o.Norms, Beam: o.Beam}
	if err := cfg.Validate(); err != nil {
		return nil, run.Usage(err)
	}
	folder, models, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	of, dead, err := o.tasks(ctx)
	if err != nil {
		return nil, err
	}
	if err := spareTasks(ctx, cmp.Or(o.Tasks, o.Task), o.Columns, models, o.file("scores.parquet"), o.file("dead-letter.parquet"), o.file("model.safetensors")); err != nil {
		return nil, err
	}
	defer shareTuning(ctx, folder.TuningDir())()
	place, remove, err := placeFor(folder, "routings", o.Runner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	settings := []any{o.Scorer, o.Norms, o.Beam}
	cfg.Tasks = of
	if o.Tasks != "" {
		cfg.Dir = files.Join(resultDir(ctx, place, "routings", models, nil, settings), "tasks")
	}
	start, busy := time.Now(), compute.Busy()
	dir := resultDir(ctx, place, "routings", models, of, []any{settings, o.Out, o.Models, start})
	p, s := beam.NewPipelineWithRoot()
	nets := createModels(s, models)
	var scores, failed beam.PCollection
	if o.Tasks == "" {
		scores = route.Route(s, nets, cfg)
	} else {
		scores, failed = route.RouteEach(s, nets, cfg)
		arrowio.WriteDir(s, files.Join(dir, "dead"), failed)
	}
	arrowio.WriteDir(s, files.Join(dir, "scores"), scores)
	if o.Tasks == "" || o.Models {
		delivered := route.Deliver(s, scores, route.DeliverConfig{Dir: o.Out, PerTask: o.Tasks != "", Link: o.Tasks != ""})
		arrowio.WriteDir(s, files.Join(dir, "delivered"), delivered)
	}
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return nil, err
	}
	made = &Routed{Dead: dead, Seconds: time.Since(start).Seconds(), Engine: (compute.Busy() - busy).Seconds()}
	if o.Tasks != "" {
		found, err := readOut[route.Dead](ctx, files.Join(dir, "dead"))
		if err != nil {
			return nil, err
		}
		made.Dead = append(made.Dead, found...)
	}
	all, err := readOut[route.Score](ctx, files.Join(dir, "scores"))
	if err != nil {
		return nil, err
	}
	return made, made.finish(ctx, o, all, len(of))
}

// file returns the path of a file to write.
func (o *RouteOptions) file(name string) string { return files.Join(o.Out, name) }

// open opens the runs: the first, for the results, and the nets of all. Baselines are left out of a job of many tasks.
func (o *RouteOptions) open(ctx context.Context) (first *run.Folder, models []train.Model, err error) {
	dirs := slices.Clone(o.Runs)
	if o.Registry != "" {
		infos, err := files.List(ctx, files.Join(files.Quote(o.Registry), "*", "run.json"))
		if err != nil {
			return nil, nil, err
		}
		if len(infos) == 0 {
			return nil, nil, run.Usagef("the registry %s has no run: no folder in it has a run.json", o.Registry)
		}
		for _, i := range infos {
			dirs = append(dirs, files.Dir(i))
		}
	}
	for _, dir := range dirs {
		folder, found, err := openTrained(ctx, dir)
		if err != nil {
			return nil, nil, err
		}
		if first == nil {
			first = folder
		}
		for _, m := range found {
			if o.Tasks == "" || m.Candidate() {
				models = append(models, m)
			}
		}
	}
	return first, models, nil
}

// tasks lists the tasks to route, and those that cannot be used.
func (o *RouteOptions) tasks(ctx context.Context) ([]tasks.Task, []route.Dead, error) {
	if o.Tasks == "" {
		of, err := openTask(ctx, o.Task, o.Columns)
		return of, nil, err
	}
	found, faulty, err := tasks.FindTraining(ctx, o.Tasks)
	if err != nil {
		return nil, nil, run.Usage(err)
	}
	var dead []route.Dead
	for _, f := range faulty {
		dead = append(dead, route.Dead{Task: f.Name, Reason: f.Err.Error()})
	}
	for i, t := range found {
		found[i] = t.With(o.Columns)
	}
	return found, dead, nil
}

// finish sorts the results of a job of so many tasks and writes those of many.
func (r *Routed) finish(ctx context.Context, o RouteOptions, all []route.Score, expected int) error {
	slices.SortStableFunc(all, func(a, b route.Score) int {
		return cmp.Or(strings.Compare(a.Task, b.Task), cmp.Compare(a.Rank, b.Rank))
	})
	slices.SortFunc(r.Dead, func(a, b route.Dead) int { return strings.Compare(a.Task, b.Task) })
	for _, s := range all {
		if s.Rank == 1 {
			r.Chosen = append(r.Chosen, s)
		}
	}
	if len(r.Chosen)+len(r.Dead) < expected {
		return fmt.Errorf("route: the job ended with the results of %d of %d tasks: it was canceled or lost its workers; run it again", len(r.Chosen), expected)
	}
	if o.Tasks == "" {
		return nil
	}
	if err := arrowio.SaveParquet(ctx, o.file("scores.parquet"), record.Of(all).Record); err != nil {
		return err
	}
	return arrowio.SaveParquet(ctx, o.file("dead-letter.parquet"), record.Of(r.Dead).Record)
}

// openTask returns the task, alone in a list, whose training images are at a path, and checks that they have labels.
func openTask(ctx context.Context, path string, columns imageio.Columns) ([]tasks.Task, error) {
	task, err := tasks.Open(ctx, path)
	if err != nil {
		return nil, run.Usage(err)
	}
	task = task.With(columns)
	if err := tasks.Check(ctx, task); err != nil {
		return nil, run.Usage(err)
	}
	return []tasks.Task{task}, nil
}
