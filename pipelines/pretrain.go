package pipelines

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// PretrainOptions are the arguments of Pretrain.
type PretrainOptions struct {
	// Data are folders and files of images; labels are ignored.
	Data []string
	// Columns are those of Parquet files among them, and of the tasks'.
	Columns imageio.Columns
	// Out is the run folder.
	Out string
	// Recipe says what to train.
	Recipe *recipe.Recipe
	// Init is a file with a backbone to begin with, as nn.LoadBackbone reads it; empty for random weights.
	Init string
	// Runner is the name of a registered Beam runner.
	Runner string
	// Mode says what to do if Out already exists.
	Mode run.Mode
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
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
	// Written are the paths of the routed models and the files of the report, of which the page is the last.
	Written []string
}

// Pretrain trains an SDRnet on unlabeled images. It runs the stages ingest, phase 0, features, partition and train and,
// if tasks are given, route, evaluate, deliver and report.
func Pretrain(ctx context.Context, o PretrainOptions) (*Pretrained, error) {
	in, err := o.check(ctx)
	if err != nil {
		return nil, err
	}
	folder := &run.Folder{Dir: o.Out}
	if !DryRun() { // which creates no run folder
		unlock, err := run.Lock(ctx, o.Out)
		if err != nil {
			return nil, err
		}
		defer unlock()
		folder, err = run.Create(ctx, o.Out, o.Mode, run.Info{
			ID: uuid.Must(uuid.NewV7()), Version: o.Version, Created: time.Now(), Command: o.Command, Data: o.Data, Init: in.init,
		}, o.Recipe.Marshal())
		if err != nil {
			return nil, err
		}
		if in.backbone != nil {
			if err := train.SaveInit(ctx, o.Out, in.backbone); err != nil {
				return nil, err
			}
		}
		if err := saveData(ctx, folder, in.files); err != nil {
			return nil, err
		}
		if o.Started != nil {
			o.Started(folder)
		}
	}
	c := o.chain(ctx, folder, in)
	if err := c.run(ctx); err != nil {
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
	if len(in.tasks) == 0 {
		return made, nil
	}
	deliveries, err := readOut[route.Delivery](ctx, c.out("deliver"))
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		made.Written = append(made.Written, files.Join(d.Dir, "model.safetensors"))
	}
	slices.Sort(made.Written)
	reports, err := readOut[report.File](ctx, c.out("report"))
	if err != nil {
		return nil, err
	}
	for _, f := range reports {
		made.Written = append(made.Written, f.Path)
	}
	rows, err := readOut[evaluate.Row](ctx, c.out("evaluate"))
	if err != nil {
		return nil, err
	}
	made.Results = evaluate.Collect(rows, in.dead)
	return made, nil
}

// inputs are what Pretrain reads.
type inputs struct {
	splits  []imageio.Split  // the images
	sources []imageio.Source // what they come from
	files   data             // that they are in
	tasks   []tasks.Task
	dead    []evaluate.Dead // tasks that cannot be used

	init     *run.Init // of the backbone to begin with; nil, like the backbone, for random weights
	backbone *nn.Model
}

// check validates the arguments before anything is written, and lists the inputs.
func (o *PretrainOptions) check(ctx context.Context) (in inputs, err error) {
	if err := o.Recipe.Validate(); err != nil {
		return in, run.Usage(err)
	}
	if err := run.Check(ctx, o.Out, o.Mode); err != nil {
		return in, err
	}
	if o.Init != "" {
		if in.init, in.backbone, err = readInit(ctx, o.Init, o.Recipe.Backbone); err != nil {
			return in, run.Usagef("--init %w", err)
		}
	}
	if in.splits, in.sources, err = imageio.Survey(ctx, o.Data, ingest.ShardRows(o.Recipe.Input.Size), o.Columns); err != nil {
		return in, run.Usage(err)
	}
	warnTwice(o.Data)
	if o.Mode == run.Resume {
		in.files, err = checkData(ctx, o.Out, nil, o.Data)
	} else {
		in.files = identify(ctx, o.Data, nil)
	}
	if err == nil && o.Tasks != "" {
		in.tasks, in.dead, err = findTasks(ctx, o.Tasks, o.Columns)
	}
	return in, err
}

