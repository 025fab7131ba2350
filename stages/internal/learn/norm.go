package learn

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Norm estimates the running BatchNorm statistics of a recipe's nets.
type Norm struct {
	// Net is the net; set its Params.
	Net *nn.Net
	// Input says how images are prepared for evaluation, and so here.
	Input inference.Input

	recipe *recipe.Recipe
	pool   *kernels.Pool
	images []float32
}

// normBatch is the batch size for estimating BatchNorm statistics.
const normBatch = 256

// NewNorm returns a Norm for the recipe's backbone and heads.
func NewNorm(r *recipe.Recipe, pool *kernels.Pool) *Norm {
	return &Norm{
		Net:    nn.New(r.Backbone, r.Heads(), r.Input.Size, normBatch, 1, pool, nn.Inference),
		Input:  inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std},
		recipe: r, pool: pool,
		images: make([]float32, normBatch*r.Input.Size*r.Input.Size*3),
	}
}

// Estimate sets the net's Stats to the average batch statistics of a random sample of rows, train.norm_images or a
// little more, prepared as for evaluation. key selects the random stream.
func (n *Norm) Estimate(images Images, rows []int32, key uint64) {
	order := rng.New(n.recipe.Seed, rng.Sample, key).Perm(len(rows))
	pixels := len(n.images) / normBatch
	r := n.Net.NewReestimator()
	for from := 0; from < min(len(rows), n.recipe.Train.NormImages); from += normBatch {
		n.pool.For(normBatch, func(_, i int) {
			row := rows[order[(from+i)%len(rows)]]
			augment.Normalize(n.images[i*pixels:(i+1)*pixels], images.At(int(row)), n.Input.Mean, n.Input.Std)
		})
		n.Net.Forward(n.images, nn.BatchStats)
		r.Add()
	}
	r.Store(n.Net.Stats)
}
