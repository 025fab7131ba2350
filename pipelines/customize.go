package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/metrics"
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
	// Task holds the labeled training images of one task, as for Route, and its test images where Evaluate would find them; or
	// Tasks is a folder of tasks.
	Task, Tasks string
	// Net is the name of a net of the run, such as unified, to customize instead of the one that the router chooses.
	Net string
	// Columns are those of the tasks' Parquet files.
	Columns imageio.Columns
	// Out is the folder for model.safetensors, model.json and candidates.parquet; of several tasks, each gets a
	// subfolder. It also gets the metrics of the trainings, customized.parquet with a customize.Result per task, and
	// customized.html, a page of these and all candidates.
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

// Customized are the results of Customize, one per task.
type Customized []customize.Result

// Customize routes each task to a sub-net, or takes the net that is named, goes on with the run's training on the task's
// unlabeled training images, and delivers the version that suits the task best. Where there are test images, it measures on these
// what that has changed.
func Customize(ctx context.Context, o CustomizeOptions) (all Customized, err error) {
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	yaml, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return nil, err
	}
	found, err := o.tasks(ctx)
	if err != nil {
		return nil, err
	}
	if err := spareTasks(ctx, cmp.Or(o.Tasks, o.Task), o.Columns, models, files.Join(o.Out, "candidates.parquet"), files.Join(o.Out, customizedFile)); err != nil {
		return nil, err
	}
	given, err := o.given(models, found)
	if err != nil {
		return nil, err
	}
	unlock, err := run.Lock(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := o.begin(ctx, yaml, found); err != nil {
		return nil, err
	}
	defer shareTuning(ctx, folder.TuningDir())()
	place, remove, err := placeFor(folder, "customizings", o.Runner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	dir := resultDir(ctx, place, "customizings", models, found, o)
	if !DryRun() {
		if err := files.RemoveAll(ctx, dir); err != nil { // the same command has measured other times before
			return nil, err
		}
	}
	cfg := customize.Config{
		Tasks: found, Dir: files.Join(dir, "models"), Metrics: o.Out, Recipe: string(yaml),
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
	var made []versions
	for _, t := range found {
		of := versions(slices.DeleteFunc(slices.Clone(rows), func(r customize.Candidate) bool { return r.Task != t.Name }))
		if len(of) == 0 {
			return nil, fmt.Errorf("customize: the job ended without a result for task %s: it was canceled or lost its workers; run it again", t.Name)
		}
		made = append(made, of.once())
	}
	measured, failed := o.measure(ctx, files.Join(dir, "measured"), models, found, made) // the models are delivered all the same
	origin, err := route.ReadOrigin(ctx, folder)
	if err != nil {
		return nil, err
	}
	for i, t := range found {
		r := made[i].result(t, measured)
		if r.Dir = o.Out; o.Tasks != "" {
			r.Dir = files.Join(o.Out, t.Name)
		}
		if err := made[i].deliver(ctx, r, origin, models); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	err = errors.Join(o.writePage(ctx, all, made), arrowio.SaveParquet(ctx, files.Join(o.Out, customizedFile), record.Of(all).Record))
	return all, errors.Join(failed, err)
}

// writePage writes the page of the results, one for each task's versions.
func (o *CustomizeOptions) writePage(ctx context.Context, results Customized, made []versions) error {
	page := &report.CustomizedPage{
		About: report.About{Title: "Customized backbones", Created: time.Now(), Facts: [][2]string{{"run", o.Run}, {"folder", o.Out}}},
	}
	for i, r := range results {
		page.Tasks = append(page.Tasks, report.CustomizedTask{Result: r, Versions: made[i]})
	}
	path := files.Join(o.Out, "customized.html")
	slog.Info("the page", "path", path)
	return files.Write(ctx, path, func(w io.Writer) error { return report.WriteCustomized(w, page) })
}

// measure classifies the test images of the tasks that have such by the nets as they were and by the versions that were chosen,
// which have the names before and after.
func (o *CustomizeOptions) measure(ctx context.Context, dir string, models []train.Model, of []tasks.Task, made []versions) ([]evaluate.Row, error) {
	var pairs []*record.Batch
	for i, t := range of {
		if t.Test == "" {
			continue
		}
		chosen := made[i].chosen()
		was, err := findNet(o.Run, models, chosen.Subnet)
		if err != nil {
			return nil, err
		}
		for _, m := range []train.Model{{Subnet: before, Path: was.Path}, {Subnet: after, Path: chosen.Model}} {
			pairs = append(pairs, pairWith(m, of[i:i+1])...)
		}
	}
	if len(pairs) == 0 {
		return nil, nil
	}
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, dir, evaluate.Measure(s, beam.CreateList(s, pairs), []string{evaluate.KNN}))
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return nil, err
	}
	return readOut[evaluate.Row](ctx, dir)
}

// The names of the nets that measure compares.
const (
	before = "before"
	after  = "after"
)

// customizing is the content of customize.json, which is written first: what the folder is.
type customizing struct {
	Format int      `json:"format"` // see run.CheckFormat
	Run    string   `json:"run"`
	Tasks  []string `json:"tasks"`
	// Steps is the number of training steps per task and rate, each on a Batch of images; 0 if it is found by timing.
	Steps int `json:"steps"`
	Batch int `json:"batch"`
	// Dim is the recipe's ssl.dim.
	Dim int `json:"dim"`
}

// Besides the folders of the tasks' metrics, these files are in the output folder.
const (
	customizingFile = "customize.json"
	customizedFile  = "customized.parquet" // comes last
)

// begin writes what the output folder is, and removes the metrics and the table of an earlier customizing.
func (o *CustomizeOptions) begin(ctx context.Context, yaml []byte, of []tasks.Task) error {
	r, err := recipe.Parse(yaml)
	if err != nil || DryRun() {
		return err
	}
	c := customizing{Format: run.Format, Run: o.Run, Batch: r.Train.Batch, Dim: r.SSL.Dim}
	if o.Images > 0 {
		c.Steps = customize.Steps(o.Images, len(o.Rates), c.Batch)
	}
	for _, t := range of {
		c.Tasks = append(c.Tasks, t.Name)
		if err := errors.Join(files.RemoveAll(ctx, files.Dir(curves.Path(o.Out, t.Name+"/x"))), files.RemoveAll(ctx, curves.EventsDir(o.Out, t.Name))); err != nil {
			return err
		}
	}
	if err := files.Discard(ctx, files.Join(o.Out, customizedFile)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(o.Out, customizingFile), append(data, '\n'))
}

// readCustomizing reads what a folder says that it is. If it is none of a customizing, the error wraps fs.ErrNotExist.
func readCustomizing(ctx context.Context, dir string) (c customizing, err error) {
	path := files.Join(dir, customizingFile)
	data, err := files.Read(ctx, path)
	if err != nil {
		return c, err
	}
	if err = json.Unmarshal(data, &c); err == nil {
		err = run.CheckFormat(c.Format)
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
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
	t, err := openTested(ctx, o.Task, o.Columns)
	return []tasks.Task{t}, err
}

// versions are the versions of the net of a task, the first as it was; one is chosen.
type versions []customize.Candidate

// once returns the versions without those that a runner made again.
func (v versions) once() versions {
	if again := slices.IndexFunc(v[1:], func(c customize.Candidate) bool { return c.Candidate == v[0].Candidate }); again >= 0 {
		return v[:again+1]
	}
	return v
}

// chosen returns the version to deliver.
func (v versions) chosen() customize.Candidate {
	return v[slices.IndexFunc(v, func(c customize.Candidate) bool { return c.Chosen })]
}

// result sums up the versions and what was measured for a task.
func (v versions) result(t tasks.Task, measured []evaluate.Row) customize.Result {
	chosen := v.chosen()
	r := customize.Result{
		Task: t.Name, Metric: t.Metric, Subnet: chosen.Subnet, Version: chosen.Candidate, ScoreBefore: v[0].Score, Score: chosen.Score,
	}
	for _, c := range v {
		r.Images, r.Seconds = r.Images+c.Images, r.Seconds+c.Seconds
	}
	of := func(net string) int {
		return slices.IndexFunc(measured, func(m evaluate.Row) bool { return m.Task == t.Name && m.Subnet == net })
	}
	if was, now := of(before), of(after); was >= 0 && now >= 0 {
		c := evaluate.Difference(measured[now], measured[was])
		r.TestImages, r.TestBefore, r.Test = measured[now].TestImages, c.Base, c.Routed
		r.Difference, r.Low, r.High = c.Difference, c.Low, c.High
	}
	return r
}

// deliver writes the chosen model without its heads, its card, and the candidates.
func (v versions) deliver(ctx context.Context, r customize.Result, origin route.Origin, models []train.Model) error {
	chosen := v.chosen()
	start := models[slices.IndexFunc(models, func(m train.Model) bool { return m.Subnet == chosen.Subnet })]
	m, err := inference.Load(ctx, chosen.Model)
	if err != nil {
		return err
	}
	if err := arrowio.SaveParquet(ctx, files.Join(r.Dir, "candidates.parquet"), record.Of(v).Record); err != nil {
		return err
	}
	card := route.Card{
		Task: chosen.Task, Subnet: chosen.Subnet, Scorer: route.KNN, Score: chosen.Score, Norm: chosen.Norm(),
		Backbone: m.Backbone, Input: m.Input, Features: m.Backbone.FeatureDim(),
		Subset:     route.Subset(start.Subnet, start.Level),
		Customized: chosen.Candidate, Images: chosen.Images, Seconds: chosen.Seconds, Origin: origin,
	}
	if r.TestImages > 0 {
		card.Gain = &route.Gain{
			TestImages: r.TestImages, Before: r.TestBefore, After: r.Test, Difference: r.Difference, Low: r.Low, High: r.High,
		}
	}
	return route.Write(ctx, r.Dir, m, card)
}

// WriteTable writes a human-readable table, and where the models are.
func (c Customized) WriteTable(w io.Writer) error {
	t := newTable("task", "net", "version", "images\ntrained on", "seconds", "knn score, %\nas it was", "knn score, %", "test images", "test, %\nas it was", "test, %", "difference, with\n95 % interval")
	t.SuppressEmptyColumns()
	t.Style().Format.Header = text.FormatDefault
	percent := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	for _, r := range c {
		row := table.Row{
			r.Task, r.Subnet, r.Version, humanize.Comma(r.Images), percent(r.Seconds), percent(r.ScoreBefore), percent(r.Score),
			"", "", "", "",
		}
		if r.TestImages > 0 {
			d := evaluate.Comparison{Difference: r.Difference, Low: r.Low, High: r.High, Level: metrics.Interval{Low: r.Low, High: r.High}.Level()}
			row = append(row[:7], humanize.Comma(r.TestImages), percent(r.TestBefore), percent(r.Test), d.String())
		}
		t.AppendRow(row)
	}
	if _, err := fmt.Fprintln(w, t.Render()); err != nil {
		return err
	}
	for _, r := range c {
		if _, err := fmt.Fprintln(w, files.Join(r.Dir, "model.safetensors")); err != nil {
			return err
		}
	}
	return nil
}
