package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// TestMeasure checks that every part is measured, with all sub-nets, and leaves nothing that a training would take for
// its own.
func TestMeasure(t *testing.T) {
	refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
	for _, variant := range []string{Phase0, SDR} {
		cfg := Config{Dir: t.TempDir(), Recipe: string(tiny(t).Marshal()), Inputs: "measure"}
		found, err := Measure(t.Context(), cfg, variant, refs, 0)
		require.NoError(t, err)
		require.Len(t, found.Steps, measured)
		for _, seconds := range append(found.Steps, found.Open, found.Load, found.Save, found.Norm) {
			require.Positive(t, seconds)
		}
		_, state, err := readCheckpoint(t.Context(), CheckpointPath(cfg.Dir, variant))
		require.NoError(t, err)
		require.Equal(t, map[string]int{Phase0: 0, SDR: 2}[variant], state.Level)
	}
}

// TestBytes compares the size of checkpoints, as it is planned, with what State lists.
func TestBytes(t *testing.T) {
	for _, set := range [][]string{
		nil,
		{"ssl.distill=0", "split.heads=shared", "split.shared=0.25"},
		{"ssl.method=moco", "ssl.distill=0.5", "paths=2x1x1x3"},
		{"ssl.teacher=ema", "train.optimizer=adamw", "train.lr=0.001"},
	} {
		r := tiny(t, set...)
		tr, err := newTrainer(t.Context(), Config{}, r, SDR)
		require.NoError(t, err)
		for phase := range 3 {
			if phase > 0 {
				tr.splitNets()
			}
			want := int64(0)
			for _, v := range tr.nets.State() {
				want += 4 * int64(len(v.Values))
			}
			if tr.teachers != nil {
				for _, v := range tr.teachers.State() {
					want += 4 * int64(len(v.Values))
				}
			}
			shared, own, err := Bytes(r, SDR, phase)
			require.NoError(t, err)
			require.Equal(t, want, shared+own, "%v, phase %d", set, phase)
			require.Equal(t, phase > 0, own > 0)
			if phase == 0 {
				unified, none, err := Bytes(r, recipe.Unified, 2)
				require.NoError(t, err)
				require.Equal(t, []int64{want, 0}, []int64{unified, none})
			}
		}
	}
}

func TestVariantErrors(t *testing.T) {
	_, err := Variant(t.Context(), Config{Dir: t.TempDir(), Recipe: string(tiny(t).Marshal())}, Phase0, nil)
	require.EqualError(t, err, "train phase0: shards: no images")
}
