package recipe_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func load(t require.TestingT, set ...string) *recipe.Recipe {
	r, err := recipe.Load(recipe.Default, set)
	require.NoError(t, err)
	return r
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestBuiltIn(t *testing.T) {
	require.Contains(t, recipe.Names(), recipe.Default)
	for _, name := range recipe.Names() {
		r, err := recipe.Load(name, nil)
		require.NoError(t, err)
		require.Equal(t, name, r.Name)
	}
}

// TestDefaultHasEveryKey compares the file's keys with the struct's, including their order. The methods define the
// defaults of their own settings.
func TestDefaultHasEveryKey(t *testing.T) {
	text, err := os.ReadFile("recipes/default.yaml")
	require.NoError(t, err)
	var file yaml.MapSlice
	require.NoError(t, yaml.UnmarshalWithOptions(text, &file, yaml.UseOrderedMap()))
	var keys func(section yaml.MapSlice, prefix string) []string
	keys = func(section yaml.MapSlice, prefix string) (all []string) {
		for _, k := range section {
			key := prefix + k.Key.(string)
			if below, ok := k.Value.(yaml.MapSlice); ok {
				all = append(all, keys(below, key+".")...)
			} else {
				all = append(all, key)
			}
		}
		return all
	}
	all := keys(file, "")
	require.Equal(t, all, slices.DeleteFunc(recipe.Keys(), func(key string) bool {
		return slices.ContainsFunc(ssl.Methods(), func(name string) bool {
			return slices.ContainsFunc(ssl.Lookup(name).Settings(), func(s ssl.Setting) bool { return key == "ssl."+s.Name })
		})
	}))
	require.Subset(t, all, []string{"seed", "backbone.arch", "backbone.stem", "backbone.width", "train.lr"})
}

// TestSet sets a key of every type and checks that all others keep their values.
func TestSet(t *testing.T) {
	for setting, change := range map[string]func(*recipe.Recipe){
		"name=x":                              func(r *recipe.Recipe) { r.Name = "x" },
		`name="3 + 4"`:                        func(r *recipe.Recipe) { r.Name = "3 + 4" },
		"seed=18446744073709551615":           func(r *recipe.Recipe) { r.Seed = 1<<64 - 1 },
		"input.mean=[0.5,0.25,1]":             func(r *recipe.Recipe) { r.Input.Mean = [3]float32{.5, .25, 1} },
		"backbone.width=64":                   func(r *recipe.Recipe) { r.Backbone.Width = 64 },
		"backbone.arch=resnet50":              func(r *recipe.Recipe) { r.Backbone.Arch = "resnet50" },
		"paths=4x1x1x1":                       func(r *recipe.Recipe) { r.Paths = "4x1x1x1" },
		"split.order=[1, 2, 3, 4]":            func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{1}, {2}, {3}, {4}} },
		"split.order=[4, [3, 2, 1]]":          func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{4}, {3, 2, 1}} },
		"partition.whiten=false":              func(r *recipe.Recipe) { r.Partition.Whiten = false },
		"partition.balance=0":                 func(r *recipe.Recipe) { r.Partition.Balance = 0 },
		"train.images=1e6":                    func(r *recipe.Recipe) { r.Train.Images = 1_000_000 },
		"train.images=2_000_000":              func(r *recipe.Recipe) { r.Train.Images = 2_000_000 },
		"train.batch=64.0":                    func(r *recipe.Recipe) { r.Train.Batch = 64 },
		"train.lr=1e-3":                       func(r *recipe.Recipe) { r.Train.LR = .001 },
		"train.lr=1":                          func(r *recipe.Recipe) { r.Train.LR = 1 },
		"train.phases=[0.3]":                  func(r *recipe.Recipe) { r.Train.Phases = []float64{.3} },
		"train.baselines=[unified]":           func(r *recipe.Recipe) { r.Train.Baselines = []string{"unified"} },
		"train={lr: 0.5, momentum: 0}":        func(r *recipe.Recipe) { r.Train.LR, r.Train.Momentum = .5, 0 },
		"backbone={arch: resnet50, width: 8}": func(r *recipe.Recipe) { r.Backbone.Arch, r.Backbone.Width = "resnet50", 8 },
		"train.betas=[0.8, 0.95]":             func(r *recipe.Recipe) { r.Train.Betas = [2]float64{.8, .95} },
		"train.epsilon=1e-6":                  func(r *recipe.Recipe) { r.Train.Epsilon = 1e-6 },
		"train={optimizer: lars, trust: 0.02, nesterov: true}": func(r *recipe.Recipe) {
			r.Train.Optimizer, r.Train.Trust, r.Train.Nesterov = recipe.LARS, .02, true
		},
		"train={}": func(*recipe.Recipe) {},
	} {
		want := load(t)
		change(want)
		require.Equal(t, want, load(t, setting), setting)
	}
	require.Equal(t, 3., load(t, "train.lr=1", "train.lr=3").Train.LR, "the last one counts")
	// Settings that depend on each other are validated together.
	require.Equal(t, "1x1x2x2", load(t, "paths=1x1x2x2", "train.phases=[0.3,0.6]").Paths)
}

