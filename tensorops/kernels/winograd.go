package kernels

import "unsafe"

// Winograd's algorithm F(mxm, 3x3) computes a 3x3 convolution with stride 1 (arXiv 1509.09308). The image is split into
// tiles of (m+2)x(m+2) pixels that overlap by two. A linear transform turns each into (m+2)² planes with one value per
// channel, the planes are multiplied by those of the filters, and a second transform turns the product into mxm output
// pixels. That takes (m+2)²/(9m²) of the multiplications; the transforms are mostly additions. The gradient of the
// input is the same with flipped filters, and that of the filters sums products of planes over tiles.

// transform computes P X Pᵀ for n groups of 8 channels of reps tiles. X consists of vectors of 8 floats, srcRow and
// srcCol bytes apart, at src; the result's are dstRow and dstCol bytes apart, at dst. Groups are consecutive; between
// the last group of a tile and the first of the next are another srcStep and dstStep bytes. tmp has room for 36
// vectors.
type transform func(dst, src, tmp unsafe.Pointer, dstRow, dstCol, srcRow, srcCol, n, dstStep, srcStep, reps int)

// matrix is where a transform reads or writes: vectors row and col floats apart, tiles step floats apart.
type matrix struct {
	s              []float32
	row, col, step int
}

// apply transforms the given number of channels of reps tiles.
func (f transform) apply(dst, src matrix, tmp []float32, channels, reps int) {
	f(unsafe.Pointer(&dst.s[0]), unsafe.Pointer(&src.s[0]), unsafe.Pointer(&tmp[0]),
		dst.row*f32, dst.col*f32, src.row*f32, src.col*f32,
		channels/transformLanes, (dst.step-channels)*f32, (src.step-channels)*f32, reps)
}

// transforms are an instruction set's transforms for F(mxm, 3x3); see internal/winograd for the matrices.
type transforms struct {
	m                                             int
	input, filter, outputGrad, output, filterGrad transform
}

const (
	transformLanes  = 8        // channels that a transform handles at once
	fusedFloats     = 64 << 10 // planes of one item that stay in the L2 cache
	stagedFloats    = 2 << 20  // planes of all items that stay in the L3 cache
	channelsPerItem = 8        // channels whose filters one item transforms
	tilesPerItem    = 16       // tiles that one item transforms
	leastStaged     = 128      // least tiles per chunk, so that reading the filters from memory stays cheap
)

// planes are transformed tiles, filters or products: a matrix for each row and column of the transform's output, split
// into groups of columns.
type planes struct {
	count  int // matrices
	size   int // floats from one matrix to the next
	groups []group
}

// group is a range of columns of a matrix: rows of cols floats, row floats apart, from start on.
type group struct {
	col, cols, start, row int
}

// matrices lays out matrices row-major.
func matrices(count, rows, cols int) planes {
	row := pitch(cols)
	return planes{count: count, size: rows*row + 16, groups: []group{{0, cols, 0, row}}}
}

// paneled lays out matrices panel by panel, as the micro-kernels read B.
func paneled(count, rows int, panels []panel) planes {
	p := planes{count: count, size: 16}
	for _, n := range panels {
		p.groups = append(p.groups, group{n.col, n.cols, n.col * rows, n.cols})
		p.size += n.cols * rows
	}
	return p
}

func (p planes) floats() int { return p.count * p.size }

// tiling splits images [n,h,w,c] into square tiles, which may extend beyond the border. A row of tiles is called a
// line.
type tiling struct {
	h, w, c    int
	rows, cols int // tiles per image
	size, step int // pixels per side of a tile; between tiles
	pad        int // pixels by which the first tile extends beyond the image
}

// newTiling splits images for an output of outH x outW pixels into tiles of m output pixels, each computed from size
// pixels.
func newTiling(h, w, c, outH, outW, m, size, pad int) tiling {
	return tiling{h: h, w: w, c: c, rows: (outH + m - 1) / m, cols: (outW + m - 1) / m, size: size, step: m, pad: pad}
}

