package pipelines

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/dustin/go-humanize"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/study"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// StudyOptions are the arguments of Study.
type StudyOptions struct {
	// File is the study file.
	File string
	// Out is the study's folder. What it already holds is not computed again.
	Out string
	// Runner is the name of a registered Beam runner.
	Runner string
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
	// MaxBad is the fraction of unreadable images above which the study fails.
	MaxBad float64
	// Version and Command are saved with the study.
	Version string
	Command []string
	// Started is called once the arguments are checked and the study's folder is there, before the first stage.
	Started func(*run.Folder)
}

// Study trains the arms of a study file, with every budget and seed, and compares them on its tasks. Trainings share
// the stages that they have in common. What the folder already holds is not computed again, so that an interrupted
// study resumes and an extended one computes only what is new. It writes the results and a page into the folder.
func Study(ctx context.Context, o StudyOptions) (*study.Results, error) {
	p, err := newStudyPlan(ctx, o)
	if err != nil {
		return nil, err
	}
	unlock, err := run.Lock(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p.folder, err = run.CreateStudy(ctx, o.Out, run.Info{
		ID: uuid.Must(uuid.NewV7()), Version: o.Version, Created: time.Now(), Command: o.Command, Data: p.file.Data,
	}, p.file.Text)
	if err != nil {
		return nil, err
	}
	if err := saveData(ctx, p.folder, p.files); err != nil {
		return nil, err
	}
	if p.backbone != nil {
		if err := train.SaveInit(ctx, o.Out, p.backbone); err != nil {
			return nil, err
		}
	}
	if err := p.folder.WriteTrainings(ctx, p.trainings); err != nil {
		return nil, err
	}
	if o.Started != nil {
		o.Started(p.folder)
	}
	status, err := p.status(ctx)
	if err != nil {
		return nil, err
	}
	slog.Info("study", "trainings", len(p.cells), "stages", len(p.steps), "images_to_train_on", humanize.Comma(status.Images))
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	if err := p.warnOfDead(ctx); err != nil {
		return nil, err
	}
	results, err := p.collect(ctx)
	if err != nil {
		return nil, err
	}
	return results, p.write(ctx, o, results)
}

// PlanStudy returns what of a study is done and what is left, without writing anything.
func PlanStudy(ctx context.Context, o StudyOptions) (*StudyStatus, error) {
	p, err := newStudyPlan(ctx, o)
	if err != nil {
		return nil, err
	}
	return p.status(ctx)
}

// studyPlan is a study's chain of steps.
type studyPlan struct {
	plan
	file   *study.File
	files  data // with the images
	tasks  []tasks.Task
	judged []any // identifies the tasks
	cells  []*cell
	images map[string]int64 // that a step trains on

	trainings []run.Training
	backbone  *nn.Model // that the trainings begin with; nil for random weights
}

// cell is a training of a study, with the steps whose outputs are its results.
type cell struct {
	study.Cell
	training
	evaluated []string // predictions of its nets
	routed    []string // scores of its nets
}

// newStudyPlan checks the arguments before anything is written, and lists the steps.
func newStudyPlan(ctx context.Context, o StudyOptions) (*studyPlan, error) {
	file, err := study.Load(o.File)
	if err != nil {
		return nil, run.Usage(err)
	}
	if err := run.CheckStudy(ctx, o.Out); err != nil {
		return nil, err
	}
	p := &studyPlan{
		plan: plan{
			chain:  chain{folder: &run.Folder{Dir: o.Out}, runner: o.Runner, device: o.Device},
			splits: map[int][]imageio.Split{}, sources: map[int][]imageio.Source{}, maxBad: o.MaxBad, shared: true,
		},
		file: file, images: map[string]int64{},
	}
	for _, c := range file.Cells {
		rows := ingest.ShardRows(c.Recipe.Input.Size)
		if file.Init != "" {
			if p.init, p.backbone, err = readInit(ctx, file.Init, c.Recipe.Backbone); err != nil {
				return nil, run.Usagef("study %s: init, for the arm %s: %w", o.File, c.Arm, err)
			}
		}
		if p.splits[rows] == nil {
			if p.splits[rows], p.sources[rows], err = imageio.Survey(ctx, file.Data, rows, imageio.Columns{}); err != nil {
				return nil, run.Usagef("study %s: data: %w", o.File, err)
			}
		}
		p.cells = append(p.cells, &cell{Cell: c})
	}
	warnTwice(file.Data)
	if err := p.identify(ctx); err != nil {
		return nil, err
	}
	var dead []evaluate.Dead
	if p.tasks, dead, err = findTasks(ctx, file.Tasks, imageio.Columns{}); err != nil {
		return nil, fmt.Errorf("study %s: tasks: %w", o.File, err)
	}
	if len(dead) > 0 { // means would not be those of the tasks that the file names
		return nil, run.Usagef("study %s: task %s: %s", o.File, dead[0].Task, dead[0].Reason)
	}
	if err := p.measureBy(file.Metrics); err != nil {
		return nil, run.Usagef("study %s: metrics: %w", o.File, err)
	}
	if i := slices.IndexFunc(p.tasks, func(t tasks.Task) bool { return t.Metric == tasks.MeanAP }); i >= 0 {
		return nil, run.Usagef("study %s: task %s: its metric is %s, but a study compares accuracies; leave it out", o.File, p.tasks[i].Name, tasks.MeanAP)
	}
	stamps := stamps(ctx, p.tasks) // of the files, without slices
	if file.Halves {
		for i := range p.tasks {
			p.tasks[i] = tasks.Halves(p.tasks[i])
		}
	}
	p.judged = []any{p.tasks, stamps}
	p.trainAll()
	return p, nil
}

// measureBy gives tasks the metrics of the study file.
func (p *studyPlan) measureBy(metrics map[string]string) (err error) {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		at := slices.IndexFunc(p.tasks, func(t tasks.Task) bool { return t.Name == name })
		if at < 0 {
			return fmt.Errorf("there is no task %s", name)
		}
		if p.tasks[at].Metric, err = tasks.ParseMetric(metrics[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// identify lists the files with images and says so if they have changed since the study last ran. What it trained on the
// old ones stays in its folder.
func (p *studyPlan) identify(ctx context.Context) error {
	found, changes, err := compareData(ctx, p.folder, nil, p.file.Data)
	if err != nil {
		return err
	}
	p.files, p.data = found, found.digest()
	if changes != "" {
		slog.Warn("the data have changed since the study last ran, so its stages begin anew", "changes", changes)
	}
	return nil
}

// trainAll adds the steps of all cells. Where phases 0 differ only in length, the longer continues the shorter, and the
// unified net continues the longest.
func (p *studyPlan) trainAll() {
	longest := map[string]*cell{} // by what phase 0 depends on
	trunk := func(c *cell) string { return string(c.Recipe.For(recipe.Unified).Marshal()) }
	byLength := slices.SortedStableFunc(slices.Values(p.cells), func(a, b *cell) int { return a.Recipe.PhaseStep(1) - b.Recipe.PhaseStep(1) })
	for _, c := range byLength {
		p.of = c.String()
		shorter, from := "", 0
		if l := longest[trunk(c)]; l != nil {
			shorter, from = l.phase0, l.Recipe.PhaseStep(1)
		}
		c.training = p.phase0(c.Recipe, shorter)
		p.trains(c.phase0, c.Recipe, from, c.Recipe.PhaseStep(1))
		longest[trunk(c)] = c
	}
	for _, c := range p.cells {
		p.of = c.String()
		p.subsets(&c.training)
		sdr := p.variants(c.training, train.SDR)[0]
		random := p.variants(c.training, recipe.Random)[0]
		batches := p.variants(c.training, recipe.UnifiedSubsetBatches)[0]
		from := c.training
		from.phase0 = longest[trunk(c)].phase0
		unified := p.variants(from, recipe.Unified)[0]

		p.trains(p.joint(c.training), c.Recipe, c.Recipe.PhaseStep(1), c.Recipe.Joint()) // or phase 0, which has its images
		p.trains(sdr, c.Recipe, c.Recipe.Joint(), c.Recipe.Steps())
		p.trains(batches, c.Recipe, c.Recipe.Joint(), c.Recipe.Steps())
		p.trains(unified, c.Recipe, longest[trunk(c)].Recipe.PhaseStep(1), c.Recipe.Steps())
		c.routed = []string{p.route(sdr), p.route(unified)}
		for _, nets := range []string{random, unified, batches, sdr} {
			c.evaluated = append(c.evaluated, p.evaluate(nets))
		}
		if p.file.Customize.Images > 0 {
			c.evaluated = append(c.evaluated, p.customize(c, sdr, unified))
		}
		p.results = slices.Concat(p.results, c.evaluated, c.routed)
	}
}

// trains notes the steps of the optimizer that a step of the chain takes.
func (p *studyPlan) trains(step string, r *recipe.Recipe, from, to int) {
	if _, known := p.images[step]; !known {
		t := run.Training{Stage: step, Variant: filepath.Dir(step), For: p.of, From: from, To: to, Batch: r.Train.Batch}
		p.trainings, p.images[step] = append(p.trainings, t), t.Images()
	}
}

// route adds the step that scores the sub-nets of a training on the tasks.
func (p *studyPlan) route(nets string) string {
	return p.add("route", []string{nets}, slices.Concat(p.judged, []any{p.scorers()}), func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return route.Route(s, in[0], route.Config{Tasks: p.tasks, Scorers: p.scorers()})
	})
}

// scorers are those of the protocols, and that of customizing.
func (p *studyPlan) scorers() []string {
	names := evaluate.Scorers(p.file.Protocols)
	if p.file.Customize.Images > 0 && !slices.Contains(names, route.KNN) {
		names = append(names, route.KNN)
	}
	return names
}

// evaluate adds the step that predicts the classes of the tasks' images with the nets of a training.
func (p *studyPlan) evaluate(nets string) string {
	settings := slices.Concat(p.judged, []any{p.file.Protocols, evaluate.Form(p.file.Protocols)})
	return p.add("evaluate", []string{nets}, settings, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return evaluate.Evaluate(s, in[0], evaluate.Config{Tasks: p.tasks, Protocols: p.file.Protocols})
	})
}

// customize adds the steps that customize the routed and the unified net of a cell for every task, and evaluate the
// results.
func (p *studyPlan) customize(c *cell, sdr, unified string) string {
	text := string(c.Recipe.Marshal())
	var customized string
	customized = p.add("customize", slices.Concat([]string{sdr, unified}, c.routed), []any{p.judged, p.file.Customize, text}, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return customize.Customize(s, beam.Flatten(s, in[:2]...), beam.Flatten(s, in[2:]...), customize.Config{
			Tasks: p.tasks, Nets: []string{recipe.Unified}, Dir: files.Join(p.dir(customized), "models"), Metrics: p.dir(customized), Recipe: text,
			Images: p.file.Customize.Images, Rates: p.file.Customize.Rates, Device: p.device,
		})
	})
	p.images[customized] = p.file.Customize.Images * int64(2*len(p.tasks))
	return p.add("evaluate", []string{customized}, []any{p.judged, p.file.Protocols, evaluate.Form(p.file.Protocols)}, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		names := map[string]string{customize.Routed: study.Customized, recipe.Unified: study.UnifiedCustomized}
		return evaluate.Measure(s, customize.Pairs(s, in[0], p.tasks, names), p.file.Protocols)
	})
}

