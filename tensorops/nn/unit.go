package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// product is the bilinear part of a layer: *kernels.ConvPlan or linear.
type product interface {
	Forward(x, w, y []float32)
	BackwardData(dy, w, dx []float32)
	BackwardWeights(x, dy, dw []float32)
}

// linear multiplies rows [n, in] by a matrix [in, out].
type linear struct {
	n, in, out int
	pool       *kernels.Pool
}

// Forward sets y = x·w.
func (l *linear) Forward(x, w, y []float32) {
	l.pool.Gemm(false, false, l.n, l.out, l.in, x, l.in, w, l.out, y, l.out, false)
}

// BackwardData sets dx = dy·wᵀ.
func (l *linear) BackwardData(dy, w, dx []float32) {
	l.pool.Gemm(false, true, l.n, l.in, l.out, dy, l.out, w, l.out, dx, l.in, false)
}

// BackwardWeights sets dw = xᵀ·dy.
func (l *linear) BackwardWeights(x, dy, dw []float32) {
	l.pool.Gemm(true, false, l.in, l.out, l.n, x, l.in, dy, l.out, dw, l.out, false)
}

// unit is a layer at work: a product and the norm that follows it, with the activations it reads and writes.
type unit struct {
	weight  span
	product product
	norm    *norm
	x       []float32 // input
	u       []float32 // the product's output
	y       []float32 // output; the same slice as u where no backward pass follows
}

func (u *unit) forward(n *Net, residual []float32, mode BNMode) {
	u.product.Forward(u.x, u.weight.of(n.Params), u.u)
	u.norm.forward(u.u, residual, u.y, n.Params, n.Stats, mode)
}

// backward computes the unit's gradients from the gradient g1 (+ g2 unless nil) of its output. masked receives the
// gradient of the residual (see norm.backward), du that of the product's output and dx, unless nil, that of the input.
// du may be g1, g2 or masked; dx must be none of the others.
func (u *unit) backward(n *Net, g1, g2, masked, du, dx []float32) {
	size := len(u.u)
	if g2 != nil {
		g2 = g2[:size]
	}
	u.norm.backward(g1[:size], g2, u.u, u.y, masked[:size], du[:size], n.Params, n.Grads)
	u.product.BackwardWeights(u.x, du[:size], u.weight.of(n.Grads))
	if dx != nil {
		u.product.BackwardData(du[:size], u.weight.of(n.Params), dx[:len(u.x)])
	}
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

func (b *block) output() []float32 { return b.units[len(b.units)-1].y }

func (b *block) forward(n *Net, mode BNMode) {
	last := len(b.units) - 1
	for _, u := range b.units[:last] {
		u.forward(n, nil, mode)
	}
	u := b.units[last]
	u.product.Forward(u.x, u.weight.of(n.Params), u.u)
	shortcut := b.units[0].x
	if b.downsample != nil {
		b.downsample.forward(n, nil, mode)
		shortcut = b.downsample.y
	}
	u.norm.forward(u.u, shortcut, u.y, n.Params, n.Stats, mode)
}

// flow carries a gradient backwards through the blocks in three buffers: it is a + b if pair, else a; the others are
// free.
type flow struct {
	a, b, c []float32
	pair    bool
}

// pairOf returns the operands of the sum, the second nil if there is one only.
func (f flow) pairOf() (g1, g2 []float32) {
	if f.pair {
		return f.a, f.b
	}
	return f.a, nil
}

// backward turns the gradient of the block's output into that of its input.
func (b *block) backward(n *Net, f flow) flow {
	last := len(b.units) - 1
	g1, g2 := f.pairOf()
	b.units[last].backward(n, g1, g2, f.a, f.c, f.b) // f.a becomes the shortcut's gradient
	shortcut, main, spare := f.a, f.b, f.c
	for i := last - 1; i >= 0; i-- {
		b.units[i].backward(n, main, nil, main, main, spare)
		main, spare = spare, main
	}
	if b.downsample == nil {
		return flow{main, shortcut, spare, true}
	}
	b.downsample.backward(n, shortcut, nil, shortcut, shortcut, spare)
	return flow{main, spare, shortcut, true}
}
