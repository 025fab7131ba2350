package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// TestChoose checks which sub-nets and mini-batches the steps of the last phase have, before and after a delayed split,
// with subsets one digit finer than the sub-nets.
func TestChoose(t *testing.T) {
	images, err := shards.Open(t.Context(), writeShards(t, t.TempDir(), "0.0.0", "0.0.1", "0.1.0", "0.1.1", "1.0.0", "1.1.1"))
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
		{SDR, recipe.NormSubset, 2, "0.1.1"},
		{SDR, recipe.Mixed, 1, "0.1.1"}, // before the split, the parents take the place of their sub-nets
		{recipe.UnifiedSubsetBatches, recipe.Mixed, 0, "0.1.1"},
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
				require.Equal(t, trial.level, sdrnet.Level(net))
				require.Equal(t, 3, sdrnet.Level(subset))
				require.Equal(t, net, sdrnet.Prefix(subset, trial.level))
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
