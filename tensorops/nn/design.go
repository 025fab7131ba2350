package nn

import "fmt"

// Layer describes a convolution (or a linear layer, a 1x1 convolution of a single pixel) with what follows it:
// BatchNorm or a bias, then ReLU or not.
type Layer struct {
	In, Out             int // channels
	Kernel, Stride, Pad int
	Linear              bool
	Weight              Span
	Norm                Normalization
	ReLU                bool
}

// Normalization describes what follows a layer's product. Spans of parts it does not have are empty.
type Normalization struct {
	Batch                   bool // BatchNorm; otherwise only a bias is added
	Scale                   Span
	Shift                   Span // BatchNorm's shift or the bias
	RunningMean, RunningVar Span
}

// residual describes a residual block: its layers in a row, and the projection of its input if shapes differ.
type residual struct {
	layers     []Layer
	downsample *Layer
}

// design describes a whole network.
type design struct {
	stem      Layer
	pool      bool // max-pooling after the stem
	blocks    []residual
	projector []Layer
	predictor []Layer
	layout    *Layout
}

// newDesign lays out the network parameter by parameter. It panics on an invalid backbone or heads.
func newDesign(b Backbone, h Heads) *design {
	for _, err := range []error{b.Validate(), h.Validate()} {
		if err != nil {
			panic(err)
		}
	}
	d := &design{layout: &Layout{}, pool: b.Stem == "imagenet"}
	if b.Stem == "imagenet" {
		d.stem = d.conv("conv1", "bn1", Stem, 3, b.Width, 7, 2)
	} else {
		d.stem = d.conv("conv1", "bn1", Stem, 3, b.Width, 3, 1)
	}
	d.stem.ReLU = true
	channels := b.Width
	for stage, depth := range b.depths() {
		width, stride := b.Width<<stage, 1
		if stage > 0 {
			stride = 2
		}
		for i := range depth {
			name := fmt.Sprintf("layer%d.%d", stage+1, i)
			d.blocks = append(d.blocks, d.block(b, name, Stage1+Group(stage), channels, width, stride))
			channels, stride = width*b.expansion(), 1
		}
	}
	d.heads(channels, h)
	return d
}

func (d *design) block(b Backbone, name string, g Group, in, width, stride int) residual {
	out := width * b.expansion()
	var r residual
	if b.Arch == "resnet50" {
		r.layers = []Layer{
			d.conv(name+".conv1", name+".bn1", g, in, width, 1, 1),
			d.conv(name+".conv2", name+".bn2", g, width, width, 3, stride),
			d.conv(name+".conv3", name+".bn3", g, width, out, 1, 1),
		}
	} else {
		r.layers = []Layer{
			d.conv(name+".conv1", name+".bn1", g, in, width, 3, stride),
			d.conv(name+".conv2", name+".bn2", g, width, out, 3, 1),
		}
	}
	for i := range r.layers {
		r.layers[i].ReLU = true
	}
	if stride != 1 || in != out {
		down := d.conv(name+".downsample.0", name+".downsample.1", g, in, out, 1, stride)
		r.downsample = &down
	}
	return r
}

// heads adds the projector and predictor, numbered as the modules of a PyTorch Sequential.
func (d *design) heads(in int, h Heads) {
	module := 0
	for i := range h.ProjectorLayers {
		last := i == h.ProjectorLayers-1
		out := h.ProjectorHidden
		if last {
			out = h.ProjectorDim
		}
		l := d.linear("projector", &module, Projector, in, out, h.ProjectorBN, !last)
		if l.ReLU = !last; l.ReLU {
			module++
		}
		d.projector = append(d.projector, l)
		in = out
	}
	if h.PredictorHidden > 0 {
		module = 0
		hidden := d.linear("predictor", &module, Predictor, in, h.PredictorHidden, true, true)
		hidden.ReLU = true
		module++
		d.predictor = []Layer{hidden, d.linear("predictor", &module, Predictor, h.PredictorHidden, in, false, false)}
	}
}

func (d *design) conv(name, norm string, g Group, in, out, kernel, stride int) Layer {
	l := Layer{In: in, Out: out, Kernel: kernel, Stride: stride, Pad: kernel / 2}
	l.Weight = d.layout.addParam(name+".weight", g, ConvWeight, kernel, kernel, in, out)
	l.Norm = d.batchNorm(norm, g, out, true)
	return l
}

// linear adds a linear layer with BatchNorm or a bias; module counts the modules of its Sequential.
func (d *design) linear(head string, module *int, g Group, in, out int, batchNorm, scaleShifts bool) Layer {
	l := Layer{In: in, Out: out, Kernel: 1, Stride: 1, Linear: true}
	name := fmt.Sprintf("%s.%d", head, *module)
	l.Weight = d.layout.addParam(name+".weight", g, LinearWeight, in, out)
	*module++
	if batchNorm {
		l.Norm = d.batchNorm(fmt.Sprintf("%s.%d", head, *module), g, out, scaleShifts)
		*module++
	} else {
		l.Norm.Shift = d.layout.addParam(name+".bias", g, Bias, out)
	}
	return l
}

func (d *design) batchNorm(name string, g Group, channels int, scaleShifts bool) Normalization {
	n := Normalization{Batch: true}
	if scaleShifts {
		n.Scale = d.layout.addParam(name+".weight", g, Scale, channels)
		n.Shift = d.layout.addParam(name+".bias", g, Shift, channels)
	}
	n.RunningMean = d.layout.addStat(name+".running_mean", g, channels)
	n.RunningVar = d.layout.addStat(name+".running_var", g, channels)
	return n
}