// collect reads what the nets of each cell predicted, and compares them.
func (p *studyPlan) collect(ctx context.Context) (*study.Results, error) {
	found := study.NewCollector(p.tasks, p.file.Protocols, p.file.Customize.Images > 0)
	for _, c := range p.cells {
		predictions, err := readOuts[evaluate.Row](ctx, &p.chain, c.evaluated)
		if err != nil {
			return nil, err
		}
		scores, err := readOuts[route.Score](ctx, &p.chain, c.routed)
		if err != nil {
			return nil, err
		}
		if err := found.Add(c.Cell, predictions, scores); err != nil {
			return nil, err
		}
	}
	return found.Results(), nil
}

// warnOfDead logs how many images could not be read.
func (p *studyPlan) warnOfDead(ctx context.Context) error {
	seen := map[string]bool{}
	for _, c := range p.cells {
		path := p.deadLetter(c.training)
		if seen[path] {
			continue
		}
		seen[path] = true
		dead, err := ingest.ReadDead(ctx, path)
		if err != nil {
			return err
		}
		if len(dead) > 0 {
			slog.Warn("some images could not be read", "number", len(dead), "listed_in", path)
		}
	}
	return nil
}

// write writes the results and the page into the study's folder.
func (p *studyPlan) write(ctx context.Context, o StudyOptions, r *study.Results) error {
	stages, arms, err := p.cost(ctx)
	if err != nil {
		return err
	}
	page := &report.StudyPage{
		About: report.About{
			Title: "Study " + strings.TrimSuffix(filepath.Base(o.File), filepath.Ext(o.File)), ID: p.folder.Info.ID.String(),
			Created: p.folder.Info.Created, Command: strings.Join(o.Command, " "),
			Facts: [][2]string{
				{"version", o.Version},
				{"machine", fmt.Sprintf("%s, %d threads, %s/%s", kernels.ISA(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH)},
				{"device", cmp.Or(o.Device.Name, ssl.CPU)},
				{"trainings", fmt.Sprintf("%d: %d arms, %d budgets, %d seeds", len(p.cells), len(p.file.Arms), len(p.file.Budgets), len(p.file.Seeds))},
				{"tasks", strings.Join(r.Tasks(), ", ")},
				{"began with", p.init.String()},
			},
		},
		File: string(p.file.Text), Results: r, Stages: stages, Arms: arms,
	}
	path := func(name string) string { return files.Join(p.folder.Dir, name) }
	for _, err := range []error{
		arrowio.SaveParquet(ctx, path("results.parquet"), record.Of(r.Results).Record),
		arrowio.SaveParquet(ctx, path("means.parquet"), record.Of(r.Means).Record),
		arrowio.SaveParquet(ctx, path("comparisons.parquet"), record.Of(r.Comparisons).Record),
		files.Write(ctx, path("study.html"), func(w io.Writer) error { return report.WriteStudy(w, page) }),
	} {
		if err != nil {
			return err
		}
	}
	slog.Info("the study is done", "page", path("study.html"))
	return nil
}