// readInit reads a backbone to begin with.
func readInit(ctx context.Context, path string, b nn.Backbone) (*run.Init, *nn.Model, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	m, err := nn.LoadBackbone(bytes.NewReader(data), b)
	if err != nil {
		if is, ok := nn.IdentifyBackbone(bytes.NewReader(data), b.Stem); ok {
			err = fmt.Errorf("%w; it is of %s: set backbone.arch=%s, backbone.width=%d and backbone.stem=%s", err, is, is.Arch, is.Width, is.Stem)
		}
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return &run.Init{File: path, Digest: fmt.Sprintf("%032x", xxh3.Hash128(data).Bytes())}, m, nil
}

// findTasks lists the tasks in a folder, with the columns of their Parquet files, without those that cannot be used, which
// it returns as dead.
func findTasks(ctx context.Context, dir string, columns imageio.Columns) (found []tasks.Task, dead []evaluate.Dead, err error) {
	all, faulty, err := tasks.Find(ctx, dir)
	if err != nil {
		return nil, nil, run.Usage(err)
	}
	for _, f := range faulty {
		dead = append(dead, evaluate.Dead{Task: f.Name, Reason: f.Err.Error()})
	}
	for _, t := range all {
		t = t.With(columns)
		switch err := tasks.Check(ctx, t); {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil:
			dead = append(dead, evaluate.Dead{Task: t.Name, Reason: err.Error()})
		default:
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		return nil, nil, run.Usagef("none of the %d tasks in %s can be used; the first, %s: %s", len(dead), dir, dead[0].Task, dead[0].Reason)
	}
	for _, d := range dead {
		slog.Warn("a task is left out", "task", d.Task, "reason", d.Reason)
	}
	return found, dead, nil
}

// chain lists the stages of the run.
func (o *PretrainOptions) chain(ctx context.Context, folder *run.Folder, in inputs) *chain {
	found, rows := in.tasks, ingest.ShardRows(o.Recipe.Input.Size)
	p := &plan{
		chain:  chain{folder: folder, runner: o.Runner, device: o.Device, singleJob: o.SingleJob || DryRun()},
		splits: map[int][]imageio.Split{rows: in.splits}, sources: map[int][]imageio.Source{rows: in.sources},
		data: in.files.digest(), maxBad: o.MaxBad, init: in.init,
	}
	images, models := p.trains(o.Recipe)
	if len(found) > 0 {
		judged := []any{o.Protocols, found, stamps(ctx, found)}
		routed := p.add("route", models, judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return route.Route(s, beam.Flatten(s, in...), route.Config{Tasks: found, Scorers: evaluate.Scorers(o.Protocols)})
		})
		evaluated := p.add("evaluate", append([]string{routed}, models...), append(judged, evaluate.Form(o.Protocols)), func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			results := evaluate.Evaluate(s, beam.Flatten(s, in[1:]...), evaluate.Config{Tasks: found, Protocols: o.Protocols})
			return evaluate.Mark(s, results, in[0])
		})
		p.add("deliver", []string{routed}, judged, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return route.Deliver(s, in[0], route.DeliverConfig{Dir: folder.StageDir("routed"), PerTask: true})
		})
		p.add("report", append([]string{images, evaluated}, models...), append(judged, evaluate.Form(o.Protocols), in.dead), func(s beam.Scope, from []beam.PCollection) beam.PCollection {
			return report.Report(s, from[0], from[1], report.Config{Dir: folder.Dir, Dead: in.dead, Tasks: found})
		})
		p.find("deliver").files = paths(p, "deliver", func(d route.Delivery) string { return files.Join(d.Dir, "model.safetensors") })
		p.find("report").files = paths(p, "report", func(f report.File) string { return f.Path })
		p.results = append(p.results, "evaluate", "deliver", "report")
	}
	p.results = append(p.results, models...) // whose nets are listed
	return &p.chain
}
