package detect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Net is a detector without its backbone: pyramid and head, for batches of one size. New allocates most of its memory. A
// Net must not be used by two goroutines at once.
type Net struct {
	// Config and Layout describe its parameters, whose names are those of torchvision's FCOS.
	Config Config
	Layout *nn.Layout
	// Params are read by Forward and Backward; they may be replaced by others of the same length.
	Params []float32
	// Grads are written by Backward; nil without Train.
	Grads []float32

	batch      int
	train      bool
	pool       *kernels.Pool
	arrays     []*array
	maps       []*array // those of the backbone
	levels     []level
	operations []operation
	points     []point // of all levels

	scratch []float32 // a term of a gradient
	weights []float32 // the gradient of a convolution's weights at one level
	sums    []float64 // of images, per channel
}

// level is a level of the pyramid: what the head says for its points.
type level struct {
	side, stride          int
	first                 int    // the number of its first point
	logits, boxes, center *array // boxes are distances to left, top, right and bottom, in strides
}

// Names of parameters begin with these.
const (
	pyramidName    = "backbone.fpn."
	classifierName = "head.classification_head."
	regressorName  = "head.regression_head."
)

// New returns a detector for the maps of a batch of images, from fine to coarse. Params start as zeros, see Init. New
// panics on an invalid configuration.
func New(cfg Config, maps []Map, batch int, pool *kernels.Pool, mode nn.Mode) *Net {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	n := &Net{Config: cfg, Layout: &nn.Layout{}, batch: batch, train: mode&nn.Train != 0, pool: pool}
	for _, m := range maps {
		n.maps = append(n.maps, n.array(m.Side, m.Channels))
	}
	features := n.pyramid(maps)
	stride := maps[len(maps)-1].Stride
	head := n.head()
	for i, f := range features {
		l := level{side: f.side, first: len(n.points)}
		if l.stride = stride << max(0, i-len(maps)+1); i < len(maps) {
			l.stride = maps[i].Stride
		}
		head.apply(n, &l, f)
		n.levels = append(n.levels, l)
		n.points = append(n.points, l.points(i == 0, i == len(features)-1)...)
	}
	n.Params = make([]float32, n.Layout.NumParams)
	if n.train {
		n.Grads = make([]float32, n.Layout.NumParams)
	}
	return n
}

// array returns an array of the batch; with a gradient in training.
func (n *Net) array(side, channels int) *array {
	a := &array{side: side, channels: channels}
	n.arrays = append(n.arrays, a)
	size := n.batch * side * side * channels
	a.value = kernels.NewFloats(size)
	if n.train {
		a.grad = kernels.NewFloats(size)
		if len(n.scratch) < size {
			n.scratch = kernels.NewFloats(size)
		}
	}
	return a
}

// each calls f for each image of the batch, in parallel.
func (n *Net) each(f func(image int)) { n.pool.For(n.batch, func(_, i int) { f(i) }) }

// filter is the shape and the parameters of a convolution with bias.
type filter struct {
	in, out, kernel, stride int
	weight, bias            nn.Span
}

// filter adds the parameters of a convolution.
func (n *Net) filter(name string, in, out, kernel, stride int) filter {
	return filter{
		in, out, kernel, stride,
		n.Layout.AddParam(name+".weight", nn.Stem, nn.ConvWeight, kernel, kernel, in, out),
		n.Layout.AddParam(name+".bias", nn.Stem, nn.Bias, out),
	}
}

// add appends an operation.
func (n *Net) add(o operation) { n.operations = append(n.operations, o) }

// convolve appends a convolution and returns its output.
func (n *Net) convolve(f filter, x *array) *array {
	c := kernels.Conv{
		N: n.batch, H: x.side, W: x.side, Cin: f.in, Cout: f.out,
		KH: f.kernel, KW: f.kernel, Stride: f.stride, Pad: f.kernel / 2,
	}
	y := n.array(c.OutH(), f.out)
	n.add(&convolve{x, y, f.weight, f.bias, kernels.NewConvPlan(c, kernels.FP32, n.pool)})
	n.sums = make([]float64, max(len(n.sums), 2*n.batch*f.out))
	if n.train {
		n.weights = make([]float32, max(len(n.weights), f.weight.Len()))
	}
	return y
}

// pyramid appends the feature pyramid (arXiv 1612.03144) and returns its levels.
func (n *Net) pyramid(maps []Map) (levels []*array) {
	var inner, layer []filter
	for i, m := range maps {
		inner = append(inner, n.filter(fmt.Sprintf("%sinner_blocks.%d.0", pyramidName, i), m.Channels, n.Config.Channels, 1, 1))
	}
	for i := range maps {
		layer = append(layer, n.filter(fmt.Sprintf("%slayer_blocks.%d.0", pyramidName, i), n.Config.Channels, n.Config.Channels, 3, 1))
	}
	levels = make([]*array, len(maps))
	var above *array
	for i := len(maps) - 1; i >= 0; i-- {
		x := n.convolve(inner[i], n.maps[i])
		if above != nil {
			sum := n.array(x.side, x.channels)
			n.add(&topDown{x, above, sum})
			x = sum
		}
		above = x
		levels[i] = n.convolve(layer[i], x)
	}
	x := levels[len(levels)-1]
	for i := range n.Config.Extra {
		if i > 0 {
			y := n.array(x.side, x.channels)
			n.add(&rectify{x, y})
			x = y
		}
		x = n.convolve(n.filter(fmt.Sprintf("%sextra_blocks.p%d", pyramidName, 6+i), n.Config.Channels, n.Config.Channels, 3, 2), x)
		levels = append(levels, x)
	}
	return levels
}

