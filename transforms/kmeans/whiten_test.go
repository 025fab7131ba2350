package kmeans_test

import (
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func byID(a, b feature) int { return int(a.ID - b.ID) }

// A transform that is kept in a file does in another pipeline, and in memory, what Whiten does, also to single rows.
func TestFitAndApplyWhiten(t *testing.T) {
	cfg := kmeans.WhitenConfig{Column: "feature", Floor: .01, Normalize: true}
	batches := beamtest.Split(blobs(1, 300, 6, 4), 50)
	for _, runner := range runners {
		dir := t.TempDir()
		p, s := beam.NewPipelineWithRoot()
		in := beamtest.Create(s, batches)
		white := beamtest.Keep(s, kmeans.Whiten(s, in, cfg))
		arrowio.WriteDir(s, dir, kmeans.FitWhiten(s, in, cfg))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		want := beamtest.Rows(t, white(), byID)

		p, s = beam.NewPipelineWithRoot()
		fitted := arrowio.ReadIPC(s, filepath.Join(dir, "*.arrow"))
		again := beamtest.Keep(s, kmeans.ApplyWhiten(s, beamtest.Create(s, batches[2:3]), fitted, cfg))
		kept := beamtest.Keep(s, fitted)
		_, err = beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		require.Equal(t, want[100:150], beamtest.Rows(t, again(), byID))

		basis := kept()
		require.Len(t, basis, 1)
		one, err := kmeans.WhitenBatch(batches[2], basis[0], cfg)
		require.NoError(t, err)
		require.Equal(t, want[100:150], beamtest.Rows(t, []*record.Batch{one}, byID))
		_, err = kmeans.WhitenBatch(record.Of([]feature{{1, []float32{1, 2}}}), basis[0], cfg)
		require.ErrorContains(t, err, `kmeans: column "feature" has vectors of width 2; the basis has 6`)
		_, err = kmeans.WhitenBatch(batches[0], batches[0], cfg)
		require.ErrorContains(t, err, "not one that FitWhiten makes")
	}
	p, s := beam.NewPipelineWithRoot()
	none := kmeans.FitWhiten(s, beamtest.Create(s, nil), cfg)
	kmeans.ApplyWhiten(s, beamtest.Create(s, batches), none, cfg)
	_, err := beam.Run(t.Context(), "direct", p)
	require.ErrorContains(t, err, "want one basis")
}

// Rows in memory go where Assign sends them.
func TestAssignBatch(t *testing.T) {
	rows := beamtest.Split(blobs(2, 200, 5, 8), 200)
	want, centroids, err := cluster(t, "direct", kmeans.Config{Column: "feature", Branching: []int{3, 2}, Iterations: 3, Seed: 3}, rows)
	require.NoError(t, err)
	got, err := kmeans.AssignBatch(rows[0], record.Of(centroids), kmeans.AssignConfig{Column: "feature"})
	require.NoError(t, err)
	require.Equal(t, want, beamtest.Rows(t, []*record.Batch{got}, func(a, b label) int { return int(a.ID - b.ID) }))
	_, err = kmeans.AssignBatch(rows[0], record.Of([]kmeans.Centroid{}), kmeans.AssignConfig{Column: "feature"})
	require.ErrorContains(t, err, "there are no centroids")
}
