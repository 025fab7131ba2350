package nn

import "fmt"

// The residual networks (arXiv 1512.03385), under torchvision's names. As in torchvision, the stride of a bottleneck is
// on its 3x3 convolution.
func init() {
	architectures["resnet18"] = resnet{basicBlock, [4]int{2, 2, 2, 2}}
	architectures["resnet34"] = resnet{basicBlock, [4]int{3, 4, 6, 3}}
	architectures["resnet50"] = resnet{bottleneck, [4]int{3, 4, 6, 3}}
	architectures["resnet101"] = resnet{bottleneck, [4]int{3, 4, 23, 3}}
}

// resnet is a residual network: its type of block and the number of blocks per stage.
type resnet struct {
	block  block
	depths [4]int
}

// block lists the convolutions of a residual block. The last one has expansion times width output channels.
type block struct {
	expansion int
	convs     func(width, stride int) []conv
}

var basicBlock = block{1, func(width, stride int) []conv {
	return []conv{{width, 3, stride}, {width, 3, 1}}
}}

var bottleneck = block{4, func(width, stride int) []conv {
	return []conv{{width, 1, 1}, {width, 3, stride}, {4 * width, 1, 1}}
}}

func (r resnet) stages() int { return len(r.depths) }

func (resnet) classifier() string { return "fc" }

func (resnet) timmName(name string) string { return name }

func (r resnet) build(d *design, b Backbone, x operand) operand {
	x = r.stem(d, x, b)
	for s, depth := range r.depths {
		d.part = Part(s + 1)
		stride := min(s+1, 2)
		for i := range depth {
			x = r.residual(d, fmt.Sprintf("layer%d.%d", s+1, i), x, b.Width<<s, stride)
			stride = 1
		}
		d.ends = append(d.ends, x)
	}
	return x
}

// stem adds the layers before the first stage.
func (resnet) stem(d *design, x operand, b Backbone) operand {
	c := conv{b.Width, 3, 1}
	if b.Stem == "imagenet" {
		c = conv{b.Width, 7, 2}
	}
	x = d.apply(d.conv("conv1", "bn1", d.channels[x], c, ReLU), x)
	if b.Stem == "imagenet" {
		x = d.pool(maxPoolKind, x)
	}
	return x
}

// residual adds a block: consecutive convolutions, the last followed by the sum with the block's input, which a 1x1
// convolution projects if its shape differs.
func (r resnet) residual(d *design, name string, x operand, width, stride int) operand {
	shortcut, in := x, d.channels[x]
	var layers []Layer
	for i, c := range r.block.convs(width, stride) {
		l := d.conv(fmt.Sprintf("%s.conv%d", name, i+1), fmt.Sprintf("%s.bn%d", name, i+1), in, c, ReLU)
		layers, in = append(layers, l), l.Out
	}
	if stride != 1 || in != d.channels[x] {
		shortcut = d.apply(d.conv(name+".downsample.0", name+".downsample.1", d.channels[x], conv{in, 1, stride}, Identity), x)
	}
	last := len(layers) - 1
	for _, l := range layers[:last] {
		x = d.apply(l, x)
	}
	return d.applySum(layers[last], x, shortcut)
}
