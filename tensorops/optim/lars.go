package optim

import (
	"fmt"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// LARS is SGD with a learning rate adapted per tensor (You et al., arXiv 1708.03888), for large batches. As in SimCLR,
// the d of SGD.Step is multiplied by
//
//	trust·|w| / (|g| + WeightDecay·|w|)
//
// with the norms of the tensor and its gradient, unless one of them is 0. Create it with NewLARS; it must not be used
// by two goroutines at once.
type LARS struct {
	sgd     SGD
	trust   float64
	tensors []Tensor
	size    int // sum over tensors

	zeros, sums, squares [1024]float32 // scratch of norm
}

// Tensor is a segment of the flat parameter vector.
type Tensor struct {
	Size int // number of parameters
	// Adapt is false for biases and BatchNorm parameters, which get SGD without adaptation or weight decay.
	Adapt bool
}

// NewLARS returns LARS for a parameter vector that consists of the given tensors, in order. The trust coefficient is
// usually 0.001.
func NewLARS(sgd SGD, trust float64, tensors []Tensor) *LARS {
	o := &LARS{sgd: sgd, trust: trust, tensors: slices.Clone(tensors)}
	for _, t := range tensors {
		o.size += t.Size
	}
	return o
}

// Settings returns the arguments of NewLARS other than the tensors.
func (o *LARS) Settings() (sgd SGD, trust float64) { return o.sgd, o.trust }

// Vectors returns 1: the velocity.
func (o *LARS) Vectors() int { return 1 }

// Update performs a step; it does not depend on n.
func (o *LARS) Update(w, g, velocity []float32, lr float32, _ int) {
	check("LARS.Update", w, g, velocity, 1)
	if len(w) != o.size {
		panic(fmt.Sprintf("optim: LARS.Update: %d parameters; the tensors have %d", len(w), o.size))
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

// ratio returns the factor for the gradient g of a tensor w.
func (o *LARS) ratio(w, g []float32) float32 {
	const epsilon = 1e-8 // as in other implementations
	weights, gradient := o.norm(w), o.norm(g)
	if gradient == 0 {
		return 0
	}
	return float32(o.trust * weights / (gradient + float64(o.sgd.WeightDecay)*weights + epsilon))
}

// norm returns the Euclidean norm of x. It accumulates short partial sums in float32 and their total in float64.
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
