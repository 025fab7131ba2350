package nn

import "slices"

// unit is a layer at work: a product and the norm that follows it, with the values that it reads and writes.
type unit[M any] struct {
	layer   Layer
	product Product[M] // a linear layer is a convolution of single pixels
	norm    Norm[M]
	from    *unit[M]  // which makes x; nil where x is no unit's output alone
	x       *value[M] // input
	u       *value[M] // the product's output; in the backward pass then its gradient
	y       *value[M] // output; u itself where no backward pass follows
	again   *value[M] // output, made once more for the backward pass; nil where y lives that long
	dx      *value[M] // gradient of the input; nil where nobody asks for it
}

func (u *unit[M]) forward(g *Graph[M]) {
	u.multiply(g)
	u.normalize(g, nil)
}

// multiply is the first half of the forward pass.
func (u *unit[M]) multiply(g *Graph[M]) {
	if g.arena.touch(u.x, u.u) {
		u.product.Forward(u.x.data, u.u.data)
	}
}

// normalize is the second half; residual is added before ReLU and may be nil.
func (u *unit[M]) normalize(g *Graph[M], residual *value[M]) {
	if g.arena.touch(u.u, residual, u.y) {
		u.norm.Forward(u.u.data, residual.get(), u.y.data)
	}
}

// backward computes the unit's gradients from the gradient g1 (+ g2 unless nil) of its output, and dx where it is
// wanted. It returns the gradient of the residual, which takes the place of g1.
func (u *unit[M]) backward(g *Graph[M], g1, g2 *value[M]) (residual *value[M]) {
	y := u.output()
	if g.arena.touch(g1, g2, u.u, y) {
		u.norm.Backward(g1.data, g2.get(), u.u.data, y.data, g1.data, u.u.data)
	}
	x := u.x
	if u.from != nil {
		x = u.from.recall(g)
	}
	if g.arena.touch(x, u.u) {
		u.product.BackwardWeights(x.data, u.u.data)
	}
	if u.dx != nil && g.arena.touch(u.u, u.dx) {
		u.product.BackwardData(u.u.data, u.dx.data)
	}
	return g1
}

// recall makes the output anew from the product's, unless it is there still. To keep half of what a block computes is
// enough: this pass costs little beside a product.
func (u *unit[M]) recall(g *Graph[M]) *value[M] {
	if u.again != nil && g.arena.touch(u.u, u.again) {
		u.norm.Reapply(u.u.data, u.again.data)
	}
	return u.output()
}

// output is where the backward pass finds the output.
func (u *unit[M]) output() *value[M] {
	if u.again != nil {
		return u.again
	}
	return u.y
}

// block is a residual block at work.
type block[M any] struct {
	units      []*unit[M]
	downsample *unit[M] // nil where the input is added as it is
}

func (b *block[M]) forward(g *Graph[M]) {
	last := len(b.units) - 1
	for _, u := range b.units[:last] {
		u.forward(g)
	}
	b.units[last].multiply(g)
	shortcut := b.units[0].x
	if b.downsample != nil {
		b.downsample.forward(g)
		shortcut = b.downsample.y
	}
	b.units[last].normalize(g, shortcut)
}

// backward turns the gradient g1 (+ g2 unless nil) of the block's output into that of its input, again a sum.
func (b *block[M]) backward(g *Graph[M], g1, g2 *value[M]) (main, shortcut *value[M]) {
	for i, u := range slices.Backward(b.units) {
		residual := u.backward(g, g1, g2)
		if i == len(b.units)-1 {
			shortcut = residual
		}
		g1, g2 = u.dx, nil
	}
	if b.downsample != nil {
		b.downsample.backward(g, shortcut, nil)
		shortcut = b.downsample.dx
	}
	return g1, shortcut
}
