package logistic_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/logistic"
	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// matrix returns data as rows of dim values on an engine of p.
func matrix(p *kernels.Pool, data []float32, dim int) *tensor.Dense {
	return dense.NewEngine(p).Matrix(data, len(data)/dim, dim)
}

// at returns the default configuration with the given C.
func at(c ...float64) logistic.Config {
	cfg := logistic.Default
	cfg.C = c
	return cfg
}

// TestAgainstScikitLearn compares with what testdata/make_golden.py writes.
func TestAgainstScikitLearn(t *testing.T) {
	var cases []struct {
		Dim, Classes int
		C, Loss      float64
		Train, Test  []float32
		Labels, Pred []int64
		Weight, Last []float64
	}
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 4)
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, c := range cases {
		m, err := logistic.Fit(matrix(pool, c.Train, c.Dim), c.Labels, c.Classes, at(c.C))
		require.NoError(t, err)
		require.Less(t, m.Iterations, logistic.Default.MaxIterations)
		require.Equal(t, c.C, m.C)
		require.InDelta(t, c.Loss, m.Loss, 2e-5)
		require.Equal(t, tensor.Shape{c.Classes, c.Dim + 1}, m.Weight.Shape())
		for i, w := range c.Weight {
			require.InDelta(t, w, m.Weight.Data().([]float32)[i], 2e-3, "C %v, weight %d", c.C, i)
		}
		pred, err := m.Predict(matrix(pool, c.Test, c.Dim))
		require.NoError(t, err)
		require.Equal(t, c.Pred, pred)
		if c.Classes == 2 {
			has := make([]bool, len(c.Labels))
			for i, l := range c.Labels {
				has[i] = l == 1
			}
			of, err := logistic.Probabilities(matrix(pool, c.Train, c.Dim), has, matrix(pool, c.Test, c.Dim), at(c.C))
			require.NoError(t, err)
			require.InDeltaSlice(t, c.Last, of, 1e-3)
		}
	}
}

// TestProbabilities checks that C is chosen by the ranking, that a class that all or no rows have has no regression, and
// that bad rows are refused.
func TestProbabilities(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	data, labels := clouds(1, 400, 8, 2, 3)
	x, has := matrix(pool, data, 8), make([]bool, len(labels))
	for i, l := range labels {
		has[i] = l == 1 && i%3 == 0 // a rare class, so that predicting it for no row is most accurate
	}
	of, err := logistic.Probabilities(x, has, x, logistic.Default)
	require.NoError(t, err)
	with, without, n := 0., 0., 0.
	for i, p := range of {
		require.True(t, p > 0 && p < 1)
		if has[i] {
			with, n = with+float64(p), n+1
		} else {
			without += float64(p)
		}
	}
	require.Greater(t, with/n, 1.3*without/(400-n))
	for want, all := range []bool{false, true} {
		for i := range has {
			has[i] = all
		}
		of, err := logistic.Probabilities(x, has, x, logistic.Default)
		require.NoError(t, err)
		for _, p := range of {
			require.EqualValues(t, want, p)
		}
	}
	_, err = logistic.Probabilities(x, has[1:], x, logistic.Default)
	require.ErrorContains(t, err, "400 rows of features but 399 labels")
	_, err = logistic.Probabilities(x, has, matrix(pool, data, 4), logistic.Default)
	require.ErrorContains(t, err, "the rows to classify have 4 values, but the others have 8")
}

// clouds draws rows around one center per class, at the given distance in units of the noise.
func clouds(seed uint64, rows, dim, classes int, distance float64) ([]float32, []int64) {
	centers := rand.New(rand.NewPCG(1, 1))
	c := make([]float64, classes*dim)
	for i := range c {
		c[i] = distance * centers.NormFloat64() / math.Sqrt(float64(dim))
	}
	random := rand.New(rand.NewPCG(2, seed))
	x, labels := make([]float32, rows*dim), make([]int64, rows)
	for i := range rows {
		labels[i] = int64(random.IntN(classes))
		for j := range dim {
			x[i*dim+j] = float32(c[int(labels[i])*dim+j] + random.NormFloat64())
		}
	}
	return x, labels
}

// TestFewImages fits problems with fewer images than dimensions: every fit terminates, and since all are separable, a
// weak penalty leaves no training errors.
func TestFewImages(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	random := rand.New(rand.NewPCG(5, 5))
	for seed := range uint64(300) {
		rows, dim, classes := 6+random.IntN(20), 30+random.IntN(20), 2+random.IntN(3)
		data, labels := clouds(seed, rows, dim, classes, 1)
		x := matrix(pool, data, dim)
		_, err := logistic.Fit(x, labels, classes, logistic.Default)
		require.NoError(t, err)
		m, err := logistic.Fit(x, labels, classes, at(100))
		require.NoError(t, err)
		pred, err := m.Predict(x)
		require.NoError(t, err)
		require.Equal(t, labels, pred, "seed %d", seed)
	}
}

