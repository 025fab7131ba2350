package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestBest(t *testing.T) {
	score := func(subnet string, score float64, level int64) route.Score {
		return route.Score{Task: "t", Subnet: subnet, Norm: route.NormTraining, Candidate: true, Score: score, Level: level}
	}
	scores := []route.Score{score("1", 50, 1), score("0", 50, 1), score("0.0", 50, 2), score("root", 49, 0), {Task: "other", Subnet: "x", Candidate: true, Score: 90}}
	require.Equal(t, "0", route.Best(route.Candidates(scores, "t")).Subnet, "on a tie the shorter code, then the name that sorts first")
	scores[3].Score = 50
	require.Equal(t, "root", route.Best(route.Candidates(scores, "t")).Subnet)
	scores[2].Score = 50.1
	require.Equal(t, "0.0", route.Best(route.Candidates(scores, "t")).Subnet)
	baseline := score("unified", 99, 0)
	baseline.Candidate = false
	adapted := scores[2]
	adapted.Norm = route.NormTask
	scores = append(scores, baseline, adapted)
	require.Equal(t, scores[2], route.Best(route.Candidates(scores, "t")), "on a tie the statistics of the training")
	scores[6].Score++
	require.Equal(t, scores[6], route.Best(route.Candidates(scores, "t")))
	require.Equal(t, "x", route.Best(route.Candidates(scores, "other")).Subnet)
	require.Zero(t, route.Best(route.Candidates(scores, "none")))
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
