package partition_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// TestAgreement has images from a Parquet file, an archive and two folders of image files, in subsets that are these, or
// that have nothing to do with them.
func TestAgreement(t *testing.T) {
	sources := []func(i int) string{
		func(int) string { return "pool/a.parquet" },
		func(i int) string { return "pool/b.tar!" + strconv.Itoa(i) + ".png" },
		func(i int) string { return "pool/c/" + strconv.Itoa(i) + ".png" },
		func(i int) string { return "pool/d/" + strconv.Itoa(i) + ".png" },
	}
	const each = 20
	agreement := func(sourceOf func(subset, i int) int) float64 {
		path := filepath.Join(t.TempDir(), "shard-00000.arrow")
		var records []arrow.Record
		var refs []shards.Ref
		for subset := range sources {
			b := shards.NewBuilder(2)
			for i := range each {
				b.Append(sources[sourceOf(subset, i)](subset*each+i), int64(subset*each+i), make([]byte, 12))
			}
			refs = append(refs, shards.Ref{Path: path, Batch: int64(len(records)), Rows: each, Subset: strconv.Itoa(subset)})
			records = append(records, b.NewRecord())
		}
		require.NoError(t, arrowio.WriteFile(t.Context(), path, shards.Schema(2), records...))
		found, err := partition.Agreement(t.Context(), refs)
		require.NoError(t, err)

		labels := map[shards.Source]string{} // of the images of the first two sources, the same as their subsets
		for subset := range sources {
			for i := range each {
				if s := sourceOf(subset, i); s < 2 {
					labels[shards.Source{Source: sources[s](subset*each + i), Row: int64(subset*each + i)}] = strconv.Itoa(subset)
				}
			}
		}
		ofLabels, images, err := partition.LabelAgreement(t.Context(), refs, labels)
		require.NoError(t, err)
		require.InDelta(t, 1, ofLabels, 1e-9)
		require.EqualValues(t, len(labels), images)
		return found
	}
	require.InDelta(t, 1, agreement(func(subset, _ int) int { return subset }), 1e-9)
	require.InDelta(t, 0, agreement(func(_, i int) int { return i % len(sources) }), .1)
}
