package nn

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Mode says what a Net is for.
type Mode int

const (
	Train     Mode = iota // forward and backward passes
	Inference             // forward passes only, with little memory
)

// Net runs forward and backward passes on batches of one fixed size. New allocates every buffer; the passes allocate
// nothing. A Net is for one goroutine at a time.
//
// Params, Stats and Grads are flat vectors laid out by Layout. They may be replaced by others of the same length
// between passes, so that one Net's buffers serve many sets of weights.
type Net struct {
	Backbone Backbone
	Heads    Heads
	Layout   *Layout
	Params   []float32 // read by Forward and Backward
	Stats    []float32 // BatchNorm's running statistics
	Grads    []float32 // overwritten by Backward; nil in Inference mode

	Features []float32 // [batch, FeatureDim] of the last Forward
	Z        []float32 // [batch, ProjectorDim] projector's output; the features without a projector
	P        []float32 // [batch, ProjectorDim] predictor's output; Z without a predictor

	size, batch, views int
	mode               Mode
	pool               *kernels.Pool

	stem      *unit
	maxPool   *maxPool // nil with the small stem
	pooled    []float32
	blocks    []*block
	avgPool   *avgPool
	projector []*unit
	predictor []*unit
	norms     []*norm      // every BatchNorm, in the order of Layout.Stats
	buffers   [3][]float32 // gradients (Train) or activations (Inference), reused from layer to layer
}

// New builds a network for batches of square images of size pixels. The batch is views equal consecutive parts (the
// first views of all images, then the second, ...); BatchNorm takes the statistics of each part by itself, as separate
// passes would. Params start as zeros (see Layout.Init), Stats as Layout.InitStats sets them. New panics on arguments
// that cannot be built, which Validate of Backbone and Heads tells beforehand.
func New(b Backbone, h Heads, size, batch, views int, p *kernels.Pool, mode Mode) *Net {
	if size < 1 || views < 1 || batch < views || batch%views != 0 {
		panic(fmt.Sprintf("nn: New: %d images of %d pixels in %d views; use positive numbers and a batch that views divide", batch, size, views))
	}
	d := newDesign(b, h)
	n := &Net{
		Backbone: b, Heads: h, Layout: d.layout,
		Params: make([]float32, d.layout.NumParams),
		Stats:  make([]float32, d.layout.NumStats),
		size:   size, batch: batch, views: views, mode: mode, pool: p,
	}
	n.Layout.InitStats(n.Stats)
	if mode == Train {
		n.Grads = make([]float32, d.layout.NumParams)
	}
	n.build(d)
	return n
}

// build makes the units, with their activations, from the design.
func (n *Net) build(d *design) {
	largest := n.largestActivation(d)
	for i := range n.buffers {
		n.buffers[i] = kernels.NewFloats(largest)
	}
	pixels := n.size
	var x []float32 // the activation that the next layer reads
	n.stem, pixels = n.unit(d.stem, nil, pixels)
	x = n.stem.y
	if d.pool {
		n.maxPool = newMaxPool(pixels, d.stem.out, n.batch, n.mode == Train, n.pool)
		pixels = n.maxPool.out
		n.pooled = n.activation(n.batch*pixels*pixels*d.stem.out, x)
		x = n.pooled
	}
	channels := d.stem.out
	for _, r := range d.blocks {
		b := &block{}
		in, before := x, pixels
		for _, l := range r.layers {
			var u *unit
			u, pixels = n.unit(l, x, pixels, in)
			b.units = append(b.units, u)
			x, channels = u.y, l.out
		}
		if r.downsample != nil {
			b.downsample, _ = n.unit(*r.downsample, in, before, x)
		}
		n.blocks = append(n.blocks, b)
	}
	n.avgPool = newAvgPool(pixels*pixels, channels, n.batch, n.pool)
	n.Features = make([]float32, n.batch*channels)
	n.projector, n.Z = n.head(d.projector, n.Features)
	n.predictor, n.P = n.head(d.predictor, n.Z)
}

// head makes a row of linear units and returns them with their output, which outlives the other activations.
func (n *Net) head(layers []layer, x []float32) ([]*unit, []float32) {
	var units []*unit
	for _, l := range layers {
		u, _ := n.unit(l, x, 1)
		units = append(units, u)
		x = u.y
	}
	if len(units) > 0 && n.mode == Inference {
		x = make([]float32, len(x))
		units[len(units)-1].y = x
	}
	return units, x
}

// unit makes a unit that reads x, images of pixels x pixels, and returns it with the size of its output images. Its
// output overlaps neither x nor taken.
func (n *Net) unit(l layer, x []float32, pixels int, taken ...[]float32) (*unit, int) {
	u := &unit{weight: l.weight, x: x}
	out := (pixels+2*l.pad-l.kernel)/l.stride + 1
	if l.linear {
		u.product = &linear{n: n.batch, in: l.in, out: l.out, pool: n.pool}
	} else {
		u.product = kernels.NewConvPlan(kernels.Conv{
			N: n.batch, H: pixels, W: pixels, Cin: l.in, Cout: l.out,
			KH: l.kernel, KW: l.kernel, Stride: l.stride, Pad: l.pad,
		}, n.pool)
	}
	u.norm = newNorm(l.norm, l.relu, l.out, n.batch*out*out, n.views, n.pool)
	if l.norm.batch {
		n.norms = append(n.norms, u.norm)
	}
	size := n.batch * out * out * l.out
	u.u = n.activation(size, append(taken, x)...)
	u.y = u.u
	if n.mode == Train {
		u.y = kernels.NewFloats(size)
	}
	return u, out
}

