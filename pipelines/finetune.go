package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sdr-ml/sdr/stages/finetune"
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

// FinetuneOptions are the arguments of Finetune.
type FinetuneOptions struct {
	// Model is the model file to start from. Instead, Run is a run folder, and Subnet one of its nets; if that is empty, the
	// router chooses one for each task.
	Model, Run, Subnet string
	// Task holds the labeled training images of one task, as for Route, and its test images where Evaluate would find them;
	// or Tasks is a folder of tasks.
	Task, Tasks string
	// Columns are those of the tasks' Parquet files.
	Columns imageio.Columns
	// Out is the folder for model.safetensors, model.json and metrics.jsonl; of several tasks, each gets a subfolder.
	Out string
	// Mode says what to do if Out holds a fine-tuning.
	Mode run.Mode
	// Config says how to train.
	Config finetune.Config
	// Device computes the features of routing and measuring; training is on the CPU.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
}

// Finetuned are the results of Finetune, one per task.
type Finetuned []finetune.Result

// Finetune gives a net a classifier, and trains both on each task's labeled training images.
func Finetune(ctx context.Context, o FinetuneOptions) (Finetuned, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, run.Usage(err)
	}
	models, start, err := o.models(ctx)
	if err != nil {
		return nil, err
	}
	found, err := o.tasks(ctx)
	if err != nil {
		return nil, err
	}
	if err := spareTasks(ctx, cmp.Or(o.Tasks, o.Task), o.Columns, models, files.Join(o.Out, "results.parquet")); err != nil {
		return nil, err
	}
	unlock, err := run.Lock(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	inputs, err := o.begin(ctx, models, found)
	if err != nil {
		return nil, err
	}
	defer shareTuning(ctx, cmp.Or(tuningOf(ctx, models[0].Path), files.Join(o.Out, "tuning")))()

	p, s := beam.NewPipelineWithRoot()
	var pairs beam.PCollection
	if o.routes() {
		pairs = route.Chosen(s, route.Route(s, createModels(s, models), route.Config{Tasks: found, Scorers: []string{route.KNN}}), found)
	} else {
		pairs = beam.CreateList(s, pairWith(models[0], found))
	}
	results := files.Join(o.Out, "results")
	arrowio.WriteDir(s, results, finetune.Finetune(s, pairs, o.Config, finetune.Output{Dir: o.Out, PerTask: o.Tasks != "", Start: start, Inputs: inputs}))
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return nil, err
	}
	rows, err := readOut[finetune.Result](ctx, results)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b finetune.Result) int { return strings.Compare(a.Task, b.Task) })
	rows = slices.Compact(rows) // a runner may have emitted one twice
	if len(rows) < len(found) {
		return nil, fmt.Errorf("finetune: the job ended with the results of %d of %d tasks: it was canceled or lost its workers; run it again with --resume", len(rows), len(found))
	}
	if err := arrowio.SaveParquet(ctx, files.Join(o.Out, "results.parquet"), record.Of(rows).Record); err != nil {
		return nil, err
	}
	return rows, files.RemoveAll(ctx, results)
}

// pairWith pairs every task with a net, each in a batch of its own.
func pairWith(m train.Model, of []tasks.Task) (pairs []*record.Batch) {
	for _, t := range of {
		pairs = append(pairs, record.Of([]route.Pair{{
			Task: t.Name, Metric: t.Metric, Train: t.Train, Test: t.Test, Subnet: m.Subnet, Model: m.Path, Norm: route.NormTraining,
		}}))
	}
	return pairs
}

// routes reports whether the router chooses the nets.
func (o *FinetuneOptions) routes() bool { return o.Model == "" && o.Subnet == "" }

// models lists the nets to start from: one, or those among which the router chooses. start says where they come from.
func (o *FinetuneOptions) models(ctx context.Context) (models []train.Model, start route.Card, err error) {
	if o.Model != "" {
		m, err := openModel(ctx, o.Model)
		if err != nil {
			return nil, start, err
		}
		return []train.Model{{Subnet: m.Card.Subnet, Path: o.Model}}, m.Card, nil
	}
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, start, err
	}
	if o.routes() {
		start.Origin, err = route.ReadOrigin(ctx, folder)
		return models, start, err
	}
	m, err := findNet(o.Run, models, o.Subnet)
	if err != nil {
		return nil, start, err
	}
	start, err = describeNet(ctx, folder, m)
	return []train.Model{m}, start, err
}

// tasks lists the tasks.
func (o *FinetuneOptions) tasks(ctx context.Context) ([]tasks.Task, error) {
	if o.Tasks != "" {
		found, _, err := findTasks(ctx, o.Tasks, o.Columns)
		found = slices.DeleteFunc(found, func(t tasks.Task) bool {
			err := finetune.CheckMetric(t.Metric)
			if err != nil {
				slog.Warn("a task is left out", "task", t.Name, "reason", err)
			}
			return err != nil
		})
		if err == nil && len(found) == 0 {
			err = run.Usagef("%s has no task with one class per image", o.Tasks)
		}
		return found, err
	}
	t, err := openTested(ctx, o.Task, o.Columns)
	if err != nil {
		return nil, err
	}
	if err := finetune.CheckMetric(t.Metric); err != nil {
		return nil, run.Usage(err)
	}
	return []tasks.Task{t}, nil
}

