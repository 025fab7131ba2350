package kernels

import "unsafe"

// Winograd's algorithm F(mxm, 3x3) computes a 3x3 convolution of stride 1 (arXiv 1509.09308): the image is cut into
// tiles of (m+2)x(m+2) pixels that overlap by two, each becomes, by a linear transform, as many planes of one value a
// channel, planes are multiplied with those of the filters, and a second transform makes the mxm output pixels of the
// product. That takes (m+2)²/(9m²) of the multiplications; the transforms are additions, for the most part. The
// gradient of the input is the same with turned filters, and that of the filters sums products of planes over tiles.

// transform computes P X Pᵀ for n groups of eight channels, X being vectors of eight floats srcRow and srcCol bytes
// apart from src on and the result vectors dstRow and dstCol bytes apart from dst on. tmp has room for 36 vectors.
type transform func(dst, src, tmp unsafe.Pointer, dstRow, dstCol, srcRow, srcCol, n int)

// transforms is what an instruction set has for the algorithm F(mxm, 3x3); see internal/winograd for the matrices.
type transforms struct {
	m                                             int
	input, filter, outputGrad, output, filterGrad transform
}

const (
	transformLanes = 8        // channels that a transform handles at a time
	fusedFloats    = 64 << 10 // planes of one item that stay in the second-level cache
	stagedFloats   = 2 << 20  // planes of all items that stay in the third-level cache
	leastStaged    = 128      // tiles at a time, so that reading the filters from memory stays cheap
)

// planes is the transformed tiles, filters or products: for every pair of an output row and column of the transform a
// matrix, cut into groups of columns.
type planes struct {
	count  int // matrices
	size   int // floats from one matrix to the next
	groups []group
}

// group is some columns of a matrix: rows of cols floats, row floats apart from start on.
type group struct {
	col, cols, start, row int
}

// matrices lays out matrices as they are.
func matrices(count, rows, cols int) planes {
	row := pitch(cols)
	return planes{count: count, size: rows*row + 16, groups: []group{{0, cols, 0, row}}}
}

// paneled lays out matrices panel by panel, as the micro-kernels like to read B.
func paneled(count, rows int, panels []panel) planes {
	p := planes{count: count, size: 16}
	for _, n := range panels {
		p.groups = append(p.groups, group{n.col, n.cols, n.col * rows, n.cols})
		p.size += n.cols * rows
	}
	return p
}

func (p planes) floats() int { return p.count * p.size }

// tiling is a cut of images [n,h,w,c] into square tiles, those at the border reaching beyond it.
type tiling struct {
	h, w, c    int
	rows, cols int // tiles per image
	size, step int // pixels of a tile's side; from one tile to the next
	pad        int // pixels by which the first tile lies outside
}

// newTiling cuts images for an output of outH x outW pixels in tiles of m, each made from size pixels.
func newTiling(h, w, c, outH, outW, m, size, pad int) tiling {
	return tiling{h: h, w: w, c: c, rows: (outH + m - 1) / m, cols: (outW + m - 1) / m, size: size, step: m, pad: pad}
}

// patch is a tile's place.
type patch struct {
	start      int // index of its first pixel in the images, if whole
	whole      bool
	image      int // index of the image's first float
	top, left  int // of the tile; may lie outside
	fromH, toH int // its rows inside of the image
	fromW, toW int
}

func (t tiling) patch(i int) patch {
	perImage := t.rows * t.cols
	image, at := i/perImage, i%perImage
	p := patch{image: image * t.h * t.w * t.c, top: at/t.cols*t.step - t.pad, left: at%t.cols*t.step - t.pad}
	p.fromH, p.toH = max(0, -p.top), min(t.size, t.h-p.top)
	p.fromW, p.toW = max(0, -p.left), min(t.size, t.w-p.left)
	p.whole = p.fromH == 0 && p.fromW == 0 && p.toH == t.size && p.toW == t.size
	p.start = p.image + (p.top*t.w+p.left)*t.c
	return p
}

// read transforms n tiles of images from the first on into the rows of dst from row on.
func (t tiling) read(f transform, scratch, images, dst []float32, p planes, side, first, row, n int) {
	tmp, border := scratch[:tmpFloats], scratch[tmpFloats:]
	for i := row; i < row+n; i++ {
		src, line := border, t.size*t.c
		if at := t.patch(first + i - row); at.whole {
			src, line = images[at.start:], t.w*t.c
		} else {
			t.cut(images, border, at)
		}
		for _, g := range p.groups {
			f(unsafe.Pointer(&dst[g.start+i*g.row]), unsafe.Pointer(&src[g.col]), unsafe.Pointer(&tmp[0]),
				side*p.size*f32, p.size*f32, line*f32, t.c*f32, g.cols/transformLanes)
		}
	}
}

