package kmeans

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Tallies of different clusters add up like a table with all clusters, in any grouping, also after the coder.
func TestTalliesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const clusters, stride = 6, 3
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var want [clusters * stride]int64
		var parts []*tally
		for range rapid.IntRange(1, 6).Draw(t, "tallies") {
			part := &tally{Rows: 1}
			for g := range clusters {
				if random.IntN(2) == 0 {
					continue
				}
				part.Clusters = append(part.Clusters, int32(g))
				for l := range stride {
					v := random.Int64N(1000) - 500
					part.Sums = append(part.Sums, v)
					want[g*stride+l] += v
				}
			}
			data, err := encodeTally(part)
			require.NoError(t, err)
			part, err = decodeTally(data)
			require.NoError(t, err)
			parts = append(parts, part)
		}
		add := &addFn{}
		total, rest := add.CreateAccumulator(), add.CreateAccumulator()
		for i, part := range parts {
			if i%2 == 0 {
				total = add.AddInput(total, part)
			} else {
				rest = add.AddInput(rest, part)
			}
		}
		total = add.MergeAccumulators(rest, total)
		require.EqualValues(t, len(parts), total.Rows)
		var got [clusters * stride]int64
		for i, g := range total.Clusters {
			copy(got[int(g)*stride:], total.Sums[i*stride:][:stride])
			if i > 0 {
				require.Less(t, total.Clusters[i-1], g)
			}
		}
		require.Equal(t, want, got)
	})
}

// The unit leaves room for the sum of all rows, and for a single value as vecs.AddFixed needs it.
func TestUnit(t *testing.T) {
	for _, rows := range []int64{1, 2, 1000, 1 << 20, 1 << 40} {
		for _, limit := range []float64{1e-30, .99, 1, 3, 1e15, 1e33} {
			one := limit * scale(unit(rows, limit))
			require.Less(t, one, math.Ldexp(1, 51))
			require.Less(t, float64(rows)*(one+1), math.Ldexp(1, 62))
			require.Greater(t, one*max(float64(rows), 1<<11), math.Ldexp(1, 59))
		}
	}
}

// The coder of models keeps what passes need.
func TestModelCoder(t *testing.T) {
	m := newModel(&model{Width: 3, Unit: -40, Square: -38, WeightUnit: -50, Weighted: true, Longest: 7}, 1, []int64{4, 0}, 2)
	m.setCentroid(1, []float32{1, -2, 3})
	m.Prices[3] = math.Inf(1)
	data, err := encodeModel(m)
	require.NoError(t, err)
	got, err := decodeModel(data)
	require.NoError(t, err)
	require.Equal(t, m.Centroids, got.Centroids)
	require.Equal(t, m.Norms, got.Norms)
	require.Equal(t, m.Prices, got.Prices)
	require.Equal(t, m.Parents, got.Parents)
	require.Equal(t, []any{m.Width, m.Unit, m.Square, m.WeightUnit, m.Weighted, m.Longest}, []any{got.Width, got.Unit, got.Square, got.WeightUnit, got.Weighted, got.Longest})
}
