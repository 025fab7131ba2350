package metrics_test

import (
	_ "embed"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// The tests of package nearest compare with scikit-learn.
func TestFewPredictions(t *testing.T) {
	require.Zero(t, metrics.Accuracy(nil, nil))
	require.Zero(t, metrics.MeanPerClass(nil, nil, 3))
	require.Equal(t, 0.75, metrics.MeanPerClass([]int64{0, 0, 2}, []int64{0, 2, 2}, 4), "absent classes do not count")
}

// TestBootstrap compares the interval of a difference with the normal approximation for many images, and checks that
// pairing counts.
func TestBootstrap(t *testing.T) {
	const images, seeds = 4000, 4
	random := rand.New(rand.NewPCG(1, 2))
	var a, b [][]float32
	var differences []float64
	for seed := range seeds {
		a, b = append(a, make([]float32, images)), append(b, make([]float32, images))
		for i := range images {
			b[seed][i] = float32(random.IntN(2))
			a[seed][i] = b[seed][i]
			if random.IntN(10) == 0 { // one in ten differs, two thirds of these in favor of a
				a[seed][i], b[seed][i] = 1, 0
				if random.IntN(3) == 0 {
					a[seed][i], b[seed][i] = 0, 1
				}
			}
			differences = append(differences, float64(a[seed][i]-b[seed][i]))
		}
	}
	mean, std := stat.MeanStdDev(differences, nil)
	task := metrics.Task{Labels: make([]int64, images)}
	boot := metrics.NewBootstrap([]metrics.Task{task}, seeds)
	left, right := boot.Measure([][][]float32{a}), boot.Measure([][][]float32{b})
	got, each := left.Minus(right).Intervals()
	require.Equal(t, []metrics.Interval{got}, each)
	require.InDelta(t, mean, got.Mean, 1e-6)
	error := std / math.Sqrt(images*seeds)
	width := (got.High - got.Low) / (2 * 1.96 * error)
	require.Greater(t, width, .95)
	require.Less(t, width, 2., "images and seeds each contribute their variance")
	require.InDelta(t, got.Mean, (got.Low+got.High)/2, error/2)
	require.False(t, got.Level())
	again, _ := metrics.NewBootstrap([]metrics.Task{task}, seeds).Measure([][][]float32{a}).Minus(right).Intervals()
	require.Equal(t, got, again, "reproducible")

	swapped, _ := right.Minus(left).Intervals()
	require.InDelta(t, -got.Mean, swapped.Mean, 1e-12)
	same, _ := left.Minus(left).Intervals()
	require.Equal(t, metrics.Interval{}, same)
	require.True(t, same.Level())

	alone, _ := left.Intervals()
	require.InDelta(t, .9/2+.1*2/3, alone.Mean, .02, "a's accuracy")
	require.Greater(t, alone.Mean, alone.Low)
	require.Greater(t, alone.High, alone.Mean)
	require.Greater(t, (alone.High-alone.Low)/(got.High-got.Low), 1.5, "an unpaired interval is wider")
}

// TestTasksCountAlike checks that tasks of different sizes count alike in the mean, and that each has its own interval.
func TestTasksCountAlike(t *testing.T) {
	few, many := make([]float32, 50), make([]float32, 1000)
	for i := range many {
		many[i] = 1
	}
	few[0] = 1
	boot := metrics.NewBootstrap([]metrics.Task{{Labels: make([]int64, 50)}, {Labels: make([]int64, 1000)}}, 2)
	mean, each := boot.Measure([][][]float32{{few, few}, {many, many}}).Intervals()
	require.InDelta(t, (.02+1)/2, mean.Mean, 1e-6)
	require.InDelta(t, .02, each[0].Mean, 1e-6)
	require.Zero(t, each[0].Low)
	require.InDelta(t, .06, each[0].High, .021)
	require.InDelta(t, 1, each[1].Low, 1e-5)
	require.InDelta(t, 1, each[1].High, 1e-5)
	require.InDelta(t, (each[0].High+1)/2, mean.High, 1e-5)
}

func TestBootstrapOfMeansPerClass(t *testing.T) {
	labels, a, b := []int64{0, 0, 0, 0, 5}, []int64{0, 0, 1, 1, 5}, []int64{0, 1, 1, 1, 5}
	difference := func(perClass bool, a []float32) metrics.Interval {
		boot := metrics.NewBootstrap([]metrics.Task{{Labels: labels, MeanPerClass: perClass}}, 1)
		got, _ := boot.Measure([][][]float32{{a}}).Minus(boot.Measure([][][]float32{{metrics.Right(b, labels)}})).Intervals()
		return got
	}
	right := metrics.Right(a, labels)
	got := difference(true, right)
	require.InDelta(t, metrics.MeanPerClass(a, labels, 6)-metrics.MeanPerClass(b, labels, 6), got.Mean, 1e-6)
	require.InDelta(t, 0, got.Low, 1e-6)
	require.True(t, got.Level())
	require.InDelta(t, .2, difference(false, right).Mean, 1e-6)
	right[4] = .5 // two classifiers, of which one is right
	require.InDelta(t, .1, difference(false, right).Mean, 1e-6)
}

// BenchmarkMeasure measures a net on ten tasks of 2,000 test images with three seeds.
func BenchmarkMeasure(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	tasks, right := make([]metrics.Task, 10), make([][][]float32, 10)
	for t := range tasks {
		tasks[t].Labels = make([]int64, 2000)
		for range 3 {
			right[t] = append(right[t], make([]float32, 2000))
			for i := range 2000 {
				right[t][len(right[t])-1][i] = float32(random.IntN(2))
			}
		}
	}
	boot := metrics.NewBootstrap(tasks, 3)
	for b.Loop() {
		boot.Measure(right).Minus(boot.Measure(right)).Intervals()
	}
}

//go:embed testdata/golden.json
var golden []byte

// TestAdjustedMutualInfo compares with scikit-learn; see testdata/make_golden.py.
func TestAdjustedMutualInfo(t *testing.T) {
	var cases []struct {
		Counts [][]int64
		Want   float64
	}
	require.NoError(t, json.Unmarshal(golden, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		require.InDelta(t, c.Want, metrics.AdjustedMutualInfo(c.Counts), 1e-9)
	}
	require.Equal(t, 1., metrics.AdjustedMutualInfo(nil))
	require.Equal(t, 1., metrics.AdjustedMutualInfo([][]int64{{7}}))
}