// TestChoosesC checks that a good C is found in a noisy problem, where a weak penalty overfits, that the result equals
// a fit with that C alone, and that it is bitwise the same for any number of threads.
func TestChoosesC(t *testing.T) {
	const dim, classes = 60, 5
	x, labels := clouds(3, 300, dim, classes, 2)
	testX, truth := clouds(4, 2000, dim, classes, 2)
	one, three := kernels.NewPool(1), kernels.NewPool(3)
	defer one.Close()
	defer three.Close()
	m, err := logistic.Fit(matrix(three, x, dim), labels, classes, at(1e3, 1e-9, 1e-2))
	require.NoError(t, err)
	require.Equal(t, 1e-2, m.C)
	again, err := logistic.Fit(matrix(one, x, dim), labels, classes, at(1e-2))
	require.NoError(t, err)
	require.Equal(t, again.Weight.Data(), m.Weight.Data())
	require.Equal(t, again.Loss, m.Loss)
	weak, err := logistic.Fit(matrix(three, x, dim), labels, classes, at(1e3))
	require.NoError(t, err)
	accuracy := func(m *logistic.Model) float64 {
		pred, err := m.Predict(matrix(three, testX, dim))
		require.NoError(t, err)
		return metrics.Accuracy(pred, truth)
	}
	require.Greater(t, accuracy(m), accuracy(weak)+0.03)
	require.Greater(t, accuracy(m), 0.7)
}

// TestSeparable fits linearly separable classes without training errors, with absent classes and fewer rows than a
// fold.
func TestSeparable(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	x, labels := matrix(pool, []float32{0, 1e6, 1, 1e6, 2, 1e6, 3, 1e6}, 2), []int64{1, 1, 3, 3}
	m, err := logistic.Fit(x, labels, 5, at(1e6))
	require.NoError(t, err)
	pred, err := m.Predict(x)
	require.NoError(t, err)
	require.Equal(t, labels, pred)
	require.Less(t, m.Loss, 0.01)
	m, err = logistic.Fit(x, labels, 5, logistic.Default)
	require.NoError(t, err)
	require.Equal(t, 1., m.C, "too few images are held out to choose")
	m, err = logistic.Fit(matrix(pool, []float32{0, 1e6}, 2), []int64{0}, 1, logistic.Default)
	require.NoError(t, err)
	require.Zero(t, m.Loss)
}

func TestErrors(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	x, labels, inf := matrix(pool, []float32{1, 2, 3, 4}, 2), []int64{0, 1}, float32(math.Inf(1))
	for _, c := range []struct {
		want   string
		x      *tensor.Dense
		labels []int64
		cfg    logistic.Config
	}{
		{"logistic: 2 rows of features but 1 labels, must be equally many", x, labels[:1], logistic.Default},
		{"logistic: label of row 1 is -1, must be in [0, 2)", x, []int64{0, -1}, logistic.Default},
		{"logistic: features have a +Inf in row 1, column 0; did the model that made them diverge?", matrix(pool, []float32{1, 1, inf, 1}, 2), labels, logistic.Default},
		{"logistic: dense: the tensor's engine is a tensor.StdEng; make the tensor with dense.Engine.Matrix, or get it from record.Dense", tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float32)), labels, logistic.Default},
		{"logistic: C is [], must be one or more numbers above 0", x, labels, at()},
		{"logistic: C is [1 0], must be one or more numbers above 0", x, labels, at(1, 0)},
		{"logistic: MaxIterations is 0 and Tolerance 0, both must be above 0", x, labels, logistic.Config{C: []float64{1}}},
	} {
		_, err := logistic.Fit(c.x, c.labels, 2, c.cfg)
		require.EqualError(t, err, c.want)
	}
	m, err := logistic.Fit(x, labels, 2, at(1))
	require.NoError(t, err)
	_, err = m.Predict(matrix(pool, []float32{1, 2, 3}, 3))
	require.EqualError(t, err, "logistic: the features have 3 values, but the model was fitted on 2")
}

func BenchmarkFit(b *testing.B) {
	data, labels := clouds(5, 6000, 128, 100, 6)
	pool := kernels.NewPool(0)
	defer pool.Close()
	x := matrix(pool, data, 128)
	for b.Loop() {
		_, err := logistic.Fit(x, labels, 100, logistic.Default)
		require.NoError(b, err)
	}
}