// activation is a new buffer in Train mode, else the first of the three buffers that overlaps none of taken.
func (n *Net) activation(size int, taken ...[]float32) []float32 {
	if n.mode == Train {
		return kernels.NewFloats(size)
	}
next:
	for _, b := range n.buffers {
		for _, t := range taken {
			if len(t) > 0 && &t[0] == &b[0] {
				continue next
			}
		}
		return b[:size]
	}
	panic("nn: more than three activations are in use at once")
}

// largestActivation is the number of floats of the largest layer output.
func (n *Net) largestActivation(d *design) int {
	largest, pixels := 0, n.size
	grow := func(l layer) {
		pixels = (pixels+2*l.pad-l.kernel)/l.stride + 1
		largest = max(largest, n.batch*pixels*pixels*l.out)
	}
	grow(d.stem)
	if d.pool {
		pixels = (pixels-1)/2 + 1
	}
	for _, r := range d.blocks {
		for _, l := range r.layers {
			grow(l)
		}
	}
	pixels = 1
	for _, l := range append(d.projector, d.predictor...) {
		largest = max(largest, n.batch*max(l.in, l.out))
	}
	return largest
}

// Forward computes Features, Z and P for images [batch, size, size, 3]. The images must stay as they are until
// Backward is done.
func (n *Net) Forward(images []float32, mode BNMode) {
	mustLen("Net.Forward: images", len(images), n.batch*n.size*n.size*3)
	mustLen("Net.Forward: Params", len(n.Params), n.Layout.NumParams)
	mustLen("Net.Forward: Stats", len(n.Stats), n.Layout.NumStats)
	n.stem.x = images
	n.stem.forward(n, nil, mode)
	if n.maxPool != nil {
		n.maxPool.forward(n.stem.y, n.pooled)
	}
	for _, b := range n.blocks {
		b.forward(n, mode)
	}
	n.avgPool.forward(n.blocks[len(n.blocks)-1].output(), n.Features)
	for _, u := range n.projector {
		u.forward(n, nil, mode)
	}
	for _, u := range n.predictor {
		u.forward(n, nil, mode)
	}
}

// Backward overwrites Grads with the gradient of a loss whose gradients with respect to Z and P are dZ and dP
// [batch, ProjectorDim]; either may be nil for zeros, and dP must be without a predictor. It belongs to the last
// Forward, with the same Params. A network without heads takes the gradient of its features as dZ.
func (n *Net) Backward(dZ, dP []float32) {
	n.checkBackward(dZ, dP)
	f := flow{a: n.buffers[0], b: n.buffers[1], c: n.buffers[2]}
	g1, g2 := dZ, []float32(nil)
	if dP != nil {
		f = n.backwardHead(n.predictor, dP, nil, f)
		g1, g2 = f.a, dZ
	} else {
		for _, u := range n.predictor {
			u.clearGrads(n.Grads)
		}
	}
	if n.projector != nil {
		f = n.backwardHead(n.projector, g1, g2, f)
		g1 = f.a
	}
	n.avgPool.backward(g1, f.b)
	f.a, f.b = f.b, f.a
	for _, b := range slices.Backward(n.blocks) {
		f = b.backward(n, f)
	}
	g1, g2 = f.pairOf()
	if n.maxPool != nil {
		n.maxPool.backward(g1, g2, f.c)
		f.a, g1, g2 = f.c, f.c, nil
	}
	n.stem.backward(n, g1, g2, f.a, f.a, nil)
}

// backwardHead takes the gradient g1 (+ g2 unless nil) of a head's output and leaves that of its input in the a of
// the flow it returns. g1 may be f.a.
func (n *Net) backwardHead(units []*unit, g1, g2 []float32, f flow) flow {
	for _, u := range slices.Backward(units) {
		u.backward(n, g1, g2, f.a, f.a, f.b)
		f.a, f.b = f.b, f.a
		g1, g2 = f.a, nil
	}
	return f
}

func (n *Net) checkBackward(dZ, dP []float32) {
	switch {
	case n.mode != Train:
		panic("nn: Net.Backward of a network made for Inference; make it with Train")
	case dZ == nil && dP == nil:
		panic("nn: Net.Backward without a gradient; give dZ, dP or both")
	case dP != nil && n.predictor == nil:
		panic("nn: Net.Backward: dP without a predictor; set Heads.PredictorHidden or give dZ")
	}
	mustLen("Net.Backward: Params", len(n.Params), n.Layout.NumParams)
	mustLen("Net.Backward: Grads", len(n.Grads), n.Layout.NumParams)
	if dP != nil {
		mustLen("Net.Backward: dP", len(dP), len(n.P))
	}
	if dZ != nil {
		mustLen("Net.Backward: dZ", len(dZ), len(n.Z))
	}
}

// Tensor is a view, without a copy, of the parameter of that name in Params; nil if there is none.
func (n *Net) Tensor(name string) *tensor.Dense {
	p, ok := n.Layout.Param(name)
	if !ok {
		return nil
	}
	return tensor.New(tensor.WithShape(p.Shape...), tensor.WithBacking(n.Params[p.Offset:p.Offset+p.Size:p.Offset+p.Size]))
}
