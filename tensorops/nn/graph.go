package nn

import (
	"fmt"
	"slices"
)

// Graph is a network on a Device: its operations, which run forward and then backward, and the memory of the values
// between them, allocated once by lifetime. It is the device-independent part of a Net.
type Graph[M any] struct {
	Layout *Layout

	Features M // [batch, FeatureDim] of the last Forward
	Z        M // [batch, ProjectorDim] the projector's output or [batch, Classes] the classifier's; else the features
	P        M // [batch, ProjectorDim] the predictor's output; Z without a predictor

	batch, views int
	train        bool
	dev          Device[M]
	arena        arena[M]

	operands []*node[M] // by their index in the design
	steps    []op[M]    // in execution order
	parts    []Part     // of the steps, ascending
	z, p     *node[M]
	dZ, dP   *value[M] // arguments of Backward

	maps  []*node[M]   // outputs of stages that are outputs of the graph
	dMaps []*value[M]  // arguments of backwardMaps
	sum   func(x, y M) // adds y to x, if there are maps
}

// op is an operation that can run.
type op[M any] interface {
	forward(g *Graph[M])
	// backward computes the gradients of the inputs and parameters from that of the output.
	backward(g *Graph[M])
}

// node is an operand of the graph.
type node[M any] struct {
	*value[M]            // the array
	pixels     int       // height and width of its images
	readers    int       // operations that read it
	producer   *unit[M]  // the unit that computes it without a residual; nil for others
	recomputed *value[M] // the array, recomputed for the backward pass; nil if the forward pass keeps it
	grads      [maxReaders]*value[M]
	received   int       // number of grads received in this backward pass
	outer      *value[M] // the gradient as an output of the graph; nil for none
}

// maxReaders is the number of operations that may read an operand. The operation that computed it adds up as many
// gradients in its own pass.
const maxReaders = 2

// receive adds a term of the operand's gradient.
func (n *node[M]) receive(gradient *value[M]) {
	n.grads[n.received] = gradient
	n.received++
}

// gradient returns the terms of the gradient, the newest first. The second may be nil; both are nil if there is no
// gradient. The first may be overwritten.
func (n *node[M]) gradient(g *Graph[M]) (g1, g2 *value[M]) {
	g1, g2 = n.grads[0], n.grads[1]
	if n.received == maxReaders {
		g1, g2 = g2, g1
	}
	switch outer := n.outer; {
	case outer == nil:
	case g1 == nil:
		g1 = outer
	case g2 == nil:
		g2 = outer
	case g.arena.touch(g1, outer):
		g.sum(g1.data, outer.data)
	}
	n.grads, n.received, n.outer = [maxReaders]*value[M]{}, 0, nil
	return g1, g2
}

// restore returns the array in the backward pass, recomputing it if the forward pass did not keep it. That is cheap
// compared with a product, and halves the memory of a block.
func (n *node[M]) restore(g *Graph[M]) *value[M] {
	if n.recomputed == nil {
		return n.value
	}
	if u := n.producer; g.arena.touch(u.u, n.recomputed) {
		u.norm.Reapply(u.u.data, n.recomputed.data)
	}
	return n.recomputed
}

// NewGraph builds a network on a device, for training or for forward passes only. Its other arguments are those of New.
func NewGraph[M any](b Backbone, h Heads, size, batch, views int, train bool, dev Device[M]) *Graph[M] {
	return newGraph(newDesign(b, h), nil, size, batch, views, train, dev)
}

// newGraph builds the network of a design; maps are operands that are outputs besides its features.
func newGraph[M any](d *design, maps []operand, size, batch, views int, train bool, dev Device[M]) *Graph[M] {
	if size < 1 || views < 1 || batch < views || batch%views != 0 {
		panic(fmt.Sprintf("nn: batch of %d images of %d pixels in %d views; use positive numbers and a batch divisible by views", batch, size, views))
	}
	g := &Graph[M]{Layout: d.layout, batch: batch, views: views, train: train, dev: dev}
	g.dZ, g.dP = &value[M]{}, &value[M]{}
	g.arena.byPart = !train
	g.operands = []*node[M]{{value: &value[M]{}, pixels: size}}
	for _, o := range d.operations {
		g.add(d, o)
	}
	g.z, g.p = g.operands[d.z], g.operands[d.p]
	for _, o := range maps {
		g.maps, g.dMaps = append(g.maps, g.operands[o]), append(g.dMaps, &value[M]{})
	}
	g.recompute()
	g.place(g.operands[d.features])
	return g
}

// add creates an operation and its output.
func (g *Graph[M]) add(d *design, o operation) {
	x := g.read(o.in)
	out := &node[M]{pixels: o.pixels(x.pixels)}
	g.operands = append(g.operands, out)
	channels := d.channels[o.out]
	g.parts = append(g.parts, o.part)
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

// read returns an operand and counts one more reader.
func (g *Graph[M]) read(o operand) *node[M] {
	x := g.operands[o]
	if x.readers++; x.readers > maxReaders {
		panic(fmt.Sprintf("nn: more than %d operations read operand %d of the backbone", maxReaders, o))
	}
	return x
}

// recompute selects the arrays that the backward pass recomputes: those between two consecutive convolutions.
func (g *Graph[M]) recompute() {
	for _, s := range g.steps {
		if u, ok := s.(*unit[M]); ok && !u.layer.Linear && u.x.producer != nil && u.x.readers == 1 {
			u.x.recomputed = g.forBackward(u.x.value)
		}
	}
}

// place records in a dry run of both passes which operation touches which values, and places all values in memory.
func (g *Graph[M]) place(features *node[M]) {
	g.arena.planning = true
	g.forward(Stem)
	switch {
	case !g.train:
	case g.maps != nil:
		g.backwardMaps()
	case g.p == g.z:
		g.backward(g.dZ, nil)
	default:
		g.backward(g.dZ, g.dP)
	}
	g.arena.planning = false
	for _, n := range append([]*node[M]{features, g.z, g.p}, g.maps...) {
		g.arena.keep(n.value)
	}
	g.arena.place(g.dev)
	g.Features, g.Z, g.P = features.data, g.z.data, g.p.data
}

// forBackward returns a value of the size of x for the backward pass; nil if there is none.
func (g *Graph[M]) forBackward(x *value[M]) *value[M] {
	if !g.train {
		return nil
	}
	return g.arena.value(x.size)
}

// Forward computes Features, Z and P for images [batch, size, size, 3], which must not change until Backward returns.
func (g *Graph[M]) Forward(images M) { g.ForwardFrom(Stem, images) }

// ForwardFrom is Forward where only what belongs to the part from and later ones is computed. The outputs of the parts
// before must be those of the last pass. A graph for training must begin at the stem.
func (g *Graph[M]) ForwardFrom(from Part, images M) {
	g.operands[0].data = images
	g.forward(from)
}

func (g *Graph[M]) forward(from Part) {
	for i, s := range g.steps {
		if g.arena.part = g.parts[i]; g.arena.part >= from {
			s.forward(g)
		}
	}
}

// Backward computes the gradients of all parameters from those of a loss with respect to Z and P, [batch,
// ProjectorDim]; either may be nil for zeros. It consumes the activations of the last Forward.
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
	g.run()
}

// backwardMaps is backward from the gradients of the maps.
func (g *Graph[M]) backwardMaps() {
	for i, n := range g.maps {
		n.outer = g.dMaps[i]
	}
	g.run()
}

// run runs the backward pass.
func (g *Graph[M]) run() {
	for _, s := range slices.Backward(g.steps) {
		s.backward(g)
	}
}