// openTested opens a task whose training images are given, with its test images where Evaluate would find them.
func openTested(ctx context.Context, path string, columns imageio.Columns) (tasks.Task, error) {
	t, err := tasks.Open(ctx, path)
	if err == nil {
		t.Test, err = tasks.TestOf(ctx, t)
	}
	if err == nil {
		t = t.With(columns)
		err = tasks.Check(ctx, t)
	}
	if err != nil {
		return t, run.Usage(err)
	}
	return t, nil
}

// fineTuning is the content of finetune.json, which is written first: what the folder is, and what its results are made of.
type fineTuning struct {
	Format int             `json:"format"` // see run.CheckFormat
	Model  string          `json:"model,omitempty"`
	Run    string          `json:"run,omitempty"`
	Subnet string          `json:"subnet,omitempty"`
	Tasks  []tasks.Task    `json:"tasks"`
	Config finetune.Config `json:"config"`
	Inputs string          `json:"inputs"`
}

const fineTuningFile = "finetune.json"

// readFineTuning reads what a folder says that it is. If it is none of a fine-tuning, the error wraps fs.ErrNotExist.
func readFineTuning(ctx context.Context, dir string) (f fineTuning, err error) {
	path := files.Join(dir, fineTuningFile)
	text, err := files.Read(ctx, path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	if err := run.CheckFormat(f.Format); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// begin prepares the output folder as the mode says and returns what identifies the inputs.
func (o *FinetuneOptions) begin(ctx context.Context, models []train.Model, of []tasks.Task) (inputs string, err error) {
	var identities []string
	for _, m := range models {
		identities = append(identities, files.Identity(ctx, m.Path))
	}
	now := fineTuning{Format: run.Format, Model: o.Model, Run: o.Run, Subnet: o.Subnet, Tasks: of, Config: o.Config}
	now.Inputs = run.Digest("v1", identities, of, stamps(ctx, of), o.Config)
	before, err := readFineTuning(ctx, o.Out)
	begun := !errors.Is(err, fs.ErrNotExist)
	path := files.Join(o.Out, fineTuningFile)
	switch {
	case !begun:
		if found, err := files.Exists(ctx, files.Join(o.Out, finetune.Files[0])); err != nil || found {
			return "", cmp.Or(err, run.Usagef("%s holds a model that is not of a fine-tuning; give another folder", o.Out))
		}
	case errors.Is(err, run.ErrNewer):
		return "", run.Usage(err)
	case o.Mode == run.Fresh:
		return "", run.Usagef("%s already holds a fine-tuning; --resume continues it, and --overwrite replaces it", o.Out)
	case o.Mode == run.Resume && err != nil:
		return "", fmt.Errorf("%w; --overwrite begins anew", err)
	case o.Mode == run.Resume && before.Inputs != now.Inputs:
		return "", run.Usagef("%s began with other options, images or nets: compare %s; --overwrite begins anew", o.Out, path)
	}
	if begun && o.Mode == run.Overwrite && !DryRun() {
		if err := o.clear(ctx, of); err != nil {
			return "", err
		}
	}
	if DryRun() {
		return now.Inputs, nil
	}
	text, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return "", err
	}
	return now.Inputs, files.WriteBytes(ctx, path, append(text, '\n'))
}

// clear removes what an earlier fine-tuning has made for the tasks.
func (o *FinetuneOptions) clear(ctx context.Context, of []tasks.Task) error {
	if err := files.Discard(ctx, files.Join(o.Out, "results.parquet")); err != nil {
		return err
	}
	dirs := []string{o.Out}
	for _, t := range of {
		dirs = append(dirs, files.Join(o.Out, t.Name))
	}
	for _, dir := range dirs {
		for _, file := range finetune.Files {
			if err := files.Discard(ctx, files.Join(dir, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteTable writes a human-readable table, and where the models are.
func (f Finetuned) WriteTable(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.SuppressEmptyColumns()
	t.Style().Format.Header = text.FormatDefault
	t.SetTitle("fine-tuned, %%")
	t.AppendHeader(table.Row{"task", "metric", "net", "classes", "images", "epochs", "best\nepoch", "validation", "on\nimages", "test", "on test\nimages"})
	figure := func(value float64, images int64) (string, string) {
		if images == 0 {
			return "", ""
		}
		return fmt.Sprintf("%.1f", value), fmt.Sprint(images)
	}
	for _, r := range f {
		validation, held := figure(r.Validation, r.ValidationImages)
		test, images := figure(r.Test, r.TestImages)
		t.AppendRow(table.Row{r.Task, r.Metric, r.Subnet, r.Classes, r.Images, r.Epochs, r.Epoch, validation, held, test, images})
	}
	var configs []table.ColumnConfig
	for n := 4; n <= 11; n++ {
		configs = append(configs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	if _, err := fmt.Fprintln(w, t.Render()); err != nil {
		return err
	}
	for _, r := range f {
		if _, err := fmt.Fprintln(w, r.Model); err != nil {
			return err
		}
	}
	return nil
}