// width returns the number of pixels along a line.
func (t tiling) width() int { return (t.cols-1)*t.step + t.size }

// strip returns the number of floats in a line.
func (t tiling) strip() int { return t.size * t.width() * t.c }

// line returns the index of the first float of line i's image, and the image row where the line starts.
func (t tiling) line(i int) (image, top int) {
	return i / t.rows * t.h * t.w * t.c, i%t.rows*t.step - t.pad
}

// inside reports whether the line at row top is entirely within the image.
func (t tiling) inside(top int) bool {
	return t.pad == 0 && top+t.size <= t.h && t.width() <= t.w
}

// read transforms n lines, from line first of the images, into dst from row row on.
func (t tiling) read(f transform, scratch, images, dst []float32, p planes, side, first, row, n int) {
	tmp, strip := scratch[:tmpFloats], scratch[tmpFloats:]
	for i := range n {
		image, top := t.line(first + i)
		src := matrix{s: strip, row: t.width() * t.c, col: t.c, step: t.step * t.c}
		if t.inside(top) {
			src.s, src.row = images[image+top*t.w*t.c:], t.w*t.c
		} else {
			t.cut(images[image:image+t.h*t.w*t.c], strip, top)
		}
		for _, g := range p.groups {
			to := matrix{s: dst[g.start+(row+i*t.cols)*g.row:], row: side * p.size, col: p.size, step: g.row}
			f.apply(to, matrix{src.s[g.col:], src.row, src.col, src.step}, tmp, g.cols, t.cols)
		}
	}
}

// cut copies a line from an image to dst, with zeros where it is outside the image.
func (t tiling) cut(image, dst []float32, top int) {
	row, left := t.width()*t.c, t.pad*t.c
	n := min(t.w*t.c, row-left)
	for r := range t.size {
		line := dst[r*row : (r+1)*row]
		if h := top + r; h < 0 || h >= t.h {
			clear(line)
			continue
		}
		clear(line[:left])
		copy(line[left:left+n], image[(top+r)*t.w*t.c:])
		clear(line[left+n:])
	}
}

// write transforms src from row row on into n lines of the images, from line first on.
func (t tiling) write(f transform, scratch, images, src []float32, p planes, side, first, row, n int) {
	tmp, strip := scratch[:tmpFloats], scratch[tmpFloats:]
	for i := range n {
		image, top := t.line(first + i)
		dst := matrix{s: strip, row: t.width() * t.c, col: t.c, step: t.step * t.c}
		inside := t.inside(top)
		if inside {
			dst.s, dst.row = images[image+top*t.w*t.c:], t.w*t.c
		}
		g := p.groups[0]
		from := matrix{s: src[(row+i*t.cols)*g.row:], row: side * p.size, col: p.size, step: g.row}
		f.apply(dst, from, tmp, t.c, t.cols)
		if !inside {
			t.paste(images[image:image+t.h*t.w*t.c], strip, top)
		}
	}
}

// paste copies a line to the image, as far as it is inside.
func (t tiling) paste(image, src []float32, top int) {
	n := t.w * t.c
	for r := range min(t.size, t.h-top) {
		copy(image[(top+r)*n:(top+r+1)*n], src[r*t.width()*t.c:])
	}
}

// tmpFloats is the size of a transform's temporary.
const tmpFloats = 36 * transformLanes

// suitsWinograd reports whether Winograd's algorithm applies.
func suitsWinograd(c Conv) bool {
	return c.KH == 3 && c.KW == 3 && c.Stride == 1 && c.Pad <= 2 && c.Cin%transformLanes == 0 && c.Cout%transformLanes == 0
}

// multiply computes m rows of a times b, which is packed in panels of depth rows. It adds to c, or overwrites it if acc
// is 0.
func multiply(t *tile, panels []panel, w window, m, depth int, a, b, c []float32, ldc, acc int) {
	for _, p := range panels {
		w.bks = p.cols
		t.multiply(p, w, m, a, b[p.col*depth:], c[p.col:], ldc, acc)
	}
}

