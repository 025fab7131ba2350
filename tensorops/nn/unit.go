package nn

import (
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// unit is a layer at work: a product and the norm that follows it, with the values that it reads and writes.
type unit struct {
	weight  span
	product *kernels.ConvPlan // a linear layer is a convolution of single pixels
	norm    *norm
	from    *unit  // which makes x; nil where x is no unit's output alone
	x       *value // input
	u       *value // the product's output; in the backward pass then its gradient
	y       *value // output; u itself where no backward pass follows
	again   *value // output, made once more for the backward pass; nil where y lives that long
	dx      *value // gradient of the input; nil where nobody asks for it
}

func (u *unit) forward(n *Net, mode BNMode) {
	u.multiply(n)
	u.normalize(n, nil, mode)
}

// multiply is the first half of the forward pass.
func (u *unit) multiply(n *Net) {
	if n.arena.touch(u.x, u.u) {
		u.product.Forward(u.x.data, u.weight.of(n.Params), u.u.data)
	}
}

// normalize is the second half; residual is added before ReLU and may be nil.
func (u *unit) normalize(n *Net, residual *value, mode BNMode) {
	if n.arena.touch(u.u, residual, u.y) {
		u.norm.forward(u.u.data, residual.floats(), u.y.data, n.Params, n.Stats, mode)
	}
}

// backward computes the unit's gradients from the gradient g1 (+ g2 unless nil) of its output, and dx where it is
// wanted. It returns the gradient of the residual, which takes the place of g1.
func (u *unit) backward(n *Net, g1, g2 *value) (residual *value) {
	y := u.output()
	if n.arena.touch(g1, g2, u.u, y) {
		u.norm.backward(g1.data, g2.floats(), u.u.data, y.data, g1.data, u.u.data, n.Params, n.Grads)
	}
	x := u.x
	if u.from != nil {
		x = u.from.recall(n)
	}
	if n.arena.touch(x, u.u) {
		u.product.BackwardWeights(x.data, u.u.data, u.weight.of(n.Grads))
	}
	if u.dx != nil && n.arena.touch(u.u, u.dx) {
		u.product.BackwardData(u.u.data, u.weight.of(n.Params), u.dx.data)
	}
	return g1
}

// recall makes the output anew from the product's, unless it is there still. To keep half of what a block computes is
// enough: this pass costs little beside a product.
func (u *unit) recall(n *Net) *value {
	if u.again != nil && n.arena.touch(u.u, u.again) {
		u.norm.reapply(u.u.data, u.again.data)
	}
	return u.output()
}

// output is where the backward pass finds the output.
func (u *unit) output() *value {
	if u.again != nil {
		return u.again
	}
	return u.y
}

// clearGrads sets the gradients of the unit's parameters to 0.
func (u *unit) clearGrads(grads []float32) {
	for _, s := range []span{u.weight, u.norm.scale, u.norm.shift} {
		clear(s.of(grads))
	}
}

// block is a residual block at work.
type block struct {
	units      []*unit
	downsample *unit // nil where the input is added as it is
}

func (b *block) forward(n *Net, mode BNMode) {
	last := len(b.units) - 1
	for _, u := range b.units[:last] {
		u.forward(n, mode)
	}
	b.units[last].multiply(n)
	shortcut := b.units[0].x
	if b.downsample != nil {
		b.downsample.forward(n, mode)
		shortcut = b.downsample.y
	}
	b.units[last].normalize(n, shortcut, mode)
}

// backward turns the gradient g1 (+ g2 unless nil) of the block's output into that of its input, again a sum.
func (b *block) backward(n *Net, g1, g2 *value) (main, shortcut *value) {
	for i, u := range slices.Backward(b.units) {
		residual := u.backward(n, g1, g2)
		if i == len(b.units)-1 {
			shortcut = residual
		}
		g1, g2 = u.dx, nil
	}
	if b.downsample != nil {
		b.downsample.backward(n, shortcut, nil)
		shortcut = b.downsample.dx
	}
	return g1, shortcut
}
