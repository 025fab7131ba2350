package nn

import (
	"fmt"
	"slices"
)

// Graph is a network at work on a Device: the list of its operations, which run forward and then backward, and the
// memory of the values between them, which is placed once by their lifetimes. It is the part of a Net that is the same
// whatever computes it.
type Graph[M any] struct {
	Layout *Layout

	Features M // [batch, FeatureDim] of the last Forward
	Z        M // [batch, ProjectorDim] projector's output; the features without a projector
	P        M // [batch, ProjectorDim] predictor's output; Z without a predictor

	batch, views int
	train        bool
	dev          Device[M]
	arena        arena[M]

	operands []*node[M]  // by their numbers in the design
	steps    []worker[M] // the operations, in order
	z, p     *node[M]
	dZ, dP   *value[M] // arguments of Backward
}

// worker is an operation at work.
type worker[M any] interface {
	forward(g *Graph[M])
	// backward takes the gradient of the operation's output to its inputs and parameters.
	backward(g *Graph[M])
}

// node is an operand of operations.
type node[M any] struct {
	*value[M]           // the array
	pixels    int       // height and width of its images
	readers   int       // operations that read it
	maker     *unit[M]  // the unit that makes it without a residual; nil for others
	again     *value[M] // the array, made once more for the backward pass; nil where the first one lives that long
	grads     [maxReaders]*value[M]
	known     int // of grads, in the running backward pass
}

// maxReaders is the number of operations that may read an operand: the operation that made it adds up as many
// gradients in its own pass.
const maxReaders = 2

// receive adds a gradient to those of the operand, whose sum is its gradient.
func (n *node[M]) receive(gradient *value[M]) {
	n.grads[n.known] = gradient
	n.known++
}

// gradient returns what was received, the newest first; the second may be nil, both are where nothing was. The first
// may be overwritten.
func (n *node[M]) gradient() (g1, g2 *value[M]) {
	g1, g2 = n.grads[0], n.grads[1]
	if n.known == maxReaders {
		g1, g2 = g2, g1
	}
	n.grads, n.known = [maxReaders]*value[M]{}, 0
	return g1, g2
}

// recall returns the array in the backward pass, making it anew where the forward pass did not keep it: a cheap pass
// beside a product, which halves the memory of a block.
func (n *node[M]) recall(g *Graph[M]) *value[M] {
	if n.again == nil {
		return n.value
	}
	if u := n.maker; g.arena.touch(u.u, n.again) {
		u.norm.Reapply(u.u.data, n.again.data)
	}
	return n.again
}

// NewGraph lays out a network as New does and makes its operations on a device, for training or for forward passes
// only.
func NewGraph[M any](b Backbone, h Heads, size, batch, views int, train bool, dev Device[M]) *Graph[M] {
	if size < 1 || views < 1 || batch < views || batch%views != 0 {
		panic(fmt.Sprintf("nn: %d images of %d pixels in %d views; use positive numbers and a batch that views divide", batch, size, views))
	}
	d := newDesign(b, h)
	g := &Graph[M]{Layout: d.layout, batch: batch, views: views, train: train, dev: dev}
	g.dZ, g.dP = &value[M]{}, &value[M]{}
	g.operands = []*node[M]{{value: &value[M]{}, pixels: size}}
	for _, o := range d.operations {
		g.add(d, o)
	}
	g.z, g.p = g.operands[d.z], g.operands[d.p]
	g.recompute()
	g.place(g.operands[d.features])
	return g
}

// add makes an operation and its output.
func (g *Graph[M]) add(d *design, o operation) {
	x := g.read(o.in)
	out := &node[M]{pixels: o.pixels(x.pixels)}
	g.operands = append(g.operands, out)
	channels := d.channels[o.out]
	switch o.kind {
	case layerKind:
		g.steps = append(g.steps, newUnit(g, o, x, out))
	case maxPoolKind:
		op := g.dev.MaxPool(x.pixels, channels, g.batch, g.train)
		g.steps = append(g.steps, &maxPooling[M]{op, g.pooling(x, out, channels)})
	case avgPoolKind:
		op := g.dev.AvgPool(x.pixels*x.pixels, channels, g.batch)
		g.steps = append(g.steps, &avgPooling[M]{op, g.pooling(x, out, channels)})
	}
}

// read returns an operand that one more operation reads.
func (g *Graph[M]) read(o operand) *node[M] {
	x := g.operands[o]
	if x.readers++; x.readers > maxReaders {
		panic(fmt.Sprintf("nn: more than %d operations read operand %d of a backbone", maxReaders, o))
	}
	return x
}

// recompute chooses the arrays that the backward pass makes anew: those between two convolutions in a row.
func (g *Graph[M]) recompute() {
	for _, s := range g.steps {
		if u, ok := s.(*unit[M]); ok && !u.layer.Linear && u.x.maker != nil && u.x.readers == 1 {
			u.x.again = g.forBackward(u.x.value)
		}
	}
}

// place finds out, by walking both passes without computing, which operation touches which value, and places all
// values in memory.
func (g *Graph[M]) place(features *node[M]) {
	g.arena.planning = true
	g.forward()
	if g.train {
		dP := g.dP
		if g.p == g.z {
			dP = nil
		}
		g.backward(g.dZ, dP)
	}
	g.arena.planning = false
	for _, n := range []*node[M]{features, g.z, g.p} {
		g.arena.keep(n.value)
	}
	g.arena.place(g.dev)
	g.Features, g.Z, g.P = features.data, g.z.data, g.p.data
}

// forBackward is a value of the size of x for the backward pass; nil where none follows.
func (g *Graph[M]) forBackward(x *value[M]) *value[M] {
	if !g.train {
		return nil
	}
	return g.arena.value(x.size)
}

// Forward computes Features, Z and P for images [batch, size, size, 3], which must stay as they are until Backward is
// done.
func (g *Graph[M]) Forward(images M) {
	g.operands[0].data = images
	g.forward()
}

func (g *Graph[M]) forward() {
	for _, s := range g.steps {
		s.forward(g)
	}
}

// Backward computes the gradients of all parameters from those of a loss with respect to Z and P, [batch,
// ProjectorDim]; either may be nil for zeros. It uses up what the last Forward left.
func (g *Graph[M]) Backward(dZ, dP *M) {
	given := func(v *value[M], data *M) *value[M] {
		if data == nil {
			return nil
		}
		v.data = *data
		return v
	}
	g.backward(given(g.dZ, dZ), given(g.dP, dP))
}

func (g *Graph[M]) backward(dZ, dP *value[M]) {
	if dZ != nil {
		g.z.receive(dZ)
	}
	if dP != nil {
		g.p.receive(dP)
	}
	for _, s := range slices.Backward(g.steps) {
		s.backward(g)
	}
}
