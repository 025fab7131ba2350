package study_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/study"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

var of = []tasks.Task{{Name: "birds", Metric: tasks.Top1}, {Name: "pets", Metric: tasks.MeanPerClass}}

// images is the number of test images per task; a quarter has class 1.
const images = 400

// predict returns predictions that are right for the first share of images of each class.
func predict(task, subnet, norm string, share float64) evaluate.Row {
	row := evaluate.Row{Task: task, Protocol: "knn", Subnet: subnet, Norm: norm}
	seen := map[int32]float64{}
	for i := range int32(images) {
		label := int32(0)
		if i%4 == 3 {
			label = 1
		}
		predicted := 1 - label
		if size := images * []float64{.75, .25}[label]; seen[label] < math.Round(share*size) {
			predicted = label
		}
		seen[label]++
		row.Labels, row.Predicted = append(row.Labels, label), append(row.Predicted, predicted)
	}
	return row
}

// add adds a training whose routed net is the given share better than the unified net.
func add(t *testing.T, c *study.Collector, arm string, budget int64, seed uint64, gain float64) {
	var predictions []evaluate.Row
	var scores []route.Score
	for _, task := range of {
		shares := map[string]float64{"random": .25, "unified": .5, "unified_subset_batches": .55, "root": .45, "0": .5 + gain, "1": .7 + gain}
		for subnet, share := range shares {
			predictions = append(predictions, predict(task.Name, subnet, route.NormTraining, share))
		}
		predictions = append(predictions, predict(task.Name, "unified", route.NormTask, .6))
		for subnet, score := range map[string]float64{"root": 40, "0": 80, "1": 60} {
			scores = append(scores, route.Score{Scorer: "knn", Task: task.Name, Subnet: subnet, Norm: route.NormTraining, Candidate: true, Score: score})
		}
		scores = append(scores,
			route.Score{Scorer: "knn", Task: task.Name, Subnet: "unified", Norm: route.NormTraining, Score: 90},
			route.Score{Scorer: "knn", Task: task.Name, Subnet: "unified", Norm: route.NormTask, Score: 91})
	}
	require.NoError(t, c.Add(study.Cell{Arm: arm, Images: budget, Seed: seed}, predictions, scores))
}

// TestCustomized adds nets that are customized.
func TestCustomized(t *testing.T) {
	c := study.NewCollector(of, []string{"knn"}, true)
	var predictions []evaluate.Row
	var scores []route.Score
	for _, task := range of {
		for subnet, share := range map[string]float64{"random": .25, "unified": .5, "unified_subset_batches": .55, "root": .45, "unified_customized": .6, "customized": .65} {
			predictions = append(predictions, predict(task.Name, subnet, route.NormTraining, share))
		}
		scores = append(scores,
			route.Score{Scorer: "knn", Task: task.Name, Subnet: "root", Norm: route.NormTraining, Candidate: true, Score: 1},
			route.Score{Scorer: "knn", Task: task.Name, Subnet: "unified", Norm: route.NormTraining, Score: 1})
	}
	require.NoError(t, c.Add(study.Cell{Arm: "base", Images: 1000, Seed: 1}, predictions, scores))
	r := c.Results()
	require.Equal(t, append(slices.Clone(study.Nets), study.CustomizedNets...), r.Nets())
	line := r.Lines("")[0]
	shown := map[string]float64{}
	for i, d := range study.Differences {
		if line.Over[i] != nil {
			shown[d.Title()] = line.Over[i].Difference
		}
	}
	require.InDeltaMapValues(t, map[string]float64{
		"routed - unified": -5, "routed - unified, best norm": -5, "routed - one-subset batches": -10,
		"customized - unified": 15, "customized - unified, customized": 5, "customized - routed": 20,
	}, shown, 1e-4)
	var out bytes.Buffer
	require.NoError(t, r.WriteTable(&out))
	require.Contains(t, out.String(), "+15.0 (")
	out.Reset()
	require.NoError(t, r.WriteCSV(&out))
	require.Contains(t, out.String(), "customized_over_unified_customized_low")
}

func collected(t *testing.T) *study.Results {
	c := study.NewCollector(of, []string{"knn"}, false)
	for i, arm := range []string{"base", "late"} {
		for _, budget := range []int64{1000, 2000} {
			for _, seed := range []uint64{1, 2} {
				add(t, c, arm, budget, seed, .1*float64(i)*float64(seed-1))
			}
		}
	}
	return c.Results()
}

