// Package optim updates flat parameter vectors: stochastic gradient descent
// with PyTorch's semantics, and the learning-rate schedule of a run.
package optim

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// SGD is stochastic gradient descent with momentum and weight decay, as
// torch.optim.SGD computes it (no dampening, no Nesterov).
type SGD struct {
	Momentum    float32 // share of the velocity that survives a step
	WeightDecay float32 // added to the gradient as WeightDecay·w
}

// Step updates a segment of the parameters w in place from its gradient g and
// velocity v, which starts as zeros:
//
//	v = Momentum·v + (g + WeightDecay·w)
//	w = w - lr·v
//
// Segments may be stepped separately, so groups of parameters can have their
// own settings. Step panics when the lengths differ.
func (o SGD) Step(w, g, v []float32, lr float32) {
	if len(g) != len(w) || len(v) != len(w) {
		panic(fmt.Sprintf("optim: SGD.Step: %d parameters, %d gradients, %d velocities; give three slices of one length",
			len(w), len(g), len(v)))
	}
	vecs.Step(w, g, v, lr, o.Momentum, o.WeightDecay)
}

// Cosine is the learning rate of a step (0 ≤ step < total): linear warm-up to
// base over the first warmup steps, reaching it at step warmup-1, then a
// cosine from base at step warmup down to 0 at step total (SGDR,
// arXiv 1608.03983, eq. 5, without restarts).
func Cosine(step, total, warmup int, base float64) float64 {
	if step < warmup {
		return base * float64(step+1) / float64(warmup)
	}
	if step >= total {
		return 0
	}
	return base * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(total-warmup))) / 2
}
