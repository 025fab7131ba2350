package optim_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/optim"
)

// The expected values are torch.optim.SGD's (torch 2.15) for w = [1, -2, 0.5],
// g = [0.3, -0.1, 2] at every step, momentum 0.9, weight decay 0.01, lr 0.1.
func TestSGDMatchesPyTorch(t *testing.T) {
	w := []float32{1, -2, 0.5}
	g := []float32{0.3, -0.1, 2}
	v := make([]float32, 3)
	want := [][]float32{
		{0.9690000, -1.9880000, 0.2995000},
		{0.9101310, -1.9652120, -0.0812495},
		{0.8262388, -1.9327377, -0.6238428},
	}
	for _, expected := range want {
		optim.SGD{Momentum: 0.9, WeightDecay: 0.01}.Step(w, g, v, 0.1)
		require.InDeltaSlice(t, expected, w, 2e-6)
	}
}

func TestSGDStepsSegmentsAsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		draw := func(name string) []float32 {
			return rapid.SliceOfN(rapid.Float32Range(-4, 4), n, n).Draw(t, name)
		}
		w, g, v := draw("w"), draw("g"), draw("v")
		w2, v2 := append([]float32(nil), w...), append([]float32(nil), v...)
		o := optim.SGD{Momentum: 0.9, WeightDecay: 1e-4}
		o.Step(w, g, v, 0.3)
		o.Step(w2[:cut], g[:cut], v2[:cut], 0.3)
		o.Step(w2[cut:], g[cut:], v2[cut:], 0.3)
		require.Equal(t, w, w2)
		require.Equal(t, v, v2)
	})
}

func TestSGDRejectsLengths(t *testing.T) {
	require.PanicsWithValue(t,
		"optim: SGD.Step: 2 parameters, 1 gradients, 2 velocities; give three slices of one length",
		func() { optim.SGD{}.Step(make([]float32, 2), make([]float32, 1), make([]float32, 2), 1) })
}

func TestCosine(t *testing.T) {
	require.InDelta(t, 0.02, optim.Cosine(0, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(9, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(10, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.1, optim.Cosine(55, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(0, 100, 0, 0.2), 1e-12)
	require.Zero(t, optim.Cosine(100, 100, 10, 0.2))
	require.Zero(t, optim.Cosine(10, 10, 10, 0.2))
	for step := 11; step < 100; step++ {
		require.Less(t, optim.Cosine(step, 100, 10, 0.2), optim.Cosine(step-1, 100, 10, 0.2), "step %d", step)
	}
}

func BenchmarkSGD(b *testing.B) {
	w, g, v := make([]float32, 1<<18), make([]float32, 1<<18), make([]float32, 1<<18)
	b.SetBytes(int64(len(w) * 4 * 5))
	for b.Loop() {
		optim.SGD{Momentum: 0.9, WeightDecay: 1e-4}.Step(w, g, v, 0.1)
	}
}