// winogradConv computes y from x, or dx from dy, by Winograd's algorithm.
type winogradConv struct {
	pool       *Pool
	f          *transforms
	side       int // m+2
	backward   bool
	in, out    tiling
	lines      int // of tiles, over all images
	panels     []panel
	filters    planes
	transposed int    // floats of transposed filters
	v, p       planes // of some lines: input, product
	block      int    // lines per item
	blocks     int
	chunk      int // blocks per chunk, if staged
	staged     bool

	first                                                                int // first block of the current chunk
	x, w, y                                                              []float32
	transposeFunc, packFunc, itemFunc, readFunc, multiplyFunc, writeFunc func(worker, i int)
}

// newWinogradConv prepares the forward pass of c or the gradient of its input.
func newWinogradConv(c Conv, m int, backward, staged bool, p *Pool) *winogradConv {
	values := (m + 2) * (m + 2)
	r := &winogradConv{pool: p, f: p.isa.transformsOf(m), side: m + 2, backward: backward, staged: staged}
	if backward {
		c = Conv{N: c.N, H: c.OutH(), W: c.OutW(), Cin: c.Cout, Cout: c.Cin, KH: 3, KW: 3, Stride: 1, Pad: 2 - c.Pad}
	}
	r.in = newTiling(c.H, c.W, c.Cin, c.OutH(), c.OutW(), m, m+2, c.Pad)
	r.out = newTiling(c.OutH(), c.OutW(), c.Cout, c.OutH(), c.OutW(), m, m, 0)
	r.lines = c.N * r.in.rows
	perTile := values * (pitch(c.Cin) + pitch(c.Cout))
	r.panels = p.isa.widths.panels(c.Cout, 24, 0)
	r.filters = paneled(values, c.Cin, r.panels)
	longest := len(r.panels[0].width.tiles)
	tiles := longest * max(2, fusedFloats/(longest*perTile))
	r.block = min(r.lines, (tiles+r.in.cols-1)/r.in.cols)
	r.blocks = (r.lines + r.block - 1) / r.block
	shared := r.filters.floats()
	if r.backward {
		r.transposed = 9 * c.Cin * c.Cout
		shared += r.transposed
	}
	scratch := r.border()
	perBlock := r.block * r.in.cols
	if staged {
		r.chunk = min(r.blocks, max((leastStaged+perBlock-1)/perBlock, stagedFloats/(perTile*perBlock)))
		rows := r.chunk * perBlock
		r.v, r.p = matrices(values, rows, c.Cin), matrices(values, rows, c.Cout)
		shared += r.v.floats() + r.p.floats()
	} else {
		r.v, r.p = matrices(values, perBlock, c.Cin), matrices(values, perBlock, c.Cout)
		scratch += r.v.floats() + r.p.floats()
	}
	p.reserve(shared, scratch)
	r.transposeFunc, r.packFunc, r.itemFunc = r.transpose, r.pack, r.item
	r.readFunc, r.multiplyFunc, r.writeFunc = r.read, r.product, r.write
	return r
}

func (r *winogradConv) compute(x, w, y []float32) {
	r.x, r.w, r.y = x, w, y
	if r.backward {
		r.pool.run(9, len(w)*packWork, r.transposeFunc)
	}
	r.pool.run((r.in.c+channelsPerItem-1)/channelsPerItem, len(w)*packWork, r.packFunc)
	work := r.lines * r.in.cols * r.filters.count * r.in.c * r.out.c
	if !r.staged {
		r.pool.run(r.blocks, work, r.itemFunc)
	} else {
		for r.first = 0; r.first < r.blocks; r.first += r.chunk {
			blocks := min(r.chunk, r.blocks-r.first)
			r.pool.run(blocks, work, r.readFunc)
			r.pool.run(r.filters.count, work, r.multiplyFunc)
			r.pool.run(blocks, work, r.writeFunc)
		}
	}
	r.x, r.w, r.y = nil, nil, nil
}

