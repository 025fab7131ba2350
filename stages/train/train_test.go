package train

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// tiny is a recipe with two splits and a few steps.
func tiny(t *testing.T, set ...string) *recipe.Recipe {
	t.Helper()
	r, err := recipe.Load("smoke", append([]string{
		"train.batch=16", "train.images=480", "train.norm_images=64", "input.crop=12", "train.checkpoint_seconds=1e9",
	}, set...))
	require.NoError(t, err)
	return r
}

// writeShards writes random images of the subsets, one record batch per subset.
func writeShards(t *testing.T, dir string, subsets ...string) []shards.Ref {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(dir, "shard.arrow")
	var refs []shards.Ref
	var records []arrow.Record
	for i, code := range subsets {
		b := shards.NewBuilder(32)
		rows := 30 + 5*i
		for range rows {
			pixels := make([]byte, 32*32*3)
			for j := range pixels {
				pixels[j] = byte(40*i + random.IntN(100))
			}
			b.Append("x", 0, pixels)
		}
		records = append(records, b.NewRecord())
		refs = append(refs, shards.Ref{Path: path, Batch: int64(i), Rows: int64(rows), Subset: code})
	}
	require.NoError(t, arrowio.WriteFile(context.Background(), path, shards.Schema(32), records...))
	return refs
}

// stopAfter is a context that is canceled after steps calls of Err; a training step calls it once.
type stopAfter struct {
	context.Context
	steps int
}

func (c *stopAfter) Err() error {
	if c.steps == 0 {
		return context.Canceled
	}
	c.steps--
	return nil
}

func modelFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "models", "*"))
	require.NoError(t, err)
	files := map[string]string{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		files[filepath.Base(p)] = string(data)
	}
	return files
}

// A variant that is interrupted at any step, with any checkpoint interval, ends with the same models and curve as an
// uninterrupted one, even with another number of threads or on another device.
func TestResume(t *testing.T) {
	ctx := context.Background()
	for _, set := range [][]string{
		{"ssl.method=ntxent"},
		{"ssl.method=simsiam", "train={optimizer: lars, lr: 1, trust: 0.01, nesterov: true}"},
		{"ssl.method=ntxent", "train={optimizer: adamw, lr: 0.001}"},
		{"ssl.method=byol", "ssl.momentum=0.9", "split.lr=2"},
		{"ssl.method=moco", "ssl={queue: 100, momentum: 0.9, distill: 0.5}"},
		{"ssl.method=swav", "ssl.prototypes=30"},
		{"ssl={method: ntxent, distill: 0.5}", "split.delay=0.5", "train.root_batches=subset"},
		{"ssl={method: moco, queue: 20}", "train={batch: 4, images: 120}", "split.held_out=0.4"},
		{"ssl={method: simsiam, distill: 0.5, teacher: ema, teacher_momentum: 0.9}"},
		{"train.accumulate=3", "split={lr: 2, delay: 0.4}"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			whole, cut := t.TempDir(), t.TempDir()
			refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
			config := func(dir, seconds string) Config {
				r := tiny(t, append(set, "train.checkpoint_seconds="+seconds)...)
				return Config{Dir: dir, Recipe: string(r.Marshal()), Inputs: "same"}
			}
			one, two := kernels.NewPool(1), kernels.NewPool(2)
			defer one.Close()
			defer two.Close()
			for _, variant := range []string{Phase0, SDR, recipe.Unified, recipe.UnifiedSubsetBatches} {
				cfg := config(whole, "1e9")
				if variant != Phase0 {
					cfg.Start = Start{Phase0, whole, "same"}
				}
				want, err := trainVariant(ctx, cfg, variant, refs, one)
				require.NoError(t, err)
				for _, attempt := range []struct {
					steps   int
					seconds string
					device  string
				}{{3, "0", ssl.CPU}, {2, "1e9", ssl.CUDA}, {4, "0", ssl.CUDA}, {6, "0", ssl.CPU}, {3, "0", ssl.CUDA}} {
					start := cfg.Start
					cfg := config(cut, attempt.seconds)
					cfg.Start, cfg.Device.Name = start, attempt.device
					_, err := trainVariant(&stopAfter{ctx, attempt.steps}, cfg, variant, refs, two)
					if err != nil {
						require.ErrorIs(t, err, context.Canceled)
					}
				}
				start := cfg.Start
				cfg = config(cut, "0")
				cfg.Start, cfg.Device.Name = start, ssl.CUDA
				got, err := trainVariant(ctx, cfg, variant, refs, two)
				require.NoError(t, err)
				for i := range got {
					got[i].Path = want[i].Path
				}
				require.Equal(t, want, got)
				wantCurve := timeless(t, whole, variant)
				gotCurve := timeless(t, cut, variant)
				require.Equal(t, wantCurve, gotCurve)
				wantJudged, err := ReadJudgments(ctx, whole)
				require.NoError(t, err)
				gotJudged, err := ReadJudgments(ctx, cut)
				require.NoError(t, err)
				require.Equal(t, wantJudged, gotJudged)
			}
			require.Equal(t, modelFiles(t, whole), modelFiles(t, cut))
		})
	}
}

