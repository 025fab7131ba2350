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

// Streams whose keys differ in one place must be unrelated: the correlation of
// their uniforms stays within four standard errors of zero.
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
