package kmeans

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/record"
)

// grid returns a model of parents x k random centroids and rows near them, of which many are as far from two.
func grid(random *rand.Rand, n, width, parents, k int, size float64) (*model, rows) {
	m := &model{
		K: k, Width: width, Parents: make([]int64, parents), Sizes: make([]int64, parents*k),
		Centroids: make([]float32, parents*k*width), Norms: make([]float64, parents*k), Prices: make([]float64, parents*k),
	}
	vector := make([]float32, width)
	for g := range m.Sizes {
		for j := range vector {
			vector[j] = float32(size * random.NormFloat64())
		}
		m.setCentroid(g, vector)
	}
	b := array.NewInt32Builder(record.Mem)
	r := rows{width: width}
	for range n {
		p := random.IntN(parents)
		b.Append(int32(p))
		x, y := m.centroid(p*k+random.IntN(k)), m.centroid(p*k+random.IntN(k))
		for j := range width {
			r.vectors = append(r.vectors, (x[j]+y[j])/2)
		}
	}
	if parents > 1 {
		r.parents = b.NewInt32Array()
	}
	m.Unit, m.Square = unit(int64(n), 10*size), unit(int64(n), 400*size*size*float64(width))
	return m, r
}

// TestAssignIsExact compares with the definition in float64 where products in float32 cannot decide: rows in the middle
// of two centroids, and values whose products underflow or lose all digits.
func TestAssignIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		parents, k := rapid.IntRange(1, 5).Draw(t, "parents"), rapid.IntRange(2, 40).Draw(t, "k")
		size := math.Pow(10, float64(rapid.IntRange(-30, 13).Draw(t, "size")))
		m, r := grid(random, rapid.IntRange(1, 200).Draw(t, "rows"), rapid.IntRange(1, 70).Draw(t, "width"), parents, k, size)
		for g := range m.Prices {
			m.Prices[g] = float64(rapid.IntRange(0, 1).Draw(t, "priced")) * size * size * random.Float64()
		}
		got := m.assign(r)
		for i, g := range got.clusters {
			p := r.parent(i)
			want, least := 0, math.Inf(1)
			for c := p * k; c < (p+1)*k; c++ {
				if cost := m.square(r.vector(i), c) + m.Prices[c]; cost < least {
					want, least = c, cost
				}
			}
			require.EqualValues(t, want, g)
			require.Equal(t, m.square(r.vector(i), want), got.squares[i])
		}
		// sums in any order are those of the rows one by one
		sums := make([]int64, len(m.Sizes)*(m.Width+2))
		for i := range got.clusters {
			one := rows{vectors: r.vector(i), width: r.width}
			for j, v := range m.sum(one, assignment{got.clusters[i : i+1], got.squares[i : i+1]}, true) {
				sums[j] += v
			}
		}
		require.Equal(t, sums, m.sum(r, got, true))
	})
}

// BenchmarkPass is a Lloyd iteration on rows in memory, without the runner.
func BenchmarkPass(b *testing.B) {
	for _, k := range []int{16, 256, 1024} {
		b.Run(fmt.Sprint("k=", k), func(b *testing.B) {
			m, r := grid(rand.New(rand.NewPCG(1, 0)), 100_000, 512, 1, k, 1)
			for b.Loop() {
				m.sum(r, m.assign(r), true)
			}
		})
	}
}
