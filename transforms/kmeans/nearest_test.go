package kmeans

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/vecs"
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
	m.Longest = longest(r)
	m.Unit, m.Square = unit(int64(n), 10*size*math.Sqrt(float64(width))), unit(int64(n), 400*size*size*float64(width))
	return m, r
}

// longest returns the length of the longest row.
func longest(r rows) (longest float64) {
	for i := range len(r.vectors) / r.width {
		longest = max(longest, math.Sqrt(vecs.SquareNorm(r.vector(i))))
	}
	return longest
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
		sums := m.newSums(true, 1)
		got, err := m.assign(r, true, sums)
		require.NoError(t, err)
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
		// the sums of batches, merged in any order, are those of all rows
		want := &tally{}
		for i := range got.clusters {
			one := rows{vectors: r.vector(i), width: r.width}
			if r.parents != nil {
				one.parents = array.NewSlice(r.parents, int64(i), int64(i+1)).(*array.Int32)
			}
			s := m.newSums(true, 1)
			_, err := m.assign(one, true, s)
			require.NoError(t, err)
			t := &tally{}
			t.Clusters, t.Sums = s.total()
			want = (&addFn{}).MergeAccumulators(t, want)
		}
		clusters, total := sums.total()
		require.Equal(t, want.Clusters, clusters)
		require.EqualValues(t, want.Sums, total)
	})
}

// BenchmarkPass is a Lloyd iteration on rows in memory, without the runner.
func BenchmarkPass(b *testing.B) {
	const n, width = 100_000, 512
	random := rand.New(rand.NewPCG(1, 0))
	r := rows{vectors: make([]float32, n*width), width: width}
	for i := range r.vectors {
		r.vectors[i] = float32(random.NormFloat64())
	}
	for _, k := range []int{16, 256, 1024} {
		b.Run(fmt.Sprint("k=", k), func(b *testing.B) {
			above := &model{Width: width, Sizes: []int64{n}, Longest: longest(r), Unit: unit(n, longest(r)), Square: unit(n, 4*longest(r)*longest(r))}
			m := newModel(above, 0, above.Sizes, k)
			for g := range k {
				m.setCentroid(g, r.vector(g))
				m.Sizes[g] = 1
			}
			for b.Loop() {
				s := m.newSums(true, n)
				_, err := m.assign(r, false, s)
				require.NoError(b, err)
				s.total()
			}
		})
	}
}
