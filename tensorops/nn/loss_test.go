package nn

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

func TestLossesMatchPyTorch(t *testing.T) {
	const batch, dim = 12, 7
	pool := kernels.NewPool(2)
	defer pool.Close()
	f := readGolden(t, "losses")
	x, target := hashed32("x", batch*dim), hashed32("t", batch*dim)
	logits, labels := make([]float32, batch*dim), make([]int64, batch)
	for i, v := range x {
		logits[i] = 8 * v
	}
	for i := range labels {
		labels[i] = int64(i) * 5 % dim
	}
	for name, loss := range map[string]func(dx []float32, weight float32) float64{
		"cosine": func(dx []float32, weight float32) float64 {
			return NewNegCosine(batch, dim, pool).Loss(x, target, dx, weight)
		},
		"ntxent": func(dx []float32, weight float32) float64 {
			return NewNTXent(batch, dim, 0.2, pool).Loss(x, dx, weight)
		},
		"sharp": func(dx []float32, weight float32) float64 {
			return NewNTXent(batch, dim, 0.005, pool).Loss(x, dx, weight)
		},
		"entropy": func(dx []float32, weight float32) float64 {
			return NewCrossEntropy(batch, dim, 0, pool).Loss(logits, labels, dx, weight)
		},
		"smoothed": func(dx []float32, weight float32) float64 {
			return NewCrossEntropy(batch, dim, 0.3, pool).Loss(logits, labels, dx, weight)
		},
	} {
		grad := make([]float32, batch*dim)
		require.InEpsilon(t, goldenTensor(t, f, name)[0], loss(grad, 1), 1e-5, name)
		want := goldenTensor(t, f, name+".grad")
		requireClose(t, name, want, grad, 1e-4)
		loss(grad, -2) // adds, weighted
		for i := range grad {
			grad[i] = -grad[i]
		}
		requireClose(t, name+" weighted", want, grad, 1e-4)
	}
	require.InEpsilon(t, goldenTensor(t, f, "collapse")[0], NewCollapse(dim).Std(x), 1e-5)
	require.Zero(t, NewCollapse(dim).Std(make([]float32, batch*dim)))
}

// TestCrossEntropyGradient compares the gradient with finite differences of the loss.
func TestCrossEntropyGradient(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		batch, classes := rapid.IntRange(1, 5).Draw(t, "batch"), rapid.IntRange(1, 6).Draw(t, "classes")
		size := batch * classes
		logits := rapid.SliceOfN(rapid.Float32Range(-9, 9), size, size).Draw(t, "logits")
		labels := rapid.SliceOfN(rapid.Int64Range(0, int64(classes-1)), batch, batch).Draw(t, "labels")
		l := NewCrossEntropy(batch, classes, rapid.SampledFrom([]float64{0, .1, 1}).Draw(t, "smoothing"), pool)
		const h, weight, start = 1. / 256, 2, 1
		grad, unused := make([]float32, size), make([]float32, size)
		fill(grad, start)
		l.Loss(logits, labels, grad, weight)
		for i, v := range logits {
			logits[i] = v + h
			difference, step := l.Loss(logits, labels, unused, 1), float64(logits[i])
			logits[i] = v - h
			difference, step = difference-l.Loss(logits, labels, unused, 1), step-float64(logits[i])
			logits[i] = v
			require.InDelta(t, start+weight*difference/step, grad[i], 2e-5)
		}
	})
}

func TestCrossEntropyAllocatesNothing(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	const batch, classes = 300, 10
	l := NewCrossEntropy(batch, classes, .1, pool)
	logits, grad, labels := make([]float32, batch*classes), make([]float32, batch*classes), make([]int64, batch)
	require.Zero(t, testing.AllocsPerRun(3, func() { l.Loss(logits, labels, grad, 1) }))
}

func TestCrossEntropyChecksLabels(t *testing.T) {
	l := NewCrossEntropy(2, 3, 0, kernels.NewPool(1))
	z := make([]float32, 6)
	require.PanicsWithValue(t, "nn: CrossEntropy.Loss: label 3 of row 1; want labels from 0 to 2",
		func() { l.Loss(z, []int64{0, 3}, z, 1) })
	require.PanicsWithValue(t, "nn: CrossEntropy.Loss: 1 labels, want 2", func() { l.Loss(z, []int64{0}, z, 1) })
}
