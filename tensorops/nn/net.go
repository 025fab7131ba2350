package nn

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Mode says what a Net is for: Train or Inference, and BF16 in addition where wanted.
type Mode int

const (
	Inference Mode = 0      // forward passes only, with little memory
	Train     Mode = 1 << 0 // forward and backward passes
	BF16      Mode = 1 << 1 // operands of products may be rounded, see kernels.BF16
)

func (m Mode) trains() bool { return m&Train != 0 }

func (m Mode) precision() kernels.Precision {
	if m&BF16 != 0 {
		return kernels.BF16
	}
	return kernels.FP32
}

// Net runs forward and backward passes on batches of one fixed size. New allocates all memory, the values of a step in
// one arena; the passes allocate nothing. A Net is for one goroutine at a time.
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
	arena              arena
	forwarded          bool // and not yet backward

	images    *value
	stem      *unit
	maxPool   *maxPool // nil with the small stem
	blocks    []*block
	avgPool   *avgPool
	projector []*unit
	predictor []*unit
	dZ, dP    *value  // arguments of Backward
	norms     []*norm // every BatchNorm, in the order of Layout.Stats
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
	if mode.trains() {
		n.Grads = make([]float32, d.layout.NumParams)
	}
	n.build(d)
	return n
}

// build makes the units from the design and their memory.
func (n *Net) build(d *design) {
	n.images, n.dZ, n.dP = &value{}, &value{}, &value{}
	pixels := n.size
	n.stem, pixels = n.unit(d.stem, n.images, pixels)
	x := n.stem.y // the value that the next layer reads
	if d.pool {
		n.maxPool = newMaxPool(pixels, d.stem.out, n.batch, n.mode.trains(), n.pool)
		pixels = n.maxPool.out
		n.maxPool.x, n.maxPool.y = x, n.arena.value(n.batch*pixels*pixels*d.stem.out)
		n.maxPool.dx = n.forBackward(x)
		x = n.maxPool.y
	}
	channels := d.stem.out
	for _, r := range d.blocks {
		b := &block{}
		in, before := x, pixels
		for i, l := range r.layers {
			var u *unit
			u, pixels = n.unit(l, x, pixels)
			if i > 0 {
				u.from = b.units[i-1]
				u.from.again = n.forBackward(x)
			}
			b.units = append(b.units, u)
			x, channels = u.y, l.out
		}
		if r.downsample != nil {
			b.downsample, _ = n.unit(*r.downsample, in, before)
		}
		n.blocks = append(n.blocks, b)
	}
	n.avgPool = newAvgPool(pixels*pixels, channels, n.batch, n.pool)
	n.avgPool.x, n.avgPool.y = x, n.arena.value(n.batch*channels)
	n.avgPool.dx = n.forBackward(x)
	features := n.avgPool.y
	var z, p *value
	n.projector, z = n.head(d.projector, features)
	n.predictor, p = n.head(d.predictor, z)

	n.arena.planning = true
	n.forward(BatchStats)
	if n.mode.trains() {
		n.backward(n.dZ, n.dP)
	}
	n.arena.planning = false
	for _, v := range []*value{features, z, p} {
		n.arena.keep(v)
	}
	n.arena.place()
	n.Features, n.Z, n.P = features.data, z.data, p.data
}

// head makes a row of linear units and returns them with their output.
func (n *Net) head(layers []layer, x *value) ([]*unit, *value) {
	var units []*unit
	for _, l := range layers {
		u, _ := n.unit(l, x, 1)
		units = append(units, u)
		x = u.y
	}
	return units, x
}

