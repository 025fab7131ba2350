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

// TestEpisodes compares the paired difference of episodes, which is much more certain than that of two independent means,
// with the normal approximation.
func TestEpisodes(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	result := func(net string, candidate bool) evaluate.Row {
		return evaluate.Row{
			Task: "birds", Metric: tasks.Top1, Protocol: "fewshot5", Subnet: net, Norm: route.NormTraining,
			Interval: 1.25, TestImages: 90, Candidate: candidate, Routed: candidate,
		}
	}
	routed, unified := result("2", true), result("unified", false)
	const n = 600
	sum, squares := 0., 0.
	for range n {
		both := random.Float64() // how hard the episode is
		gain := .01 + .05*random.NormFloat64()
		routed.Scores, unified.Scores = append(routed.Scores, both+gain), append(unified.Scores, both)
		routed.Value, unified.Value = routed.Value+100*(both+gain)/n, unified.Value+100*both/n
		sum, squares = sum+gain, squares+gain*gain
	}
	found := evaluate.Collect([]evaluate.Row{routed, unified}, nil)
	require.Len(t, found.Comparisons, 2*2, "of the mean and the task, with either baseline, which is the same net")
	for _, c := range found.Comparisons {
		require.Equal(t, n, c.Episodes)
		require.InDelta(t, 100*sum/n, c.Difference, 1e-4)
		require.InEpsilon(t, 2*1.96*100*math.Sqrt((squares/n-sum/n*sum/n)/n), c.High-c.Low, .05)
		require.False(t, c.Level)
		require.Zero(t, c.Gained+c.Lost)
	}
	var out bytes.Buffer
	require.NoError(t, found.WriteTable(&out))
	require.Contains(t, out.String(), "routed - unified: "+found.Comparisons[0].String()+", 95 % interval over episodes, mean of 1 tasks\n")
	out.Reset()
	require.NoError(t, found.WriteCSV(&out))
	require.Regexp(t, `,routed,interval,subnet,.*\nbirds,top1,fewshot5,(.*,)+1.2500,2,training,`, out.String())

	unified.Scores = nil
	require.Empty(t, evaluate.Collect([]evaluate.Row{routed, unified}, nil).Comparisons, "there are no episodes to pair")
	require.Equal(t, evaluate.Form(nil), evaluate.Form([]string{"knn", "finetune"}), "only rows of episodes have changed")
	require.NotEqual(t, evaluate.Form(nil), evaluate.Form([]string{"knn", "fewshot1"}))
}
