package report

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

func taskOf(routed, unified float64, n int64) evaluate.Task {
	return evaluate.Task{Name: "t", Routed: &routed, Unified: &unified, TestImages: n}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		tasks                        []evaluate.Task
		difference, figures, verdict string
	}{
		{[]evaluate.Task{taskOf(60, 50, 10000)}, "10.0 points above", "60.0\u00a0% against 50.0\u00a0%",
			"The standard error is 0.7: the difference is more than twice that and unlikely to be chance."},
		{[]evaluate.Task{taskOf(49.6, 50, 100), taskOf(50, 50, 100)}, "0.2 points below", "49.8\u00a0% against 50.0\u00a0%",
			"The standard error is 5.0: the difference is within twice that and may be chance."},
		{[]evaluate.Task{taskOf(50.04, 50, 100)}, "level with", "50.0\u00a0% against 50.0\u00a0%",
			"The standard error is 7.1: the difference is within twice that and may be chance."},
		{[]evaluate.Task{taskOf(30, 40, 0)}, "10.0 points below", "30.0\u00a0% against 40.0\u00a0%",
			"The number of test images is unknown, and so is the standard error."},
		{[]evaluate.Task{taskOf(30, 20, 100), {Name: "no routed", Unified: new(90.)}}, "10.0 points above",
			"30.0\u00a0% against 20.0\u00a0%, over the 1 of 2 tasks that have both results",
			"The standard error is 6.1: the difference is within twice that and may be chance."},
	} {
		got := compare(c.tasks)
		require.Len(t, got, 1)
		require.Equal(t, "the unified net", got[0].Baseline)
		require.Equal(t, c.difference, got[0].Difference())
		require.Equal(t, c.figures, got[0].Figures())
		require.Equal(t, c.verdict, got[0].Verdict())
	}
	require.Empty(t, compare(nil))
}

// TestStandardError draws random test sets and compares the spread of the difference of the means with the formula.
func TestStandardError(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shares := [][2]float64{{.3, .35}, {.8, .7}, {.95, .9}}
	images := []int64{50, 200, 100}
	var tasks []evaluate.Task
	for i, s := range shares {
		tasks = append(tasks, taskOf(100*s[0], 100*s[1], images[i]))
	}
	draw := func(p float64, n int64) (percent float64) {
		for range n {
			if r.Float64() < p {
				percent += 100 / float64(n)
			}
		}
		return percent
	}
	const trials = 4000
	var sum, squares float64
	for range trials {
		var d float64
		for i, s := range shares {
			d += (draw(s[0], images[i]) - draw(s[1], images[i])) / float64(len(shares))
		}
		sum += d
		squares += d * d
	}
	spread := math.Sqrt(squares/trials - sum/trials*sum/trials)
	require.InEpsilon(t, spread, compare(tasks)[0].Err, .04)
}

func TestChoices(t *testing.T) {
	require.Equal(t, []chosen{{"b", []string{"2", "4"}}, {"a", []string{"3"}}, {"c", []string{"1"}}}, choices([]evaluate.Task{
		{Name: "1", Subnet: "c"}, {Name: "2", Subnet: "b"}, {Name: "3", Subnet: "a"}, {Name: "4", Subnet: "b"}, {Name: "5"},
	}))
}