// border returns the size of the scratch for a transform and a line.
func (r *winogradConv) border() int { return pitch(tmpFloats + max(r.in.strip(), r.out.strip())) }

// transpose transposes the filters' matrix of one tap.
func (r *winogradConv) transpose(_, tap int) {
	size := r.in.c * r.out.c
	r.pool.isa.packPanel(r.pool.shared[r.filters.floats()+tap*size:], r.out.c, r.in.c, r.out.c, r.w[tap*size:], 1, r.in.c)
}

// pack transforms the filters of some input channels.
func (r *winogradConv) pack(worker, i int) {
	first := i * channelsPerItem
	size := r.in.c * r.out.c
	src := matrix{s: r.w, row: 3 * size, col: size, step: r.out.c}
	if r.backward {
		src.s, src.row, src.col = r.pool.shared[r.filters.floats()+8*size:], -src.row, -src.col
	}
	for _, g := range r.filters.groups {
		dst := matrix{r.pool.shared[g.start+first*g.row:], r.side * r.filters.size, r.filters.size, g.row}
		r.f.filter.apply(dst, matrix{src.s[first*r.out.c+g.col:], src.row, src.col, src.step},
			r.pool.workers[worker].scratch, g.cols, min(channelsPerItem, r.in.c-first))
	}
}

// span returns the lines of a block.
func (r *winogradConv) span(block int) (first, n int) {
	first = block * r.block
	return first, min(r.block, r.lines-first)
}

// item computes one block.
func (r *winogradConv) item(worker, block int) {
	me := &r.pool.workers[worker]
	first, n := r.span(block)
	v := me.scratch[r.border():]
	p := v[r.v.floats():]
	r.in.read(r.f.input, me.scratch, r.x, v, r.v, r.side, first, 0, n)
	for i := range r.filters.count {
		r.plane(&me.tile, i, v, p, n*r.in.cols)
	}
	r.out.write(r.f.output, me.scratch, r.y, p, r.p, r.side, first, 0, n)
}

// plane multiplies plane i of v by that of the filters.
func (r *winogradConv) plane(t *tile, i int, v, p []float32, rows int) {
	w := window{ars: r.v.groups[0].row, aks: 1, klen: r.in.c, segs: 1, outer: 1}
	multiply(t, r.panels, w, rows, r.in.c, v[i*r.v.size:], r.pool.shared[i*r.filters.size:], p[i*r.p.size:],
		r.p.groups[0].row, 0)
}

// stages returns the planes of the current chunk.
func (r *winogradConv) stages() (v, p []float32) {
	v = r.pool.shared[r.filters.floats()+r.transposed:]
	return v, v[r.v.floats():]
}

func (r *winogradConv) read(worker, i int) {
	v, _ := r.stages()
	first, n := r.span(r.first + i)
	r.in.read(r.f.input, r.pool.workers[worker].scratch, r.x, v, r.v, r.side, first, i*r.block*r.in.cols, n)
}

func (r *winogradConv) product(worker, i int) {
	v, p := r.stages()
	lines := min(r.chunk*r.block, r.lines-r.first*r.block)
	r.plane(&r.pool.workers[worker].tile, i, v, p, lines*r.in.cols)
}

func (r *winogradConv) write(worker, i int) {
	_, p := r.stages()
	first, n := r.span(r.first + i)
	r.out.write(r.f.output, r.pool.workers[worker].scratch, r.y, p, r.p, r.side, first, i*r.block*r.in.cols, n)
}

// winogradGradient computes the weight gradient by Winograd's algorithm. For one chunk after the other, it computes the
// planes of x and dy and sums their products, one thread per plane.
type winogradGradient struct {
	pool    *Pool
	f       *transforms
	side    int
	in, out tiling
	lines   int // of tiles, over all images
	panels  []panel
	sums    planes
	v, d    planes
	block   int // lines per item of the transforms
	chunk   int // lines per chunk

	first                             int
	x, dy, dw                         []float32
	readFunc, multiplyFunc, writeFunc func(worker, i int)
}

