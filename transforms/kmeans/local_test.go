package kmeans

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/record"
)

// What Local cannot do is an error, and rows are kept only until they are taken.
func TestLocalErrors(t *testing.T) {
	_, err := (&startFn{}).ProcessElement(&tally{Rows: 3, Widths: []int{2}, Processes: []string{"a", "b"}})
	require.EqualError(t, err, "kmeans: Local: 2 worker processes read the rows; set Local only for runners with one")

	type row struct {
		X []float32 `arrow:"x"`
	}
	measure := &measureFn{Config: Config{Column: "x", Local: true}, Job: "job"}
	measured, err := measure.ProcessElement(record.Of([]row{{[]float32{3, 4}}, {[]float32{0, 1}}}))
	require.NoError(t, err)
	require.Equal(t, &tally{Rows: 2, Longest: 5, Widths: []int{2}, Processes: []string{process}}, measured)
	local := &localFn{Config: Config{Column: "x", Branching: []int{2}, Iterations: 1, Local: true}, Job: "job"}
	run := func(rows int64) error {
		none := func(*record.Batch) {}
		return local.ProcessElement(&model{K: 1, Level: -1, Width: 2, Sizes: []int64{rows}, Longest: 5}, none, none)
	}
	require.NoError(t, run(2))
	require.Empty(t, kept.jobs)
	require.EqualError(t, run(2), "kmeans: Local: 0 of 2 rows are in this worker process; set Local only for runners with one, and not for retries")
}
