// Package study compares trainings: it reads which trainings a study file asks for, chooses nets for tasks from what the
// trainings' nets predicted, and estimates means and differences with their confidence intervals.
package study

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// Keys are the keys of a study file. Environment variables in Data, Tasks, Init and Recipe are expanded.
type Keys struct {
	// Data are folders and files of images.
	Data []string `yaml:"data"`
	// Tasks is a folder of tasks.
	Tasks string `yaml:"tasks"`
	// Metrics are the metrics of tasks, by their names; others have the metric of [tasks.Task].
	Metrics map[string]string `yaml:"metrics"`
	// Halves tests on half of each task's training images, and trains on the other half, to choose between arms
	// without the test images.
	Halves bool `yaml:"halves"`
	// Protocols are the protocols of the evaluation.
	Protocols []string `yaml:"protocols"`
	// Init is a file of weights that all trainings begin with, as for sdr pretrain --init; empty for random ones.
	Init string `yaml:"init"`
	// Recipe is the recipe that the arms change.
	Recipe string `yaml:"recipe"`
	// Seeds are the seeds that every arm is trained with.
	Seeds []uint64 `yaml:"seeds"`
	// Budgets are the numbers of images seen, train.images, that every arm is trained with.
	Budgets []int64 `yaml:"budgets"`
	// Customize says how to customize the routed and the unified net of every training for every task.
	Customize Customize `yaml:"customize"`
	// Arms are the recipes to compare. In the file, they map the arm's name to the keys of the recipe that it changes.
	Arms []Arm `yaml:"arms"`
}

// Customize is the budget for customizing a net for a task.
type Customize struct {
	// Images is the number of images to train on per task and net; 0 means that no net is customized.
	Images int64 `yaml:"images"`
	// Rates are the peak learning rates to try; they share the budget.
	Rates []float64 `yaml:"rates"`
}

// Arm is a recipe to compare with others.
type Arm struct {
	// Name is the arm's name.
	Name string
	// Changes are the keys of the recipe that the arm changes, as parsed from YAML.
	Changes map[string]any
}

// Cell is one training of a study: an arm with a budget and a seed.
type Cell struct {
	Arm    string
	Images int64
	Seed   uint64
	// Recipe says what to train.
	Recipe *recipe.Recipe
}

// String names the cell.
func (c Cell) String() string { return fmt.Sprintf("%s, %d images, seed %d", c.Arm, c.Images, c.Seed) }

// File is a study file.
type File struct {
	Keys
	// Text is the file's text.
	Text []byte
	// Cells are the study's trainings, ordered by arm, budget and seed.
	Cells []Cell
}

// Load reads and checks a study file.
func Load(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("study: %w", err)
	}
	f := &File{Keys: Keys{Protocols: []string{evaluate.KNN}, Recipe: recipe.Default, Seeds: []uint64{1}, Customize: Customize{Rates: []float64{.03}}}, Text: text}
	err = f.parse()
	if err == nil {
		err = f.check()
	}
	if err == nil {
		err = f.list()
	}
	if err != nil {
		return nil, fmt.Errorf("study %s: %w", path, err)
	}
	return f, nil
}

const armsExample = "want names with the keys of the recipe that they change, such as late: {train: {phases: [0.75]}}"

// parse sets the keys from the text.
func (f *File) parse() error {
	var keys map[string]any
	if err := recipe.Unmarshal(f.Text, &keys); err != nil {
		return err
	}
	if _, ok := keys["arms"].(map[string]any); !ok && keys["arms"] != nil {
		return errors.New("arms: not a mapping; " + armsExample)
	}
	delete(keys, "arms")
	if err := recipe.Overlay(&f.Keys, keys); err != nil {
		return err
	}
	var ordered struct{ Arms yaml.MapSlice }
	if err := recipe.Unmarshal(f.Text, &ordered); err != nil {
		return err
	}
	for _, arm := range ordered.Arms {
		changes, ok := arm.Value.(map[string]any)
		if !ok && arm.Value != nil {
			return fmt.Errorf("arms: %v: %v is not a mapping; %s", arm.Key, arm.Value, armsExample)
		}
		f.Arms = append(f.Arms, Arm{fmt.Sprint(arm.Key), changes})
	}
	return nil
}

