package bench

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

const emoji = "../../testdata/pool/emoji.parquet"

// little is a recipe that trains in a moment.
func little(t *testing.T, set ...string) *recipe.Recipe {
	r, err := recipe.Load("smoke", append([]string{
		"train.batch=16", "train.images=640", "train.norm_images=64", "input.crop=12", "partition.iterations=2",
	}, set...))
	require.NoError(t, err)
	return r
}

// TestMachine checks that everything is measured, with and without sub-nets, and leaves no files.
func TestMachine(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for paths, phases := range map[string]string{"1x1x2x2": "[0.4, 0.7]", "1x1x1x1": "[]"} {
		r := little(t, "paths="+paths, "train.phases="+phases)
		p, err := Machine(t.Context(), MachineOptions{Recipe: r, Data: emoji, Device: ssl.Device{Name: ssl.CPU}})
		require.NoError(t, err)
		require.NoError(t, p.Check(r))
		for _, v := range []float64{
			p.Ingest, p.Step, p.Open, p.CheckpointSave, p.CheckpointLoad, p.Feature, p.Norm, p.Write, p.Read, p.Shuffle, p.Job, float64(p.CheckpointBytes),
		} {
			require.Positive(t, v)
			require.False(t, math.IsInf(v, 0))
		}
		require.Equal(t, paths == "1x1x2x2", p.SubnetStep > 0)
		require.Equal(t, paths == "1x1x2x2", p.KMeans > 0)
		require.GreaterOrEqual(t, p.Memory, p.Resident)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	for _, entry := range left {
		require.NotContains(t, entry.Name(), "sdr-")
	}
}

func TestMachineErrors(t *testing.T) {
	_, err := Machine(t.Context(), MachineOptions{Recipe: little(t), Data: filepath.Join(t.TempDir(), "none")})
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "none")
}

func TestSpread(t *testing.T) {
	require.Zero(t, spread([]float64{.1, .1, .1}))
	require.InDelta(t, math.Log(2)/math.Sqrt2, spread([]float64{1, 2}), 1e-12)
	long := make([]float64, 800)
	for i := range long {
		long[i] = 1 + float64(i%2) // differs from step to step, but not from stretch to stretch
	}
	require.InDelta(t, 0, spread(long), 1e-12)
}
