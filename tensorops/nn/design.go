package nn

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Layer describes a convolution or a linear layer (a 1x1 convolution of single pixels) and what follows it: BatchNorm
// or a bias, then an activation.
type Layer struct {
	In, Out             int // channels
	Kernel, Stride, Pad int
	Depthwise           bool
	Linear              bool
	Weight              Span
	Norm                Normalization
	Activation          Activation
}

// Activation is the function that ends a layer.
type Activation int

const (
	Identity Activation = iota
	ReLU                // max(v, 0)
	ReLU6               // min(max(v, 0), 6)
)

// Top returns the activation's largest value, which may be infinite. Where its output is 0 or Top, its gradient is 0,
// unless it is Identity.
func (a Activation) Top() float32 {
	if a == ReLU6 {
		return 6
	}
	return float32(math.Inf(1))
}

// Normalization describes what follows a layer's product. Absent parameters have empty spans.
type Normalization struct {
	Batch                   bool // BatchNorm; otherwise only a bias is added
	Scale                   Span
	Shift                   Span // BatchNorm's shift, or the bias
	RunningMean, RunningVar Span
}

// design describes a network: its operations, in topological order, and its parameter layout. Parameters are laid out
// in the order in which layers are created, which may differ from the order in which they are applied.
type design struct {
	layout     *Layout
	part       Part  // of layers created next
	channels   []int // per operand; operand 0 is the images
	operations []operation
	ends       []operand // outputs of the stages
	features   operand
	z, p       operand // outputs of projector or classifier, and predictor; without one, the preceding operand
}

// operand is the index of an array [batch, height, width, channels] that one operation writes and others read.
type operand int

// none means no operand.
const none operand = -1

// kind is the kind of an operation.
type kind int

const (
	layerKind kind = iota // a Layer
	maxPoolKind
	avgPoolKind
)

// operation computes the operand out from in.
type operation struct {
	kind     kind
	layer    Layer
	in       operand
	residual operand // added before the layer's activation; may be none
	out      operand
	part     Part
}

// newDesign describes the network with the given backbone and heads. It panics if one is invalid.
func newDesign(b Backbone, h Heads) *design {
	for _, err := range []error{b.Validate(), h.Validate()} {
		if err != nil {
			panic(err)
		}
	}
	a := architectures[b.Arch]
	d := &design{layout: &Layout{Stages: a.stages()}, part: Stem, channels: []int{3}}
	d.features = d.pool(avgPoolKind, a.build(d, b, 0))
	d.z = d.classifier(d.projector(d.features, h), b, h)
	d.p = d.predictor(d.z, h)
	return d
}

// newMapsDesign describes the backbone up to the feature maps of its last stage.
func newMapsDesign(b Backbone) *design {
	if err := b.Validate(); err != nil {
		panic(err)
	}
	a := architectures[b.Arch]
	d := &design{layout: &Layout{Stages: a.stages()}, part: Stem, channels: []int{3}}
	d.features = a.build(d, b, 0)
	d.z, d.p = d.features, d.features
	return d
}

// add appends an operation and returns its output.
func (d *design) add(o operation, channels int) operand {
	o.out, o.part = operand(len(d.channels)), d.part
	d.channels = append(d.channels, channels)
	d.operations = append(d.operations, o)
	return o.out
}

// pool appends a pooling operation.
func (d *design) pool(k kind, x operand) operand {
	return d.add(operation{kind: k, in: x, residual: none}, d.channels[x])
}

// apply appends a layer.
func (d *design) apply(l Layer, x operand) operand { return d.applySum(l, x, none) }

// applySum appends a layer with a residual sum before its activation.
func (d *design) applySum(l Layer, x, residual operand) operand {
	return d.add(operation{kind: layerKind, layer: l, in: x, residual: residual}, l.Out)
}

// projector appends the projector, its modules numbered as in a PyTorch Sequential, and adds the prototypes.
func (d *design) projector(x operand, h Heads) operand {
	d.part = Projector
	module := 0
	for i := range h.ProjectorLayers {
		last := i == h.ProjectorLayers-1
		out := h.ProjectorHidden
		if last {
			out = h.ProjectorDim
		}
		l := d.linear("projector", &module, d.channels[x], out, h.ProjectorBN && !(last && h.ProjectorBias), !last)
		if !last {
			l.Activation = ReLU
			module++
		}
		x = d.apply(l, x)
	}
	if h.Prototypes > 0 {
		d.layout.Prototypes = d.layout.AddParam("prototypes.weight", d.part, LinearWeight, h.ProjectorDim, h.Prototypes)
	}
	return x
}

