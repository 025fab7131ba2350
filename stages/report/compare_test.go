package report

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		of                      evaluate.Comparison
		words, figures, verdict string
	}{
		{evaluate.Comparison{Over: "unified", Tasks: 2, Routed: 60, Base: 50, Difference: 10, Low: 8.6, High: 11.44, Gained: 1200, Lost: 200},
			"10.0 points above", "60.0\u00a0% against 50.0\u00a0%",
			"The 95\u00a0% interval, +8.6 to +11.4, does not contain 0, so the difference is unlikely to be chance. Only the routed sub-nets are right about 1,200 test images, only the other net about 200."},
		{evaluate.Comparison{Over: "unified", Tasks: 2, Routed: 49.8, Base: 50, Difference: -.2, Low: -3, High: 2.5, Level: true},
			"0.2 points below", "49.8\u00a0% against 50.0\u00a0%",
			"The 95\u00a0% interval, −3.0 to +2.5, contains 0, so the difference may be chance. Only the routed sub-nets are right about 0 test images, only the other net about 0."},
		{evaluate.Comparison{Over: "unified", Tasks: 2, Episodes: 600, Routed: 60, Base: 50, Difference: 10, Low: 8.6, High: 11.44},
			"10.0 points above", "60.0\u00a0% against 50.0\u00a0%",
			"The 95\u00a0% interval, +8.6 to +11.4, does not contain 0, so the difference is unlikely to be chance. Both were measured on the same 600 episodes of each task."},
		{evaluate.Comparison{Over: "unified", Tasks: 1, Routed: 30.04, Base: 30, Difference: .04},
			"level with", "30.0\u00a0% against 30.0\u00a0%, over the 1 of 2 tasks that have both results", ""},
	} {
		c.of.Protocol = "knn"
		ofTask, ofOther := c.of, c.of
		ofTask.Task, ofOther.Protocol = "birds", "linear"
		got := compare(&evaluate.Results{Comparisons: []evaluate.Comparison{ofOther, c.of, ofTask}}, "knn", 2)
		require.Len(t, got, 1)
		require.Equal(t, "the unified net", got[0].Baseline())
		require.Equal(t, c.words, got[0].Words())
		require.Equal(t, c.figures, got[0].Figures())
		if c.verdict != "" {
			require.Equal(t, c.verdict, got[0].Verdict())
		}
	}
	for _, name := range evaluate.Baselines {
		require.NotEmpty(t, baselines[name])
	}
}

func TestChoices(t *testing.T) {
	require.Equal(t, []chosen{{"b", []string{"2", "4"}}, {"a", []string{"3"}}, {"c", []string{"1"}}}, choices([]evaluate.Task{
		{Name: "1", Subnet: "c"}, {Name: "2", Subnet: "b"}, {Name: "3", Subnet: "a"}, {Name: "4", Subnet: "b"}, {Name: "5"},
	}))
}
