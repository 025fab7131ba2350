package cuda

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/optim"
)

// Flags of a chunk.
const (
	chunkProduct = 1 << iota // weight of a product, whose gradient is in activations
	chunkAdapt               // LARS adapts the learning rate
)

// chunk is a range of a network's flat parameter vector that is contiguous in memory: struct chunk in weights.cu.
type chunk struct {
	Offset int32 // in the flat vector
	Count  int32 // number of elements, at most chunkLen
	Tensor int32 // index of its tensor
	Flags  int32
	Level  int32 // level of its group; -1 if shared by all sub-nets
	Pos    int32 // in the group
}

// step says which sub-net is trained, and how: struct step in weights.cu. Addresses are of float32 in device memory.
type step struct {
	LR          [2]float32        // of elements in Base, and in groups
	Size, Decay [2]float32        // coefficients of AdamW, the same
	Root        float32           // another one
	Levels      int32             // number of levels at which the sub-net has a group; other elements are in Base
	Split       int32             // number of levels that have split; elements of other levels are shared, too
	Steps       int32             // number of steps, with this one, whose gradients of shared elements are averaged
	Defer       int32             // 1 if a later step updates the shared elements
	Vectors     int32             // number of state vectors
	Params      int32             // elements of Base and of each of its state vectors
	Momentum    float32           // of the target network, or of a teacher
	Base, State uint64            // [Params], [Vectors, Params]
	Memory      uint64            // the sub-net's memory
	Group       [maxLevels]uint64 // [GroupSize]
	GroupState  [maxLevels]uint64 // [Vectors, GroupSize]
	GroupSize   [maxLevels]int32
}

// weightVector selects the weights themselves; state vectors are 0, 1, ...
const weightVector = -1

// gather copies a vector of the sub-net that a step (struct step in device memory) names to a network: to params,
// float32, and to weights, activations, unless zero. chunks has n struct chunk.
func gather(q queue, chunks Buffer, n int, step Buffer, vector int, params, weights Buffer) {
	q.launch("gather", dim1(n), dim1(threads), chunks, step, vector, params, weights)
}

// follow updates a vector of the sub-net that a step names by EMA, ssl.EMA, of the weights of the one that another
// names. The momentum is the first one's.
func follow(q queue, chunks Buffer, n int, step Buffer, vector int, of Buffer) {
	q.launch("follow", dim1(n), dim1(threads), chunks, step, vector, of)
}

// average averages the gradient of the shared elements with those of the steps before that deferred, and keeps their sum
// in sums, a flat vector, if this one does, too.
func average(q queue, chunks Buffer, n int, step, grads, dweights, sums Buffer) {
	q.launch("average", dim1(n), dim1(threads), chunks, step, grads, dweights, sums)
}

// recall copies the first n elements of the memory of a step's sub-net to activations, from offset on.
func recall(q queue, step, to Buffer, offset, n int) {
	q.launch("recall", dim1(ceil(n, threads)), dim1(threads), step, to, offset, n)
}

// remember copies the first n activations there.
func remember(q queue, step, from Buffer, n int) {
	q.launch("remember", dim1(ceil(n, threads)), dim1(threads), step, from, n)
}

// convert rounds x, float32, to activations y.
func convert(q queue, x, y Buffer) {
	q.launch("convert", dim1(ceil(x.Len, threads*converted)), dim1(threads), x, y, uint64(x.Len))
}

// optimizer is an optim.Optimizer on the GPU. It updates weights and state in place, at the addresses of a step.
type optimizer struct {
	q       queue
	of      optim.Optimizer
	chunks  Buffer // struct chunk
	n       int    // number of chunks
	tensors int
	squares Buffer // float32 [n, 2]: of weights and gradient, for LARS
	ratios  Buffer // float32 [tensors], for LARS
}

// newOptimizer returns an optimizer for parameters split into chunks, which are given in device memory and on the host.
// Chunks must be sorted by tensor, and tensors are numbered from 0. It panics if they are not, or if there are no
// kernels for the optimizer.
func newOptimizer(q queue, m memory, o optim.Optimizer, chunks Buffer, host []chunk, tensors int) *optimizer {
	last := int32(0)
	for i, c := range host {
		if c.Tensor < last || int(c.Tensor) >= tensors || c.Count > chunkLen {
			panic(fmt.Sprintf("cuda: newOptimizer: chunk %d has %d elements of tensor %d, after one "+
				"of tensor %d of %d; sort chunks by tensor, with at most %d elements each",
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
		panic(fmt.Sprintf("cuda: newOptimizer: no kernels for %T; use optim.SGD, *optim.LARS or optim.AdamW", o))
	}
	return u
}

// update performs a step. params are the gathered parameters, float32; their gradients are dweights (activations) for
// products' weights and grads (float32) for all others. Each is a flat vector. step is a struct step in device memory.
func (u *optimizer) update(params, grads, dweights, step Buffer) {
	block, blocks := dim1(threads), dim1(u.n)
	switch o := u.of.(type) {
	case optim.SGD:
		u.q.launch("sgd", blocks, block, u.chunks, step, params, grads, dweights,
			o.Momentum, o.WeightDecay, o.Nesterov)
	case *optim.LARS:
		sgd, trust := o.Settings()
		u.q.launch("lars_norms", blocks, block, u.chunks, params, grads, dweights, u.squares)
		u.q.launch("lars_ratios", dim1(u.tensors), block, u.chunks, u.n, u.squares, u.ratios,
			float32(trust), sgd.WeightDecay)
		u.q.launch("lars", blocks, block, u.chunks, step, params, grads, dweights, u.ratios,
			sgd.Momentum, sgd.WeightDecay, sgd.Nesterov)
	case optim.AdamW:
		u.q.launch("adamw", blocks, block, u.chunks, step, params, grads, dweights,
			float32(1-o.Beta1), float32(1-o.Beta2))
	}
}

// fill sets the fields of a step that depend on the learning rates, of elements in Base and of those in groups, and the
// step number n, counted from 1.
func (u *optimizer) fill(s *step, base, groups float32, n int) {
	s.LR = [2]float32{base, groups}
	o, ok := u.of.(optim.AdamW)
	if !ok {
		return
	}
	// The step size takes in both bias corrections, as in package optim.
	root := math.Sqrt(1 - math.Pow(o.Beta2, float64(n)))
	for i, lr := range s.LR {
		rate := float64(lr)
		s.Size[i] = float32(rate * root / (1 - math.Pow(o.Beta1, float64(n))))
		s.Decay[i] = float32(1 - rate*o.WeightDecay)
	}
	s.Root = float32(o.Epsilon * root)
}
