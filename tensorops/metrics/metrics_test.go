package metrics_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// The tests of package nearest compare with scikit-learn.
func TestFewPredictions(t *testing.T) {
	require.Zero(t, metrics.Accuracy(nil, nil))
	require.Zero(t, metrics.MeanPerClass(nil, nil, 3))
	require.Equal(t, 0.75, metrics.MeanPerClass([]int64{0, 0, 2}, []int64{0, 2, 2}, 4), "absent classes do not count")
}

// TestDifference compares the interval with the normal approximation for many images, and checks that pairing counts.
func TestDifference(t *testing.T) {
	const images, seeds = 4000, 4
	random := rand.New(rand.NewPCG(1, 2))
	o := metrics.Outcome{Labels: make([]int64, images)}
	var differences []float64
	for range seeds {
		a, b := make([]int64, images), make([]int64, images)
		for i := range a {
			b[i] = int64(random.IntN(2))
			a[i] = b[i]
			if random.IntN(10) == 0 { // one in ten differs, two thirds of these in favor of a
				a[i], b[i] = 0, 1
				if random.IntN(3) == 0 {
					a[i], b[i] = 1, 0
				}
			}
			differences = append(differences, float64(b[i]-a[i]))
		}
		o.A, o.B = append(o.A, a), append(o.B, b)
	}
	mean, std := stat.MeanStdDev(differences, nil)
	got := metrics.Difference([]metrics.Outcome{o})
	require.InDelta(t, mean, got.Mean, 1e-12)
	error := std / math.Sqrt(images*seeds)
	width := (got.High - got.Low) / (2 * 1.96 * error)
	require.Greater(t, width, .95)
	require.Less(t, width, 2., "images and seeds each contribute their variance")
	require.InDelta(t, got.Mean, (got.Low+got.High)/2, error/2)
	require.False(t, got.Level())
	require.Equal(t, got, metrics.Difference([]metrics.Outcome{o}), "reproducible")

	swapped := o
	swapped.A, swapped.B = o.B, o.A
	require.InDelta(t, -got.Mean, metrics.Difference([]metrics.Outcome{swapped}).Mean, 1e-12)
	same := o
	same.B = o.A
	require.Equal(t, metrics.Interval{}, metrics.Difference([]metrics.Outcome{same}))
	require.True(t, metrics.Interval{}.Level())
	require.InDelta(t, got.Mean/2, metrics.Difference([]metrics.Outcome{o, same}).Mean, 1e-12, "tasks count alike")
}

func TestDifferenceOfMeansPerClass(t *testing.T) {
	o := metrics.Outcome{
		Labels: []int64{0, 0, 0, 0, 5}, MeanPerClass: true,
		A: [][]int64{{0, 0, 1, 1, 5}}, B: [][]int64{{0, 1, 1, 1, 5}},
	}
	got := metrics.Difference([]metrics.Outcome{o})
	require.InDelta(t, metrics.MeanPerClass(o.A[0], o.Labels, 6)-metrics.MeanPerClass(o.B[0], o.Labels, 6), got.Mean, 1e-12)
	require.InDelta(t, 0, got.Low, 1e-12)
	require.True(t, got.Level())
	o.MeanPerClass = false
	require.InDelta(t, .2, metrics.Difference([]metrics.Outcome{o}).Mean, 1e-12)
}
