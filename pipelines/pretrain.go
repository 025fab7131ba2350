package pipelines

import (
	"context"
	"os"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// PretrainOptions are the arguments of Pretrain.
type PretrainOptions struct {
	// Data are folders and files of images; labels are ignored.
	Data []string
	// Columns are those of Parquet files among them.
	Columns imageio.Columns
	// Out is the run folder.
	Out string
	// Recipe says what to train.
	Recipe *recipe.Recipe
	// Runner is the name of a registered Beam runner.
	Runner string
	// Mode says what to do if Out already exists.
	Mode run.Mode
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
	// DryRun means that Beam's options ask the runner to describe its job instead of running it; no run folder is created.
	DryRun bool
	// SingleJob runs all stages in a single Beam pipeline instead of one per stage.
	SingleJob bool
	// MaxBad is the fraction of unreadable images above which the run fails.
	MaxBad float64
	// Tasks is a folder of downstream tasks to route and evaluate after training; if empty, there is no evaluation.
	Tasks string
	// Protocols are the protocols of the evaluation.
	Protocols []string
	// Version and Command are saved with the run.
	Version string
	Command []string
	// Started is called after the arguments are checked and the run folder is created, before the first stage.
	Started func(*run.Folder)
}

// Pretrained is the result of Pretrain.
type Pretrained struct {
	// Folder is the run folder.
	Folder *run.Folder
	// Dead is the number of images that could not be read.
	Dead int64
	// Models are the finished nets.
	Models []train.Model
	// Results are the results of the evaluation; nil without tasks.
	Results *evaluate.Results
	// Written are the paths of the report files and the routed models.
	Written []string
}

// Pretrain trains an SDRnet on unlabeled images. It runs the stages ingest, phase 0, features, partition and train and,
// if tasks are given, route, evaluate, deliver and report.
func Pretrain(ctx context.Context, o PretrainOptions) (*Pretrained, error) {
	splits, sources, found, err := o.check(ctx)
	if err != nil {
		return nil, err
	}
	folder := &run.Folder{Dir: o.Out}
	if !o.DryRun {
		folder, err = run.Create(ctx, o.Out, o.Mode, run.Info{
			ID: uuid.Must(uuid.NewV7()), Version: o.Version, Created: time.Now(), Command: o.Command, Data: o.Data,
		}, o.Recipe.Marshal())
		if err != nil {
			return nil, err
		}
		if o.Started != nil {
			o.Started(folder)
		}
	}
	c := o.chain(folder, splits, sources, found)
	if err := c.run(ctx, o.SingleJob); err != nil {
		return nil, err
	}
	made := &Pretrained{Folder: folder}
	if made.Models, err = train.ReadModels(ctx, folder.Dir); err != nil {
		return nil, err
	}
	dead, err := ingest.ReadDead(ctx, folder.DeadLetterPath())
	if err != nil {
		return nil, err
	}
	made.Dead = int64(len(dead))
	if len(found) == 0 {
		return made, nil
	}
	reports, err := readOut[report.File](ctx, c.out("report"))
	if err != nil {
		return nil, err
	}
	for _, f := range reports {
		made.Written = append(made.Written, f.Path)
	}
	deliveries, err := readOut[route.Delivery](ctx, c.out("deliver"))
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		made.Written = append(made.Written, files.Join(d.Dir, "model.safetensors"))
	}
	rows, err := readOut[evaluate.Row](ctx, c.out("evaluate"))
	if err != nil {
		return nil, err
	}
	made.Results = evaluate.Collect(rows)
	return made, nil
}

// check validates the arguments before anything is written, and lists the images' splits, their sources and the tasks.
func (o *PretrainOptions) check(ctx context.Context) ([]imageio.Split, []imageio.Source, []tasks.Task, error) {
	if err := o.Recipe.Validate(); err != nil {
		return nil, nil, nil, run.Usage(err)
	}
	if err := run.Check(ctx, o.Out, o.Mode); err != nil {
		return nil, nil, nil, err
	}
	splits, sources, err := imageio.Survey(ctx, o.Data, ingest.ShardRows(o.Recipe.Input.Size), o.Columns)
	if err != nil {
		return nil, nil, nil, run.Usage(err)
	}
	if o.Tasks == "" {
		return splits, sources, nil, nil
	}
	found, err := findTasks(ctx, o.Tasks)
	return splits, sources, found, err
}

// findTasks lists the tasks in a folder and checks that they have labels.
func findTasks(ctx context.Context, dir string) ([]tasks.Task, error) {
	found, err := tasks.Find(dir)
	if err != nil {
		return nil, run.Usage(err)
	}
	for _, t := range found {
		for _, path := range []string{t.Train, t.Test} {
			if err := tasks.CheckLabels(ctx, path); err != nil {
				return nil, run.Usage(err)
			}
		}
	}
	return found, nil
}

// chain lists the stages of the run.
func (o *PretrainOptions) chain(folder *run.Folder, splits []imageio.Split, sources []imageio.Source, found []tasks.Task) *chain {
	rows := ingest.ShardRows(o.Recipe.Input.Size)
	p := &plan{
		chain:  chain{folder: folder, runner: o.Runner},
		splits: map[int][]imageio.Split{rows: splits}, sources: map[int][]imageio.Source{rows: sources},
		maxBad: o.MaxBad, device: o.Device,
	}
	t := p.phase0(o.Recipe, "")
	models, subsets := []string{t.phase0}, t.ingest
	if _, branching := o.Recipe.Levels(); len(branching) > 0 {
		p.subsets(&t)
		subsets, models = t.partition, p.variants(t, append([]string{train.SDR}, o.Recipe.Train.Baselines...)...)
	}
	if len(found) > 0 {
		judged := []any{o.Protocols, found, stamps(found)}
		routed := p.add("route", models, judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return route.Route(s, beam.Flatten(s, in...), route.Config{Tasks: found, Scorer: route.KNN})
		})
		evaluated := p.add("evaluate", append([]string{routed}, models...), judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			results, _ := evaluate.Evaluate(s, beam.Flatten(s, in[1:]...), evaluate.Config{Tasks: found, Protocols: o.Protocols})
			return evaluate.Mark(s, results, in[0])
		})
		p.add("deliver", []string{routed}, judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return route.Deliver(s, in[0], route.DeliverConfig{Dir: folder.StageDir("routed"), PerTask: true, Run: folder.Info.ID.String()})
		})
		p.add("report", []string{subsets, evaluated}, judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return report.Report(s, in[0], in[1], report.Config{Dir: folder.Dir})
		})
	}
	return &p.chain
}

// stamps identifies the files of tasks without reading them; for local files by size and modification time.
func stamps(found []tasks.Task) []any {
	var all []any
	for _, t := range found {
		all = append(all, stamp(t.Train), stamp(t.Test))
	}
	return all
}

// stamp returns the size and modification time of a local file or folder, or zeros.
func stamp(path string) [2]int64 {
	if info, err := os.Stat(path); err == nil && files.IsLocal(path) {
		return [2]int64{info.Size(), info.ModTime().UnixNano()}
	}
	return [2]int64{}
}