// unit makes a unit that reads x, images of pixels x pixels, and returns it with the size of its output images.
func (n *Net) unit(l layer, x *value, pixels int) (*unit, int) {
	out := (pixels+2*l.pad-l.kernel)/l.stride + 1
	size := n.batch * out * out * l.out
	u := &unit{weight: l.weight, x: x, u: n.arena.value(size)}
	u.product = kernels.NewConvPlan(kernels.Conv{
		N: n.batch, H: pixels, W: pixels, Cin: l.in, Cout: l.out,
		KH: l.kernel, KW: l.kernel, Stride: l.stride, Pad: l.pad,
	}, n.mode.precision(), n.pool)
	u.norm = newNorm(l.norm, l.relu, l.out, n.batch*out*out, n.views, n.pool)
	if l.norm.batch {
		n.norms = append(n.norms, u.norm)
	}
	u.y = u.u
	if n.mode.trains() {
		u.y = n.arena.value(size)
	}
	if x != n.images {
		u.dx = n.forBackward(x)
	}
	return u, out
}

// forBackward is a value of the size of x for the backward pass; nil where none follows.
func (n *Net) forBackward(x *value) *value {
	if !n.mode.trains() {
		return nil
	}
	return n.arena.value(x.size)
}

// Forward computes Features, Z and P for images [batch, size, size, 3]. The images must stay as they are until
// Backward is done.
func (n *Net) Forward(images []float32, mode BNMode) {
	mustLen("Net.Forward: images", len(images), n.batch*n.size*n.size*3)
	mustLen("Net.Forward: Params", len(n.Params), n.Layout.NumParams)
	mustLen("Net.Forward: Stats", len(n.Stats), n.Layout.NumStats)
	n.images.data = images
	n.forward(mode)
	n.forwarded = true
}

func (n *Net) forward(mode BNMode) {
	n.stem.forward(n, mode)
	if n.maxPool != nil {
		n.maxPool.forward(n)
	}
	for _, b := range n.blocks {
		b.forward(n, mode)
	}
	n.avgPool.forward(n)
	for _, u := range n.projector {
		u.forward(n, mode)
	}
	for _, u := range n.predictor {
		u.forward(n, mode)
	}
}

// Backward overwrites Grads with the gradient of a loss whose gradients with respect to Z and P are dZ and dP
// [batch, ProjectorDim]; either may be nil for zeros, and dP must be without a predictor. It belongs to the last
// Forward, with the same Params, and uses up what that left, so that there is one Backward for a Forward. A network
// without heads takes the gradient of its features as dZ.
func (n *Net) Backward(dZ, dP []float32) {
	n.checkBackward(dZ, dP)
	n.forwarded = false
	given := func(v *value, data []float32) *value {
		if v.data = data; data == nil {
			return nil
		}
		return v
	}
	n.backward(given(n.dZ, dZ), given(n.dP, dP))
}

func (n *Net) backward(g1, dP *value) {
	var g2 *value
	if dP != nil && n.predictor != nil {
		g1, g2 = n.backwardHead(n.predictor, dP, nil), g1
	} else {
		for _, u := range n.predictor {
			u.clearGrads(n.Grads)
		}
	}
	if n.projector != nil {
		g1 = n.backwardHead(n.projector, g1, g2)
	}
	n.avgPool.backward(n, g1)
	g1, g2 = n.avgPool.dx, nil
	for _, b := range slices.Backward(n.blocks) {
		g1, g2 = b.backward(n, g1, g2)
	}
	if n.maxPool != nil {
		n.maxPool.backward(n, g1, g2)
		g1, g2 = n.maxPool.dx, nil
	}
	n.stem.backward(n, g1, g2)
}

// backwardHead takes the gradient g1 (+ g2 unless nil) of a head's output to its input.
func (n *Net) backwardHead(units []*unit, g1, g2 *value) *value {
	for _, u := range slices.Backward(units) {
		u.backward(n, g1, g2)
		g1, g2 = u.dx, nil
	}
	return g1
}

func (n *Net) checkBackward(dZ, dP []float32) {
	switch {
	case !n.mode.trains():
		panic("nn: Net.Backward of a network made for Inference; make it with Train")
	case dZ == nil && dP == nil:
		panic("nn: Net.Backward without a gradient; give dZ, dP or both")
	case dP != nil && n.predictor == nil:
		panic("nn: Net.Backward: dP without a predictor; set Heads.PredictorHidden or give dZ")
	case !n.forwarded:
		panic("nn: Net.Backward without a Forward before it; run one for each Backward")
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