// cut copies a tile to dst, with zeros where it lies outside.
func (t tiling) cut(images, dst []float32, at patch) {
	row := t.size * t.c
	clear(dst[:t.size*row])
	if at.fromW >= at.toW {
		return
	}
	for r := at.fromH; r < at.toH; r++ {
		start := at.image + ((at.top+r)*t.w+at.left+at.fromW)*t.c
		copy(dst[r*row+at.fromW*t.c:], images[start:start+(at.toW-at.fromW)*t.c])
	}
}

// write transforms the rows of src from row on into n tiles of images from the first on.
func (t tiling) write(f transform, scratch, images, src []float32, p planes, side, first, row, n int) {
	tmp, border := scratch[:tmpFloats], scratch[tmpFloats:]
	for i := row; i < row+n; i++ {
		dst, line := border, t.size*t.c
		at := t.patch(first + i - row)
		if at.whole {
			dst, line = images[at.start:], t.w*t.c
		}
		f(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[i*p.groups[0].row]), unsafe.Pointer(&tmp[0]),
			line*f32, t.c*f32, side*p.size*f32, p.size*f32, t.c/transformLanes)
		if !at.whole {
			t.paste(images, border, at)
		}
	}
}

// paste copies what is inside of the image of a tile at src.
func (t tiling) paste(images, src []float32, at patch) {
	row := t.size * t.c
	for r := at.fromH; r < at.toH; r++ {
		start := at.image + ((at.top+r)*t.w+at.left+at.fromW)*t.c
		copy(images[start:start+(at.toW-at.fromW)*t.c], src[r*row+at.fromW*t.c:])
	}
}

// tmpFloats is the room that a transform needs.
const tmpFloats = 36 * transformLanes

// suitsWinograd says whether the algorithm applies.
func suitsWinograd(c Conv) bool {
	return c.KH == 3 && c.KW == 3 && c.Stride == 1 && c.Pad <= 2 && c.Cin%transformLanes == 0 && c.Cout%transformLanes == 0
}

// multiply adds the products of m rows of a with b, packed in panels of depth rows, to c, or overwrites it if acc is 0.
func multiply(t *tile, panels []panel, w window, m, depth int, a, b, c []float32, ldc, acc int) {
	for _, p := range panels {
		w.bks = p.cols
		t.multiply(p, w, m, a, b[p.col*depth:], c[p.col:], ldc, acc)
	}
}

// winogradConv computes y from x, or dx from dy, by Winograd's algorithm.
type winogradConv struct {
	pool    *Pool
	f       *transforms
	side    int // m+2
	turned  bool
	in, out tiling
	outC    int
	tiles   int // of all images
	panels  []panel
	filters planes
	flipped int    // floats of transposed filters
	v, p    planes // of a block of tiles: input, product
	block   int    // tiles per item
	blocks  int
	chunk   int // blocks at a time, if staged
	staged  bool

	first                                                           int // first block of the present chunk
	x, w, y                                                         []float32
	turnFunc, packFunc, itemFunc, readFunc, multiplyFunc, writeFunc func(worker, i int)
}

// newWinogradConv prepares the forward pass of c, or the gradient of its input.
func newWinogradConv(c Conv, m int, backward, staged bool, p *Pool) *winogradConv {
	values := (m + 2) * (m + 2)
	r := &winogradConv{pool: p, f: p.isa.transformsOf(m), side: m + 2, turned: backward, staged: staged}
	if backward {
		c = Conv{N: c.N, H: c.OutH(), W: c.OutW(), Cin: c.Cout, Cout: c.Cin, KH: 3, KW: 3, Stride: 1, Pad: 2 - c.Pad}
	}
	r.in = newTiling(c.H, c.W, c.Cin, c.OutH(), c.OutW(), m, m+2, c.Pad)
	r.out = newTiling(c.OutH(), c.OutW(), c.Cout, c.OutH(), c.OutW(), m, m, 0)
	r.tiles = c.N * r.in.rows * r.in.cols
	perTile := r.side * r.side * (pitch(c.Cin) + pitch(c.Cout))
	r.panels = p.isa.panels(c.Cout, 24, 0)
	r.filters = paneled(values, c.Cin, r.panels)
	longest := len(r.panels[0].width.tiles)
	r.block = min(r.tiles, longest*max(1, fusedFloats/(longest*perTile)))
	if !staged {
		r.block = min(r.tiles, longest*max(2, fusedFloats/(longest*perTile)))
	}
	r.blocks = (r.tiles + r.block - 1) / r.block
	shared := r.filters.floats()
	if r.turned {
		r.flipped = 9 * c.Cin * c.Cout
		shared += r.flipped
	}
	scratch := r.border()
	if staged {
		r.chunk = min(r.blocks, max((leastStaged+r.block-1)/r.block, stagedFloats/(perTile*r.block)))
		rows := r.chunk * r.block
		r.v, r.p = matrices(values, rows, c.Cin), matrices(values, rows, c.Cout)
		shared += r.v.floats() + r.p.floats()
	} else {
		r.v, r.p = matrices(values, r.block, c.Cin), matrices(values, r.block, c.Cout)
		scratch += r.v.floats() + r.p.floats()
	}
	p.reserve(shared, scratch)
	r.turnFunc, r.packFunc, r.itemFunc = r.turn, r.pack, r.item
	r.readFunc, r.multiplyFunc, r.writeFunc = r.read, r.product, r.write
	return r
}

