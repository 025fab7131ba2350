package forecast_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/forecast"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
)

var update = flag.Bool("update", false, "write the golden files anew")

// profile is of a machine with round numbers.
func profile(t require.TestingT) *forecast.Profile {
	return &forecast.Profile{
		Machine: "test", Recipe: string(load(t).Marshal()), Ingest: 1e-4, Step: .05, SubnetStep: .06, Spread: 0,
		Open: .1, CheckpointBytes: 1 << 20, CheckpointSave: .01, CheckpointLoad: .005, Feature: 1e-4, Norm: 2e-4, KMeans: 1e-6,
		Write: 1e9, Read: 2e9, Shuffle: 1e8, Job: 4, Round: .2, Resident: 1 << 28, Memory: 1 << 29,
	}
}

func load(t require.TestingT, set ...string) *recipe.Recipe {
	r, err := recipe.Load("smoke", append([]string{"train.images=128000", "train.checkpoint_seconds=1e9"}, set...))
	require.NoError(t, err)
	return r
}

func simulate(t require.TestingT, p *forecast.Profile, c forecast.Config) *forecast.Plan {
	made, err := forecast.Simulate(p, c)
	require.NoError(t, err)
	return made
}

var chained = []forecast.Stage{{Name: "ingest", Jobs: 1}, {Name: "features", Jobs: 1}, {Name: "partition", Jobs: 1}}

// inBins is a training of variants in bins.
func inBins(r *recipe.Recipe, variants ...string) forecast.Stage {
	return forecast.Stage{Name: "training", Jobs: 1, Variants: variants, Rounds: train.Schedule(r, variants)}
}

// TestOneWorker compares one worker that always has the same speed with the sum of its work.
func TestOneWorker(t *testing.T) {
	p, r := profile(t), load(t)
	phase0 := forecast.Stage{Name: "phase0", Jobs: 1, Variants: []string{train.Phase0}}
	made := simulate(t, p, forecast.Config{Recipe: r, Images: 10_000, Workers: 1, Stages: append([]forecast.Stage{phase0}, chained...)})
	shared, own, err := train.Bytes(r, train.Phase0, 0)
	require.NoError(t, err)
	require.Zero(t, own)
	steps := float64(r.PhaseStep(1))
	params := float64(made.Stages[0].Stored) - float64(shared)
	require.InDelta(t, 4+steps*.05+.1+.015*float64(shared)/(1<<20)+512*2e-4+params/1e9, made.Stages[0].Seconds, 1e-9)
	require.InDelta(t, 4+10_000*1e-4, made.Stages[1].Seconds, 1e-9)
	const feature, image = 4*4*8 + 32, 3 * 32 * 32
	require.InDelta(t, 4+10_000*(1e-4+feature/1e8+feature/1e9), made.Stages[2].Seconds, 1e-9)
	require.EqualValues(t, 10_000*(2*image+feature), made.Stored-made.Stages[0].Stored)
	require.Zero(t, made.Rounds)
	sum := 0.
	for _, st := range made.Stages {
		require.Zero(t, st.Waiting)
		sum += st.Seconds
	}
	require.InDelta(t, sum, made.Seconds, 1e-9)
}

// TestOneBinOfRounds compares rounds on one worker with the sum of their steps and of what each takes besides.
func TestRoundsOfOneWorker(t *testing.T) {
	p, r := profile(t), load(t, "train.rounds={bins: 3, steps: 50}")
	made := simulate(t, p, forecast.Config{Recipe: r, Images: 10_000, Workers: 1, Stages: []forecast.Stage{inBins(r, train.Phase0)}})
	steps := r.PhaseStep(1)
	require.Equal(t, (steps+149)/150, made.Rounds)
	shared, _, err := train.Bytes(r, train.Phase0, 0)
	require.NoError(t, err)
	size := float64(shared)
	params := float64(made.Stored) - size
	moved := (3 + 4 + 1) * size
	round := .2 + 3*(.1+.005*size/(1<<20)) + moved/1e8 + size/1e8 + .015*size/(1<<20)
	finish := .1 + .005*size/(1<<20) + 512*2e-4 + params/1e9
	require.InDelta(t, 4+float64(made.Rounds)*round+float64(steps)*.05+finish, made.Seconds, 1e-6)
	require.EqualValues(t, float64(made.Rounds)*moved, made.Shuffled)
	require.InDelta(t, (made.Seconds-4-finish)/float64(made.Rounds), made.RoundSeconds, 1e-9)
}

