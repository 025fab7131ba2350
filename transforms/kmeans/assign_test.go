package kmeans_test

import (
	"context"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// assign runs Assign and returns its rows by id.
func assign(t require.TestingT, runner string, centroids []kmeans.Centroid, batches []*record.Batch) ([]label, error) {
	p, s := beam.NewPipelineWithRoot()
	given := record.FromStructs[kmeans.Centroid](s, beam.Reshuffle(s, beam.CreateList(s, centroids)))
	rows := beamtest.Keep(s, kmeans.Assign(s, beamtest.Create(s, batches), given, kmeans.AssignConfig{Column: "feature"}))
	_, err := beam.Run(context.Background(), runner, p)
	return beamtest.Rows(t, rows(), func(a, b label) int { return int(a.ID) - int(b.ID) }), err
}

// Rows go to the same cluster as in Cluster without Balance, at every level.
func TestAssign(t *testing.T) {
	rows := blobs(2, 700, 5, 8)
	cfg := kmeans.Config{Column: "feature", Branching: []int{3, 2, 2}, Iterations: 4, Seed: 3}
	want, centroids, err := cluster(t, "direct", cfg, beamtest.Split(rows, 100))
	require.NoError(t, err)
	for _, runner := range runners {
		got, err := assign(t, runner, centroids, append(beamtest.Split(rows, 37), record.Of([]feature{})))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	// Codes need no parents, and ties go to the lower code.
	flat := []kmeans.Centroid{{Code: "2.10", Centroid: []float32{1, 0}}, {Code: "2.9", Centroid: []float32{-1, 0}}, {Code: "0", Centroid: []float32{0, 9}}}
	got, err := assign(t, "direct", flat, beamtest.Split([]feature{{1, []float32{0, 0}}, {2, []float32{2, 0}}, {3, []float32{0, 8}}}, 3))
	require.NoError(t, err)
	require.Equal(t, []label{{1, "2.9", 1}, {2, "2.10", 1}, {3, "0", 1}}, got)
}

func TestAssignErrors(t *testing.T) {
	at := func(code string, x ...float32) kmeans.Centroid { return kmeans.Centroid{Code: code, Centroid: x} }
	rows := beamtest.Split([]feature{{1, []float32{1, 2}}}, 1)
	for want, c := range map[string]struct {
		centroids []kmeans.Centroid
		rows      []*record.Batch
	}{
		"kmeans: there are no centroids to assign rows to":                                                  {nil, rows},
		`kmeans: two centroids have the code "0"`:                                                           {[]kmeans.Centroid{at("0", 1, 2), at("0", 1, 3)}, rows},
		`kmeans: two centroids have the code "", or one has none`:                                           {[]kmeans.Centroid{at("", 1, 2)}, rows},
		`kmeans: column "feature" has vectors of width 2; the centroids have 3`:                             {[]kmeans.Centroid{at("0", 1, 2, 3)}, rows},
		`kmeans: column "centroid": row 0 of a batch (code=0, size=0, inertia=0, silhouette=0) holds 1e+16`: {[]kmeans.Centroid{at("0", 1e16, 2)}, rows},
		`kmeans: column "feature": row 0 of a batch (id=1) holds 2e+15`:                                     {[]kmeans.Centroid{at("0", 1, 2)}, beamtest.Split([]feature{{1, []float32{2e15, 0}}}, 1)},
		`kmeans: record: expected one column "feature"`:                                                     {[]kmeans.Centroid{at("0", 1, 2)}, []*record.Batch{record.Of([]label{{}})}},
	} {
		_, err := assign(t, "direct", c.centroids, c.rows)
		require.ErrorContains(t, err, want)
	}
	_, s := beam.NewPipelineWithRoot()
	require.PanicsWithError(t, "kmeans: Column is empty; name the column of vectors", func() {
		kmeans.Assign(s, beam.Impulse(s), beam.Impulse(s), kmeans.AssignConfig{})
	})
}
