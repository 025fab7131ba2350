package cuda

import (
	"fmt"
	"math/bits"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// convKernel is a way to compute a pass of a convolution with the kernels of conv.cu, which are for few channels.
type convKernel struct {
	name       string
	tall, wide int // rows and columns of a block's tile
}

const (
	convVector   = 16  // bytes of an asynchronous copy in conv.cu
	convBlocks   = 512 // target number of blocks for a weight gradient: a few for each multiprocessor of a large GPU
	convFewest   = 256 // least pixels that a block of a weight gradient adds up
	convMostWide = 64  // columns of the widest tile
)

// convKernels returns the kernels for a pass, the best guess first; none if they do not support the shape. size is that
// of an activation in bytes.
func convKernels(c kernels.Conv, p pass, size int) []convKernel {
	aligned := func(channels int) bool { return channels%8 == 0 && channels*size%convVector == 0 }
	flat := !aligned(c.Cin)
	if !aligned(c.Cout) || flat && p == backwardData || c.Stride&(c.Stride-1) != 0 || max(c.H, c.W)+c.Pad+max(c.KH, c.KW) > 10000 {
		return nil
	}
	if p == backwardWeights {
		switch {
		case flat:
			return []convKernel{{"conv_weights_flat", 32, 32}}
		case min(c.Cin, c.Cout) <= 16:
			return []convKernel{{"conv_weights_16", 16, 16}, {"conv_weights_32", 32, 32}}
		}
		return []convKernel{{"conv_weights_32", 32, 32}, {"conv_weights_16", 16, 16}}
	}
	kind, rows, columns := "forward", c.N*c.OutH()*c.OutW(), c.Cout
	if p == backwardData {
		kind, rows, columns = "data", c.N*c.H*c.W, c.Cin
	} else if flat {
		kind = "flat"
	}
	var list []convKernel
	add := func(tall, wide int) {
		if wide >= 8 && (!flat || tall == 128) {
			list = append(list, convKernel{fmt.Sprintf("conv_%s_%dx%d", kind, tall, wide), tall, wide})
		}
	}
	widest := min(convMostWide, 1<<bits.Len(uint(columns-1)))
	sizes := [][2]int{{128, widest}, {64, widest}, {128, widest / 2}, {64, widest / 2}}
	if ceil(rows, 128)*ceil(columns, widest) < convBlocks/2 { // small tiles make more blocks
		sizes = [][2]int{{64, widest / 2}, {64, widest}, {128, widest / 2}, {128, widest}}
	}
	for _, s := range sizes {
		add(s[0], s[1])
	}
	return list
}

// split returns how a weight gradient's pixels are split: into parts of rows pixels. It depends on the shape alone,
// because sums must not depend on the GPU.
func (k convKernel) split(c kernels.Conv) (parts, rows int) {
	all, tiles := c.N*c.OutH()*c.OutW(), k.squares(c)
	rows = max(ceil(all, ceil(convBlocks, tiles)), convFewest)
	return ceil(all, rows), rows
}

// squares returns the number of tiles of a weight gradient.
func (k convKernel) squares(c kernels.Conv) int {
	taps, columns := c.KH*c.KW, c.Cin
	if k.name == "conv_weights_flat" {
		taps, columns = 1, taps*columns
	}
	return taps * ceil(c.Cout, k.tall) * ceil(columns, k.wide)
}

// workspace returns the bytes of workspace that a pass needs.
func (k convKernel) workspace(c kernels.Conv, p pass) int {
	if p != backwardWeights {
		return 0
	}
	parts, _ := k.split(c)
	return 4 * parts * c.KH * c.KW * c.Cin * c.Cout
}

// run computes out from the pass's two operands, as conv.run does.
func (k convKernel) run(q queue, c kernels.Conv, p pass, a, b, out, workspace Buffer) {
	shift, block := bits.TrailingZeros(uint(c.Stride)), dim1(convThreads)
	pixels := c.N * c.OutH() * c.OutW()
	switch p {
	case forward:
		q.launch(k.name, dim3{uint32(ceil(pixels, k.tall)), uint32(ceil(c.Cout, k.wide)), 1}, block, a, b, out,
			c.H, c.W, c.Cin, c.OutH(), c.OutW(), c.Cout, pixels, c.KH, c.KW, shift, c.Pad)
	case backwardData:
		rows := c.N * c.H * c.W
		q.launch(k.name, dim3{uint32(ceil(rows, k.tall)), uint32(ceil(c.Cin, k.wide)), 1}, block, a, b, out,
			c.OutH(), c.OutW(), c.Cout, c.H, c.W, c.Cin, rows, c.KH, c.KW, shift, c.Pad)
	case backwardWeights:
		parts, rows := k.split(c)
		q.launch(k.name, dim3{uint32(k.squares(c)), uint32(parts), 1}, block, a, b, workspace,
			c.H, c.W, c.Cin, c.OutH(), c.OutW(), c.Cout, pixels, c.KH, c.KW, shift, c.Pad, rows)
		n := c.KH * c.KW * c.Cin * c.Cout
		q.launch("conv_sum", dim1(ceil(n, threads)), dim1(threads), workspace, out, n, parts)
	}
}
