package optim_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/optim"
)

// TestMatchesPyTorch compares with the golden values of testdata/make_golden.py: PyTorch's optimizers and lightly's
// LARS.
func TestMatchesPyTorch(t *testing.T) {
	var golden struct {
		Sizes          []int
		Rates, Weights []float32
		Gradients      [][]float32
		After          map[string][][]float32
	}
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	var tensors []optim.Tensor
	for i, n := range golden.Sizes {
		tensors = append(tensors, optim.Tensor{Size: n, Adapt: i%2 == 0})
	}
	optimizers := map[string]optim.Optimizer{
		"sgd":           optim.SGD{Momentum: 0.9, WeightDecay: 0.01},
		"nesterov":      optim.SGD{Momentum: 0.8, WeightDecay: 0.02, Nesterov: true},
		"lars":          optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 0.05}, 0.2, tensors),
		"lars nesterov": optim.NewLARS(optim.SGD{Momentum: 0.7, WeightDecay: 0.01, Nesterov: true}, 0.1, tensors),
		"adamw":         optim.AdamW{Beta1: 0.85, Beta2: 0.98, Epsilon: 1e-3, WeightDecay: 0.1},
	}
	require.Len(t, golden.After, len(optimizers))
	for name, o := range optimizers {
		w, state := append([]float32(nil), golden.Weights...), make([]float32, o.Vectors()*len(golden.Weights))
		for i, want := range golden.After[name] {
			g, rate := golden.Gradients[i], golden.Rates[i]
			o.Update(w, g, state, rate, i+1)
			require.InDeltaSlice(t, want, w, 2e-6, "%s, step %d", name, i+1)
		}
		require.Zero(t, testing.AllocsPerRun(3, func() { o.Update(w, golden.Gradients[0], state, 0.1, 1) }), name)
	}
}

// TestLARSOfAnySize compares with a first step in double precision, for concatenated tensors of many sizes.
func TestLARSOfAnySize(t *testing.T) {
	var tensors []optim.Tensor
	n := 0
	for _, size := range []int{1, 1023, 1024, 1025, 0, 16384, 16385, 16384 + 1025} {
		tensors = append(tensors, optim.Tensor{Size: size, Adapt: true})
		n += size
	}
	w, g, v := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range w {
		w[i], g[i] = float32(math.Sin(float64(i+1))), float32(3+math.Cos(float64(i)))
	}
	before := append([]float32(nil), w...)
	optim.NewLARS(optim.SGD{WeightDecay: 0.1}, 0.01, tensors).Update(w, g, v, 0.5, 1)
	for _, tensor := range tensors {
		var weights, gradient float64
		for i := range tensor.Size {
			weights += float64(before[i]) * float64(before[i])
			gradient += float64(g[i]) * float64(g[i])
		}
		weights, gradient = math.Sqrt(weights), math.Sqrt(gradient)
		for i := range tensor.Size {
			d := 0.01 * weights / (gradient + 0.1*weights) * (float64(g[i]) + 0.1*float64(before[i]))
			require.InEpsilon(t, 1+d, 1+v[i], 1e-6)
			require.InEpsilon(t, 2+float64(before[i])-0.5*d, 2+w[i], 1e-6)
		}
		w, g, v, before = w[tensor.Size:], g[tensor.Size:], v[tensor.Size:], before[tensor.Size:]
	}
}

// TestDivergenceShows checks that no optimizer hides a NaN in the gradient.
func TestDivergenceShows(t *testing.T) {
	nan := float32(math.NaN())
	for _, o := range []optim.Optimizer{
		optim.SGD{}, optim.NewLARS(optim.SGD{}, 0.001, []optim.Tensor{{2, true}}), optim.AdamW{Epsilon: 1e-8},
	} {
		w := []float32{1, 2}
		o.Update(w, []float32{nan, 1}, make([]float32, 2*o.Vectors()), 0.1, 1)
		require.True(t, w[0] != w[0])
	}
}

func TestSGDStepsSegmentsAsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		draw := func(name string) []float32 {
			return rapid.SliceOfN(rapid.Float32Range(-4, 4), n, n).Draw(t, name)
		}
		w, g, v := draw("w"), draw("g"), draw("v")
		w2, v2 := append([]float32(nil), w...), append([]float32(nil), v...)
		o := optim.SGD{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: rapid.Bool().Draw(t, "nesterov")}
		o.Step(w, g, v, 0.3)
		o.Step(w2[:cut], g[:cut], v2[:cut], 0.3)
		o.Step(w2[cut:], g[cut:], v2[cut:], 0.3)
		require.Equal(t, w, w2)
		require.Equal(t, v, v2)
	})
}

func TestLengthsAreChecked(t *testing.T) {
	one, two, four := make([]float32, 1), make([]float32, 2), make([]float32, 4)
	require.PanicsWithValue(t,
		"optim: SGD.Step: 2 parameters, 1 gradients, 2 velocities; want three slices of equal length",
		func() { optim.SGD{}.Step(two, one, two, 1) })
	require.PanicsWithValue(t,
		"optim: AdamW.Update: 2 parameters, 2 gradients, 2 state values; want as many gradients and 2 times as many state values",
		func() { optim.AdamW{}.Update(two, two, two, 1, 1) })
	require.PanicsWithValue(t, "optim: LARS.Update: 4 parameters; the tensors have 3",
		func() {
			optim.NewLARS(optim.SGD{}, 1, []optim.Tensor{{1, true}, {2, false}}).Update(four, four, four, 1, 1)
		})
}

func TestCosine(t *testing.T) {
	require.InDelta(t, 0.02, optim.Cosine(0, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(9, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(10, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.1, optim.Cosine(55, 100, 10, 0.2), 1e-12)
	require.InDelta(t, 0.2, optim.Cosine(0, 100, 0, 0.2), 1e-12)
	require.Zero(t, optim.Cosine(100, 100, 10, 0.2))
	require.Zero(t, optim.Cosine(10, 10, 10, 0.2))
	for step := 11; step < 100; step++ {
		require.Less(t, optim.Cosine(step, 100, 10, 0.2), optim.Cosine(step-1, 100, 10, 0.2), "step %d", step)
	}
}

// BenchmarkUpdate measures the optimizers on as many parameters as a ResNet-18's, in tensors of equal size.
func BenchmarkUpdate(b *testing.B) {
	const size, count = 36864, 300
	tensors := make([]optim.Tensor, count)
	for i := range tensors {
		tensors[i] = optim.Tensor{Size: size, Adapt: true}
	}
	for name, o := range map[string]optim.Optimizer{
		"sgd":   optim.SGD{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true},
		"lars":  optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 1e-6}, 0.001, tensors),
		"adamw": optim.AdamW{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01},
	} {
		b.Run(name, func(b *testing.B) {
			w, g, state := make([]float32, size*count), make([]float32, size*count), make([]float32, o.Vectors()*size*count)
			for i := range w {
				w[i], g[i] = 1, 1
			}
			for n := 1; b.Loop(); n++ {
				o.Update(w, g, state, 1e-3, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(w)), "ns/parameter")
		})
	}
}