// head is the parameters of the head.
type head struct {
	classifier, regressor tower
	logits, boxes, center filter
}

// tower is convolutions, each with the scale and shift of a GroupNorm.
type tower []struct {
	filter
	scale, shift nn.Span
}

// head adds the parameters of the head.
func (n *Net) head() head {
	c := n.Config.Channels
	var h head
	h.classifier = n.tower(classifierName)
	h.logits = n.filter(classifierName+"cls_logits", c, n.Config.Classes, 3, 1)
	h.regressor = n.tower(regressorName)
	h.boxes = n.filter(regressorName+"bbox_reg", c, 4, 3, 1)
	h.center = n.filter(regressorName+"bbox_ctrness", c, 1, 3, 1)
	return h
}

func (n *Net) tower(name string) tower {
	t := make(tower, n.Config.Convs)
	for i := range t {
		t[i].filter = n.filter(fmt.Sprintf("%sconv.%d", name, 3*i), n.Config.Channels, n.Config.Channels, 3, 1)
		norm := fmt.Sprintf("%sconv.%d", name, 3*i+1)
		t[i].scale = n.Layout.AddParam(norm+".weight", nn.Stem, nn.Scale, n.Config.Channels)
		t[i].shift = n.Layout.AddParam(norm+".bias", nn.Stem, nn.Shift, n.Config.Channels)
	}
	return t
}

// apply appends the head of a level.
func (h head) apply(n *Net, l *level, x *array) {
	l.logits = n.convolve(h.logits, h.classifier.apply(n, x))
	features := h.regressor.apply(n, x)
	distances := n.convolve(h.boxes, features)
	l.boxes = n.array(distances.side, distances.channels)
	n.add(&rectify{distances, l.boxes})
	l.center = n.convolve(h.center, features)
}

func (t tower) apply(n *Net, x *array) *array {
	for _, layer := range t {
		x = n.convolve(layer.filter, x)
		y := n.array(x.side, x.channels)
		n.add(newGroupNorm(x, y, layer.scale, layer.shift, n.Config.Groups, n.batch))
		x = y
	}
	return x
}

// prior is how probable every class is at every point, to begin with.
const prior = .01

// Init initializes the parameters: those of the pyramid as torchvision does, those of the head normally distributed with
// a deviation of 0.01. The logits begin at the prior, and the boxes with sides in the middle of a level's range, where
// ReLU has a gradient.
func (n *Net) Init(r *rand.Rand) {
	for _, p := range n.Layout.Params {
		w := n.Params[p.Offset : p.Offset+p.Size]
		switch {
		case p.Kind == nn.Scale:
			fill(w, 1)
		case p.Name == classifierName+"cls_logits.bias":
			fill(w, float32(-math.Log((1-prior)/prior)))
		case p.Name == regressorName+"bbox_reg.bias":
			fill(w, nearStrides)
		case p.Kind != nn.ConvWeight:
			clear(w)
		case strings.HasPrefix(p.Name, pyramidName):
			bound := math.Sqrt(3 / float64(p.Shape[0]*p.Shape[1]*p.Shape[2]))
			for i := range w {
				w[i] = float32(bound * (2*r.Float64() - 1))
			}
		default:
			for i := range w {
				w[i] = float32(.01 * r.NormFloat64())
			}
		}
	}
}

func fill(w []float32, v float32) {
	for i := range w {
		w[i] = v
	}
}

// Forward computes what the head says about a batch of the backbone's maps, which must not change until Backward returns.
func (n *Net) Forward(maps [][]float32) {
	for i, m := range maps {
		if len(m) != len(n.maps[i].value) {
			panic(fmt.Sprintf("detect: map %d has %d floats, want %d", i, len(m), len(n.maps[i].value)))
		}
		n.maps[i].value = m
	}
	for _, o := range n.operations {
		o.forward(n)
	}
}

// Backward computes Grads after Loss. With through, it also returns the gradients of the maps, which the next Backward
// overwrites.
func (n *Net) Backward(through bool) (maps [][]float32) {
	clear(n.Grads)
	for _, a := range n.arrays {
		a.received = false
	}
	for _, m := range n.maps {
		m.ignored = !through
		maps = append(maps, m.grad)
	}
	for _, o := range slices.Backward(n.operations) {
		o.backward(n)
	}
	if !through {
		return nil
	}
	return maps
}
