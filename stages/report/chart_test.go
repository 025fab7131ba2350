package report

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestThin checks that a curve is drawn with few points, in order, and within the range of the measurements.
func TestThin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(points-2, 5*points)).Draw(t, "n")
		value := rapid.OneOf(rapid.Float64Range(-5, 5), rapid.Just(math.NaN()), rapid.Just(math.Inf(-1)))
		steps, values := make([]int, n), make([]float64, n)
		low, high, finite := math.Inf(1), math.Inf(-1), 0
		fill := value.Draw(t, "fill")
		for i := range n {
			steps[i], values[i] = 20*i, fill
			if i%97 == 0 {
				values[i] = value.Draw(t, "value")
			}
			if !math.IsNaN(values[i]) && !math.IsInf(values[i], 0) {
				low, high = min(low, values[i]), max(high, values[i])
				finite++
			}
		}
		thinned := thin(steps, values)
		require.LessOrEqual(t, len(thinned), points)
		require.GreaterOrEqual(t, len(thinned), min(finite, points/2))
		for i, p := range thinned {
			require.GreaterOrEqual(t, p.Y, low-1e-9)
			require.LessOrEqual(t, p.Y, high+1e-9)
			if i > 0 {
				require.Greater(t, p.X, thinned[i-1].X)
			}
		}
	})
	require.Equal(t, []point{{X: 19, Y: 1}, {X: 59, Y: 3}}, thin([]int{19, 39, 59}, []float64{1, math.NaN(), 3}))
}

func TestTicks(t *testing.T) {
	for s, want := range map[span][]string{
		{0, 100}:       {"0", "20", "40", "60", "80", "100"},
		{0, 93}:        {"0", "20", "40", "60", "80"},
		{0, 47}:        {"0", "10", "20", "30", "40"},
		{0, 3.5}:       {"0", "1", "2", "3"},
		{2.46, 5.07}:   {"3", "4", "5"},
		{0, .1375}:     {"0.00", "0.05", "0.10"},
		{-1.5, 1.5}:    {"-1", "0", "1"},
		{1000, 250000}: {"50000", "100000", "150000", "200000", "250000"},
	} {
		var labels []string
		for _, tick := range ticks(s) {
			labels = append(labels, s.decimals(tick))
		}
		require.Equal(t, want, labels)
	}
}

func TestShorten(t *testing.T) {
	require.Equal(t, "fashion_mnist", shorten("fashion_mnist"))
	require.Equal(t, "äääääääääääääääääääääää…", shorten("ääääääääääääääääääääääääääää"))
}
