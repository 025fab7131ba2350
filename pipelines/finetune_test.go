package pipelines_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/pipelines/export"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// finetuneOptions fine-tunes a small random model on the fruit of the fixtures.
func finetuneOptions(t *testing.T, runner string) pipelines.FinetuneOptions {
	o := pipelines.FinetuneOptions{Model: saveModel(t), Task: fixtures + "/folder", Out: filepath.Join(t.TempDir(), "out"), Runner: runner, Config: finetune.Default}
	o.Config.Epochs, o.Config.Batch, o.Config.HeldOut, o.Config.Scale, o.Config.Smoothing = 100, 18, 0, .8, 0
	return o
}

// TestFinetunePredict trains a classifier, which learns its few training images, and predicts the classes of these and of the
// test images: with the accuracy that the training has measured.
func TestFinetunePredict(t *testing.T) {
	for _, runner := range []string{"prism", "direct"} {
		o := finetuneOptions(t, runner)
		made, err := pipelines.Finetune(t.Context(), o)
		require.NoError(t, err)
		require.Len(t, made, 1)
		r := made[0]
		require.Equal(t, "folder", r.Task)
		require.Positive(t, r.TestImages)
		rows, err := arrowio.LoadRows[finetune.Result](t.Context(), filepath.Join(o.Out, "results.parquet"))
		require.NoError(t, err)
		require.Equal(t, []finetune.Result(made), rows)
		require.NoDirExists(t, filepath.Join(o.Out, "results"))
		page, err := pipelines.NewWatcher(o.Out).Page(t.Context())
		require.NoError(t, err)
		require.Equal(t, "The fine-tuning is done.", page.State)
		require.Len(t, page.Curves[0].Loss, 100)

		e := pipelines.EmbedOptions{Model: r.Model, Data: []string{fixtures + "/folder/test"}, Out: filepath.Join(o.Out, "p.parquet"), Runner: runner}
		found, err := pipelines.Predict(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, &pipelines.Predictions{Images: r.TestImages, Labeled: r.TestImages, Accuracy: r.Test}, found)
		unknown := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(unknown, "odd"), os.DirFS(fixtures+"/odd")))
		e.Data = []string{fixtures + "/folder/train", unknown}
		found, err = pipelines.Predict(t.Context(), e)
		require.NoError(t, err)
		require.EqualValues(t, []int64{18 + 5, 2, 18, 3}, []int64{found.Images, found.Bad, found.Labeled, found.Unknown})
		require.Greater(t, found.Accuracy, 60.)
		predicted, err := arrowio.LoadRows[pipelines.Predicted](t.Context(), e.Out)
		require.NoError(t, err)
		names := []string{"Banana", "Carrots", "Lime"}
		right := 0
		for i, p := range predicted {
			require.Len(t, p.Probabilities, 3)
			if p.Error != "" {
				require.Equal(t, pipelines.Predicted{Source: p.Source, Row: p.Row, Label: -1, Predicted: -1, Probabilities: make([]float32, 3), Error: p.Error}, p)
				continue
			}
			require.Equal(t, names[p.Predicted], p.PredictedClass)
			if i < 18 {
				require.Equal(t, names[p.Label], p.Class)
			} else {
				require.EqualValues(t, -1, p.Label)
			}
			if p.Label == p.Predicted {
				right++
			}
		}
		require.InDelta(t, found.Accuracy, 100*float64(right)/18, 1e-9)
		embedded, bad, err := pipelines.Embed(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, []int64{23, 2}, []int64{embedded, bad})
	}
}

// second returns the last of two values.
func second[T any](_ T, err error) error { return err }

