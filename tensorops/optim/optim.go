// Package optim provides SGD, LARS and AdamW on flat parameter vectors, with PyTorch's semantics and in one pass each,
// and the learning rate schedule.
package optim

import "fmt"

// Optimizer updates a flat vector of parameters from its gradient.
type Optimizer interface {
	// Vectors returns the number of state vectors, each as long as the parameters.
	Vectors() int
	// Update performs a step: it changes the parameters w in place, given their gradient g and the learning rate lr.
	// state holds the state vectors, concatenated; it starts as zeros and is all that the optimizer remembers. n is the
	// step number, counted from 1. Update panics if the lengths do not match.
	Update(w, g, state []float32, lr float32, n int)
}

// check panics unless the lengths of the arguments of op match.
func check(op string, w, g, state []float32, vectors int) {
	if len(g) != len(w) || len(state) != vectors*len(w) {
		panic(fmt.Sprintf("optim: %s: %d parameters, %d gradients, %d state values; "+
			"want as many gradients and %d times as many state values", op, len(w), len(g), len(state), vectors))
	}
}
