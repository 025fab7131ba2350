package study_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/study"
)

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "s.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestLoad(t *testing.T) {
	t.Setenv("POOL", "/pool")
	text := `
# two arms
data: [$POOL/a, "${POOL}/b.parquet"]
tasks: $POOL/tasks
halves: true
protocols: [knn, linear]
recipe: smoke
seeds: [3, 1]
budgets: [6400, 1e4]
arms:
  zwei: {train: {phases: [0.5, 0.75], lr: 0.1}}
  as it is:
  2:
    train:   # all commented out
`
	f, err := study.Load(write(t, text))
	require.NoError(t, err)
	require.Equal(t, text, string(f.Text))
	require.Equal(t, []string{"/pool/a", "/pool/b.parquet"}, f.Data)
	require.Equal(t, "/pool/tasks", f.Tasks)
	require.True(t, f.Halves)
	require.Equal(t, []string{"knn", "linear"}, f.Protocols)
	var cells []string
	for _, c := range f.Cells {
		cells = append(cells, c.String())
		require.Equal(t, []any{c.Arm, c.Images, c.Seed}, []any{c.Recipe.Name, c.Recipe.Train.Images, c.Recipe.Seed})
		require.Equal(t, "1x1x2x2", c.Recipe.Paths)
	}
	require.Equal(t, []string{
		"zwei, 6400 images, seed 3", "zwei, 6400 images, seed 1", "zwei, 10000 images, seed 3", "zwei, 10000 images, seed 1",
		"as it is, 6400 images, seed 3", "as it is, 6400 images, seed 1", "as it is, 10000 images, seed 3", "as it is, 10000 images, seed 1",
		"2, 6400 images, seed 3", "2, 6400 images, seed 1", "2, 10000 images, seed 3", "2, 10000 images, seed 1",
	}, cells)
	require.Equal(t, .1, f.Cells[0].Recipe.Train.LR)
	require.Equal(t, .12, f.Cells[4].Recipe.Train.LR)

	f, err = study.Load(write(t, "data: [a]\ntasks: b\narms: {a: }"))
	require.NoError(t, err)
	require.Len(t, f.Cells, 1)
	require.Equal(t, "a, 1000000 images, seed 1", f.Cells[0].String(), "the default recipe's budget and one seed")
	require.Equal(t, []string{"knn"}, f.Protocols)
}

// TestLoadErrors checks that every mistake is reported on one line that names the file, the key and what to do.
func TestLoadErrors(t *testing.T) {
	const good = "data: [a]\ntasks: b\nrecipe: smoke\n"
	for text, want := range map[string]string{
		"":          "data: none; want folders or files of images, such as [photos/]",
		"- a":       "line 1: sequence was used where mapping is expected",
		"data: [a":  "line 1: sequence end token ']' not found",
		"data: [a]": "tasks: none; want a folder of tasks, such as tasks/",
		good:        "arms: none; want names with the keys of the recipe that they change, such as late: {train: {phases: [0.75]}}",
		"data: a":   `data: "a" is not a list, such as [a, b]`,
		good + "arms: {a: }\ncustomize: {images: -1}":             "customize: -1 images",
		"customize: {rate: 1}":                                    `there is no key "customize.rate"; did you mean "customize.rates"?`,
		good + "arms: {a: }\ncustomize: {images: 10, rates: [0]}": "rates [0]; want 0 or more images, and rates above 0",
		"halves: 1":                                               "halves: 1 is neither true nor false",
		"sedes: [1]":                                              `there is no key "sedes"; did you mean "seeds"?`,
		"train: {lr: 1}":                                          `there is no key "train.lr"`,
		"data: [$NOT_SET]":                                        "data: $NOT_SET: the environment variable NOT_SET is not set; set it, or write the path",
		"tasks: ${NOT_SET}":                                       "tasks: ${NOT_SET}: the environment variable NOT_SET is not set",
		good + "seeds: []\narms: {a: }":                           "seeds: none; want numbers, such as [1, 2, 3]",
		good + "seeds: [1, -1]\narms: {a: }":                      "seeds: [1,-1] is a list in which -1 is not a whole number of at least 0",
		good + "seeds: [1, 2, 1]\narms: {a: }":                    "seeds: 1 is listed twice; remove one",
		good + "budgets: [6400, 6400]\narms: {a: }":               "budgets: 6400 is listed twice",
		good + "budgets: [6400.5]\narms: {a: }":                   "budgets: [6400.5] is a list in which 6400.5 is not a whole number",
		good + "budgets: [10]\narms: {a: }":                       "arms: a: with 10 images (budgets): train.images: 10 is less than one batch of 64",
		good + "budgets: [-1]\narms: {a: }":                       "train.images: -1 is less than one batch",
		good + "protocols: [svm]\narms: {a: }":                    `protocols: there is no protocol "svm"; want one or more of knn,knn200`,
		good + "protocols: []\narms: {a: }":                       "protocols: no protocol given",
		good + "protocols: [knn, knn]\narms: {a: }":               "protocols: knn is listed twice",
		good + "arms: [a, b]":                                     "arms: not a mapping; want names",
		good + "arms: {a: fast}":                                  "arms: a: fast is not a mapping; want names",
		good + "arms:\n  a: {}\n  b: {}\n  a: {}":                 `line 7: mapping key "a" already defined at [5:3]`,
		good + "arms: {'a/b': }":                                  `arms: a/b: with 6400 images (budgets): name: "a/b"; want letters, digits, spaces and _.+-`,
		good + "arms: {a: {seed: 1}}":                             "arms: a: seed cannot be changed; list it under seeds",
		good + "arms: {a: {name: b}}":                             "arms: a: name cannot be changed",
		good + "arms: {a: {train: {images: 1}}}":                  "arms: a: train.images cannot be changed; list it under budgets",
		good + "arms: {a: {train: {baselines: []}}}":              "arms: a: train.baselines cannot be changed; remove it",
		good + "arms: {a: {train: {lrr: 1}}}":                     `there is no key "train.lrr"; did you mean "train.lr"?`,
		good + "arms: {a: {train: 3}}":                            "train is a section",
		good + "arms: {a: {paths: 1x1x1x1, train: {phases: []}}}": "paths: 1x1x1x1 has no split",
		"data: [a]\ntasks: b\nrecipe: nope\narms: {a: }":          "recipe nope: neither a built-in recipe (",
	} {
		path := write(t, text)
		_, err := study.Load(path)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, "study "+path+": ")
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := study.Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml: no such file")
}

// FuzzLoad: any text yields an error of its own, or a study with cells.
func FuzzLoad(f *testing.F) {
	f.Add("data: [a]\ntasks: b\narms:\n  one: {}\n")
	f.Add("data: [a]\ntasks: b\nseeds: [3, 1]\nbudgets: [6400]\narms:\n  one: {}\n  two: {train: {phases: [0.75]}}\n")
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		if s, err := study.Load(path); err == nil {
			require.NotEmpty(t, s.Cells)
		}
	})
}
