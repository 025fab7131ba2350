package cuda

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/optim"
)

// chunkLen is the largest number of elements of a chunk.
const chunkLen = 4096

// Flags of a chunk.
const (
	chunkProduct = 1 << iota // weight of a product: its gradient is of activations
	chunkAdapt               // LARS scales its steps
)

// chunk is a run of a network's flat vector of parameters that lies in one piece: struct chunk of weights.cu.
type chunk struct {
	Offset int32 // in the flat vector
	Count  int32 // elements, chunkLen at most
	Tensor int32 // that it is of
	Flags  int32
	Level  int32 // level of the group that holds it, -1: what all sub-nets share
	Pos    int32 // in the group
}

// step says which sub-net is trained, and how fast: struct step of weights.cu. Addresses are of float32 in device
// memory.
type step struct {
	LR                float32
	Size, Decay, Root float32           // coefficients of AdamW
	Levels            int32             // groups of the sub-net; what other levels would hold is in Base
	Vectors           int32             // of the state beside the weights
	Params            int32             // elements of Base and of a vector of its state
	Momentum          float32           // of a target network
	Base, State       uint64            // [Params], [Vectors, Params]
	Group             [maxLevels]uint64 // [GroupSize]
	GroupState        [maxLevels]uint64 // [Vectors, GroupSize]
	GroupSize         [maxLevels]int32
}

// weightVector is the vector of the weights themselves; those beside them are 0, 1, ...
const weightVector = -1

// gather makes a vector of the sub-net that a step (struct step, in device memory) names the weights of a network:
// params, float32, and weights, activations, unless none. chunks holds n of struct chunk.
func gather(q queue, chunks Buffer, n int, step Buffer, vector int, params, weights Buffer) {
	q.launch("gather", line(n), line(threads), chunks, step, vector, params, weights)
}

// follow moves a vector beside the weights towards them: ssl.EMA.
func follow(q queue, chunks Buffer, n int, step Buffer, vector int) {
	q.launch("follow", line(n), line(threads), chunks, step, vector)
}

// convert sets the activations y to x, float32, rounded.
func convert(q queue, x, y Buffer) {
	q.launch("convert", line(ceil(x.Len, threads*converted)), line(threads), x, y, uint64(x.Len))
}

// optimizer is an optim.Optimizer on the GPU. It updates weights and state where a step says they lie.
type optimizer struct {
	q       queue
	of      optim.Optimizer
	chunks  Buffer // of struct chunk
	n       int    // chunks
	tensors int
	squares Buffer // float32 [n, 2]: of weights and gradient, for LARS
	ratios  Buffer // float32 [tensors], for LARS
}

// newOptimizer prepares an optimizer for the parameters that chunks cut, in device memory and on the host; those of a
// tensor follow each other, and tensors are numbered from 0 on. It panics where they do not, and for an optimizer that
// has no kernels.
func newOptimizer(q queue, m memory, o optim.Optimizer, chunks Buffer, host []chunk, tensors int) *optimizer {
	last := int32(0)
	for i, c := range host {
		if c.Tensor < last || int(c.Tensor) >= tensors || c.Count > chunkLen {
			panic(fmt.Sprintf("cuda: newOptimizer: chunk %d of %d elements is of tensor %d, after one "+
				"of tensor %d of %d; sort chunks by tensor and cut them to %d elements",
				i, c.Count, c.Tensor, last, tensors, chunkLen))
		}
		last = c.Tensor
	}
	u := &optimizer{q: q, of: o, chunks: chunks, n: len(host), tensors: tensors}
	switch o.(type) {
	case optim.SGD, optim.AdamW:
	case *optim.LARS:
		u.squares, u.ratios = m.floats(2*u.n), m.floats(tensors)
	default:
		panic(fmt.Sprintf("cuda: newOptimizer: no kernels for %T; take optim.SGD, *optim.LARS or optim.AdamW", o))
	}
	return u
}

// update takes a step: from params, float32, as they were gathered, and their gradients, dweights (activations) for the
// weights of products and grads (float32) for all others, each a flat vector. step is a struct step in device memory.
func (u *optimizer) update(params, grads, dweights, step Buffer) {
	block, blocks := line(threads), line(u.n)
	switch o := u.of.(type) {
	case optim.SGD:
		u.q.launch("sgd", blocks, block, u.chunks, step, params, grads, dweights,
			o.Momentum, o.WeightDecay, o.Nesterov)
	case *optim.LARS:
		sgd, trust := o.Settings()
		u.q.launch("lars_norms", blocks, block, u.chunks, params, grads, dweights, u.squares)
		u.q.launch("lars_ratios", line(u.tensors), block, u.chunks, u.n, u.squares, u.ratios,
			float32(trust), sgd.WeightDecay)
		u.q.launch("lars", blocks, block, u.chunks, step, params, grads, dweights, u.ratios,
			sgd.Momentum, sgd.WeightDecay, sgd.Nesterov)
	case optim.AdamW:
		u.q.launch("adamw", blocks, block, u.chunks, step, params, grads, dweights,
			float32(1-o.Beta1), float32(1-o.Beta2))
	}
}

// fill sets what a step has of the learning rate and of its number n, counted from 1.
func (u *optimizer) fill(s *step, lr float32, n int) {
	s.LR = lr
	o, ok := u.of.(optim.AdamW)
	if !ok {
		return
	}
	// Both corrections go into the step's size, one of them out of the root, as in optim.
	rate, root := float64(lr), math.Sqrt(1-math.Pow(o.Beta2, float64(n)))
	s.Size = float32(rate * root / (1 - math.Pow(o.Beta1, float64(n))))
	s.Decay, s.Root = float32(1-rate*o.WeightDecay), float32(o.Epsilon*root)
}
