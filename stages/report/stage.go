package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Sample is the number of images per subset that a report shows, if there are not more than MostSamples in all.
const Sample, MostSamples = 32, 1024

// Config says what to report on.
type Config struct {
	// Dir is the run folder, where the files are written.
	Dir string
	// Dead are the tasks that could not be evaluated, and Tasks the others.
	Dead  []evaluate.Dead
	Tasks []tasks.Task
}

// File is the schema of Report's output: a file that it wrote.
type File struct {
	// Path is the file's path.
	Path string `arrow:"path"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[reportFn]())
}

// Report writes report.html and, if there are results, results.json and results.csv. It reads everything else on the
// page from the run folder.
//
// in: *record.Batch of shards.Ref, the subsets to show samples of, and *record.Batch of evaluate.Row; either may be
// empty. out: one *record.Batch of File.
func Report(s beam.Scope, refs, results beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("report.Report")
	return beam.ParDo(s, &reportFn{cfg}, beam.Impulse(s), beam.SideInput{Input: refs}, beam.SideInput{Input: results})
}

type reportFn struct{ Config Config }

func (fn *reportFn) ProcessElement(ctx context.Context, _ []byte, refs, results func(**record.Batch) bool) (*record.Batch, error) {
	rows, err := record.All[evaluate.Row](results)
	if err != nil {
		return nil, err
	}
	subsets, err := record.All[shards.Ref](refs)
	if err != nil {
		return nil, err
	}
	page, err := readPage(ctx, fn.Config.Dir)
	if err != nil {
		return nil, err
	}
	codes := map[string]bool{}
	for _, ref := range subsets {
		codes[ref.Subset] = true
	}
	if page.Sheets, err = Sheets(ctx, subsets, max(1, min(Sample, MostSamples/max(1, len(codes))))); err != nil {
		return nil, err
	}
	var written []File
	write := func(name string, content func(io.Writer) error) error {
		path := files.Join(fn.Config.Dir, name)
		written = append(written, File{path})
		return files.Write(ctx, path, content)
	}
	if len(rows) > 0 {
		page.Results = evaluate.Collect(rows, fn.Config.Dead)
		if err := errors.Join(write("results.json", page.Results.WriteJSON), write("results.csv", page.Results.WriteCSV)); err != nil {
			return nil, err
		}
		page.Files = append(page.Files, "results.json", "results.csv")
		page.Rows = rows
		for _, c := range page.Results.Comparisons {
			if c.Task == "" && c.Over == recipe.Unified {
				page.Costs = append(page.Costs, [2]string{"gain over the unified net, " + protocolName(c.Protocol), interval(difference{c.Difference, c.Low, c.High, c.Level}) + " percentage points"})
			}
		}
	}
	if err := fn.Config.look(ctx, page, subsets); err != nil {
		return nil, err
	}
	if err := write("report.html", func(w io.Writer) error { return Write(w, page) }); err != nil {
		return nil, err
	}
	return record.Of(written), nil
}

// look adds what takes a look at the images: the map of the pool, and the names of the tasks' classes.
func (cfg Config) look(ctx context.Context, page *Page, refs []shards.Ref) error {
	for _, net := range []string{train.Root, recipe.Unified} { // a recipe without splits has no root
		path := run.ModelPath(cfg.Dir, net)
		found, err := files.Exists(ctx, path)
		if err != nil {
			return err
		}
		if !found || len(refs) == 0 {
			continue
		}
		m, err := inference.Open(ctx, path)
		if err != nil {
			return err
		}
		millions := 0.
		for _, c := range nn.Convolutions(m.Backbone, m.Input.Size, 1) {
			millions += c.Conv.Multiplications() / 1e6
		}
		each, err := timePerImage(ctx, m)
		if err != nil {
			return err
		}
		page.Costs = slices.Insert(page.Costs, 0, [2]string{"every net, unified or routed", fmt.Sprintf(
			"%.2f million parameters; per image %.0f million multiplications, which take %.2g ms on the machine that wrote this page",
			float64(len(m.Params))/1e6, millions, each)})
		if page.Places, page.Shares, err = Places(ctx, refs, cfg.Tasks, path); err != nil {
			return fmt.Errorf("report: map of the pool: %w", err)
		}
		page.Classes = map[string][]string{}
		for _, t := range cfg.Tasks {
			im, err := labeled.Images(ctx, t.Train, m.Input.Size, nil)
			if err != nil {
				return fmt.Errorf("report: task %s: %w", t.Name, err)
			}
			page.Classes[t.Name] = im.Classes
		}
		if page.Neighbors, err = findNeighbors(ctx, cfg.Dir, page.Rows, cfg.Tasks, m.Input.Size); err != nil {
			return fmt.Errorf("report: nearest neighbors: %w", err)
		}
		return nil
	}
	return nil
}

// timePerImage measures how many milliseconds a model takes per image, in batches.
func timePerImage(ctx context.Context, m *inference.Model) (float64, error) {
	blank := make([]uint8, m.Input.Size*m.Input.Size*3)
	least := math.Inf(1)
	for range 3 { // the first time, algorithms may be measured
		start := time.Now()
		if _, err := inference.Features(ctx, m, inference.Batch, func(int) []uint8 { return blank }); err != nil {
			return 0, err
		}
		least = min(least, time.Since(start).Seconds())
	}
	return least * 1e3 / inference.Batch, nil
}

// curveNames are names of variants for people.
var curveNames = map[string]string{
	train.SDR: "sub-nets", train.Phase0: "phase 0", train.Joint: "begin of sub-nets and one-subset batches", recipe.UnifiedSubsetBatches: "unified, one-subset batches",
}

// readPage fills a page from the contents of a run folder.
func readPage(ctx context.Context, dir string) (*Page, error) {
	folder, err := run.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return nil, err
	}
	r, err := recipe.Parse(text)
	if err != nil {
		return nil, err
	}
	p := &Page{HealthyStd: 1 / math.Sqrt(float64(r.SSL.Dim)), About: About{
		Title: "Run " + r.Name, ID: folder.Info.ID.String(), Created: folder.Info.Created,
		Command: strings.Join(folder.Info.Command, " "),
		Facts: [][2]string{
			{"backbone", fmt.Sprintf("%s, width %d, %s stem, %d features", r.Backbone.Arch, r.Backbone.Width, r.Backbone.Stem, r.Backbone.FeatureDim())},
			{"paths", r.Paths},
			{"loss", fmt.Sprintf("%s, distillation weight %g", r.SSL.Method, r.SSL.Distill)},
			{"images seen by each variant", humanize.Comma(r.Train.Images)},
			{"views", fmt.Sprintf("%d px from images of %d px, batches of %d", r.Input.Crop, r.Input.Size, r.Train.Batch)},
			{"data", strings.Join(folder.Info.Data, ", ")},
			{"began with", folder.Info.Init.String()},
		},
	}}
	images := humanize.Comma(r.Train.Images)
	p.Costs = append(p.Costs, [2]string{"training", fmt.Sprintf("%s images seen by the unified net; %s by all sub-nets together", images, images)})
	var times []string
	for _, stage := range []string{"phase0", "train", "random", "unified", "route"} {
		m, err := folder.ReadManifest(ctx, stage)
		if err != nil {
			return nil, err
		}
		if m != nil {
			times = append(times, stage+" "+duration(m.Seconds))
		}
		if m != nil && stage == "route" {
			p.Costs = append(p.Costs, [2]string{"choosing nets for all tasks", duration(m.Seconds)})
		}
	}
	if len(times) > 0 {
		p.Facts = append(p.Facts, [2]string{"time of the stages", strings.Join(times, ", ")})
	}
	for _, variant := range slices.Concat([]string{train.SDR, train.Phase0, train.Joint}, r.Train.Baselines) {
		points, err := curves.ReadPoints(ctx, dir, variant)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c := Curve{Name: cmp.Or(curveNames[variant], variant)}
		for _, point := range points {
			c.Steps, c.Loss, c.Std = append(c.Steps, point.Step), append(c.Loss, point.Loss), append(c.Std, point.Std)
		}
		p.Curves = append(p.Curves, c)
	}
	judged, err := train.ReadJudgments(ctx, dir)
	if err != nil {
		return nil, err
	}
	p.Withheld = slices.DeleteFunc(judged, func(j train.Judgment) bool { return j.Offered })
	models, err := train.ReadModels(ctx, dir)
	for _, m := range models {
		p.Files = append(p.Files, strings.TrimPrefix(m.Path, files.Join(dir, "")+"/"))
	}
	return p, err
}
