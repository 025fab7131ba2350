package nn

import (
	"fmt"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Graph is a network at work on a Device: the order of its operations, forward and backward, and the memory of the
// values between them, which is placed once by their lifetimes. It is the part of a Net that is the same whatever
// computes it.
type Graph[M any] struct {
	Layout *Layout

	Features M // [batch, FeatureDim] of the last Forward
	Z        M // [batch, ProjectorDim] projector's output; the features without a projector
	P        M // [batch, ProjectorDim] predictor's output; Z without a predictor

	batch, views int
	train        bool
	dev          Device[M]
	arena        arena[M]

	images    *value[M]
	stem      *unit[M]
	maxPool   *pooling[M, MaxPool[M]] // nil with the small stem
	blocks    []*block[M]
	avgPool   *pooling[M, AvgPool[M]]
	projector []*unit[M]
	predictor []*unit[M]
	dZ, dP    *value[M] // arguments of Backward
}

// pooling is a pooling layer with the values that it reads and writes; dx is nil without a backward pass.
type pooling[M, Op any] struct {
	op       Op
	x, y, dx *value[M]
}

// NewGraph lays out a network as New does and makes its operations on a device, for training or for forward passes
// only.
func NewGraph[M any](b Backbone, h Heads, size, batch, views int, train bool, dev Device[M]) *Graph[M] {
	if size < 1 || views < 1 || batch < views || batch%views != 0 {
		panic(fmt.Sprintf("nn: %d images of %d pixels in %d views; use positive numbers and a batch that views divide", batch, size, views))
	}
	d := newDesign(b, h)
	g := &Graph[M]{Layout: d.layout, batch: batch, views: views, train: train, dev: dev}
	g.build(d, size)
	return g
}

// build makes the units from the design and their memory.
func (g *Graph[M]) build(d *design, pixels int) {
	g.images, g.dZ, g.dP = &value[M]{}, &value[M]{}, &value[M]{}
	g.stem, pixels = g.unit(d.stem, g.images, pixels)
	x := g.stem.y // the value that the next layer reads
	if d.pool {
		m := &pooling[M, MaxPool[M]]{op: g.dev.MaxPool(pixels, d.stem.Out, g.batch, g.train), x: x}
		pixels = (pixels-1)/2 + 1
		m.y = g.arena.value(g.batch * pixels * pixels * d.stem.Out)
		m.dx = g.forBackward(x)
		g.maxPool, x = m, m.y
	}
	channels := d.stem.Out
	for _, r := range d.blocks {
		b := &block[M]{}
		in, before := x, pixels
		for i, l := range r.layers {
			var u *unit[M]
			u, pixels = g.unit(l, x, pixels)
			if i > 0 {
				u.from = b.units[i-1]
				u.from.again = g.forBackward(x)
			}
			b.units = append(b.units, u)
			x, channels = u.y, l.Out
		}
		if r.downsample != nil {
			b.downsample, _ = g.unit(*r.downsample, in, before)
		}
		g.blocks = append(g.blocks, b)
	}
	g.avgPool = &pooling[M, AvgPool[M]]{
		op: g.dev.AvgPool(pixels*pixels, channels, g.batch),
		x:  x, y: g.arena.value(g.batch * channels), dx: g.forBackward(x),
	}
	features := g.avgPool.y
	var z, p *value[M]
	g.projector, z = g.head(d.projector, features)
	g.predictor, p = g.head(d.predictor, z)

	g.arena.planning = true
	g.forward()
	if g.train {
		g.backward(g.dZ, g.dP)
	}
	g.arena.planning = false
	for _, v := range []*value[M]{features, z, p} {
		g.arena.keep(v)
	}
	g.arena.place(g.dev)
	g.Features, g.Z, g.P = features.data, z.data, p.data
}

// head makes a row of linear units and returns them with their output.
func (g *Graph[M]) head(layers []Layer, x *value[M]) ([]*unit[M], *value[M]) {
	var units []*unit[M]
	for _, l := range layers {
		u, _ := g.unit(l, x, 1)
		units = append(units, u)
		x = u.y
	}
	return units, x
}

// unit makes a unit that reads x, images of pixels x pixels, and returns it with the size of its output images.
func (g *Graph[M]) unit(l Layer, x *value[M], pixels int) (*unit[M], int) {
	c := kernels.Conv{
		N: g.batch, H: pixels, W: pixels, Cin: l.In, Cout: l.Out,
		KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad,
	}
	rows := g.batch * c.OutH() * c.OutW()
	u := &unit[M]{layer: l, x: x, u: g.arena.value(rows * l.Out)}
	u.product, u.norm = g.dev.Product(l, c), g.dev.Norm(l, rows, g.views)
	u.y = u.u
	if g.train {
		u.y = g.arena.value(rows * l.Out)
	}
	if x != g.images {
		u.dx = g.forBackward(x)
	}
	return u, c.OutH()
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
	g.images.data = images
	g.forward()
}

func (g *Graph[M]) forward() {
	g.stem.forward(g)
	if m := g.maxPool; m != nil && g.arena.touch(m.x, m.y) {
		m.op.Forward(m.x.data, m.y.data)
	}
	for _, b := range g.blocks {
		b.forward(g)
	}
	if a := g.avgPool; g.arena.touch(a.x, a.y) {
		a.op.Forward(a.x.data, a.y.data)
	}
	for _, u := range g.projector {
		u.forward(g)
	}
	for _, u := range g.predictor {
		u.forward(g)
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

func (g *Graph[M]) backward(g1, dP *value[M]) {
	var g2 *value[M]
	if dP != nil && g.predictor != nil {
		g1, g2 = g.backwardHead(g.predictor, dP, nil), g1
	} else {
		for _, u := range g.predictor {
			g.dev.ClearGrads(u.layer)
		}
	}
	if g.projector != nil {
		g1 = g.backwardHead(g.projector, g1, g2)
	}
	a := g.avgPool
	if g.arena.touch(g1, a.dx) {
		a.op.Backward(g1.data, a.dx.data)
	}
	g1, g2 = a.dx, nil
	for _, b := range slices.Backward(g.blocks) {
		g1, g2 = b.backward(g, g1, g2)
	}
	if m := g.maxPool; m != nil {
		if g.arena.touch(g1, g2, m.dx) {
			m.op.Backward(g1.data, g2.get(), m.dx.data)
		}
		g1, g2 = m.dx, nil
	}
	g.stem.backward(g, g1, g2)
}

// backwardHead takes the gradient g1 (+ g2 unless nil) of a head's output to its input.
func (g *Graph[M]) backwardHead(units []*unit[M], g1, g2 *value[M]) *value[M] {
	for _, u := range slices.Backward(units) {
		u.backward(g, g1, g2)
		g1, g2 = u.dx, nil
	}
	return g1
}
