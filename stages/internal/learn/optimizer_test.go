package learn

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
)

// TestOptimizer checks that every key of the recipe reaches its optimizer.
func TestOptimizer(t *testing.T) {
	layout := nn.NewLayout(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}, nn.Heads{ProjectorDim: 3, ProjectorLayers: 1})
	train := recipe.Train{
		Optimizer: recipe.SGD, Momentum: .5, Nesterov: true, WeightDecay: .25, Betas: [2]float64{.7, .8}, Epsilon: .1, Trust: .02,
	}
	require.Equal(t, optim.SGD{Momentum: .5, WeightDecay: .25, Nesterov: true}, newOptimizer(&train, layout))
	train.Optimizer = recipe.AdamW
	require.Equal(t, optim.AdamW{Beta1: .7, Beta2: .8, Epsilon: .1, WeightDecay: .25}, newOptimizer(&train, layout))

	// With weights of 2 and gradients of 1, LARS moves every weight by lr times trust times the weight, and all other
	// parameters by lr, like SGD without weight decay. Nesterov makes the first step half as large again.
	train.Optimizer = recipe.LARS
	w, g, state := make([]float32, layout.NumParams), make([]float32, layout.NumParams), make([]float32, layout.NumParams)
	for i := range w {
		w[i], g[i] = 2, 1
	}
	newOptimizer(&train, layout).Update(w, g, state, .1, 1)
	kinds := map[nn.Kind]bool{}
	for _, p := range layout.Params {
		kinds[p.Kind] = true
		want := 2 - .1*(1+.5)
		if p.Kind == nn.ConvWeight || p.Kind == nn.LinearWeight {
			want = 2 - .1*(1+.5)*(.02*2)
		}
		for _, got := range w[p.Offset:][:p.Size] {
			require.InDelta(t, want, got, 1e-6, p.Name)
		}
	}
	require.Len(t, kinds, 5)
}
