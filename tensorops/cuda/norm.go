package cuda

import "github.com/sdr-ml/sdr/tensorops/nn"

// memory allocates arrays that live until the device is closed. They are aligned to 16 bytes.
type memory interface {
	floats(n int) Buffer // n float32
	bytes(n int) Buffer
}

// normSpec describes a norm.
type normSpec struct {
	Batch      bool // BatchNorm; otherwise only Shift is added
	Activation nn.Activation
	Channels   int
	// Parameters and their gradients, float32 [Channels] each; zero if the layer does not have them.
	Scale, Shift, DScale, DShift Buffer
	// Mean and Variance, float32 [Channels] each, replace the batch statistics in the forward pass where *Running is set.
	Mean, Variance Buffer
	Running        *bool
}

// How the rows are split; this depends on their shape alone, because sums must not depend on the GPU.
const (
	normBlocks  = 1024 // target number of blocks: half of them run at once on a large GPU
	normFewest  = 4    // rows per thread, or a multiple, unless there are too few: forRows in norm.cu takes so many at once
	normMost    = 1024 // most rows per thread, which limits the loss of precision
	normTable   = 7    // TABLE in norm.cu
	normParts   = 2    // values per channel in a chunk
	normColumns = 32   // most threads of a block in x
)

// norm is nn.Norm on the GPU, fused: BatchNorm with batch statistics or a bias, then an optional residual sum and an activation.
// The views are equal consecutive parts of the rows with separate statistics.
type norm struct {
	normSpec
	q     queue
	rows  int // per view
	views int // 1 without BatchNorm

	chunkRows, chunks int  // per view
	grid, block       dim3 // of kernels that iterate over rows
	reduceGrid        dim3 // of reduction kernels, for one view
	reduceBlock       dim3
	table, parts      Buffer // float32 [views, normTable, Channels], [views, chunks, normParts, Channels]
}

// newNorm returns a norm for [rows, l.Channels]; rows are those of all views together.
func newNorm(q queue, m memory, l normSpec, rows, views int) *norm {
	if !l.Batch {
		views = 1
	}
	n := &norm{normSpec: l, q: q, rows: rows / views, views: views}
	groups, x := groupsOf(l.Channels), 1
	for x < min(groups, normColumns) {
		x *= 2
	}
	y, tiles := threads/x, ceil(groups, x)
	fewest := normFewest * y
	n.chunks = max(1, min(ceil(normBlocks, tiles*views), ceil(n.rows, fewest)))
	n.chunkRows = min(ceil(ceil(n.rows, n.chunks), fewest)*fewest, normMost*y)
	n.chunks = ceil(n.rows, n.chunkRows)
	n.grid, n.block = dim3{uint32(tiles), uint32(n.chunks), uint32(views)}, dim3{uint32(x), uint32(y), 1}
	n.reduceGrid, n.reduceBlock = dim1(ceil(l.Channels, side)), dim3{side, side, 1}
	n.parts = m.floats(views * n.chunks * normParts * l.Channels)
	if l.Batch {
		n.table = m.floats(views * normTable * l.Channels)
	}
	return n
}

// Forward computes y [views·rows, Channels] from x; residual is added before the activation and may be zero. y may be x.
func (n *norm) Forward(x, residual, y Buffer) {
	switch {
	case n.Batch && n.Running != nil && *n.Running:
		n.q.launch("norm_running", dim1(ceil(n.Channels, threads)), dim1(threads), n.Mean, n.Variance, n.table, n.Scale, n.Shift, n.Channels)
	case n.Batch:
		n.q.launch("norm_moments", n.grid, n.block, x, n.parts, n.rows, n.Channels, n.chunkRows)
		grid := dim3{n.reduceGrid[0], 1, uint32(n.views)}
		n.q.launch("norm_statistics", grid, n.reduceBlock, n.parts, n.table, n.Scale, n.Shift, n.rows, n.Channels,
			n.chunkRows, n.chunks)
	}
	n.apply(x, residual, y)
}

func (n *norm) rectifies() bool { return n.Activation != nn.Identity }

// Reapply computes y from x as the last Forward did, which must have had no residual.
func (n *norm) Reapply(x, y Buffer) { n.apply(x, Buffer{}, y) }

func (n *norm) apply(x, residual, y Buffer) {
	n.q.launch("norm_apply", n.grid, n.block, x, residual, y, n.table, n.Shift, n.rows, n.Channels, n.chunkRows,
		n.rectifies(), n.Activation.Top())
}

// Backward computes dx, the gradient of x, from the gradient g1 (+ g2 unless zero) of y, and the gradients of scale and
// shift. With an activation or g2, it writes to masked the gradient before the activation, which is also the residual's.
// masked may be g1 or dx; dx may be g1, g2, x or masked. x and y are those of the forward pass.
func (n *norm) Backward(g1, g2, x, y, masked, dx Buffer) {
	if !n.rectifies() {
		y = Buffer{}
	}
	g := masked
	if !n.rectifies() && g2.Addr == 0 {
		masked, g = Buffer{}, g1
	}
	n.q.launch("norm_grad", n.grid, n.block, g1, g2, x, y, masked, n.parts, n.table, n.rows, n.Channels, n.chunkRows,
		n.Activation.Top())
	n.q.launch("norm_gradients", n.reduceGrid, n.reduceBlock, n.parts, n.table, n.DScale, n.DShift, n.rows, n.Channels,
		n.chunks, n.views)
	switch {
	case n.Batch:
		n.q.launch("norm_combine", n.grid, n.block, g, x, dx, n.table, n.rows, n.Channels, n.chunkRows)
	case dx.Addr != g.Addr:
		size := n.rows * n.Channels
		n.q.launch("norm_copy", dim1(ceil(size, threads)), dim1(threads), g, dx, uint64(size))
	}
}