// TestWorkers checks that more workers are not slower, in the mean over seeds, where only the work counts, that stragglers
// cost time, and that no worker is more than one.
func TestWorkers(t *testing.T) {
	p, r := profile(t), load(t, "train.images=256000", "train.rounds={bins: 32, steps: 10}")
	p.Open, p.Job, p.Round, p.CheckpointSave, p.CheckpointLoad, p.Norm = 0, 0, 0, 0, 0, 0
	p.Write, p.Read, p.Shuffle = math.Inf(1), math.Inf(1), math.Inf(1)
	stages := append(chained[:2:2], inBins(r, train.SDR, recipe.Unified))
	seconds := func(workers int, spread float64) (mean float64) {
		const seeds = 20
		p.Spread = spread
		for seed := range uint64(seeds) {
			mean += simulate(t, p, forecast.Config{Recipe: r, Images: 1 << 18, Workers: workers, Seed: seed, Stages: stages}).Seconds / seeds
		}
		return mean
	}
	for _, spread := range []float64{0, .05, .3} {
		before := math.Inf(1)
		for _, workers := range []int{1, 2, 4, 16, 32, 64} {
			now := seconds(workers, spread)
			require.Less(t, now, before, "%d workers", workers)
			require.Greater(t, now, .9*seconds(1, 0)/float64(workers))
			if workers > 1 && spread > 0 {
				require.Greater(t, now, seconds(workers, 0))
			}
			before = now
		}
	}
}

// TestImages checks that nothing becomes less with more images, nor with a larger budget.
func TestImages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := profile(t)
		workers := rapid.IntRange(1, 9).Draw(t, "workers")
		images := rapid.Int64Range(1000, 1<<33).Draw(t, "images")
		more := images + rapid.Int64Range(1, 1<<33).Draw(t, "more")
		plan := func(images, seen int64) *forecast.Plan {
			r := load(t, "train.rounds={bins: 2, steps: 20}")
			r.Train.Images = seen
			stages := append(chained[:3:3], inBins(r, train.Phase0), inBins(r, train.SDR, recipe.Unified))
			return simulate(t, p, forecast.Config{Recipe: r, Images: images, Workers: workers, Stages: stages})
		}
		few, many, longer := plan(images, 64_000), plan(more, 64_000), plan(more, 128_000)
		for _, pair := range [][2]*forecast.Plan{{few, many}, {many, longer}} {
			require.LessOrEqual(t, pair[0].Seconds, pair[1].Seconds)
			require.LessOrEqual(t, pair[0].Shuffled, pair[1].Shuffled)
			require.LessOrEqual(t, pair[0].Stored, pair[1].Stored)
			require.LessOrEqual(t, pair[0].Memory, pair[1].Memory)
			require.LessOrEqual(t, pair[0].Rounds, pair[1].Rounds)
		}
	})
}

// TestLeastSteps checks that a budget that is too small for sub-nets takes the time and the room of one net.
func TestLeastSteps(t *testing.T) {
	plan := func(leastSteps, variant string) *forecast.StagePlan {
		r := load(t, "train.rounds={bins: 2, steps: 20}", "split.least_steps="+leastSteps)
		return &simulate(t, profile(t), forecast.Config{Recipe: r, Images: 10_000, Workers: 2, Stages: []forecast.Stage{inBins(r, variant)}}).Stages[0]
	}
	divided, one, unified := plan("2000", train.SDR), plan("2001", train.SDR), plan("2001", recipe.UnifiedSubsetBatches)
	require.Less(t, one.Seconds, divided.Seconds)
	require.Less(t, one.Stored, divided.Stored)
	require.Equal(t, unified.Stored, one.Stored)
	require.InDelta(t, unified.Seconds, one.Seconds, 1e-9)
}

