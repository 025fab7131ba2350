package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// unitRows returns the l2-normalized rows of x.
func unitRows(x []float64, dim int) [][]float64 {
	var rows [][]float64
	for row := range slices.Chunk(x, dim) {
		norm, unit := math.Sqrt(product(row, row)), make([]float64, dim)
		for j, v := range row {
			unit[j] = v / norm
		}
		rows = append(rows, unit)
	}
	return rows
}

func product(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// logSumExp returns the logarithm of the sum of exp(v).
func logSumExp(values []float64) (sum float64) {
	top := slices.Max(values)
	for _, v := range values {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

// requireDerivative compares a gradient with finite differences of loss, in double precision.
func requireDerivative(t require.TestingT, what string, grad []float32, x []float64, loss func() float64) {
	const h = 1e-5
	want := make([]float32, len(x))
	for i, v := range x {
		x[i] = v + h
		above := loss()
		x[i] = v - h
		want[i] = float32((above - loss()) / (2 * h))
		x[i] = v
	}
	var top float64
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	require.InDeltaSlice(t, want, grad, 1e-4*top+1e-6, what)
}

// drawn64 returns hashed numbers, as float32 and float64.
func drawn64(key string, n int) ([]float32, []float64) {
	narrow := hashed32(key, n)
	wide := make([]float64, n)
	for i, v := range narrow {
		wide[i] = float64(v)
	}
	return narrow, wide
}

// TestInfoNCE compares the loss with the plain formula, its gradient with finite differences of it, and the queue with
// the keys of the batch and those before them.
func TestInfoNCE(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		batch := 2 * rapid.IntRange(1, 6).Draw(t, "images")
		dim, size := rapid.IntRange(2, 9).Draw(t, "dim"), rapid.IntRange(1, 30).Draw(t, "queue")
		temperature := rapid.SampledFrom([]float64{0.07, 0.2, 1}).Draw(t, "temperature")
		z, z64 := drawn64("z", batch*dim)
		keys, keys64 := drawn64("keys", batch*dim)
		queue := NewQueue(size, dim, rng.New(1, rng.Queue))
		before := slices.Clone(queue)
		queue64 := make([]float64, len(queue))
		for i, v := range queue {
			queue64[i] = float64(v)
		}
		plain := func() (sum float64) {
			k := unitRows(keys64, dim)
			for i, q := range unitRows(z64, dim) {
				logits := []float64{product(q, k[(i+batch/2)%batch]) / temperature}
				for n := range slices.Chunk(queue64, dim) {
					logits = append(logits, product(q, n)/temperature)
				}
				sum += logSumExp(logits) - logits[0]
			}
			return sum / float64(batch)
		}
		const weight, start = 2, 1
		grad := make([]float32, batch*dim)
		fill(grad, start)
		l := NewInfoNCE(batch, dim, size, temperature, pool)
		require.InEpsilon(t, plain(), l.Loss(z, keys, queue, grad, weight), 1e-4)
		for i, v := range grad {
			grad[i] = (v - start) / weight
		}
		requireDerivative(t, "dz", grad, z64, plain)

		var want []float32
		for _, k := range unitRows(keys64, dim) {
			for _, v := range k {
				want = append(want, float32(v))
			}
		}
		require.InDeltaSlice(t, append(want, before...)[:size*dim], queue, 1e-6)
	})
}

func TestNewQueue(t *testing.T) {
	queue := NewQueue(50, 8, rng.New(1, rng.Queue))
	require.Equal(t, queue, NewQueue(50, 8, rng.New(1, rng.Queue)))
	require.NotEqual(t, queue, NewQueue(50, 8, rng.New(2, rng.Queue)))
	var sum float64
	for row := range slices.Chunk(queue, 8) {
		var norm float64
		for _, v := range row {
			norm += float64(v) * float64(v)
			sum += float64(v)
		}
		require.InDelta(t, 1, norm, 1e-6)
	}
	require.InDelta(t, 0, sum/400, 0.05)
}
