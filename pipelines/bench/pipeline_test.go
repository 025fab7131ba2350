package bench

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestPipeline checks that the main job and its work without Beam are measured, stage by stage.
func TestPipeline(t *testing.T) {
	r := little(t, "train.root_batches=subset", "split.delay=0.5")
	c, err := Pipeline(t.Context(), PipelineOptions{Data: []string{emoji}, Recipe: r, Rounds: 1, Device: ssl.Device{Name: ssl.CPU}})
	require.NoError(t, err)
	var names []string
	seconds, engine, work, called := 0., 0., 0., 0.
	for _, s := range c.Stages {
		names = append(names, s.Stage)
		require.Positive(t, s.Seconds, s.Stage)
		require.Positive(t, s.Work, s.Stage)
		require.Equal(t, s.Stage != "partition", s.Called, s.Stage)
		seconds, engine, work = seconds+s.Seconds, engine+s.Engine, work+s.Work
		switch s.Stage {
		case "phase0", "joint", "train", "unified":
			called += s.Work
		}
	}
	require.Equal(t, []string{"ingest", "phase0", "features", "partition", "joint", "train", "unified"}, names)
	require.InDelta(t, seconds, c.Seconds, 1e-9)
	require.InDelta(t, work, c.Work, 1e-9)
	require.InDelta(t, called, c.Called, 1e-9)
	require.InDelta(t, 1-engine/seconds, c.Rest, 1e-9)
	require.InDelta(t, 1-work/seconds, c.Beam, 1e-9)
	require.InDelta(t, 1-c.Called/c.Through, c.Training, 1e-9)
}

func TestCostsTable(t *testing.T) {
	var b bytes.Buffer
	c := Costs{
		Stages:  []Share{{"ingest", 2, 1.5, 1.5, true}, {"route", 1, .75, .75, false}},
		Seconds: 3, Engine: 2.25, Rest: .25, Work: 2.25, Beam: .25, Through: 10, Called: 9.5, Training: .05,
		ThroughCPU: 20, CalledCPU: 19.8, TrainingCPU: .01,
	}
	require.NoError(t, c.WriteTable(&b))
	require.Equal(t, `┌──────────┬─────────┬────────┬──────┬───────┬──────────────┐
│ STAGE    │ SECONDS │ ENGINE │ REST │       │ WITHOUT BEAM │
├──────────┼─────────┼────────┼──────┼───────┼──────────────┤
│ ingest   │    2.00 │   1.50 │ 0.50 │ 25.0% │         1.50 │
│ route    │    1.00 │   0.75 │ 0.25 │ 25.0% │              │
├──────────┼─────────┼────────┼──────┼───────┼──────────────┤
│ MAIN JOB │    3.00 │   2.25 │ 0.75 │ 25.0% │         2.25 │
└──────────┴─────────┴────────┴──────┴───────┴──────────────┘
main job: the rest, Beam's and all else, is 25.0%; without Beam, it takes 25.0% less
trainings: 10.00 s as jobs, 9.50 s without Beam, which costs 5.0%; processor time 20.00 s and 19.80 s, 1.0%
other programs' load in between: 0.0%
`, b.String())
}
