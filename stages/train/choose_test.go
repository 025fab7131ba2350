package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// TestDefers checks that shared weights are updated after as many steps as the recipe says, fewer only before a split or
// at the end of a phase, and always if nothing has split.
func TestDefers(t *testing.T) {
	images, err := shards.Open(t.Context(), writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1"))
	require.NoError(t, err)
	defer func() { require.NoError(t, images.Close()) }()
	pool := kernels.NewPool(1)
	defer pool.Close()
	// Phases begin at steps 0, 10 and 17 of 30; the sub-nets split at steps 13 and 23.
	r := tiny(t, "train={images: 480, accumulate: 4, phases: [0.34, 0.57]}", "split.delay=0.5")
	require.Equal(t, []int{10, 17, 13, 23}, []int{r.PhaseStep(1), r.PhaseStep(2), r.SplitStep(1), r.SplitStep(2)})
	tr, err := openTrainer(t.Context(), Config{Dir: t.TempDir()}, r, SDR, images, pool)
	require.NoError(t, err)
	var updates []int
	for step := 10; step < 30; step++ {
		if step == 17 {
			tr.phase++
		}
		if step == 13 || step == 23 {
			tr.nets.Split()
		}
		if !tr.defers(step) {
			updates = append(updates, step)
		}
	}
	require.Equal(t, []int{10, 11, 12, 16, 20, 22, 26, 29}, updates)
	tr.recipe.Train.Accumulate = 1
	for step := 17; step < 30; step++ {
		require.False(t, tr.defers(step))
	}
}

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
		tr, err := openTrainer(t.Context(), Config{Dir: t.TempDir()}, r, trial.variant, images, pool)
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
