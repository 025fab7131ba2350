package learn

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// NewNorm returns an inference.Norm for a recipe's backbone, heads and input.
func NewNorm(r *recipe.Recipe, pool *kernels.Pool) *inference.Norm {
	return inference.NewNorm(r.Backbone, r.Heads(), inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std}, pool)
}

// Estimate sets the BatchNorm statistics of a net to those of a random sample of rows, train.norm_images of them. key
// selects the random stream.
func Estimate(n *inference.Norm, r *recipe.Recipe, images Images, rows []int32, key uint64) {
	order := rng.New(r.Seed, rng.Sample, key).Perm(len(rows))
	n.Estimate(min(len(rows), r.Train.NormImages), func(i int) []uint8 { return images.At(int(rows[order[i%len(rows)]])) })
}
