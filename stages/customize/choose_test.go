package customize

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Only images that one classifier alone gets right count.
func TestPairedError(t *testing.T) {
	labels := []int64{0, 1, 2, 0, 1, 2, 0, 1}
	a := []int64{0, 1, 2, 0, 0, 0, 1, 1}
	b := []int64{0, 1, 0, 1, 1, 0, 2, 1}
	require.InDelta(t, math.Sqrt(3)/8, pairedError(a, b, labels), 1e-15)
	require.Zero(t, pairedError(a, a, labels))
}
