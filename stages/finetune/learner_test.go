package finetune

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// TestStepsMatchPyTorch compares training steps with those of testdata/make_golden.py: losses, what becomes of the weights
// of a few layers, and the logits of the trained net.
func TestStepsMatchPyTorch(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		return data
	}
	start, err := nn.LoadModel(bytes.NewReader(read("start.safetensors")))
	require.NoError(t, err)
	golden, err := safetensors.Read(bytes.NewReader(read("golden.safetensors")))
	require.NoError(t, err)
	want := func(name string) []float32 {
		g, err := golden.Tensor(name)
		require.NoError(t, err)
		return g.F32
	}
	for _, threads := range []int{1, 2} {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		cfg := Config{LayerDecay: .7, Momentum: .9, WeightDecay: .05, Smoothing: .1}
		l := newLearner(start.Backbone, 5, 8, 6, cfg, pool)
		copy(l.net.Params, start.Params)
		copy(l.net.Stats, start.Stats)
		rates, shares := []float64{.02, .05, .04, .03, .02, .01}, []float64{1, .7, 1, .2, 1, .6}
		for i, loss := range want("losses") {
			copy(l.images, want("images"))
			copy(l.labels, []int64{0, 1, 2, 3, 4, 0})
			require.InDelta(t, loss, l.step(rates[i], shares[i]), 2e-5, i)
		}
		copy(l.images, want("images"))
		require.InDeltaSlice(t, want("logits"), l.predict(), 1e-4)
		require.Zero(t, testing.AllocsPerRun(2, func() { l.step(0, .5) }))

		var file bytes.Buffer
		require.NoError(t, nn.SaveModel(&file, l.net.Backbone, l.net.Heads, l.net.Params, l.net.Stats, nil))
		made, err := safetensors.Read(&file)
		require.NoError(t, err)
		for _, name := range []string{"conv1.weight", "layer3.0.bn2.bias", "fc.bias"} {
			got, err := made.Tensor(name)
			require.NoError(t, err)
			require.InDeltaSlice(t, want(name), got.F32, 2e-5, name)
		}
	}
}

// Each block learns more slowly than the one above it, and only weights decay.
func TestGroups(t *testing.T) {
	l := nn.NewLayout(nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 2}, nn.Heads{Classes: 3})
	all := groups(l, .5)
	at := 0
	rates := map[float32]bool{}
	for _, g := range all {
		require.Equal(t, at, g.From, "the groups are a partition")
		at = g.To
		rates[g.rate] = true
	}
	require.Equal(t, l.NumParams, at)
	require.Len(t, rates, 1+3+4+6+3+1, "the stem, the blocks and the classifier")
	of := func(name string) group {
		p, ok := l.Param(name)
		require.True(t, ok)
		return all[slices.IndexFunc(all, func(g group) bool { return g.From <= p.Offset && p.Offset < g.To })]
	}
	require.EqualValues(t, 1, of("fc.weight").rate)
	require.EqualValues(t, 1, of("fc.bias").rate)
	require.EqualValues(t, .5, of("layer4.2.bn3.weight").rate)
	require.EqualValues(t, .25, of("layer4.1.conv1.weight").rate)
	require.EqualValues(t, .125, of("layer4.0.downsample.0.weight").rate)
	require.Equal(t, all[0].rate, of("bn1.bias").rate)
	for name, decays := range map[string]bool{"fc.weight": true, "fc.bias": false, "conv1.weight": true, "bn1.weight": false} {
		require.Equal(t, decays, of(name).decay, name)
	}
}

// Every image is in one of the lists, a class never loses all its images, and gets its share of those held out.
func TestHoldOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.Int64Range(0, 5), 1, 200).Draw(t, "labels")
		fraction := rapid.SampledFrom([]float64{0, .1, .25, .5, .9}).Draw(t, "fraction")
		train, held := holdOut(labels, fraction, 1)
		again, _ := holdOut(labels, fraction, 1)
		require.Equal(t, train, again)
		all := append(slices.Clone(train), held...)
		slices.Sort(all)
		require.Len(t, all, len(labels))
		require.Equal(t, all, slices.Compact(slices.Clone(all)))
		of, kept := map[int64]float64{}, map[int64]float64{}
		for _, l := range labels {
			of[l]++
		}
		for _, row := range train {
			kept[labels[row]]++
		}
		for l, n := range of {
			require.GreaterOrEqual(t, kept[l], 1.)
			require.InDelta(t, max(1, (1-fraction)*n), kept[l], 1.0001)
		}
	})
	one, _ := holdOut(make([]int64, 100), .5, 1)
	other, _ := holdOut(make([]int64, 100), .5, 2)
	require.NotEqual(t, one, other)
}