// classifier appends the classifier.
func (d *design) classifier(x operand, b Backbone, h Heads) operand {
	if h.Classes == 0 {
		return x
	}
	l := Layer{In: d.channels[x], Out: h.Classes, Kernel: 1, Stride: 1, Linear: true}
	l.Weight = d.layout.AddParam(b.Classifier()+".weight", d.part, LinearWeight, l.In, l.Out)
	l.Norm.Shift = d.layout.AddParam(b.Classifier()+".bias", d.part, Bias, l.Out)
	return d.apply(l, x)
}

// predictor appends the predictor, numbered likewise.
func (d *design) predictor(z operand, h Heads) operand {
	if h.PredictorHidden == 0 {
		return z
	}
	d.part = Predictor
	module, dim := 0, d.channels[z]
	hidden := d.linear("predictor", &module, dim, h.PredictorHidden, true, true)
	hidden.Activation = ReLU
	module++
	return d.apply(d.linear("predictor", &module, h.PredictorHidden, dim, false, false), d.apply(hidden, z))
}

// conv is the shape of a convolution.
type conv struct{ out, kernel, stride int }

// conv creates a convolution with BatchNorm.
func (d *design) conv(name, norm string, in int, c conv, a Activation) Layer {
	return d.convolution(Layer{In: in, Out: c.out, Kernel: c.kernel, Stride: c.stride, Activation: a}, name, norm)
}

// depthwise creates a depthwise convolution with BatchNorm, for c.out channels.
func (d *design) depthwise(name, norm string, c conv, a Activation) Layer {
	l := Layer{In: c.out, Out: c.out, Kernel: c.kernel, Stride: c.stride, Depthwise: true, Activation: a}
	return d.convolution(l, name, norm)
}

// convolution adds the padding and parameters of a convolution with BatchNorm.
func (d *design) convolution(l Layer, name, norm string) Layer {
	l.Pad = l.Kernel / 2
	in := l.In
	if l.Depthwise {
		in = 1
	}
	l.Weight = d.layout.AddParam(name+".weight", d.part, ConvWeight, l.Kernel, l.Kernel, in, l.Out)
	l.Norm = d.batchNorm(norm, l.Out, true)
	return l
}

// linear creates a linear layer with BatchNorm or a bias; module counts the modules of the Sequential.
func (d *design) linear(head string, module *int, in, out int, batchNorm, scaleShifts bool) Layer {
	l := Layer{In: in, Out: out, Kernel: 1, Stride: 1, Linear: true}
	name := fmt.Sprintf("%s.%d", head, *module)
	l.Weight = d.layout.AddParam(name+".weight", d.part, LinearWeight, in, out)
	*module++
	if batchNorm {
		l.Norm = d.batchNorm(fmt.Sprintf("%s.%d", head, *module), out, scaleShifts)
		*module++
	} else {
		l.Norm.Shift = d.layout.AddParam(name+".bias", d.part, Bias, out)
	}
	return l
}

func (d *design) batchNorm(name string, channels int, scaleShifts bool) Normalization {
	n := Normalization{Batch: true}
	if scaleShifts {
		n.Scale = d.layout.AddParam(name+".weight", d.part, Scale, channels)
		n.Shift = d.layout.AddParam(name+".bias", d.part, Shift, channels)
	}
	n.RunningMean = d.layout.addStat(name+".running_mean", d.part, channels)
	n.RunningVar = d.layout.addStat(name+".running_var", d.part, channels)
	return n
}

// pixels returns the height and width of the output for an input of size x size pixels.
func (o operation) pixels(size int) int {
	switch o.kind {
	case maxPoolKind:
		return (size-1)/2 + 1
	case avgPoolKind:
		return 1
	}
	return o.layer.conv(1, size).OutH()
}

// conv returns the layer's convolution for a batch of inputs of size x size pixels.
func (l Layer) conv(batch, size int) kernels.Conv {
	return kernels.Conv{
		N: batch, H: size, W: size, Cin: l.In, Cout: l.Out,
		KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad, Depthwise: l.Depthwise,
	}
}

// Convolution is a convolution of a network, with the parameter that holds its weights.
type Convolution struct {
	Weight Param
	kernels.Conv
}

// Convolutions lists a backbone's convolutions in execution order, for a batch of images of size x size pixels.
func Convolutions(b Backbone, size, batch int) []Convolution {
	d := newDesign(b, Heads{})
	params := map[int]Param{}
	for _, p := range d.layout.Params {
		params[p.Offset] = p
	}
	sizes := []int{size} // per operand
	var list []Convolution
	for _, o := range d.operations {
		in := sizes[o.in]
		if o.kind == layerKind {
			list = append(list, Convolution{params[o.layer.Weight.From], o.layer.conv(batch, in)})
		}
		sizes = append(sizes, o.pixels(in))
	}
	return list
}
