package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/imageio"
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
	// Device computes the training steps.
	Device ssl.Device
	// Version and Command are saved with the study.
	Version string
	Command []string
	// Started is called once the study's folder is there, before the first stage.
	Started func(*run.Folder)
}

// studyFile is the content of a study file: which trainings to compare on which tasks.
type studyFile struct {
	// Data are folders and files of images, and Tasks is a folder of tasks. Environment variables are expanded.
	Data  []string `yaml:"data"`
	Tasks string   `yaml:"tasks"`
	// Halves tests on half of each task's training images, and trains on the other half, to choose between arms
	// without the test images.
	Halves bool `yaml:"halves"`
	// Protocols are the protocols of the evaluation.
	Protocols []string `yaml:"protocols"`
	// Recipe is the recipe that the arms change.
	Recipe string `yaml:"recipe"`
	// Seeds and Budgets (numbers of images seen) are the values of seed and train.images that every arm is trained with.
	Seeds   []uint64 `yaml:"seeds"`
	Budgets []int64  `yaml:"budgets"`
	// Arms maps the name of an arm to the keys of the recipe that it changes.
	Arms yaml.MapSlice `yaml:"arms"`
}

// cell is one training of a study: an arm with a seed and a budget.
type cell struct {
	Arm    string
	Seed   uint64
	Images int64
	training
	nets map[string]string // step that trains a variant, by variant
}

// readStudy reads and checks a study file.
func readStudy(path string) (*studyFile, []*cell, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, run.Usage(err)
	}
	f := &studyFile{Protocols: []string{evaluate.KNN}, Recipe: recipe.Default, Seeds: []uint64{1}}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.UseOrderedMap()).Decode(f); err != nil {
		return nil, nil, run.Usagef("study %s: %s", path, yaml.FormatError(err, false, true))
	}
	cells, err := f.cells()
	if err != nil {
		return nil, nil, run.Usagef("study %s: %w", path, err)
	}
	return f, cells, nil
}

// cells expands the environment variables in the file and lists its trainings.
func (f *studyFile) cells() ([]*cell, error) {
	var unset []string
	expand := func(text string) string {
		return os.Expand(text, func(name string) string {
			value, ok := os.LookupEnv(name)
			if !ok {
				unset = append(unset, name)
			}
			return value
		})
	}
	for i := range f.Data {
		f.Data[i] = expand(f.Data[i])
	}
	f.Tasks = expand(f.Tasks)
	switch {
	case len(unset) > 0:
		return nil, fmt.Errorf("the environment variable %s is not set", unset[0])
	case len(f.Data) == 0:
		return nil, errors.New("data: no folder or file of images")
	case f.Tasks == "":
		return nil, errors.New("tasks: no folder of tasks")
	case len(f.Arms) == 0:
		return nil, errors.New("arms: none; want names with the keys of the recipe that they change, such as late: {train: {phases: [0.75]}}")
	case len(f.Seeds) == 0:
		return nil, errors.New("seeds: none; want numbers, such as [1, 2, 3]")
	}
	if err := CheckProtocols(f.Protocols); err != nil {
		return nil, fmt.Errorf("protocols: %w", err)
	}
	base, err := recipe.Load(f.Recipe, nil)
	if err != nil {
		return nil, err
	}
	if len(f.Budgets) == 0 {
		f.Budgets = []int64{base.Train.Images}
	}
	var cells []*cell
	for _, arm := range f.Arms {
		name := fmt.Sprint(arm.Key)
		text, err := yaml.Marshal(arm.Value)
		if err != nil {
			return nil, err
		}
		for _, images := range f.Budgets {
			for _, seed := range f.Seeds {
				var changes map[string]any
				r, err := base.With(map[string]any{"name": name, "seed": seed, "train": map[string]any{"images": images}})
				if err == nil {
					err = recipe.Unmarshal(text, &changes)
				}
				if err == nil {
					r, err = r.With(changes)
				}
				if err != nil {
					return nil, fmt.Errorf("arm %s: %w", name, err)
				}
				if _, branching := r.Levels(); len(branching) == 0 {
					return nil, fmt.Errorf("arm %s: paths %s has no split", name, r.Paths)
				}
				cells = append(cells, &cell{Arm: name, Seed: seed, Images: images, training: training{recipe: r}})
			}
		}
	}
	return cells, nil
}