// TestSetErrors checks that errors name what is wrong and what is valid.
func TestSetErrors(t *testing.T) {
	for setting, want := range map[string]string{
		"train.lr":               "want key=value, such as train.lr=0.06",
		"":                       "want key=value",
		"=1":                     `there is no key ""`,
		"trian.lr=1":             `there is no key "trian.lr"; did you mean "train.lr"?`,
		"train.lrr=1":            `there is no key "train.lrr"; did you mean "train.lr"?`,
		"lr=1":                   `there is no key "lr"; did you mean "split.lr" or "train.lr"?`,
		"width=1":                `there is no key "width"; did you mean "backbone.width"?`,
		"temprature=1":           `there is no key "temprature"; did you mean "ssl.temperature"?`,
		"train.temperature=1":    `there is no key "train.temperature"; did you mean "ssl.temperature"?`,
		"backbone.Width=1":       `there is no key "backbone.Width"; did you mean "backbone.width"?`,
		"name=a=b":               `name: "a=b"; want letters`,
		"train.=1":               `there is no key "train."`,
		".seed=1":                `there is no key ".seed"; did you mean "seed"?`,
		"seed.x=1":               `there is no key "seed.x"; did you mean "seed"?`,
		"train.lr.peak=1":        `there is no key "train.lr.peak"; did you mean "train.lr"?`,
		"train.lr={peak: 1}":     `there is no key "train.lr.peak"; did you mean "train.lr"?`,
		"train.lr={}":            "train.lr: {} is not a number",
		"train=3":                "train is a section; set one of its keys, such as train.batch",
		"backbone=[1]":           "backbone is a section; set one of its keys, such as backbone.arch",
		"train={lrr: 1}":         `there is no key "train.lrr"; did you mean "train.lr"?`,
		"train.lr=fast":          `train.lr: "fast" is not a number`,
		"train.lr=":              "train.lr: null is not a number",
		"train.lr=.nan":          "train.lr: NaN is not a number",
		"train.lr=1e400":         "is not a number",
		"train.lr=true":          "train.lr: true is not a number",
		"train.lr=-0.1":          "train.lr: -0.1 is out of range; want 0 to 100",
		"train.batch=1.5":        "train.batch: 1.5 is not a whole number",
		"train.batch=[1]":        "train.batch: [1] is not a whole number",
		"train.batch=-1":         "train.batch: -1 is out of range",
		"train.images=1e30":      "is not a whole number",
		"seed=-1":                "seed: -1 is not a whole number of at least 0",
		"name=3":                 "name: 3 is not text; put it in quotes",
		"partition.whiten=1":     "partition.whiten: 1 is neither true nor false",
		"input.mean=0.5":         "input.mean: 0.5 is not a list, such as [a, b]",
		"input.mean=[0.5,0.5]":   "input.mean: [0.5,0.5] is a list of 2; want 3",
		"input.mean=[1,1,1,1]":   "input.mean: [1,1,1,1] is a list of 4; want 3",
		"input.mean=[1,1,x]":     `input.mean: [1,1,"x"] is a list in which "x" is not a number`,
		"input.mean=[125,99,99]": "input.mean: red is 125; want 0 to 1",
		"split.order=[1,[2]]":    "split.order: [[1] [2]] leaves out stage 4",
		"split.order=[1,[[2]]]":  "split.order: [1,[[2]]] is a list in which [[2]] is a list in which [2] is not a whole number",
		"train.phases=0.3":       "train.phases: 0.3 is not a list",
		"train.lr=[1":            `"[1" is not YAML`,
		"name=a: b: c":           `"a: b: c" is not YAML`,
		"name=*x":                `"*x" is not YAML`,
	} {
		_, err := recipe.Load(recipe.Default, []string{setting})
		require.ErrorContains(t, err, want, setting)
		require.NotContains(t, err.Error(), "\n", setting)
	}
}

func TestFile(t *testing.T) {
	path := write(t, "name: mine\ntrain:\n  lr: 0.5\nssl: # all defaults\n")
	r, err := recipe.Load(path, []string{"seed=9"})
	require.NoError(t, err)
	want := load(t, "seed=9", "name=mine", "train.lr=0.5")
	require.Equal(t, want, r)
	for _, empty := range []string{"", "# nothing\n", "{}"} {
		r, err := recipe.Load(write(t, empty), nil)
		require.NoError(t, err)
		require.Equal(t, load(t), r)
	}
}

func TestFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"trian:\n  lr: 1":    `there is no key "trian.lr"; did you mean "train.lr"?`,
		"train:\n  lrr: 1":   `there is no key "train.lrr"; did you mean "train.lr"?`,
		"train: 3":           "train is a section",
		"seed:\n  a: 1":      `there is no key "seed.a"; did you mean "seed"?`,
		"1: 2":               `there is no key "1"`,
		"train:\n  lr: fast": `train.lr: "fast" is not a number`,
		"train:\n  lr:":      "train.lr: null is not a number",
		"name: |\n  a\n  b\ninput:\n  mean: |\n    a\n    b\n": `input.mean: "a\nb\n" is not a list`,
		"seed: 1\nseed: 2":           `line 2: mapping key "seed" already defined`,
		"seed: 1\n\nname: [a":        "line 3: sequence end token ']' not found",
		"train:\n\tlr: 1":            "line 2: found character",
		"- a":                        "sequence was used where mapping is expected",
		"just text":                  "string was used where mapping is expected",
		"train:\n  phases: [.7, .3]": "train.phases: 2 values, but 1 levels of splits",
	} {
		path := write(t, text)
		_, err := recipe.Load(path, nil)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "recipe "+path+": ", text)
		require.NotContains(t, err.Error(), "\n", text)
	}
	_, err := recipe.Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	require.ErrorContains(t, err, "none.yaml: neither a built-in recipe (default, laptop, quickstart, smoke) nor a file")
	_, err = recipe.Load("quikstart", nil)
	require.ErrorContains(t, err, "neither a built-in recipe (default, laptop, quickstart, smoke) nor a file")
	_, err = recipe.Load("", nil)
	require.ErrorContains(t, err, "neither a built-in recipe")
	_, err = recipe.Load(t.TempDir(), nil)
	require.ErrorContains(t, err, "is a directory")
}

// TestFileNamedAsBuiltIn checks that a path is read as a file even if it ends in the name of a built-in recipe.
func TestFileNamedAsBuiltIn(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("smoke", []byte("name: mine"), 0o644))
	r, err := recipe.Load("./smoke", nil)
	require.NoError(t, err)
	require.Equal(t, "mine", r.Name)
}

// TestRoundTrip writes arbitrary valid recipes and reads them back.
func TestRoundTrip(t *testing.T) {
	for _, name := range recipe.Names() {
		r, err := recipe.Load(name, nil)
		require.NoError(t, err)
		got, err := recipe.Parse(r.Marshal())
		require.NoError(t, err)
		require.Equal(t, r, got)
		got, err = recipe.Load(write(t, string(r.Marshal())), nil)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := load(t)
		text := rapid.SampledFrom([]string{"null", "true", "yes", "3", "1e3", "0x1F", "1.50", "1_0", "2001-01-01", "a +b"})
		r.Name = rapid.OneOf(text, rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9 _.+-]{0,5}`)).Draw(t, "name")
		r.Seed = rapid.Uint64().Draw(t, "seed")
		r.Train.LR = 100 * rapid.Float64Range(0, 1).Draw(t, "lr")
		r.Train.Images = rapid.Int64Range(1<<10, 1<<62).Draw(t, "images")
		r.Input.Std[1] = rapid.Float32Range(1e-30, 1).Draw(t, "std")
		r.Train.WeightDecay = rapid.Float64Range(0, 1e-6).Draw(t, "decay")
		got, err := recipe.Parse(r.Marshal())
		require.NoError(t, err)
		require.Equal(t, r, got)
	})
}

func TestParseErrors(t *testing.T) {
	_, err := recipe.Parse([]byte("seed: x"))
	require.EqualError(t, err, `recipe: seed: "x" is not a whole number of at least 0`)
	_, err = recipe.Parse([]byte("train: {lr: -1}"))
	require.ErrorContains(t, err, "recipe: train.lr: -1 is out of range")
}

// FuzzLoad loads arbitrary text as a file and as a setting. It expects a one-line error, or a valid recipe that
// survives a round trip.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{"train.lr=1", "input.mean=[1,1,1]", "name: x", "train:\n  lr: 0.1\n", "a: &a [*a]", "<<: {seed: 1}", "seed: !!binary aGk=", "? [a]\n: 2", "\xff=\x00", "train={", "name=|", "name=!!x y",
		"views=[random_resized_crop, {grayscale: {p: 1}}]", "views.gaussian_blur.p=1", "views: {first: [], second: [grayscale]}\ninput: {crop: 32}",
		"views:\n  - gaussian_blur:\n      sigma: [0, 1]\n  - horizontal_flip", "views.second.grayscale={p: 0}", "input.blur=0.5"} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		fromFile, err := recipe.Load(path, nil)
		check(t, fromFile, err)
		fromSet, err := recipe.Load(recipe.Default, []string{text})
		check(t, fromSet, err)
	})
}

func check(t *testing.T, r *recipe.Recipe, err error) {
	if err != nil {
		require.NotEmpty(t, strings.TrimSpace(err.Error()))
		return
	}
	require.NoError(t, r.Validate())
	got, err := recipe.Parse(r.Marshal())
	require.NoError(t, err)
	require.Equal(t, r, got)
}
