package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// CustomizeOptions are the arguments of Customize.
type CustomizeOptions struct {
	// Run is the run folder.
	Run string
	// Task holds the labeled training images of one task, as for Route; or Tasks is a folder of tasks.
	Task, Tasks string
	// Net is the name of a net of the run, such as unified, to customize instead of the one that the router chooses.
	Net string
	// Columns are those of the tasks' Parquet files.
	Columns imageio.Columns
	// Out is the folder for model.safetensors, model.json and candidates.parquet; of several tasks, each gets a
	// subfolder.
	Out string
	// Seconds is the time to train per task; Images is the budget as a number of images instead, if it is not 0.
	Seconds float64
	Images  int64
	// Rates are the peak learning rates to try.
	Rates []float64
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
}

// Customized is the result of Customize for one task.
type Customized struct {
	// Dir is the folder that holds the model.
	Dir string
	// Candidates are the versions of the routed net, the first as it was; one is chosen.
	Candidates []customize.Candidate
}

// Chosen returns the version that was delivered.
func (c Customized) Chosen() customize.Candidate {
	return c.Candidates[slices.IndexFunc(c.Candidates, func(v customize.Candidate) bool { return v.Chosen })]
}

// Customize routes each task to a sub-net, or takes the net that is named, goes on with the run's training on the task's
// unlabeled training images, and delivers the version that suits the task best.
func Customize(ctx context.Context, o CustomizeOptions) (all []Customized, err error) {
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return nil, err
	}
	found, err := o.tasks(ctx)
	if err != nil {
		return nil, err
	}
	given, err := o.given(models, found)
	if err != nil {
		return nil, err
	}
	defer shareTuning(ctx, folder.TuningDir())()
	place, remove, err := placeFor(folder, "customizings", o.Runner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	dir := resultDir(ctx, place, "customizings", models, found, o)
	cfg := customize.Config{
		Tasks: found, Dir: files.Join(dir, "models"), Recipe: string(text),
		Rates: o.Rates, Images: o.Images, Seconds: o.Seconds, Device: o.Device,
	}
	p, s := beam.NewPipelineWithRoot()
	nets := createModels(s, models)
	var scores beam.PCollection
	if o.Net != "" {
		scores = beam.Create(s, record.Of(given))
	} else {
		scores = route.Route(s, nets, route.Config{Tasks: found, Scorers: []string{route.KNN}})
	}
	arrowio.WriteDir(s, files.Join(dir, "candidates"), customize.Customize(s, nets, scores, cfg))
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return nil, err
	}
	rows, err := readOut[customize.Candidate](ctx, files.Join(dir, "candidates"))
	if err != nil {
		return nil, err
	}
	origin, err := route.ReadOrigin(ctx, folder)
	if err != nil {
		return nil, err
	}
	for _, t := range found {
		c := Customized{Dir: o.Out, Candidates: slices.DeleteFunc(slices.Clone(rows), func(r customize.Candidate) bool { return r.Task != t.Name })}
		if len(c.Candidates) == 0 {
			return nil, fmt.Errorf("customize: the job ended without a result for task %s: it was canceled or lost its workers; run it again", t.Name)
		}
		if o.Tasks != "" {
			c.Dir = files.Join(o.Out, t.Name)
		}
		if err := c.deliver(ctx, origin, models); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// given returns the net that is named as the choice for each task.
func (o *CustomizeOptions) given(models []train.Model, of []tasks.Task) (scores []route.Score, err error) {
	if o.Net == "" {
		return nil, nil
	}
	at := slices.IndexFunc(models, func(m train.Model) bool { return m.Subnet == o.Net })
	if at < 0 {
		return nil, run.Usagef("%s has no net %q; sdr inspect lists its nets", o.Run, o.Net)
	}
	for _, t := range of {
		scores = append(scores, route.Score{
			Task: t.Name, Subnet: o.Net, Candidate: true, Scorer: route.KNN, Level: models[at].Level, Model: models[at].Path,
		})
	}
	return scores, nil
}

// tasks lists the tasks to customize for.
func (o *CustomizeOptions) tasks(ctx context.Context) ([]tasks.Task, error) {
	if o.Tasks != "" {
		found, _, err := findTasks(ctx, o.Tasks, o.Columns)
		return found, err
	}
	return openTask(ctx, o.Task, o.Columns)
}

// deliver writes the chosen model without its heads, its card, and the candidates.
func (c Customized) deliver(ctx context.Context, origin route.Origin, models []train.Model) error {
	chosen := c.Chosen()
	start := models[slices.IndexFunc(models, func(m train.Model) bool { return m.Subnet == chosen.Subnet })]
	m, err := inference.Load(ctx, chosen.Model)
	if err != nil {
		return err
	}
	if err := arrowio.SaveParquet(ctx, files.Join(c.Dir, "candidates.parquet"), record.Of(c.Candidates).Record); err != nil {
		return err
	}
	return route.Write(ctx, c.Dir, m, route.Card{
		Task: chosen.Task, Subnet: chosen.Subnet, Scorer: route.KNN, Score: chosen.Score, Norm: chosen.Norm(),
		Backbone: m.Backbone, Input: m.Input, Features: m.Backbone.FeatureDim(),
		Subset:     route.Subset(start.Subnet, start.Level),
		Customized: chosen.Candidate, Images: chosen.Images, Origin: origin,
	})
}

// String describes the result on one line.
func (c Customized) String() string {
	was, chosen := c.Candidates[0], c.Chosen()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: sub-net %s, %s, knn score %.1f %%", chosen.Task, chosen.Subnet, chosen.Candidate, chosen.Score)
	if chosen.Candidate != was.Candidate {
		fmt.Fprintf(&b, " (as it was: %.1f %%)", was.Score)
	}
	fmt.Fprintf(&b, ", in %s", c.Dir)
	return b.String()
}
