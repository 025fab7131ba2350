package train

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// TestHoldOut checks that an SDRnet holds out the same share of every finest subset, from the streams of all subsets that
// contain it, and that no other variant does.
func TestHoldOut(t *testing.T) {
	images, err := shards.Open(t.Context(), writeShards(t, t.TempDir(), "0.0.0", "0.0.1", "0.1.0", "0.1.1", "1.0.0", "1.1.1", "1.1.1"))
	require.NoError(t, err)
	defer func() { require.NoError(t, images.Close()) }()
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := tiny(t, "split.held_out=0.3", "partition.finer=2")
	rows := func(variant string, heldOut float64) (map[string][]int32, map[string][]int32) {
		r.Split.HeldOut = heldOut
		tr, err := openTrainer(t.Context(), Config{Dir: t.TempDir()}, r, variant, images, pool)
		require.NoError(t, err)
		defer func() { require.NoError(t, tr.student.Close()) }()
		drawn := map[string][]int32{}
		for code, s := range tr.streams {
			drawn[code] = s.Rows
		}
		return drawn, tr.held
	}
	all, none := rows(SDR, 0)
	require.Empty(t, none)
	drawn, held := rows(SDR, .3)
	for code, list := range all {
		require.ElementsMatch(t, list, slices.Concat(drawn[code], held[code]), code)
		var below int
		for leaf, rows := range held {
			if sdrnet.Level(leaf) == 3 && sdrnet.Prefix(leaf, sdrnet.Level(code)) == code {
				below += len(rows)
				require.Subset(t, held[code], rows)
			}
		}
		require.Len(t, held[code], below)
	}
	require.Len(t, held["0.0.0"], 9)  // of 30
	require.Len(t, held["1.1.1"], 34) // of 55 and 60
	for _, variant := range []string{Phase0, recipe.Unified, recipe.UnifiedSubsetBatches} {
		drawn, held := rows(variant, .3)
		require.Equal(t, all, drawn)
		require.Empty(t, held)
	}
}

// TestJudge makes some sub-nets useless, then the root: a net whose embedding is the same for all images cannot tell
// them apart. Judging changes nothing.
func TestJudge(t *testing.T) {
	set := []string{"ssl.method=ntxent", "train={batch: 4, images: 120, lr: 0.01}", "split={held_out: 0.3, shared: 0}",
		"views=[random_resized_crop: {scale: [0.9, 1]}]"} // of which each image's are alike
	tr, twin := newLastPhase(t, set...), newLastPhase(t, set...)
	useless := math.Log(2*4 - 1) // NT-Xent of equal similarities
	erase := func(tr *trainer, code string) {
		tr.nets.Update(code, func(params, _, _ []float32) {
			for _, s := range tr.nets.Individual(0) {
				clear(s.Of(params))
			}
		})
	}
	codes := []string{"0.0", "0.1", "1.0", "1.1"}
	for _, tr := range []*trainer{tr, twin} {
		steps(t, tr, 30)
		require.NoError(t, tr.advance(1000, false)) // as at the end of a phase
		erase(tr, "0")                              // and so its children
		require.NoError(t, tr.student.Load(tr.nets, tr.teachers))
	}
	require.NoError(t, tr.judge(codes))
	require.Len(t, tr.judged, 4)
	for i, j := range tr.judged {
		require.Equal(t, codes[i], j.Subnet)
		require.Equal(t, int64(len(tr.held[j.Subnet])/4*4), j.Images)
		require.Equal(t, !j.Offered, tr.withheld(j.Subnet))
		if j.Subnet[0] == '0' {
			require.InDelta(t, useless, j.Loss, 1e-3)
			require.Less(t, j.RootLoss, j.Loss)
			require.False(t, j.Offered)
		}
	}
	steps(t, tr, 5)
	steps(t, twin, 5)
	for i, v := range twin.nets.State() {
		require.True(t, slices.Equal(v.Values, tr.nets.State()[i].Values), v.Name)
	}

	erase(tr, "")
	tr.held["1.1"] = tr.held["1.1"][:7] // one mini-batch
	require.NoError(t, tr.judge(codes))
	require.Len(t, tr.judged, 4)
	require.Positive(t, tr.judged[2].Error)
	require.Less(t, tr.judged[2].Loss, tr.judged[2].RootLoss)
	require.False(t, tr.withheld("1.0"))
	require.Equal(t, Judgment{Subnet: "1.1", Offered: true}, tr.judged[3])
}

// TestWithheld checks that exactly the sub-nets that are offered are saved, with all their statistics, and the root.
func TestWithheld(t *testing.T) {
	dir := t.TempDir()
	refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
	cfg := Config{Dir: dir, Recipe: string(tiny(t, "train={batch: 4, images: 120, norm: [subset, all]}", "split.held_out=0.3").Marshal())}
	pool := kernels.NewPool(0)
	defer pool.Close()
	_, err := trainVariant(t.Context(), cfg, Phase0, refs, pool)
	require.NoError(t, err)
	none, err := ReadJudgments(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, none)
	cfg.Start = Start{Variant: Phase0, Dir: dir}
	models, err := trainVariant(t.Context(), cfg, SDR, refs, pool)
	require.NoError(t, err)
	judged, err := ReadJudgments(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, judged, 6)
	notes, err := Notes(t.Context(), dir)
	require.NoError(t, err)
	want := []string{Root}
	for _, j := range judged {
		require.Positive(t, j.Images)
		require.Equal(t, !j.Offered, slices.Contains(notes, "not offered to the router: "+j.String()))
		for _, name := range []string{j.Subnet, j.Subnet + "-all"} {
			if j.Offered {
				want = append(want, name)
				require.FileExists(t, run.ModelPath(dir, name))
			} else {
				require.NoFileExists(t, run.ModelPath(dir, name))
			}
		}
	}
	require.Less(t, len(want), 13, "some are withheld")
	var got []string
	for _, m := range models {
		got = append(got, m.Subnet)
	}
	require.ElementsMatch(t, want, got)
}
