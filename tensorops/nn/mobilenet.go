package nn

import (
	"fmt"
	"strconv"
	"strings"
)

// MobileNetV2 (arXiv 1801.04381), under torchvision's names. A backbone of width w has torchvision's width_mult w/64. The
// small stem differs from torchvision's only in its stride of 1. A stage begins where the resolution is halved: stages 1 to
// 4 are features.2, 4, 7 and 14 and what follows them; features.0 and 1 are the stem.
func init() { architectures["mobilenet_v2"] = mobileNetV2{} }

type mobileNetV2 struct{}

// invertedResiduals are the consecutive blocks of the same shape: how often they expand the channels, their output
// channels, their number, and the stride of the first one.
var invertedResiduals = []struct{ expansion, channels, blocks, stride int }{
	{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
}

func (mobileNetV2) stages() int { return 4 }

func (mobileNetV2) classifier() string { return "classifier.1" } // behind a dropout

// timmLayers are timm's names of the layers of a block that expands the channels, and of the one that does not.
var timmLayers = map[bool]map[string]string{
	true:  {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"},
	false: {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"},
}

func (m mobileNetV2) timmName(name string) string {
	path, tensor := name[:strings.LastIndexByte(name, '.')], name[strings.LastIndexByte(name, '.'):]
	layer, ok := map[string]string{
		"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head", "features.18.1": "bn2", m.classifier(): "classifier",
	}[path]
	if ok {
		return layer + tensor
	}
	number, layer, _ := strings.Cut(strings.TrimPrefix(path, "features."), ".conv.")
	at, stage := 0, 0
	if n, err := strconv.Atoi(number); err == nil {
		at = n - 1
	}
	for ; at >= invertedResiduals[stage].blocks; stage++ {
		at -= invertedResiduals[stage].blocks
	}
	return fmt.Sprintf("blocks.%d.%d.%s%s", stage, at, timmLayers[invertedResiduals[stage].expansion > 1][layer], tensor)
}

func (m mobileNetV2) build(d *design, b Backbone, x operand) operand {
	stride := 1
	if b.Stem == "imagenet" {
		stride = 2
	}
	scale := float64(b.Width) / 64
	x = d.apply(d.conv("features.0.0", "features.0.1", d.channels[x], conv{multipleOf8(32 * scale), 3, stride}, ReLU6), x)
	feature := 1
	for _, r := range invertedResiduals {
		stride = r.stride
		if stride > 1 {
			if d.part != Stem {
				d.ends = append(d.ends, x)
			}
			d.part++
		}
		for range r.blocks {
			x = m.block(d, fmt.Sprintf("features.%d.conv", feature), x, r.expansion, conv{multipleOf8(float64(r.channels) * scale), 3, stride})
			stride, feature = 1, feature+1
		}
	}
	last := conv{multipleOf8(1280 * max(1, scale)), 1, 1}
	x = d.apply(d.conv(fmt.Sprintf("features.%d.0", feature), fmt.Sprintf("features.%d.1", feature), d.channels[x], last, ReLU6), x)
	d.ends = append(d.ends, x)
	return x
}

// block adds an inverted residual: an expansion, a depthwise convolution and a projection without activation, which is
// added to the block's input if their shapes are equal.
func (mobileNetV2) block(d *design, name string, x operand, expansion int, c conv) operand {
	in, hidden, module := x, expansion*d.channels[x], 0
	if expansion > 1 {
		x = d.apply(d.conv(name+".0.0", name+".0.1", d.channels[x], conv{hidden, 1, 1}, ReLU6), x)
		module++
	}
	l := d.depthwise(fmt.Sprintf("%s.%d.0", name, module), fmt.Sprintf("%s.%d.1", name, module), conv{hidden, c.kernel, c.stride}, ReLU6)
	x = d.apply(l, x)
	l = d.conv(fmt.Sprintf("%s.%d", name, module+1), fmt.Sprintf("%s.%d", name, module+2), hidden, conv{c.out, 1, 1}, Identity)
	if c.stride == 1 && c.out == d.channels[in] {
		return d.applySum(l, x, in)
	}
	return d.apply(l, x)
}

// multipleOf8 rounds a number of channels to a multiple of 8, but to no less than 90 % of it.
func multipleOf8(channels float64) int {
	n := max(8, int(channels+4)/8*8)
	if float64(n) < 0.9*channels {
		n += 8
	}
	return n
}