// check expands the environment variables in paths and checks the keys, apart from the recipes.
func (f *File) check() error {
	for i := range f.Data {
		if err := expand("data", &f.Data[i]); err != nil {
			return err
		}
	}
	if err := cmp.Or(expand("tasks", &f.Tasks), expand("init", &f.Init), expand("recipe", &f.Recipe)); err != nil {
		return err
	}
	switch {
	case len(f.Data) == 0:
		return errors.New("data: none; want folders or files of images, such as [photos/]")
	case f.Tasks == "":
		return errors.New("tasks: none; want a folder of tasks, such as tasks/")
	case len(f.Arms) == 0:
		return errors.New("arms: none; " + armsExample)
	case len(f.Seeds) == 0:
		return errors.New("seeds: none; want numbers, such as [1, 2, 3]")
	}
	if err := evaluate.CheckPredicting(f.Protocols); err != nil {
		return fmt.Errorf("protocols: %w", err)
	}
	if c := f.Customize; c.Images < 0 || len(c.Rates) == 0 || !(slices.Min(c.Rates) > 0) {
		return fmt.Errorf("customize: %d images, rates %v; want 0 or more images, and rates above 0, such as {images: 25600, rates: [0.03]}", c.Images, c.Rates)
	}
	for _, arm := range f.Arms {
		if err := arm.check(); err != nil {
			return fmt.Errorf("arms: %s: %w", arm.Name, err)
		}
	}
	return cmp.Or(once("protocols", f.Protocols), once("seeds", f.Seeds), once("budgets", f.Budgets))
}

// expand replaces the environment variables in the path of a key.
func expand(key string, path *string) (err error) {
	text := *path
	*path = os.Expand(text, func(name string) string {
		value, ok := os.LookupEnv(name)
		if !ok && err == nil {
			err = fmt.Errorf("%s: %s: the environment variable %s is not set; set it, or write the path", key, text, name)
		}
		return value
	})
	return err
}

// once returns an error if a value is listed twice.
func once[T comparable](key string, list []T) error {
	seen := map[T]bool{}
	for _, v := range list {
		if seen[v] {
			return fmt.Errorf("%s: %v is listed twice; remove one", key, v)
		}
		seen[v] = true
	}
	return nil
}

// check refuses to change what the study itself sets.
func (a Arm) check() error {
	train, _ := a.Changes["train"].(map[string]any)
	for _, c := range []struct {
		section       map[string]any
		key, as, want string
	}{
		{a.Changes, "name", "name", "the arm's name is the recipe's"},
		{a.Changes, "seed", "seed", "list it under seeds, which are every arm's"},
		{train, "images", "train.images", "list it under budgets, which are every arm's"},
		{train, "baselines", "train.baselines", "remove it: a study trains all of them for every arm"},
	} {
		if _, ok := c.section[c.key]; ok {
			return fmt.Errorf("%s cannot be changed; %s", c.as, c.want)
		}
	}
	return nil
}

// list lists the cells.
func (f *File) list() error {
	base, err := recipe.Load(f.Recipe, nil)
	if err != nil {
		return err
	}
	if len(f.Budgets) == 0 {
		f.Budgets = []int64{base.Train.Images}
	}
	for _, arm := range f.Arms {
		for _, images := range f.Budgets {
			for _, seed := range f.Seeds {
				r, err := arm.recipe(base, images, seed)
				if err != nil {
					return fmt.Errorf("arms: %s: with %d images (budgets): %w", arm.Name, images, err)
				}
				f.Cells = append(f.Cells, Cell{arm.Name, images, seed, r})
			}
		}
	}
	return nil
}

// recipe returns the recipe of a cell.
func (a Arm) recipe(base *recipe.Recipe, images int64, seed uint64) (*recipe.Recipe, error) {
	keys, train := map[string]any{}, map[string]any{}
	maps.Copy(keys, a.Changes)
	if section, ok := keys["train"].(map[string]any); ok || keys["train"] == nil {
		maps.Copy(train, section)
		keys["train"] = train
	} // otherwise With refuses it
	keys["name"], keys["seed"], train["images"] = a.Name, seed, images
	r, err := base.With(keys)
	if err != nil {
		return nil, err
	}
	if _, branching := r.Levels(); len(branching) == 0 {
		return nil, fmt.Errorf("paths: %s has no split, so there are no sub-nets to compare; want such as 1x1x1x4", r.Paths)
	}
	return r, nil
}
