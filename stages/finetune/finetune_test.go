package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the stage must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestMain(m *testing.M) { ptest.Main(m) }

const fixtures = "../../testdata/fixtures/folder"

// small trains on the 18 images of the fixtures.
var small = Config{
	Epochs: 6, Batch: 4, LR: .1, LayerDecay: .8, Momentum: .9, WeightDecay: 1e-3, Smoothing: .1, Mixup: .3,
	Scale: .5, Flip: .5, HeldOut: .2, Patience: 6, Seed: 3,
}

func pair(test string) route.Pair {
	return route.Pair{Task: "fruit", Metric: tasks.Top1, Train: fixtures + "/train", Test: test, Subnet: "s", Model: "testdata/start.safetensors", Norm: route.NormTraining}
}

// stage runs the stage.
func stage(t *testing.T, runner string, cfg Config, out Output, pairs ...route.Pair) ([]Result, error) {
	dir := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, dir, Finetune(s, beam.Create(s, record.Of(pairs)), cfg, out))
	if _, err := beam.Run(t.Context(), runner, p); err != nil {
		return nil, err
	}
	var all []Result
	paths, err := filepath.Glob(filepath.Join(dir, "*.arrow"))
	require.NoError(t, err)
	for _, path := range paths {
		require.NoError(t, arrowio.Each(t.Context(), path, func(b *record.Batch) error {
			rows, err := record.Rows[Result](b)
			all = append(all, rows...)
			return err
		}))
	}
	return all, nil
}

// TestFinetune checks what comes out on both local runners: the same result and files; and that another attempt with the
// same inputs does not train again.
func TestFinetune(t *testing.T) {
	var want []byte
	for _, runner := range []string{"prism", "direct"} {
		out := Output{Dir: t.TempDir(), PerTask: true, Start: route.Card{Origin: route.Origin{Run: "id", Data: []string{"pool/"}}}, Inputs: "x"}
		p := pair(fixtures + "/test")
		p.Subnet, p.Level, p.Norm, p.Scorer, p.Score = "0.1-all", 2, route.NormTask, route.KNN, 51
		got, err := stage(t, runner, small, out, p)
		require.NoError(t, err)
		require.Len(t, got, 1)
		r, dir := got[0], filepath.Join(out.Dir, "fruit")
		require.Equal(t, Result{
			Task: "fruit", Metric: tasks.Top1, Subnet: "0.1-all", Classes: 3, Images: 15, Epochs: 6, Epoch: r.Epoch,
			Validation: r.Validation, ValidationImages: 3, Test: r.Test, TestImages: r.TestImages, Model: filepath.Join(dir, modelFile),
		}, r)
		require.Positive(t, r.TestImages)
		data, err := os.ReadFile(r.Model)
		require.NoError(t, err)
		if want != nil {
			require.Equal(t, want, data)
		}
		want = data

		m, err := inference.Load(t.Context(), r.Model)
		require.NoError(t, err)
		require.Equal(t, []string{"Banana", "Carrots", "Lime"}, m.Classifier.Classes)
		require.Equal(t, 8, m.Input.Size)
		var card Card
		text, err := os.ReadFile(filepath.Join(dir, cardFile))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &card))
		require.Equal(t, r, card.Result)
		require.Equal(t, m.Classifier.Classes, card.ClassNames)
		require.Equal(t, small, card.Config)
		require.Equal(t, route.Card{
			Format: run.Format, Task: "fruit", Subnet: "0.1-all", Subset: "0.1", Norm: route.NormTask, Scorer: route.KNN, Score: 51,
			Backbone: m.Backbone, Input: m.Input, Features: m.Backbone.FeatureDim(), Origin: out.Start.Origin,
		}, card.Start)
		lines, err := os.ReadFile(filepath.Join(dir, curves.EpochsFile))
		require.NoError(t, err)
		require.Equal(t, 6, bytes.Count(lines, []byte("\n")))
		require.NoFileExists(t, filepath.Join(dir, checkpointFile))

		again, err := stage(t, runner, Config{}, out, p) // a configuration that cannot train
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.NoError(t, os.Truncate(r.Model, 100))
		again, err = stage(t, runner, small, out, p)
		require.NoError(t, err)
		require.Equal(t, got, again)
		data, err = os.ReadFile(r.Model)
		require.NoError(t, err)
		require.Equal(t, want, data)
	}
}

func TestFinetuneErrors(t *testing.T) {
	diverging := small
	diverging.LR = 1e30
	_, err := stage(t, "direct", diverging, Output{Dir: t.TempDir()}, pair(""))
	require.ErrorContains(t, err, "finetune: task fruit: the loss is NaN")
	require.ErrorContains(t, err, "lower the learning rate (now 1e+30)")
	missing := pair("")
	missing.Model = "none.safetensors"
	_, err = stage(t, "direct", small, Output{Dir: t.TempDir()}, missing)
	require.ErrorContains(t, err, "none.safetensors")
}

// countdown is a context that is canceled after its error has been asked for so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// newSmall returns a trainer for the fixtures.
func newSmall(t testing.TB, cfg Config, inputs string, threads int) *trainer {
	m, err := inference.Load(t.Context(), "testdata/start.safetensors")
	require.NoError(t, err)
	images, err := tasks.Load(t.Context(), fixtures+"/train", m.Input.Size, nil)
	require.NoError(t, err)
	pool := kernels.NewPool(threads)
	t.Cleanup(pool.Close)
	m.Model = *m.WithoutHeads()
	return newTrainer(m, images, tasks.Top1, cfg, inputs, pool)
}

