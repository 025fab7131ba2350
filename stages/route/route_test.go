package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestBest(t *testing.T) {
	scores := []route.Score{
		{Subnet: "1", Score: 50, Level: 1}, {Subnet: "0", Score: 50, Level: 1},
		{Subnet: "00", Score: 50, Level: 2}, {Subnet: "root", Score: 49},
	}
	require.Equal(t, "0", route.Best(scores).Subnet, "on a tie the shorter code, then the name that sorts first")
	scores[3].Score = 50
	require.Equal(t, "root", route.Best(scores).Subnet)
	scores[2].Score = 50.1
	require.Equal(t, "00", route.Best(scores).Subnet)
}

func TestPercent(t *testing.T) {
	type row struct {
		Label     int64 `arrow:"label"`
		Predicted int64 `arrow:"predicted"`
	}
	b := record.Of([]row{{0, 0}, {0, 0}, {0, 0}, {1, 0}})
	for metric, want := range map[string]float64{tasks.Top1: 75, tasks.MeanPerClass: 50} {
		got, err := route.Percent(metric, b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
