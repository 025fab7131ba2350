package optim

import (
	"math"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), as in torch.optim.AdamW:
//
//	m = Beta1·m + (1-Beta1)·g
//	v = Beta2·v + (1-Beta2)·g²
//	w = (1 - lr·WeightDecay)·w - lr · m/(1-Beta1ⁿ) / (√(v/(1-Beta2ⁿ)) + Epsilon)
//
// Its state is m, then v.
type AdamW struct {
	Beta1       float64 // decay rate of m
	Beta2       float64 // decay rate of v
	Epsilon     float64 // added to the denominator
	WeightDecay float64 // multiplied by the learning rate
}

// Vectors returns 2: the averages of the gradient and of its square.
func (o AdamW) Vectors() int { return 2 }

// Update performs step n, counted from 1.
func (o AdamW) Update(w, g, state []float32, lr float32, n int) {
	check("AdamW.Update", w, g, state, 2)
	// The step size takes in both bias corrections, that of v moved out of the root: √(v/c) + ε = (√v + ε√c) / √c.
	rate, root := float64(lr), math.Sqrt(1-math.Pow(o.Beta2, float64(n)))
	size := rate * root / (1 - math.Pow(o.Beta1, float64(n)))
	vecs.AdamW(w, g, state[:len(w)], state[len(w):], float32(1-rate*o.WeightDecay),
		float32(1-o.Beta1), float32(1-o.Beta2), float32(size), float32(o.Epsilon*root))
}
