package rng_test

import (
	"math"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/stretchr/testify/require"
)

func TestSameKeySameNumbers(t *testing.T) {
	a, b := rng.New(7, rng.View, 1, 2), rng.New(7, rng.View, 1, 2)
	for range 100 {
		require.Equal(t, a.Uint64(), b.Uint64())
	}
}

// The numbers of a stream are part of what a seed means and must not change: these are from the first version.
func TestNumbersStay(t *testing.T) {
	r := rng.New(1, rng.View, 2, 3)
	for _, want := range []uint64{0x6aa71261429c088a, 0xd206e26fb7c5d29d, 0x3eb2bc1d5f23e525} {
		require.Equal(t, want, r.Uint64())
	}
}

// A generator yields a stream's numbers, whatever it drew before.
func TestSeek(t *testing.T) {
	g := rng.NewGenerator()
	for step := range uint64(3) {
		want := rng.New(7, rng.View, step)
		g.Seek(7, rng.View, step)
		for range 3 {
			require.Equal(t, want.NormFloat64(), g.NormFloat64())
			require.Equal(t, want.IntN(10), g.IntN(10))
			require.Equal(t, want.Uint32(), g.Uint32())
		}
	}
	require.Zero(t, testing.AllocsPerRun(3, func() { g.Seek(7, rng.View, 1, 2) }))
}

// Below is Seek with a longer key, however many numbers were drawn since Seek.
func TestBelow(t *testing.T) {
	g := rng.NewGenerator()
	g.Seek(7, rng.View, 3)
	for k := range uint64(3) {
		g.Below(k, 5)
		require.Equal(t, rng.New(7, rng.View, 3, k, 5).Uint64(), g.Uint64())
	}
	g.Below()
	require.Equal(t, rng.New(7, rng.View, 3).Uint64(), g.Uint64())
	require.Zero(t, testing.AllocsPerRun(3, func() { g.Below(1, 2) }))
}

func TestName(t *testing.T) {
	require.Equal(t, uint64(0xcbf29ce484222325), rng.Name("")) // of the draft that defines FNV-1a
	require.Equal(t, uint64(0x85944171f73967e8), rng.Name("foobar"))
}

// Streams whose keys differ in one place must be independent: the correlation of their uniforms stays within four
// standard errors of zero.
func TestNeighbouringKeysAreUnrelated(t *testing.T) {
	keys := [][]uint64{{1, 2, 3}, {1, 2, 4}, {1, 3, 2}, {2, 2, 3}, {1, 2}, {1, 2, 3, 0}}
	const n = 4096
	for i, ki := range keys {
		for _, kj := range keys[i+1:] {
			a, b := rng.New(1, ki...), rng.New(1, kj...)
			var sum float64
			for range n {
				sum += (a.Float64() - .5) * (b.Float64() - .5) * 12
			}
			require.Less(t, math.Abs(sum/n), 4/math.Sqrt(n), "%v %v", ki, kj)
		}
	}
}

func BenchmarkBelow(b *testing.B) {
	g := rng.NewGenerator()
	g.Seek(1, rng.View, 2, 3)
	for b.Loop() {
		g.Below(4, 5)
	}
}
