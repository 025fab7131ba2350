package nn

// unit runs a layer: a product and the norm that follows it, with the values that they read and write.
type unit[M any] struct {
	layer    Layer
	product  Product[M] // a linear layer is a convolution of single pixels
	norm     Norm[M]
	x        *node[M]
	residual *node[M] // nil for none
	y        *node[M]
	u        *value[M] // the product's output; in the backward pass, its gradient
	dx       *value[M] // gradient of the input; nil if not needed
}

// newUnit returns a unit that reads x and sets y.
func newUnit[M any](g *Graph[M], o operation, x, y *node[M]) *unit[M] {
	l, c := o.layer, o.layer.conv(g.batch, x.pixels)
	rows := g.batch * c.OutH() * c.OutW()
	u := &unit[M]{layer: l, x: x, y: y, u: g.arena.value(rows * l.Out)}
	u.product, u.norm = g.dev.Product(l, c), g.dev.Norm(l, rows, g.views)
	y.value = u.u // if there is no backward pass
	if g.train {
		y.value = g.arena.value(rows * l.Out)
	}
	if o.residual == none {
		y.producer = u
	} else {
		u.residual = g.read(o.residual)
	}
	if x != g.operands[0] {
		u.dx = g.forBackward(x.value)
	}
	return u
}

func (u *unit[M]) forward(g *Graph[M]) {
	if g.arena.touch(u.x.value, u.u) {
		u.product.Forward(u.x.data, u.u.data)
	}
	var residual *value[M]
	if u.residual != nil {
		residual = u.residual.value
	}
	if g.arena.touch(u.u, residual, u.y.value) {
		u.norm.Forward(u.u.data, residual.get(), u.y.data)
	}
}

func (u *unit[M]) backward(g *Graph[M]) {
	g1, g2 := u.y.gradient(g)
	if g1 == nil {
		g.dev.ClearGrads(u.layer)
		return
	}
	y := u.y.value
	if u.y.recomputed != nil {
		y = u.y.recomputed
	}
	if g.arena.touch(g1, g2, u.u, y) {
		u.norm.Backward(g1.data, g2.get(), u.u.data, y.data, g1.data, u.u.data)
	}
	if u.residual != nil {
		u.residual.receive(g1)
	}
	x := u.x.restore(g)
	if g.arena.touch(x, u.u) {
		u.product.BackwardWeights(x.data, u.u.data)
	}
	if u.dx != nil {
		if g.arena.touch(u.u, u.dx) {
			u.product.BackwardData(u.u.data, u.dx.data)
		}
		u.x.receive(u.dx)
	}
}

// pooling holds the values that a pooling operation reads and writes.
type pooling[M any] struct {
	x, y *node[M]
	dx   *value[M] // nil without a backward pass
}

// pooling creates the output of a pooling operation.
func (g *Graph[M]) pooling(x, y *node[M], channels int) pooling[M] {
	y.value = g.arena.value(g.batch * y.pixels * y.pixels * channels)
	return pooling[M]{x, y, g.forBackward(x.value)}
}

// maxPooling runs max-pooling.
type maxPooling[M any] struct {
	op MaxPool[M]
	pooling[M]
}

func (p *maxPooling[M]) forward(g *Graph[M]) {
	if g.arena.touch(p.x.value, p.y.value) {
		p.op.Forward(p.x.data, p.y.data)
	}
}

func (p *maxPooling[M]) backward(g *Graph[M]) {
	g1, g2 := p.y.gradient(g)
	if g.arena.touch(g1, g2, p.dx) {
		p.op.Backward(g1.data, g2.get(), p.dx.data)
	}
	p.x.receive(p.dx)
}

// avgPooling runs global average pooling.
type avgPooling[M any] struct {
	op AvgPool[M]
	pooling[M]
}

func (p *avgPooling[M]) forward(g *Graph[M]) {
	if g.arena.touch(p.x.value, p.y.value) {
		p.op.Forward(p.x.data, p.y.data)
	}
}

func (p *avgPooling[M]) backward(g *Graph[M]) {
	g1, _ := p.y.gradient(g) // features have one reader
	if g.arena.touch(g1, p.dx) {
		p.op.Backward(g1.data, p.dx.data)
	}
	p.x.receive(p.dx)
}
