package metrics_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// The tests of package nearest compare with scikit-learn.
func TestFewPredictions(t *testing.T) {
	require.Zero(t, metrics.Accuracy(nil, nil))
	require.Zero(t, metrics.MeanPerClass(nil, nil, 3))
	require.Equal(t, 0.75, metrics.MeanPerClass([]int64{0, 0, 2}, []int64{0, 2, 2}, 4), "absent classes do not count")
}
