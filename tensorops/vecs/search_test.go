package vecs

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// lengths are sizes around those at which the loops of search.go are split.
var lengths = []int{0, 1, 7, 15, 16, 17, 31, 32, 48, 63, 64, 65, 100, 128, 200, 513}

// normal returns n normal random numbers of very different magnitudes.
func normal(random *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64() * math.Pow(10, float64(random.IntN(6)-3)))
	}
	return x
}

// The distances of all instruction sets are bitwise those of the portable loop, and close to a plain sum.
func TestDistances(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		for _, n := range lengths {
			x, y := normal(random, n), normal(random, n)
			distance, norm := 0.0, 0.0
			for i := range x {
				d := float64(x[i]) - float64(y[i])
				distance += d * d
				norm += float64(x[i]) * float64(x[i])
			}
			require.InEpsilon(t, 1+distance, 1+SquareDistance(x, y), 1e-13)
			require.InEpsilon(t, 1+norm, 1+SquareNorm(x), 1e-13)
			here := []float64{SquareDistance(x, y), SquareNorm(x), SquareDistance(x, make([]float32, n))}
			require.Equal(t, here[1], here[2])
			set := active
			active = portable
			require.Equal(t, here[:2], []float64{SquareDistance(x, y), SquareNorm(x)})
			active = set
		}
	})
	require.Panics(t, func() { SquareDistance(make([]float32, 3), make([]float32, 4)) })
}

// Sums are exact, halves go to even, and nothing is written past the end.
func TestAddFixed(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for _, n := range lengths {
			for _, scale := range []float64{1, .25, 1 << 40, -(1 << 38)} {
				x := normal(random, n)
				for i := range x {
					if i%3 == 0 {
						x[i] = float32(random.IntN(4001)-2000) / 2
					}
				}
				sums, want := make([]int64, n+1), make([]int64, n+1)
				for i := range sums {
					sums[i] = random.Int64() / 2
				}
				copy(want, sums)
				for i, v := range x {
					want[i] += int64(math.RoundToEven(float64(v) * scale))
				}
				AddFixed(sums, x, scale)
				require.Equal(t, want, sums)
			}
		}
	})
}

func TestBounds(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 6))
		for _, n := range lengths {
			p, bound, reach := normal(random, n), normal(random, n), normal(random, n)
			const length = 1.5
			least := math.Inf(1)
			for i := range p {
				least = min(least, float64(bound[i])-float64(p[i])+length*float64(reach[i]))
			}
			require.InDelta(t, least, Least(p, bound, reach, length), 1e-3)

			mask := slices.Repeat([]uint64{math.MaxUint64}, (n+63)/64)
			bit := func(i int) bool { return mask[i/64]>>(i%64)&1 == 1 }
			ends := func() {
				if n%64 > 0 {
					require.Zero(t, mask[n/64]>>(n%64))
				}
			}
			Within(mask, p, bound, reach, length, 3)
			for i := range p {
				if lower := float64(bound[i]) - float64(p[i]) - length*float64(reach[i]); math.Abs(lower-3) > 1e-3 {
					require.Equal(t, lower < 3, bit(i), "%d of %d", i, n)
				}
			}
			ends()
			for i := range p {
				if i%5 == 0 {
					p[i] = .25 // equal to the limit
				}
			}
			Greater(mask, p, .25)
			for i, v := range p {
				require.Equal(t, v > .25, bit(i), "%d of %d", i, n)
			}
			ends()
		}
		nan := slices.Repeat([]float32{float32(math.NaN())}, 20)
		mask := []uint64{1}
		Greater(mask, nan, 0)
		require.Zero(t, mask[0], "NaN is above nothing")
	})
}