func newWinogradGradient(c Conv, m int, p *Pool) *winogradGradient {
	values := (m + 2) * (m + 2)
	r := &winogradGradient{pool: p, f: p.isa.transformsOf(m), side: m + 2}
	r.in = newTiling(c.H, c.W, c.Cin, c.OutH(), c.OutW(), m, m+2, c.Pad)
	r.out = newTiling(c.OutH(), c.OutW(), c.Cout, c.OutH(), c.OutW(), m, m, 0)
	r.lines = c.N * r.in.rows
	r.panels = p.isa.widths.panels(c.Cout, c.Cin, 0)
	r.sums = matrices(values, c.Cin, c.Cout)
	perTile := r.side * r.side * (pitch(c.Cin) + pitch(c.Cout))
	r.block = max(1, tilesPerItem/r.in.cols)
	r.chunk = min(r.lines, max(leastStaged, stagedFloats/perTile)/r.in.cols+1)
	tiles := r.chunk * r.in.cols
	r.v, r.d = matrices(values, tiles, c.Cin), paneled(values, tiles, r.panels)
	p.reserve(r.sums.floats()+r.v.floats()+r.d.floats(), tmpFloats+max(r.in.strip(), r.out.strip()))
	r.readFunc, r.multiplyFunc, r.writeFunc = r.read, r.product, r.write
	return r
}

func (r *winogradGradient) compute(x, dy, dw []float32) {
	r.x, r.dy, r.dw = x, dy, dw
	work := r.lines * r.in.cols * r.sums.count * r.in.c * r.out.c
	for r.first = 0; r.first < r.lines; r.first += r.chunk {
		lines := min(r.chunk, r.lines-r.first)
		r.pool.run(2*((lines+r.block-1)/r.block), work, r.readFunc)
		r.pool.run(r.sums.count, work, r.multiplyFunc)
	}
	r.pool.run((r.in.c+channelsPerItem-1)/channelsPerItem, len(dw)*packWork, r.writeFunc)
	r.x, r.dy, r.dw = nil, nil, nil
}

// stages returns the planes of x and dy of the current chunk.
func (r *winogradGradient) stages() (v, d []float32) {
	v = r.pool.shared[r.sums.floats():]
	return v, v[r.v.floats():]
}

// read transforms a block of x if i is even, of dy if it is odd.
func (r *winogradGradient) read(worker, i int) {
	scratch := r.pool.workers[worker].scratch
	v, d := r.stages()
	at := i / 2 * r.block
	n := min(r.block, r.chunk-at, r.lines-r.first-at)
	if i%2 == 0 {
		r.in.read(r.f.input, scratch, r.x, v, r.v, r.side, r.first+at, at*r.in.cols, n)
	} else {
		r.out.read(r.f.outputGrad, scratch, r.dy, d, r.d, r.side, r.first+at, at*r.in.cols, n)
	}
}

func (r *winogradGradient) product(worker, i int) {
	v, d := r.stages()
	acc := 1
	if r.first == 0 {
		acc = 0
	}
	cols := r.in.cols
	w := window{ars: 1, aks: r.v.groups[0].row, klen: min(r.chunk, r.lines-r.first) * cols, segs: 1, outer: 1}
	multiply(&r.pool.workers[worker].tile, r.panels, w, r.in.c, r.chunk*cols, v[i*r.v.size:], d[i*r.d.size:],
		r.pool.shared[i*r.sums.size:], r.sums.groups[0].row, acc)
}

// write transforms the sums of some input channels into the gradient of their filters.
func (r *winogradGradient) write(worker, i int) {
	first, size, row := i*channelsPerItem, r.in.c*r.out.c, r.sums.groups[0].row
	r.f.filterGrad.apply(matrix{r.dw[first*r.out.c:], 3 * size, size, r.out.c},
		matrix{r.pool.shared[first*row:], r.side * r.sums.size, r.sums.size, row},
		r.pool.workers[worker].scratch, r.out.c, min(channelsPerItem, r.in.c-first))
}
