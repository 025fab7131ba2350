package nn

import "fmt"

// layer describes a convolution (or a linear layer, a 1x1 convolution of a single pixel) with what follows it:
// BatchNorm or a bias, then ReLU or not.
type layer struct {
	in, out             int // channels
	kernel, stride, pad int
	linear              bool
	weight              span
	norm                normalization
	relu                bool
}

// normalization describes what follows a layer's product. Spans of parts it does not have are empty.
type normalization struct {
	batch                   bool // BatchNorm; otherwise only a bias is added
	scale                   span
	shift                   span // BatchNorm's shift or the bias
	runningMean, runningVar span
}

// residual describes a residual block: its layers in a row, and the projection of its input if shapes differ.
type residual struct {
	layers     []layer
	downsample *layer
}

// design describes a whole network.
type design struct {
	stem      layer
	pool      bool // max-pooling after the stem
	blocks    []residual
	projector []layer
	predictor []layer
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
	d.stem.relu = true
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
		r.layers = []layer{
			d.conv(name+".conv1", name+".bn1", g, in, width, 1, 1),
			d.conv(name+".conv2", name+".bn2", g, width, width, 3, stride),
			d.conv(name+".conv3", name+".bn3", g, width, out, 1, 1),
		}
	} else {
		r.layers = []layer{
			d.conv(name+".conv1", name+".bn1", g, in, width, 3, stride),
			d.conv(name+".conv2", name+".bn2", g, width, out, 3, 1),
		}
	}
	for i := range r.layers {
		r.layers[i].relu = true
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
		if l.relu = !last; l.relu {
			module++
		}
		d.projector = append(d.projector, l)
		in = out
	}
	if h.PredictorHidden > 0 {
		module = 0
		hidden := d.linear("predictor", &module, Predictor, in, h.PredictorHidden, true, true)
		hidden.relu = true
		module++
		d.predictor = []layer{hidden, d.linear("predictor", &module, Predictor, h.PredictorHidden, in, false, false)}
	}
}

func (d *design) conv(name, norm string, g Group, in, out, kernel, stride int) layer {
	l := layer{in: in, out: out, kernel: kernel, stride: stride, pad: kernel / 2}
	l.weight = d.layout.addParam(name+".weight", g, ConvWeight, kernel, kernel, in, out)
	l.norm = d.batchNorm(norm, g, out, true)
	return l
}

// linear adds a linear layer with BatchNorm or a bias; module counts the modules of its Sequential.
func (d *design) linear(head string, module *int, g Group, in, out int, batchNorm, scaleShifts bool) layer {
	l := layer{in: in, out: out, kernel: 1, stride: 1, linear: true}
	name := fmt.Sprintf("%s.%d", head, *module)
	l.weight = d.layout.addParam(name+".weight", g, LinearWeight, in, out)
	*module++
	if batchNorm {
		l.norm = d.batchNorm(fmt.Sprintf("%s.%d", head, *module), g, out, scaleShifts)
		*module++
	} else {
		l.norm.shift = d.layout.addParam(name+".bias", g, Bias, out)
	}
	return l
}

func (d *design) batchNorm(name string, g Group, channels int, scaleShifts bool) normalization {
	n := normalization{batch: true}
	if scaleShifts {
		n.scale = d.layout.addParam(name+".weight", g, Scale, channels)
		n.shift = d.layout.addParam(name+".bias", g, Shift, channels)
	}
	n.runningMean = d.layout.addStat(name+".running_mean", g, channels)
	n.runningVar = d.layout.addStat(name+".running_var", g, channels)
	return n
}