// TestFinetuneModes checks what happens if the folder holds a fine-tuning already.
func TestFinetuneModes(t *testing.T) {
	o := finetuneOptions(t, "direct")
	o.Config.Epochs = 2
	made, err := pipelines.Finetune(t.Context(), o)
	require.NoError(t, err)
	model, err := os.ReadFile(made[0].Model)
	require.NoError(t, err)
	_, err = pipelines.Finetune(t.Context(), o)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "already holds a fine-tuning; --resume continues it")
	o.Mode = run.Resume
	again, err := pipelines.Finetune(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, made, again)

	state := func(file, format string) (path string) {
		path = filepath.Join(o.Out, file)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := regexp.MustCompile(`  "format": \d+,\n`).ReplaceAllString(string(text), format)
		require.NotEqual(t, string(text), changed)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
		return path
	}
	path := state("model.json", `  "format": 2,`+"\n")
	export := pipelines.ExportOptions{Model: made[0].Model, Format: export.Formats()[0], Out: filepath.Join(t.TempDir(), "x.safetensors")}
	for _, err := range []error{second(pipelines.Finetune(t.Context(), o)), pipelines.Export(t.Context(), export)} {
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "format 2 is of a newer version of sdr")
	}
	state("model.json", "")
	path = state("finetune.json", `  "format": 2,`+"\n")
	for _, o.Mode = range []run.Mode{run.Fresh, run.Overwrite, run.Resume} {
		_, err = pipelines.Finetune(t.Context(), o)
		require.ErrorAs(t, err, new(*run.UsageError))
		require.ErrorContains(t, err, path+": format 2 is of a newer version of sdr")
	}
	state("finetune.json", "")
	again, err = pipelines.Finetune(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, made, again, "files of the first format state none")

	o.Config.Seed++
	_, err = pipelines.Finetune(t.Context(), o)
	require.ErrorContains(t, err, "began with other options, images or nets")
	o.Mode = run.Overwrite
	_, err = pipelines.Finetune(t.Context(), o)
	require.NoError(t, err)
	other, err := os.ReadFile(made[0].Model)
	require.NoError(t, err)
	require.NotEqual(t, model, other)

	several := t.TempDir()
	for _, split := range []string{"train", "test"} {
		require.NoError(t, os.CopyFS(filepath.Join(several, "street", split), os.DirFS(filepath.Join(fixtures, "folder", split))))
	}
	require.NoError(t, os.WriteFile(filepath.Join(several, "street", "task.yaml"), []byte("metric: map11\n"), 0o644))
	of := finetuneOptions(t, "direct")
	of.Task = filepath.Join(several, "street")
	_, err = pipelines.Finetune(t.Context(), of)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "but the metric is map11")
	of.Task, of.Tasks = "", several
	_, err = pipelines.Finetune(t.Context(), of)
	require.ErrorContains(t, err, several+" has no task with one class per image")
	require.NoDirExists(t, of.Out)

	o.Config.LR = 0
	_, err = pipelines.Finetune(t.Context(), o)
	require.ErrorAs(t, err, new(*run.UsageError))
	o = finetuneOptions(t, "direct")
	require.NoError(t, os.MkdirAll(o.Out, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(o.Out, "model.safetensors"), nil, 0o644))
	_, err = pipelines.Finetune(t.Context(), o)
	require.ErrorContains(t, err, "holds a model that is not of a fine-tuning")
	_, err = pipelines.Predict(t.Context(), pipelines.EmbedOptions{Model: o.Model, Data: []string{fixtures}, Out: o.Out + ".parquet", Runner: "direct"})
	require.ErrorContains(t, err, "has no classifier; sdr finetune makes models with one")
}

// TestFinetuneStart checks what the card of a classifier tells of the model that it was trained from: what is beside that, also
// by way of another classifier, and never its path.
func TestFinetuneStart(t *testing.T) {
	hub := slices.IndexFunc(export.Formats(), func(f export.Format) bool { return f.Name == "hub" })
	card := func(model string) string {
		out := t.TempDir()
		require.NoError(t, pipelines.Export(t.Context(), pipelines.ExportOptions{Model: model, Format: export.Formats()[hub], Out: out}))
		text, err := os.ReadFile(filepath.Join(out, "README.md"))
		require.NoError(t, err)
		return string(text)
	}
	o := finetuneOptions(t, "direct")
	o.Config.Epochs = 1
	tune := func() string {
		o.Out = filepath.Join(t.TempDir(), "out")
		made, err := pipelines.Finetune(t.Context(), o)
		require.NoError(t, err)
		require.NotContains(t, made[0].Subnet, o.Model)
		text := card(made[0].Model)
		require.NotContains(t, text, o.Model)
		o.Model = made[0].Model
		return text
	}
	start := o.Model
	require.Contains(t, tune(), "# Backbone for the task folder\n")
	o.Model = start
	beside := filepath.Join(filepath.Dir(start), "model.json")
	require.NoError(t, os.WriteFile(beside, []byte(`{"task": "pets", "subnet": "0.1", "scorer": "knn", "score": 50, "subset": "0.1", "run": "id", "data": ["pool/"], "recipe": "laptop"}`), 0o644))
	for range 2 { // the second time from the first's classifier
		text := tune()
		for _, want := range []string{
			"# Sub-net 0.1 for the task folder\n", "| data | pool/ |\n| recipe | laptop |\n| subset | 0.1 |\n",
			"| chosen by the router | knn score 50.0 % on the training images of the task pets |\n", "| run | id |\n| fine-tuned | on 18 images",
		} {
			require.Contains(t, text, want)
		}
	}
	require.NoError(t, os.WriteFile(beside, []byte("{"), 0o644))
	o.Model = start
	_, err := pipelines.Finetune(t.Context(), o)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, beside+", which says where the model comes from")
}
