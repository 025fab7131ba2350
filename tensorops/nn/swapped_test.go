package nn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// sinkhorn returns the assignments of scores [rows][prototypes] as facebookresearch/swav computes them: it divides a
// matrix that sums to 1 so that the columns do evenly, and then the rows.
func sinkhorn(scores [][]float64, epsilon float64, iterations int) [][]float64 {
	rows, n := len(scores), len(scores[0])
	q := make([][]float64, rows)
	var total float64
	for i, s := range scores {
		for _, v := range s {
			q[i] = append(q[i], math.Exp(v/epsilon))
			total += math.Exp(v / epsilon)
		}
	}
	for i := range q {
		for k := range q[i] {
			q[i][k] /= total
		}
	}
	for range iterations {
		for k := range n {
			var sum float64
			for i := range q {
				sum += q[i][k]
			}
			for i := range q {
				q[i][k] /= sum * float64(n)
			}
		}
		for i := range q {
			var sum float64
			for k := range n {
				sum += q[i][k]
			}
			for k := range n {
				q[i][k] /= sum * float64(rows)
			}
		}
	}
	for i := range q {
		for k := range n {
			q[i][k] *= float64(rows)
		}
	}
	return q
}

// TestSwapped compares the loss with the plain formula, and its gradients with finite differences of it, for constant
// assignments.
func TestSwapped(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		batch := 2 * rapid.IntRange(1, 6).Draw(t, "images")
		dim := rapid.IntRange(2, 6).Draw(t, "dim")
		n := rapid.SampledFrom([]int{1, 2, 7, band, band + 3}).Draw(t, "prototypes")
		temperature := rapid.SampledFrom([]float64{0.1, 1}).Draw(t, "temperature")
		epsilon := rapid.SampledFrom([]float64{0.03, 0.05, 1}).Draw(t, "epsilon")
		iterations := rapid.IntRange(1, 4).Draw(t, "iterations")
		z, z64 := drawn64("z", batch*dim)
		prototypes, _ := drawn64("prototypes", dim*n)
		columns := make([]float64, dim*n) // normalized, [n, dim]
		for k := range n {
			for j := range dim {
				columns[k*dim+j] = float64(prototypes[j*n+k])
			}
			copy(columns[k*dim:], unitRows(columns[k*dim:][:dim], dim)[0])
		}
		scores := func() (s [][]float64) {
			for _, u := range unitRows(z64, dim) {
				var row []float64
				for k := range n {
					row = append(row, product(u, columns[k*dim:][:dim]))
				}
				s = append(s, row)
			}
			return s
		}
		at := scores()
		q := append(sinkhorn(at[:batch/2], epsilon, iterations), sinkhorn(at[batch/2:], epsilon, iterations)...)
		plain := func() (sum float64) {
			for i, s := range scores() {
				for k := range s {
					s[k] /= temperature
				}
				sum += logSumExp(s) - product(q[(i+batch/2)%batch], s)
			}
			return sum / float64(batch)
		}
		const weight, start = 2, 1
		dz, dprototypes := make([]float32, batch*dim), make([]float32, dim*n)
		fill(dz, start)
		l := NewSwapped(batch, dim, n, temperature, epsilon, iterations, pool)
		require.InDelta(t, plain(), l.Loss(z, prototypes, dz, dprototypes, weight), 1e-4)
		for i, v := range dz {
			dz[i] = (v - start) / weight
		}
		requireDerivative(t, "dz", dz, z64, plain)
		turned := make([]float32, dim*n)
		for k := range n {
			for j := range dim {
				turned[k*dim+j] = dprototypes[j*n+k] / weight
				require.InDelta(t, columns[k*dim+j], prototypes[j*n+k], 1e-6)
			}
		}
		requireDerivative(t, "dprototypes", turned, columns, plain)
	})
}
