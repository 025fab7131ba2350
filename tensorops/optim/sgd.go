package optim

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// SGD is stochastic gradient descent with momentum and weight decay, as in torch.optim.SGD (no dampening). Its state is
// the velocity.
type SGD struct {
	Momentum    float32 // decay rate of the velocity
	WeightDecay float32 // added to the gradient as WeightDecay·w
	Nesterov    bool    // Nesterov momentum, see Step
}

// Vectors returns 1: the velocity.
func (o SGD) Vectors() int { return 1 }

// Update calls Step; it does not depend on n.
func (o SGD) Update(w, g, velocity []float32, lr float32, _ int) { o.Step(w, g, velocity, lr) }

// Step updates a segment of the parameters w in place from its gradient g and velocity v, which starts as zeros:
//
//	d = g + WeightDecay·w
//	v = Momentum·v + d
//	w = w - lr·v, with Nesterov w - lr·(d + Momentum·v)
//
// Segments may be updated separately, so parameter groups can have their own settings. Step panics if the lengths
// differ.
func (o SGD) Step(w, g, v []float32, lr float32) {
	if len(g) != len(w) || len(v) != len(w) {
		panic(fmt.Sprintf("optim: SGD.Step: %d parameters, %d gradients, %d velocities; want three slices of equal length",
			len(w), len(g), len(v)))
	}
	o.scaled(w, g, v, lr, 1)
}

// scaled is Step with d multiplied by scale.
func (o SGD) scaled(w, g, v []float32, lr, scale float32) {
	if o.Nesterov {
		vecs.Step(w, g, v, scale, o.WeightDecay, o.Momentum, lr*o.Momentum, lr)
	} else {
		vecs.Step(w, g, v, scale, o.WeightDecay, o.Momentum, lr, 0)
	}
}
