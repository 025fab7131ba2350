package evaluate_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// TestComparisons compares the intervals of paired differences with the normal approximation (for a metric by image, the
// variance of McNemar's test), and the counts with those of the images.
func TestComparisons(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var rows []evaluate.Row
	type expected struct{ difference, variance, gained, lost float64 }
	want := map[string]expected{}
	for _, task := range []struct {
		name, metric string
		sizes        []int // of its classes
	}{{"birds", tasks.Top1, []int{1500, 500}}, {"pets", tasks.MeanPerClass, []int{1200, 300}}} {
		routed := evaluate.Row{Task: task.name, Metric: task.metric, Protocol: "knn", Subnet: "2", Norm: route.NormTraining, Candidate: true, Routed: true}
		unified := evaluate.Row{Task: task.name, Metric: task.metric, Protocol: "knn", Subnet: "unified", Norm: route.NormTraining}
		var e expected
		images := float64(task.sizes[0] + task.sizes[1])
		for class, size := range task.sizes {
			label, sum, squares := int32(class), 0., 0.
			for range size {
				a, b := label, label
				switch u := random.Float64(); {
				case u < .4: // both wrong
					a, b = 1-label, 1-label
				case u < .5:
					b = 1 - label
					sum, squares, e.gained = sum+1, squares+1, e.gained+1
				case u < .55:
					a = 1 - label
					sum, squares, e.lost = sum-1, squares+1, e.lost+1
				}
				for _, r := range []*evaluate.Row{&routed, &unified} {
					r.Labels = append(r.Labels, label)
				}
				routed.Predicted, unified.Predicted = append(routed.Predicted, a), append(unified.Predicted, b)
			}
			n, weight := float64(size), float64(size)/images
			if task.metric == tasks.MeanPerClass {
				weight = .5
			}
			e.difference += weight * sum / n
			e.variance += weight * weight * (squares/n - sum/n*sum/n) / n
		}
		if task.metric == tasks.Top1 {
			d := (e.gained - e.lost) / images
			e.variance = ((e.gained+e.lost)/images - d*d) / images
		}
		want[task.name] = e
		for _, r := range []*evaluate.Row{&routed, &unified} {
			labels, predicted := r.Classes()
			r.Value, r.TestImages = tasks.Percent(r.Metric, predicted, labels), int64(len(labels))
		}
		rows = append(rows, routed, unified)
	}
	b, p := want["birds"], want["pets"]
	want[""] = expected{(b.difference + p.difference) / 2, (b.variance + p.variance) / 4, b.gained + p.gained, b.lost + p.lost}

	found := evaluate.Collect(rows, nil)
	require.Len(t, found.Comparisons, 2*3, "of the unified net, and with its best norm, which is the same")
	for _, c := range found.Comparisons {
		e := want[c.Task]
		require.InDelta(t, 100*e.difference, c.Difference, 1e-4, c.Task)
		require.InDelta(t, c.Routed-c.Base, c.Difference, 1e-4)
		require.InEpsilon(t, 2*1.96*100*math.Sqrt(e.variance), c.High-c.Low, .05, "%+v", c)
		require.InDelta(t, c.Difference, (c.Low+c.High)/2, .2)
		require.EqualValues(t, e.gained, c.Gained)
		require.EqualValues(t, e.lost, c.Lost)
		require.Equal(t, c.Task == "", c.Tasks == 2)
		require.False(t, c.Level)
	}
	for i, task := range []string{"birds", "pets"} {
		c, e := evaluate.Difference(rows[2*i], rows[2*i+1]), want[task]
		require.InDelta(t, 100*e.difference, c.Difference, 1e-4)
		require.InEpsilon(t, 2*1.96*100*math.Sqrt(e.variance), c.High-c.Low, .05, "%+v", c)
		require.Equal(t, []any{task, "unified", int64(e.gained), int64(e.lost)}, []any{c.Task, c.Over, c.Gained, c.Lost})
	}
	var out bytes.Buffer
	require.NoError(t, found.WriteTable(&out))
	require.Contains(t, out.String(), "routed - unified: "+found.Comparisons[0].String()+", 95 % interval over test images, mean of 2 tasks\n")

	rows[0].Predicted = rows[1].Predicted // both nets of birds are the same
	same := evaluate.Collect(rows, nil).Comparisons[1]
	require.Equal(t, "birds", same.Task)
	require.True(t, same.Level)
	require.Equal(t, "+0.0 (+0.0 to +0.0) level", same.String())

	rows[0].Labels = nil
	require.Equal(t, 1, evaluate.Collect(rows, nil).Comparisons[0].Tasks, "a task without predictions is left out")
}
