package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestBest(t *testing.T) {
	scores := []route.Score{
		{Subnet: "1", Score: 50, Level: 1}, {Subnet: "0", Score: 50, Level: 1},
		{Subnet: "00", Score: 50, Level: 2}, {Subnet: "root", Score: 49},
	}
	require.Equal(t, "0", route.Best(scores).Subnet, "of equal ones the shorter code, then the first name")
	scores[3].Score = 50
	require.Equal(t, "root", route.Best(scores).Subnet)
	scores[2].Score = 50.1
	require.Equal(t, "00", route.Best(scores).Subnet)
}

func TestPercent(t *testing.T) {
	labels := []int64{0, 0, 0, 1}
	pred := []int64{0, 0, 0, 0}
	require.Equal(t, 75., route.Percent(tasks.Top1, pred, labels, 2))
	require.Equal(t, 50., route.Percent(tasks.MeanPerClass, pred, labels, 2))
}
