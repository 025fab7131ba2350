package optim

import (
	"fmt"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// LARS is SGD with a learning rate of its own for every weight tensor (You et al., arXiv 1708.03888), for large
// batches. As SimCLR has it, the d of SGD.Step is multiplied by
//
//	trust·|w| / (|g| + WeightDecay·|w|)
//
// with the norms of the tensor and its gradient, unless one of them is 0. Make it with NewLARS; it must not be used by
// two goroutines at once.
type LARS struct {
	sgd     SGD
	trust   float64
	tensors []Tensor
	size    int // of all tensors

	zeros, sums, squares [1024]float32 // of norm
}

// Tensor is a run of the flat vector of parameters.
type Tensor struct {
	Size int // number of parameters
	// Adapt is false for biases and BatchNorm parameters, which are updated as SGD without weight decay does.
	Adapt bool
}

// NewLARS returns LARS for the parameters that the tensors make up, in their order. The trust coefficient is usually
// 0.001.
func NewLARS(sgd SGD, trust float64, tensors []Tensor) *LARS {
	o := &LARS{sgd: sgd, trust: trust, tensors: slices.Clone(tensors)}
	for _, t := range tensors {
		o.size += t.Size
	}
	return o
}

// Settings are what NewLARS was given beside the tensors.
func (o *LARS) Settings() (sgd SGD, trust float64) { return o.sgd, o.trust }

// Vectors is 1: the velocity.
func (o *LARS) Vectors() int { return 1 }

// Update takes a step, whatever n is.
func (o *LARS) Update(w, g, velocity []float32, lr float32, _ int) {
	check("LARS.Update", w, g, velocity, 1)
	if len(w) != o.size {
		panic(fmt.Sprintf("optim: LARS.Update: %d parameters; its tensors have %d", len(w), o.size))
	}
	for _, t := range o.tensors {
		sgd, scale := SGD{Momentum: o.sgd.Momentum, Nesterov: o.sgd.Nesterov}, float32(1)
		if t.Adapt {
			if r := o.ratio(w[:t.Size], g[:t.Size]); r > 0 {
				sgd, scale = o.sgd, r
			}
		}
		sgd.scaled(w[:t.Size], g[:t.Size], velocity[:t.Size], lr, scale)
		w, g, velocity = w[t.Size:], g[t.Size:], velocity[t.Size:]
	}
}

// ratio is the factor of the gradient g of a tensor w.
func (o *LARS) ratio(w, g []float32) float32 {
	const epsilon = 1e-8 // that of other implementations
	weights, gradient := o.norm(w), o.norm(g)
	if gradient == 0 {
		return 0
	}
	return float32(o.trust * weights / (gradient + float64(o.sgd.WeightDecay)*weights + epsilon))
}

// norm is the Euclidean norm of x. Sums are short in float32 and go on in float64.
func (o *LARS) norm(x []float32) float64 {
	var sum float64
	for len(x) > 0 {
		n := min(len(x), 16*len(o.zeros))
		tile := min(n, len(o.zeros))
		squares := o.squares[:tile]
		clear(squares)
		vecs.Moments(o.sums[:tile], squares, x[:n], o.zeros[:tile])
		for _, q := range squares {
			sum += float64(q)
		}
		x = x[n:]
	}
	return math.Sqrt(sum)
}