// The SDR variant leaves the root, the leaves and, from the previous phase, their parents, each with the size of its
// subset.
func TestModelsOfTheTree(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
	cfg := Config{Dir: dir, Recipe: string(tiny(t).Marshal())}
	pool := kernels.NewPool(0)
	defer pool.Close()
	_, err := trainVariant(ctx, cfg, Phase0, refs, pool)
	require.NoError(t, err)
	cfg.Start = Start{Variant: Phase0, Dir: t.TempDir()}
	_, err = trainVariant(ctx, cfg, SDR, refs, pool)
	require.ErrorContains(t, err, "phase0 should have left")
	cfg.Start = Start{Phase0, dir, "others"}
	_, err = trainVariant(ctx, cfg, SDR, refs, pool)
	require.ErrorContains(t, err, "made with another recipe or other images")
	cfg.Start = Start{Variant: Phase0, Dir: dir}
	models, err := trainVariant(ctx, cfg, SDR, refs, pool)
	require.NoError(t, err)
	sizes := map[string]int64{}
	for _, m := range models {
		sizes[m.Subnet] = m.SubsetImages
		require.True(t, m.Candidate())
		require.FileExists(t, m.Path)
	}
	require.Equal(t, map[string]int64{"0": 65, "1": 85, "0.0": 30, "0.1": 35, "1.0": 40, "1.1": 45, Root: 150}, sizes)

	// With statistics of all images besides those of the subset, there are two versions of each sub-net with the same
	// weights.
	again := cfg
	again.Dir, again.Recipe = t.TempDir(), string(tiny(t, "train.norm=[subset, all]").Marshal())
	more, err := trainVariant(ctx, again, SDR, refs, pool)
	require.NoError(t, err)
	require.Len(t, more, 2*len(models)-1)
	load := func(dir, subnet string) *inference.Model {
		m, err := inference.Load(ctx, run.ModelPath(dir, subnet))
		require.NoError(t, err)
		return m
	}
	for _, code := range []string{"0", "0.1"} {
		own, all := load(again.Dir, code), load(again.Dir, code+"-all")
		require.Equal(t, load(dir, code).Stats, own.Stats)
		require.Equal(t, own.Params, all.Params)
		require.NotEqual(t, own.Stats, all.Stats)
	}

	// Statistics of prefixes are the same as far as the filters are: level 0 splits stage 4, level 1 stage 3.
	again.Dir, again.Recipe = t.TempDir(), string(tiny(t, "train.norm=[prefix]").Marshal())
	_, err = trainVariant(ctx, again, SDR, refs, pool)
	require.NoError(t, err)
	first := load(again.Dir, "0.1")
	layout := nn.NewLayout(first.Backbone, first.Heads)
	for other, until := range map[string]nn.Part{"0.0": 3, "1.1": 4, "1.0": 3, "0.1": nn.Predictor} {
		o := load(again.Dir, other)
		require.Equal(t, until, layout.FirstChange(first.Params, first.Stats, o.Params, o.Stats), other)
	}

	read, err := ReadModels(ctx, dir)
	require.NoError(t, err)
	require.Len(t, read, len(models)+1)
	at := slices.IndexFunc(read, func(m Model) bool { return m.Subnet == Phase0 })
	require.False(t, read[at].Candidate())
}

