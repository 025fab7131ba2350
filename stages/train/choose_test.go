package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestChoose checks which sub-nets and mini-batches the steps of the last phase have, before and after a delayed split,
// with subsets one digit finer than the sub-nets.
func TestChoose(t *testing.T) {
	images, err := shards.Open(t.Context(), writeShards(t, t.TempDir(), "000", "001", "010", "011", "100", "111"))
	require.NoError(t, err)
	defer func() { require.NoError(t, images.Close()) }()
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, trial := range []struct {
		variant, batches string
		level            int // how often the sub-nets have split
		root             string
	}{
		{SDR, recipe.Mixed, 2, ""},
		{SDR, recipe.NormSubset, 2, "011"},
		{SDR, recipe.Mixed, 1, "011"}, // before the split, the parents take the place of their sub-nets
		{recipe.UnifiedSubsetBatches, recipe.Mixed, 0, "011"},
		{recipe.Unified, recipe.Mixed, 0, ""},
	} {
		r := tiny(t, "split.delay=0.5", "train.root_batches="+trial.batches, "partition.finer=2", "train.root=0.4")
		tr, err := newTrainer(Config{Dir: t.TempDir()}, r, trial.variant, images, pool)
		require.NoError(t, err)
		for range trial.level {
			tr.nets.Split()
		}
		tr.phase = 2
		roots := 0
		for step := range 200 {
			net, subset := tr.choose(step)
			switch {
			case net != "":
				require.Equal(t, SDR, trial.variant)
				require.Len(t, net, trial.level)
				require.Len(t, subset, 3)
				require.Equal(t, net, subset[:trial.level])
			default:
				roots++
				require.Len(t, subset, len(trial.root))
			}
			require.Contains(t, tr.streams, subset)
		}
		switch {
		case trial.variant != SDR:
			require.Equal(t, 200, roots)
		case trial.level == 2:
			require.InDelta(t, 80, roots, 25)
		default:
			require.Zero(t, roots)
		}
	}
}
