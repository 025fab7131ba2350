package cuda

import (
	"fmt"
	"math/bits"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// depthwise is a depthwise convolution: an nn.Product of NHWC images and weights [Cout, KH, KW].
type depthwise struct {
	q     queue
	shape kernels.Conv
	w, dw Buffer

	forward, data, weights slicing
	parts                  Buffer // float32 [chunks, Cout, KH, KW] of the weights' gradient; zero without a backward pass
}

// slicing describes how pixels are split into chunks, and the blocks that compute them. It depends on the shape alone,
// because sums must not depend on the GPU.
type slicing struct {
	pixels, chunk int
	grid, block   dim3
}

// depthwiseFewest is the least number of pixels per thread, unless there are too few.
const depthwiseFewest = 4

// newDepthwise returns the convolution of shape c. Without a backward pass, dw is zero. It panics if the kernels do not
// support the shape, which no backbone has.
func newDepthwise(q queue, m memory, c kernels.Conv, w, dw Buffer) *depthwise {
	if c.Stride&(c.Stride-1) != 0 || c.KH*c.KW > depthwiseTaps {
		panic(fmt.Sprintf("cuda: depthwise convolution %+v: want a stride that is a power of two and at most %d taps", c, depthwiseTaps))
	}
	v := &depthwise{q: q, shape: c, w: w, dw: dw}
	outputs := c.N * c.OutH() * c.OutW()
	v.forward, v.data = slicingOf(c.Cout, outputs, 1), slicingOf(c.Cout, c.N*c.H*c.W, 1)
	v.weights = slicingOf(c.Cout, outputs, c.KH*ceil(c.KW, depthwiseRow))
	if dw.Len > 0 {
		v.parts = m.floats(int(v.weights.grid[1]) * c.Weights())
	}
	return v
}

// slicingOf splits pixels; each chunk is computed by so many blocks per tile of channels.
func slicingOf(channels, pixels, blocks int) slicing {
	groups, x := groupsOf(channels), 1
	for x < min(groups, normColumns) {
		x *= 2
	}
	y, tiles := threads/x, ceil(groups, x)
	chunks := max(1, min(ceil(normBlocks, tiles*blocks), ceil(pixels, depthwiseFewest*y)))
	s := slicing{pixels: pixels, chunk: ceil(pixels, chunks), block: dim3{uint32(x), uint32(y), 1}}
	s.grid = dim3{uint32(tiles), uint32(ceil(pixels, s.chunk)), uint32(blocks)}
	return s
}

// Forward implements nn.Product.
func (v *depthwise) Forward(x, y Buffer) { v.launch("depthwise_forward", v.forward, x, v.w, y) }

// BackwardData implements nn.Product.
func (v *depthwise) BackwardData(dy, dx Buffer) { v.launch("depthwise_data", v.data, dy, v.w, dx) }

// BackwardWeights implements nn.Product.
func (v *depthwise) BackwardWeights(x, dy Buffer) {
	v.launch("depthwise_weights", v.weights, x, dy, v.parts)
	n := v.shape.Weights()
	v.q.launch("conv_sum", dim1(ceil(n, threads)), dim1(threads), v.parts, v.dw, n, int(v.weights.grid[1]))
}

func (v *depthwise) launch(kernel string, s slicing, a, b, out Buffer) {
	c := v.shape
	v.q.launch(kernel, s.grid, s.block, a, b, out, c.H, c.W, c.OutH(), c.OutW(), c.Cout, c.KH, c.KW,
		bits.TrailingZeros(uint(c.Stride)), c.Pad, s.pixels, s.chunk)
}