// TestResume kills a training after every number of steps, and checks that it continues to the same weights, bit by bit,
// with another number of threads.
func TestResume(t *testing.T) {
	whole := newSmall(t, small, "x", 2)
	require.NoError(t, whole.run(t.Context(), filepath.Join(t.TempDir(), checkpointFile)))
	defer func(before time.Duration) { checkpointTime = before }(checkpointTime)
	checkpointTime = 0
	for steps := range 6 * whole.epochSteps() {
		path := filepath.Join(t.TempDir(), checkpointFile)
		killed := newSmall(t, small, "x", 1)
		require.ErrorIs(t, killed.run(&countdown{t.Context(), steps}, path), context.Canceled)
		require.Equal(t, steps, killed.Step)
		lines, err := os.ReadFile(filepath.Join(filepath.Dir(path), curves.EpochsFile))
		require.NoError(t, err)
		require.Equal(t, steps/whole.epochSteps(), bytes.Count(lines, []byte("\n")), "epochs are listed as they end")
		resumed := newSmall(t, small, "x", 1)
		require.NoError(t, resumed.run(t.Context(), path))
		for i := range resumed.History {
			resumed.History[i].Time = whole.History[i].Time
		}
		require.Equal(t, whole.state, resumed.state)
		require.Equal(t, whole.net.Params, resumed.net.Params)
		require.Equal(t, whole.net.Stats, resumed.net.Stats)

		other := newSmall(t, small, "y", 1)
		require.NoError(t, other.restore(t.Context(), path))
		require.Zero(t, other.Step, "a checkpoint of other inputs is not continued")
	}
	damaged := filepath.Join(t.TempDir(), checkpointFile)
	require.NoError(t, os.WriteFile(damaged, []byte("?"), 0o644))
	anew := newSmall(t, small, "x", 2)
	require.NoError(t, anew.restore(t.Context(), damaged))
	require.Zero(t, anew.Step)
}

// The weights that are taken are those of the best epoch, the last of equals, and training stops when none has been better
// for long enough.
func TestBestEpoch(t *testing.T) {
	cfg := small
	cfg.Epochs, cfg.Patience = 40, 3
	tr := newSmall(t, cfg, "x", 2)
	require.NoError(t, tr.run(t.Context(), filepath.Join(t.TempDir(), checkpointFile)))
	require.Less(t, len(tr.History), 40)
	require.Equal(t, tr.Better+3, len(tr.History))
	best := *tr.History[tr.Best-1].Validation
	for i, e := range tr.History {
		require.LessOrEqual(t, *e.Validation, best)
		if i >= tr.Best {
			require.Less(t, *e.Validation, best)
		}
	}
	require.InDelta(t, best, tr.validate(), 1e-9)

	cfg.HeldOut = 0
	tr = newSmall(t, cfg, "x", 2)
	require.NoError(t, tr.run(t.Context(), filepath.Join(t.TempDir(), checkpointFile)))
	require.Len(t, tr.History, 40)
	require.Equal(t, 40, tr.Best)
	require.Nil(t, tr.History[0].Validation)
	require.Less(t, tr.History[39].Loss, tr.History[0].Loss)
	require.Less(t, tr.History[39].LR, 1e-3)
}

func TestValidate(t *testing.T) {
	require.NoError(t, Default.Validate())
	require.NoError(t, small.Validate())
	for want, change := range map[string]func(*Config){
		"epochs 0": func(c *Config) { c.Epochs = 0 }, "lr 0": func(c *Config) { c.LR = 0 },
		"layer-decay 2: want 0 to 1": func(c *Config) { c.LayerDecay = 2 }, "held-out 1": func(c *Config) { c.HeldOut = 1 },
		"mixup -1": func(c *Config) { c.Mixup = -1 }, "crop-scale 0": func(c *Config) { c.Scale = 0 },
	} {
		c := Default
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

// FuzzCheckpoint: any state and weights in a checkpoint are gone on from, or passed over, or an error names the file.
func FuzzCheckpoint(f *testing.F) {
	tr := newSmall(f, small, "i", 1)
	params := tr.net.Params
	f.Add(`{"inputs": "i", "step": 3, "sum": 2.5, "best": 1, "better": 1, "history": [{}]}`, "params", len(params))
	f.Add(`{"inputs": "i", "step": -1}`, "best.stats", 3)
	f.Add(`{"inputs": "i"}`, "velocity", 0)
	f.Add("null", "x", 1)
	f.Fuzz(func(t *testing.T, text, name string, n int) {
		path := filepath.Join(t.TempDir(), "c.safetensors")
		values := params[:min(max(n, 0), len(params))]
		var file bytes.Buffer
		if safetensors.Write(&file, []safetensors.Tensor{{Name: name, Shape: []int{len(values)}, F32: values}}, map[string]string{"state": text}) != nil {
			t.Skip("not text")
		}
		require.NoError(t, os.WriteFile(path, file.Bytes(), 0o644))
		tr.state = state{Inputs: "i"}
		if err := tr.restore(t.Context(), path); err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		require.GreaterOrEqual(t, tr.Step, 0)
		require.Len(t, tr.net.Params, len(params))
		require.Len(t, tr.velocity, len(params))
	})
}