func TestResults(t *testing.T) {
	r := collected(t)
	require.Len(t, r.Results, 2*2*2*2*7)
	require.Equal(t, study.Result{Arm: "base", Seed: 1, Images: 1000, Protocol: "knn", Task: "birds", Net: "random", Subnet: "random", Norm: "training", Value: 25}, r.Results[0])
	require.Equal(t, []string{"birds", "pets"}, r.Tasks())
	require.Equal(t, 2, r.Seeds())
	subnets := map[string]string{}
	for _, row := range r.Results {
		subnets[row.Net] = row.Subnet
	}
	require.Equal(t, map[string]string{
		"random": "random", "unified": "unified", "unified_best_norm": "unified", "unified_subset_batches": "unified_subset_batches", "routed": "0", "mean": "", "best": "1",
	}, subnets)

	require.Len(t, r.Means, 2*2*7*3)
	mean := func(arm, task, net string) study.Mean {
		for _, m := range r.Means {
			if m.Arm == arm && m.Images == 2000 && m.Task == task && m.Net == net {
				return m
			}
		}
		require.Fail(t, net)
		return study.Mean{}
	}
	for net, want := range map[string]float64{"random": 25, "unified": 50, "unified_best_norm": 60, "unified_subset_batches": 55, "routed": 55, "mean": 55 + 10./3, "best": 75} {
		for _, task := range []string{"", "birds", "pets"} {
			m := mean("late", task, net)
			require.InDelta(t, want, m.Mean, 1e-4, net)
			require.Less(t, m.Low, m.Mean-2)
			require.Greater(t, m.High, m.Mean+2)
		}
	}
	require.Less(t, mean("late", "", "unified").High-mean("late", "", "unified").Low, mean("late", "birds", "unified").High-mean("late", "birds", "unified").Low)

	require.Len(t, r.Comparisons, 3*(2*2*6+2*2))
	compare := func(arm, task, net, overArm, over string) study.Comparison {
		for _, c := range r.Comparisons {
			if c.Arm == arm && c.Images == 2000 && c.Task == task && c.Net == net && c.OverArm == overArm && c.Over == over {
				return c
			}
		}
		require.Fail(t, arm+net+over)
		return study.Comparison{}
	}
	for _, task := range []string{"", "birds", "pets"} {
		same := compare("base", task, "routed", "base", "unified")
		require.Equal(t, []float64{0, 0, 0}, []float64{same.Difference, same.Low, same.High})
		require.True(t, same.Level)
		better := compare("base", task, "unified_subset_batches", "base", "unified")
		require.InDelta(t, 5, better.Difference, 1e-4)
		require.False(t, better.Level)
		seeds := compare("late", task, "routed", "base", "routed")
		require.InDelta(t, 5, seeds.Difference, 1e-4)
		require.InDelta(t, 0, seeds.Low, 1e-9, "with the first seed alone there is no difference")
		require.True(t, seeds.Level)
		require.InDelta(t, 0, compare("late", task, "unified", "base", "unified").High, 1e-9)
		require.InDelta(t, 30, compare("late", task, "routed", "late", "random").Difference, 1e-4)
		require.Less(t, compare("late", task, "routed", "late", "mean").Difference, 0.)
	}
}

func TestTables(t *testing.T) {
	r := collected(t)
	var out bytes.Buffer
	require.NoError(t, r.WriteTable(&out))
	require.Contains(t, out.String(), "knn, % on the test images, mean of tasks (2) and seeds (2)")
	require.Contains(t, out.String(), "+0.0 (+0.0 to +0.0) level")
	require.Equal(t, 4, strings.Count(out.String(), ",000"), "arms and budgets")
	require.Contains(t, out.String(), "first arm's")

	out.Reset()
	require.NoError(t, r.WriteMarkdown(&out))
	require.Equal(t, 6, strings.Count(out.String(), "\n|"), "a header and its line besides")

	out.Reset()
	require.NoError(t, r.WriteCSV(&out))
	rows, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+4*3)
	require.Equal(t, []string{"arm", "images", "protocol", "task", "random", "random_low", "random_high"}, rows[0][:7])
	require.Equal(t, []string{"base", "1000", "knn", "", "25.0000"}, rows[1][:5])
	require.Equal(t, "", rows[1][len(rows[1])-1], "the first arm is not compared with itself")
	require.Equal(t, []string{"late", "2000", "knn", "pets"}, rows[12][:4])
	require.Equal(t, "true", rows[12][len(rows[12])-1])

	out.Reset()
	require.NoError(t, r.WriteJSON(&out))
	var back study.Results
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, *r, back)

	require.Equal(t, "+0.0 (-1.2 to +0.0) level", (&study.Comparison{Difference: -.04, Low: -1.23, High: 0, Level: true}).String())
	c := study.NewCollector(of, []string{"knn"}, false)
	add(t, c, "alone", 1000, 1, 0)
	out.Reset()
	require.NoError(t, c.Results().WriteTable(&out))
	require.NotContains(t, out.String(), "first arm")
}

func TestCollectorErrors(t *testing.T) {
	one := of[:1]
	cell := study.Cell{Arm: "a", Images: 10, Seed: 3}
	scores := []route.Score{{Scorer: "knn", Task: "birds", Subnet: "root", Norm: "training", Candidate: true, Score: 1}, {Scorer: "knn", Task: "birds", Subnet: "unified", Norm: "training"}}
	all := func(labels ...int32) (rows []evaluate.Row) {
		for _, net := range []string{"random", "unified", "unified_subset_batches", "root"} {
			rows = append(rows, evaluate.Row{Task: "birds", Protocol: "knn", Subnet: net, Norm: "training", Labels: labels, Predicted: make([]int32, len(labels))})
		}
		return rows
	}
	c := study.NewCollector(one, []string{"knn"}, false)
	require.Empty(t, c.Results().Means)
	require.EqualError(t, c.Add(cell, nil, scores), "a, 10 images, seed 3, task birds, knn: there are no predictions of the net random with the norm training")
	require.ErrorContains(t, c.Add(cell, all(0, 1), nil), "the router scored no sub-net")
	require.ErrorContains(t, c.Add(cell, all(0, 1), []route.Score{{Scorer: "knn", Task: "birds", Subnet: "7", Norm: "task", Candidate: true}, scores[1]}), "there are no predictions of the net 7 with the norm task")
	require.NoError(t, c.Add(cell, all(0, 1), scores))
	require.ErrorContains(t, c.Add(cell, all(0, 0), scores), "its test images changed")
}
