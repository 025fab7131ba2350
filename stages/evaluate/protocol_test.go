package evaluate

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestProtocols(t *testing.T) {
	names := Protocols()
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names))
	for _, p := range known {
		require.Contains(t, route.Scorers(), p.Scorer, p.Name)
		require.Contains(t, Help(), p.Summary)
	}
	require.Equal(t, []string{route.KNN, route.Linear}, Scorers([]string{"fewshot5", "linear10pct", KNN, Linear}))
	require.NoError(t, CheckProtocols(names))
	require.ErrorAs(t, CheckProtocols(nil), new(*run.UsageError))
	require.ErrorContains(t, CheckProtocols([]string{KNN, "svm"}), `there is no protocol "svm"; want one or more of knn,`)
	require.NoError(t, CheckPredicting([]string{KNN, "linear45"}))
	require.ErrorContains(t, CheckPredicting([]string{KNN, "fewshot1"}), "the protocol fewshot1 measures episodes")
}

// The 45 penalties are numpy's logspace(-6, 5, 45), and C is their inverse.
func TestStrengths(t *testing.T) {
	c := strengths()
	require.Len(t, c, 45)
	require.InEpsilon(t, 1e6, c[0], 1e-12)
	require.InEpsilon(t, 1/1.7782794100389228e-06, c[1], 1e-12)
	require.InEpsilon(t, 1e-5, c[44], 1e-12)
}

// A sample has the fraction of every class, rounded, and at least one image of it.
func TestSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.Int64Range(0, 4), 1, 300).Draw(t, "labels")
		fraction := rapid.SampledFrom([]float64{.01, .1, .5, 1}).Draw(t, "fraction")
		rows := sample(labels, fraction)
		require.Equal(t, rows, sample(labels, fraction))
		require.Equal(t, rows, slices.Compact(slices.Clone(rows)))
		require.True(t, slices.IsSorted(rows))
		all, some := map[int64]float64{}, map[int64]float64{}
		for _, l := range labels {
			all[l]++
		}
		for _, row := range rows {
			some[labels[row]]++
		}
		for l, n := range all {
			require.Equal(t, max(1, math.Round(fraction*n)), some[l])
		}
	})
}

func TestUnsuited(t *testing.T) {
	all := []tasks.Task{{Name: "pets", Metric: tasks.Top1}, {Name: "street", Metric: tasks.MeanAP}}
	require.Empty(t, Unsuited(all, []string{KNN, Linear, "linear10pct"}))
	require.Equal(t, []Dead{
		{"street", "the protocol fewshot5 is for images with one class each, and the metric map11 for images with several"},
		{"street", "the protocol finetune is for images with one class each, and the metric map11 for images with several"},
	}, Unsuited(all, []string{"fewshot5", KNN, "finetune"}))
}