// variants lists what a study trains for every cell.
var variants = []string{train.SDR, recipe.Unified, recipe.UnifiedSubsetBatches}

// Study trains the arms of a study file, with every seed and budget, and compares them on its tasks. Trainings share
// the stages that they have in common. What the folder already holds is not computed again, so that an interrupted
// study resumes and an extended one computes only what is new.
func Study(ctx context.Context, o StudyOptions) (*StudyResults, error) {
	file, cells, err := readStudy(o.File)
	if err != nil {
		return nil, err
	}
	splits, err := imageio.Plan(ctx, file.Data, ingest.ShardRows(cells[0].recipe.Input.Size))
	if err != nil {
		return nil, run.Usage(err)
	}
	found, err := findTasks(ctx, file.Tasks)
	if err != nil {
		return nil, err
	}
	if file.Halves {
		for i := range found {
			found[i] = tasks.Halves(found[i])
		}
	}
	folder, err := openStudy(ctx, o, file)
	if err != nil {
		return nil, err
	}
	if o.Started != nil {
		o.Started(folder)
	}
	p := &plan{chain: chain{folder: folder, runner: o.Runner}, splits: splits, maxBad: .01, device: o.Device, shared: true}
	judge := p.judge(file.Protocols, found)
	p.trainAll(cells, judge)
	slog.Info("study", "cells", len(cells), "stages", len(p.steps))
	if err := p.run(ctx, false); err != nil {
		return nil, err
	}
	return p.collect(ctx, cells, judge, file, found)
}

// openStudy opens or creates the study's folder, which is a run folder without a recipe.
func openStudy(ctx context.Context, o StudyOptions, file *studyFile) (*run.Folder, error) {
	if folder, err := run.Open(ctx, o.Out); err == nil {
		return folder, nil
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return nil, err
	}
	return run.Create(ctx, o.Out, run.Fresh, run.Info{
		ID: uuid.Must(uuid.NewV7()), Version: o.Version, Created: time.Now(), Command: o.Command, Data: file.Data,
	}, text)
}

// judge returns functions that add the steps that route tasks to, and evaluate, the nets of a training step.
func (p *plan) judge(protocols []string, found []tasks.Task) judge {
	settings := []any{found, stamps(found)}
	return judge{
		route: func(nets string) string {
			return p.add("route", []string{nets}, settings, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
				return route.Route(s, in[0], route.Config{Tasks: found, Scorer: route.KNN})
			})
		},
		evaluate: func(nets string) string {
			return p.add("evaluate", []string{nets}, append(settings, protocols), func(s beam.Scope, in []beam.PCollection) beam.PCollection {
				_, predictions := evaluate.Evaluate(s, in[0], evaluate.Config{Tasks: found, Protocols: protocols})
				return predictions
			})
		},
	}
}

type judge struct{ route, evaluate func(nets string) string }

// trainAll adds the steps of all cells. Where phases 0 differ only in length, the longer continues the shorter.
func (p *plan) trainAll(cells []*cell, j judge) {
	byLength := slices.Clone(cells)
	slices.SortStableFunc(byLength, func(a, b *cell) int { return a.recipe.PhaseStep(1) - b.recipe.PhaseStep(1) })
	longest := map[string]string{} // step of the longest phase 0 so far
	for _, c := range byLength {
		trunk := string(c.recipe.For(recipe.Unified).Marshal())
		c.training = p.phase0(c.recipe, longest[trunk])
		longest[trunk] = c.phase0
	}
	for _, c := range cells {
		p.subsets(&c.training)
		c.nets = map[string]string{}
		for _, v := range variants {
			from := c.training
			if v == recipe.Unified {
				from.phase0 = longest[string(c.recipe.For(v).Marshal())]
			}
			c.nets[v] = p.variants(from, v)[0]
			j.evaluate(c.nets[v])
		}
		j.route(c.nets[train.SDR])
		j.route(c.nets[recipe.Unified])
	}
}