func (r *winogradConv) compute(x, w, y []float32) {
	r.x, r.w, r.y = x, w, y
	if r.turned {
		r.pool.run(9, len(w)*packWork, r.turnFunc)
	}
	r.pool.run(r.in.c, len(w)*packWork, r.packFunc)
	work := r.tiles * r.filters.count * r.in.c * r.out.c
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

// border is the scratch that the transforms need, for themselves and for a tile at the border.
func (r *winogradConv) border() int { return pitch(tmpFloats + r.side*r.side*max(r.in.c, r.out.c)) }

// turn transposes the filters' matrix of one tap.
func (r *winogradConv) turn(_, tap int) {
	size := r.in.c * r.out.c
	r.pool.isa.packPanel(r.pool.shared[r.filters.floats()+tap*size:], r.out.c, r.in.c, r.out.c, r.w[tap*size:], 1, r.in.c)
}

// pack transforms the filters that read one input channel.
func (r *winogradConv) pack(worker, channel int) {
	src, row, col := r.w[channel*r.out.c:], 3*r.in.c*r.out.c, r.in.c*r.out.c
	if r.turned {
		src = r.pool.shared[r.filters.floats()+8*col+channel*r.out.c:]
		row, col = -row, -col
	}
	for _, g := range r.filters.groups {
		r.f.filter(unsafe.Pointer(&r.pool.shared[g.start+channel*g.row]), unsafe.Pointer(&src[g.col]),
			unsafe.Pointer(&r.pool.workers[worker].scratch[0]),
			r.side*r.filters.size*f32, r.filters.size*f32, row*f32, col*f32, g.cols/transformLanes)
	}
}

// span is the tiles of a block.
func (r *winogradConv) span(block int) (from, to int) {
	return block * r.block, min((block+1)*r.block, r.tiles)
}

// item computes one block of tiles.
func (r *winogradConv) item(worker, block int) {
	me := &r.pool.workers[worker]
	from, to := r.span(block)
	v := me.scratch[r.border():]
	p := v[r.v.floats():]
	r.in.read(r.f.input, me.scratch, r.x, v, r.v, r.side, from, 0, to-from)
	for i := range r.filters.count {
		r.plane(&me.tile, i, v, p, to-from)
	}
	r.out.write(r.f.output, me.scratch, r.y, p, r.p, r.side, from, 0, to-from)
}

// plane multiplies plane i of v with that of the filters.
func (r *winogradConv) plane(t *tile, i int, v, p []float32, rows int) {
	w := window{ars: r.v.groups[0].row, aks: 1, klen: r.in.c, segs: 1, outer: 1}
	multiply(t, r.panels, w, rows, r.in.c, v[i*r.v.size:], r.pool.shared[i*r.filters.size:], p[i*r.p.size:],
		r.p.groups[0].row, 0)
}

// stages returns the planes of the present chunk.
func (r *winogradConv) stages() (v, p []float32) {
	v = r.pool.shared[r.filters.floats()+r.flipped:]
	return v, v[r.v.floats():]
}

func (r *winogradConv) read(worker, i int) {
	v, _ := r.stages()
	from, to := r.span(r.first + i)
	r.in.read(r.f.input, r.pool.workers[worker].scratch, r.x, v, r.v, r.side, from, i*r.block, to-from)
}

func (r *winogradConv) product(worker, i int) {
	v, p := r.stages()
	from, to := r.first*r.block, min((r.first+r.chunk)*r.block, r.tiles)
	r.plane(&r.pool.workers[worker].tile, i, v, p, to-from)
}

func (r *winogradConv) write(worker, i int) {
	_, p := r.stages()
	from, to := r.span(r.first + i)
	r.out.write(r.f.output, r.pool.workers[worker].scratch, r.y, p, r.p, r.side, from, i*r.block, to-from)
}

// winogradGradient computes the gradient of the weights by Winograd's algorithm: chunk after chunk, the planes of x
// and dy are made and their products added up, every plane by one thread.
type winogradGradient struct {
	pool    *Pool
	f       *transforms
	side    int
	in, out tiling
	tiles   int
	panels  []panel
	sums    planes
	v, d    planes
	block   int // tiles per item of the transforms
	chunk   int // tiles at a time

	first                             int
	x, dy, dw                         []float32
	readFunc, multiplyFunc, writeFunc func(worker, i int)
}

func newWinogradGradient(c Conv, m int, p *Pool) *winogradGradient {
	values := (m + 2) * (m + 2)
	r := &winogradGradient{pool: p, f: p.isa.transformsOf(m), side: m + 2}
	r.in = newTiling(c.H, c.W, c.Cin, c.OutH(), c.OutW(), m, m+2, c.Pad)
	r.out = newTiling(c.OutH(), c.OutW(), c.Cout, c.OutH(), c.OutW(), m, m, 0)
	r.tiles = c.N * r.in.rows * r.in.cols
	r.panels = p.isa.panels(c.Cout, c.Cin, 0)
	r.sums = matrices(values, c.Cin, c.Cout)
	perTile := r.side * r.side * (pitch(c.Cin) + pitch(c.Cout))
	r.block = 8
	r.chunk = min(r.tiles, max(leastStaged, stagedFloats/perTile))
	r.v, r.d = matrices(values, r.chunk, c.Cin), paneled(values, r.chunk, r.panels)
	p.reserve(r.sums.floats()+r.v.floats()+r.d.floats(), tmpFloats+r.side*r.side*max(c.Cin, c.Cout))
	r.readFunc, r.multiplyFunc, r.writeFunc = r.read, r.product, r.write
	return r
}

func (r *winogradGradient) compute(x, dy, dw []float32) {
	r.x, r.dy, r.dw = x, dy, dw
	work := r.tiles * r.sums.count * r.in.c * r.out.c
	for r.first = 0; r.first < r.tiles; r.first += r.chunk {
		tiles := min(r.chunk, r.tiles-r.first)
		r.pool.run(2*((tiles+r.block-1)/r.block), work, r.readFunc)
		r.pool.run(r.sums.count, work, r.multiplyFunc)
	}
	r.pool.run(r.in.c, len(dw)*packWork, r.writeFunc)
	r.x, r.dy, r.dw = nil, nil, nil
}

// stages returns the planes of the present chunk: of x and of dy.
func (r *winogradGradient) stages() (v, d []float32) {
	v = r.pool.shared[r.sums.floats():]
	return v, v[r.v.floats():]
}

// read transforms a block of x, if i is even, or of dy.
func (r *winogradGradient) read(worker, i int) {
	scratch := r.pool.workers[worker].scratch
	v, d := r.stages()
	at := i / 2 * r.block
	n := min(r.block, r.chunk-at, r.tiles-r.first-at)
	if i%2 == 0 {
		r.in.read(r.f.input, scratch, r.x, v, r.v, r.side, r.first+at, at, n)
	} else {
		r.out.read(r.f.outputGrad, scratch, r.dy, d, r.d, r.side, r.first+at, at, n)
	}
}

func (r *winogradGradient) product(worker, i int) {
	v, d := r.stages()
	acc := 1
	if r.first == 0 {
		acc = 0
	}
	w := window{ars: 1, aks: r.v.groups[0].row, klen: min(r.chunk, r.tiles-r.first), segs: 1, outer: 1}
	multiply(&r.pool.workers[worker].tile, r.panels, w, r.in.c, r.chunk, v[i*r.v.size:], d[i*r.d.size:],
		r.pool.shared[i*r.sums.size:], r.sums.groups[0].row, acc)
}

// write turns the sums of one input channel into the gradient of its filters.
func (r *winogradGradient) write(worker, channel int) {
	r.f.filterGrad(unsafe.Pointer(&r.dw[channel*r.out.c]), unsafe.Pointer(&r.pool.shared[channel*r.sums.groups[0].row]),
		unsafe.Pointer(&r.pool.workers[worker].scratch[0]),
		3*r.in.c*r.out.c*f32, r.in.c*r.out.c*f32, r.side*r.sums.size*f32, r.sums.size*f32, r.out.c/transformLanes)
}
