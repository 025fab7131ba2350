package metrics_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// figures lists a summary in pycocotools' order, with its -1 where there is no object.
func figures(s metrics.BoxSummary) []float64 {
	all := []float64{s.AP, s.AP50, s.AP75, s.APSmall, s.APMedium, s.APLarge, s.AR1, s.AR10, s.AR, s.ARSmall, s.ARMedium, s.ARLarge}
	for i, f := range all {
		if math.IsNaN(f) {
			all[i] = -1
		}
	}
	return all
}

// The figures are pycocotools'; testdata/make_boxes.py makes the file.
func TestBoxesGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/boxes.json")
	require.NoError(t, err)
	var cases []struct {
		Images, Classes int
		Objects         []metrics.Object
		Detections      []metrics.Detection
		All             []float64
		Each            [][]float64
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 3)
	for _, c := range cases {
		m := metrics.NewMatches(c.Objects, c.Detections, c.Images, c.Classes)
		require.InDeltaSlice(t, c.All, figures(m.Summary()), 1e-12)
		require.Len(t, c.Each, c.Classes)
		for class, want := range c.Each {
			require.InDeltaSlice(t, want, figures(m.ClassSummary(class)), 1e-12, "class %d", class)
		}
	}
}

// A difficult object counts neither as found nor as missed, and a second detection of it is wrong.
func TestDifficult(t *testing.T) {
	box, other := metrics.Box{0, 0, 10, 10}, metrics.Box{50, 50, 10, 10}
	objects := []metrics.Object{{Box: box, Area: 100, Difficult: true}, {Box: other, Area: 100}}
	first := metrics.Detection{Box: box, Score: .9}
	right := metrics.Detection{Box: other, Score: .5}
	require.InDelta(t, 1, metrics.NewMatches(objects, []metrics.Detection{first, right}, 1, 1).Summary().AP, 1e-9)
	require.InDelta(t, .5, metrics.NewMatches(objects, []metrics.Detection{first, first, right}, 1, 1).Summary().AP, 1e-9)
	require.Zero(t, metrics.NewMatches(objects, []metrics.Detection{first}, 1, 1).Summary().AP)
}
