package customize

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Only images that one classifier alone gets right count.
func TestPairedError(t *testing.T) {
	labels := []int64{0, 1, 2, 0, 1, 2, 0, 1}
	a := []int64{0, 1, 2, 0, 0, 0, 1, 1}
	b := []int64{0, 1, 0, 1, 1, 0, 2, 1}
	require.InDelta(t, math.Sqrt(3)/8, pairedError(a, b, labels), 1e-15)
	require.Zero(t, pairedError(a, a, labels))
}

// Images with several classes are scored by their ranking.
func TestAskSeveralClasses(t *testing.T) {
	images := &tasks.Images{Labels: []int64{0, 0, 1, 1}, Sets: [][]int64{{0}, {0, 1}, {1}, {1}}, Classes: []string{"a", "b"}}
	pool := kernels.NewPool(1)
	defer pool.Close()
	near := dense.NewEngine(pool).Matrix([]float32{1, 0, 1, .1, 0, 1, .1, 1}, 4, 2)
	far := dense.NewEngine(pool).Matrix([]float32{1, 0, 0, 1, 1, .1, .1, 1}, 4, 2)
	a, err := ask(near, images, tasks.MeanAP)
	require.NoError(t, err)
	b, err := ask(far, images, tasks.MeanAP)
	require.NoError(t, err)
	require.Greater(t, a.score(tasks.MeanAP, nil), b.score(tasks.MeanAP, nil))
	require.Positive(t, a.errorFrom(b, nil))
	require.Zero(t, a.errorFrom(a, nil))
	_, _, err = choose(t.Context(), nil, images, Start{Metric: tasks.Top1})
	require.ErrorContains(t, err, "the metric is top1")
}

// A trained version is taken unless another one is better beyond the noise.
func TestPick(t *testing.T) {
	for _, c := range []struct {
		scores []float64 // as it is, statistics, trained at two rates
		want   int
	}{
		{[]float64{50, 50, 50, 50}, 2},
		{[]float64{50, 50, 50, 51}, 3},
		{[]float64{50.9, 50, 49, 50}, 3},
		{[]float64{51.1, 50, 49, 50}, 0},
		{[]float64{52, 53, 49, 50}, 1},
		{[]float64{52, 53, 52.5, 50}, 2},
	} {
		var rows []Candidate
		for i, score := range c.scores {
			rows = append(rows, Candidate{Score: score, Images: int64(i / 2)})
		}
		require.Equal(t, c.want, pick(rows, func(int, int) float64 { return 1 }), c.scores)
	}
}