// TestJoint checks that what the SDRnet and the baseline on mini-batches of one subset have in common can be trained once:
// they end with the same models and curves as on their own, wherever the common part was interrupted.
func TestJoint(t *testing.T) {
	for _, set := range [][]string{
		{"ssl.method=ntxent", "split.delay=0.6"},
		{"ssl={method: moco, queue: 100, distill: 0.5}", "split={delay: 0.4, lr: 2}", "train.accumulate=2"},
	} {
		r := tiny(t, append(set, "train.images=1280", "train.root_batches=subset", "train.checkpoint_seconds=0")...)
		require.Equal(t, r.SplitStep(1), r.Joint())
		refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
		pool := kernels.NewPool(0)
		defer pool.Close()
		alone, joint := t.TempDir(), t.TempDir()
		train := func(ctx context.Context, dir, variant string, start Start) error {
			_, err := trainVariant(ctx, Config{Dir: dir, Recipe: string(r.Marshal()), Inputs: "in", Start: start}, variant, refs, pool)
			return err
		}
		require.NoError(t, train(t.Context(), alone, Phase0, Start{}))
		require.ErrorIs(t, train(&stopAfter{t.Context(), 3}, joint, Joint, Start{Phase0, alone, "in"}), context.Canceled)
		require.NoError(t, train(t.Context(), joint, Joint, Start{Phase0, alone, "in"}))
		for _, variant := range []string{SDR, recipe.UnifiedSubsetBatches} {
			require.NoError(t, train(t.Context(), alone, variant, Start{Phase0, alone, "in"}))
			require.ErrorIs(t, train(&stopAfter{t.Context(), 2}, joint, variant, Start{Joint, joint, "in"}), context.Canceled)
			require.NoError(t, train(t.Context(), joint, variant, Start{Joint, joint, "in"}))
			want := timeless(t, alone, variant)
			got := timeless(t, joint, variant)
			require.NotEmpty(t, want)
			require.Equal(t, want, got)
		}
		models := modelFiles(t, alone)
		delete(models, "phase0.safetensors")
		sameFiles(t, models, modelFiles(t, joint))
	}
	for _, set := range [][]string{{"split.delay=0"}, {"train.root_batches=mixed"}, {"split.held_out=0.2"}, {"train.rounds.bins=2"}} {
		r := tiny(t, append([]string{"split.delay=0.5", "train.root_batches=subset"}, set...)...)
		require.Equal(t, r.PhaseStep(1), r.Joint(), "%v", set)
	}
}

// A checkpoint with other inputs is not resumed.
func TestOtherInputs(t *testing.T) {
	ctx := context.Background()
	dir, fresh := t.TempDir(), t.TempDir()
	refs := writeShards(t, t.TempDir(), "")
	pool := kernels.NewPool(0)
	defer pool.Close()
	first := Config{Dir: dir, Recipe: string(tiny(t).Marshal()), Inputs: "a"}
	_, err := trainVariant(ctx, first, Phase0, refs, pool)
	require.NoError(t, err)
	second := Config{Dir: dir, Recipe: string(tiny(t, "seed=2").Marshal()), Inputs: "b"}
	_, err = trainVariant(ctx, second, Phase0, refs, pool)
	require.NoError(t, err)
	second.Dir = fresh
	_, err = trainVariant(ctx, second, Phase0, refs, pool)
	require.NoError(t, err)
	require.Equal(t, modelFiles(t, fresh), modelFiles(t, dir))
}

// A recipe without splits trains the unified net alone.
func TestWithoutSplits(t *testing.T) {
	dir := t.TempDir()
	refs := writeShards(t, t.TempDir(), "")
	cfg := Config{Dir: dir, Recipe: string(tiny(t, "paths=1x1x1x1", "train.phases=[]", "ssl.distill=0").Marshal())}
	pool := kernels.NewPool(0)
	defer pool.Close()
	models, err := trainVariant(context.Background(), cfg, Phase0, refs, pool)
	require.NoError(t, err)
	require.Len(t, models, 1)
	require.Equal(t, recipe.Unified, models[0].Subnet)
	require.Equal(t, int64(480), models[0].Images)
	require.True(t, models[0].Candidate())
}

// TestUnifiedContinuesPhase0 checks that the unified net has the same weights however phase 0 is divided: split early,
// split late, in two trainings, or not split at all.
func TestUnifiedContinuesPhase0(t *testing.T) {
	refs := writeShards(t, t.TempDir(), "")
	pool := kernels.NewPool(0)
	defer pool.Close()
	train := func(variant, phases string, start Start) Start {
		set := []string{"paths=1x1x1x2", "ssl.distill=0", "train.phases=" + phases}
		switch {
		case phases == "[]":
			set[0] = "paths=1x1x1x1"
		case strings.Contains(phases, ","):
			set[0] = "paths=1x1x2x2"
		}
		cfg := Config{Dir: t.TempDir(), Recipe: string(tiny(t, set...).Marshal()), Inputs: phases, Start: start}
		_, err := trainVariant(t.Context(), cfg, variant, refs, pool)
		require.NoError(t, err)
		return Start{variant, cfg.Dir, phases}
	}
	weights := func(end Start) (all [][]float32) {
		m, err := inference.Load(t.Context(), run.ModelPath(end.Dir, recipe.Unified))
		require.NoError(t, err)
		return [][]float32{m.Params, m.Stats}
	}
	whole := weights(train(Phase0, "[]", Start{}))
	early := train(Phase0, "[0.3]", Start{})
	require.Equal(t, whole, weights(train(recipe.Unified, "[0.3]", early)))
	late := train(Phase0, "[0.7]", early)
	require.Equal(t, whole, weights(train(recipe.Unified, "[0.7]", late)))
	require.Equal(t, whole, weights(train(recipe.Unified, "[0.2, 0.4]", late)), "from a phase 0 that is longer than its own")
}