func TestUnknownStage(t *testing.T) {
	_, err := forecast.Simulate(profile(t), forecast.Config{Recipe: load(t), Images: 100, Workers: 1, Stages: []forecast.Stage{{Name: "other"}}})
	require.EqualError(t, err, "forecast: there is no model of the stage other")
}

// TestGolden checks what is written of a plan, which is the same each time.
func TestGolden(t *testing.T) {
	p, r := profile(t), load(t, "train.rounds={bins: 4, steps: 50}")
	p.Spread, p.Recipe = .1, ""
	stages := append([]forecast.Stage{chained[0], inBins(r, train.Phase0)}, append(chained[1:3:3], inBins(r, train.SDR, recipe.UnifiedSubsetBatches))...)
	var plans []*forecast.Plan
	for _, workers := range []int{1, 4} {
		plans = append(plans, simulate(t, p, forecast.Config{Recipe: r, Images: 1_280_000, Workers: workers, Seed: 1, Stages: stages}))
	}
	var text, table bytes.Buffer
	require.NoError(t, forecast.WriteJSON(&text, p, plans))
	require.NoError(t, forecast.WriteTable(&table, plans))
	for name, got := range map[string][]byte{"plan.json": text.Bytes(), "plan.txt": table.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

func TestProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "worker.json")
	p := profile(t)
	require.NoError(t, p.Save(t.Context(), path))
	read, err := forecast.Load(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, p, read)

	usage := func(want string, err error) {
		require.ErrorAs(t, err, new(*run.UsageError))
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, p.Check(load(t, "train.images=1000000", "train.rounds.bins=7", "seed=3", "train.lr=0.5", "split.held_out=0")))
	usage("another backbone; measure the machine with this recipe", p.Check(load(t, "backbone.width=5")))
	usage("another views", p.Check(load(t, "views.grayscale.p=0.3")))
	usage("another train.batch", p.Check(load(t, "train.batch=32")))
	p.Recipe = "seed: -"
	usage("the profile's recipe", p.Check(load(t)))

	_, err = forecast.Load(t.Context(), path+"x")
	usage("there is no such file", err)
	for text, want := range map[string]string{"{": "unexpected EOF", `{"steps": 3}`: `unknown field "steps"`, "{}": "is missing or not above 0"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		_, err = forecast.Load(t.Context(), path)
		usage(want, err)
		usage("measure the machine again", err)
	}
}

func TestParseCount(t *testing.T) {
	for text, want := range map[string]int64{"8154": 8154, "1.28M": 1_280_000, "100M": 1e8, "1B": 1e9, "2G": 2e9, "0.5k": 500, "1e6": 1e6} {
		n, err := forecast.ParseCount(text)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "M", "0", "-3", "1.2X", "many", "NaN", "1e30", "0.1"} {
		_, err := forecast.ParseCount(text)
		require.ErrorContains(t, err, "want one such as 8154, 1.28M, 100M or 1B", text)
	}
}

// FuzzLoad: any bytes in place of a profile are an error that names the file, or a profile that can be compared.
func FuzzLoad(f *testing.F) {
	sound, err := os.ReadFile("testdata/plan.json")
	require.NoError(f, err)
	f.Add(sound)
	f.Add([]byte(`{"ingest_seconds_per_image": 1, "step_seconds": 1, "feature_seconds_per_image": 1, "write_bytes_per_second": 1, "read_bytes_per_second": 1, "shuffle_bytes_per_second": 1, "recipe": "paths: [[1]]"}`))
	f.Add([]byte("{"))
	r, err := recipe.Load("smoke", nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "profile.json")
		require.NoError(t, os.WriteFile(path, data, 0o644))
		p, err := forecast.Load(t.Context(), path)
		if err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		_ = p.Check(r)
	})
}
