// Package optim updates flat parameter vectors: SGD, LARS and AdamW with PyTorch's semantics, each in one pass, and
// the learning-rate schedule of a run.
package optim

import "fmt"

// Optimizer updates a flat vector of parameters from its gradient.
type Optimizer interface {
	// Vectors is the number of state vectors that Update works on, each as long as the parameters.
	Vectors() int
	// Update takes a step: it changes the parameters w in place by their gradient g and the learning rate lr. state
	// holds the state vectors one behind the other; it starts as zeros, and is all that an optimizer remembers. n is
	// the number of the step, from 1 on. Update panics when the lengths do not fit.
	Update(w, g, state []float32, lr float32, n int)
}

// check panics unless the operands of op fit each other.
func check(op string, w, g, state []float32, vectors int) {
	if len(g) != len(w) || len(state) != vectors*len(w) {
		panic(fmt.Sprintf("optim: %s: %d parameters, %d gradients, %d values of state; "+
			"give as many gradients and %d times as many values", op, len(w), len(g), len(state), vectors))
	}
}