// TestLeastSteps checks that a budget of too few steps makes one net, the unified one, whatever the splits would be.
func TestLeastSteps(t *testing.T) {
	for _, set := range [][]string{{"split.delay=0.6"}, {"split.held_out=0.2", "train.norm=[all]"}, {"ssl.distill=0.5", "train.accumulate=2"}} {
		r := tiny(t, append(set, "split.least_steps=31", "train.root_batches=subset", "train.checkpoint_seconds=0")...)
		require.Equal(t, 30, r.Steps())
		require.Equal(t, r.PhaseStep(1), r.Joint())
		refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
		pool := kernels.NewPool(0)
		defer pool.Close()
		dir := t.TempDir()
		train := func(ctx context.Context, variant string, start Start) ([]Model, error) {
			return trainVariant(ctx, Config{Dir: dir, Recipe: string(r.Marshal()), Inputs: "in", Start: start}, variant, refs, pool)
		}
		phase0 := Start{Phase0, dir, "in"}
		_, err := train(t.Context(), Phase0, Start{})
		require.NoError(t, err)
		_, err = train(&stopAfter{t.Context(), 9}, SDR, phase0)
		require.ErrorIs(t, err, context.Canceled)
		models, err := train(t.Context(), SDR, phase0)
		require.NoError(t, err)
		require.Len(t, models, 1)
		require.Equal(t, Root, models[0].Subnet)
		require.Equal(t, int64(480), models[0].Images)
		require.True(t, models[0].Candidate())
		_, err = train(t.Context(), recipe.Unified, phase0)
		require.NoError(t, err)
		files := modelFiles(t, dir)
		delete(files, "phase0.safetensors")
		require.Len(t, files, 2)
		root, err := inference.Load(t.Context(), run.ModelPath(dir, Root))
		require.NoError(t, err)
		unified, err := inference.Load(t.Context(), run.ModelPath(dir, recipe.Unified))
		require.NoError(t, err)
		require.Equal(t, unified.Params, root.Params)
		require.Equal(t, unified.Stats, root.Stats)
	}
}

// TestRandom checks that the random net has the initial weights, whatever the training, and estimated statistics.
func TestRandom(t *testing.T) {
	refs := writeShards(t, t.TempDir(), "")
	pool := kernels.NewPool(0)
	defer pool.Close()
	r := tiny(t)
	layout := nn.NewLayout(r.Backbone, r.Heads())
	params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
	layout.Init(params, rng.New(r.Seed, rng.Weights))
	layout.InitStats(stats)
	dir := t.TempDir()
	for range 2 { // the second time from its checkpoint
		models, err := trainVariant(t.Context(), Config{Dir: dir, Recipe: string(r.Marshal())}, recipe.Random, refs, pool)
		require.NoError(t, err)
		require.Equal(t, []Model{{Subnet: recipe.Random, Variant: recipe.Random, Path: run.ModelPath(dir, recipe.Random), SubsetImages: 30}}, models)
		require.False(t, models[0].Candidate())
		m, err := inference.Load(t.Context(), models[0].Path)
		require.NoError(t, err)
		require.Equal(t, params, m.Params)
		require.NotEqual(t, stats, m.Stats)
		r = tiny(t, "train.lr=0.1", "train.images=640", "ssl.temperature=0.3")
	}
}

func TestStreamKeys(t *testing.T) {
	require.NotEqual(t, streamKey("0.1"), streamKey("1"))
	require.NotEqual(t, streamKey(""), streamKey("0"))
}

func TestDivergence(t *testing.T) {
	r := tiny(t)
	tr := &trainer{recipe: r, last: map[string]measure{}, curve: &curves.Curve{}}
	nan := measure{Subnet: "0.1"}
	nan.Loss = nan.Loss / nan.Loss
	require.ErrorContains(t, tr.watch(nan), "lower train.lr")
}

// timeless reads a variant's metrics without the time of the measurements and what they have waited for, and checks that
// the event file has as many.
func timeless(t *testing.T, dir, variant string) []curves.Point {
	t.Helper()
	points, err := curves.ReadPoints(t.Context(), dir, variant)
	require.NoError(t, err)
	for i := range points {
		p := &points[i]
		require.InDelta(t, time.Now().Unix(), p.Time, 600)
		require.True(t, 0 <= p.Wait && p.Wait <= 1, p.Wait)
		p.Time, p.Wait = 0, 0
	}
	events, err := files.List(t.Context(), filepath.Join(curves.EventsDir(dir, variant), "*"))
	require.NoError(t, err)
	require.Len(t, events, 1)
	data, err := files.Read(t.Context(), events[0])
	require.NoError(t, err)
	require.Equal(t, len(points), bytes.Count(data, []byte("loss")))
	return points
}
