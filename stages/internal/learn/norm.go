package learn

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Model returns a recipe's model with the given parameters and with BatchNorm statistics of a random sample of rows,
// train.norm_images of them. key selects the random stream.
func Model(r *recipe.Recipe, params []float32, images Images, rows []int32, key uint64, pool *kernels.Pool) (*inference.Model, error) {
	m := WithoutStats(r, params)
	order := rng.New(r.Seed, rng.Sample, key).Perm(len(rows))
	var err error
	m.Stats, err = inference.Estimate(pool, m, min(len(rows), r.Train.NormImages), func(i int) []uint8 {
		return images.At(int(rows[order[i%len(rows)]]))
	})
	return m, err
}

// WithoutStats returns a recipe's model with the given parameters, without BatchNorm statistics.
func WithoutStats(r *recipe.Recipe, params []float32) *inference.Model {
	return &inference.Model{
		Model: nn.Model{Backbone: r.Backbone, Heads: r.Heads(), Params: params},
		Input: inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std},
	}
}
