package kernels

import "fmt"

// Gemm computes C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set; op transposes A if transA is set, and B if
// transB is. op(A) is m x k, op(B) k x n and C m x n, all row-major with leading dimensions lda, ldb and ldc. It panics
// if a slice is too short. C must not overlap A or B.
func (p *Pool) Gemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	checkMatrix("A", transA, m, k, a, lda)
	checkMatrix("B", transB, k, n, b, ldb)
	checkMatrix("C", false, m, n, c, ldc)
	if m == 0 || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gemm.compute(false, transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
}

// checkMatrix panics if a rows x cols matrix (cols x rows if transposed) does not fit in s.
func checkMatrix(name string, trans bool, rows, cols int, s []float32, ld int) {
	if trans {
		rows, cols = cols, rows
	}
	if rows < 0 || cols < 0 || ld < cols {
		panic(fmt.Sprintf("kernels: Gemm: %s is %d x %d with leading dimension %d; sizes must not be negative and rows must not overlap", name, rows, cols, ld))
	}
	if rows > 0 && cols > 0 && len(s) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernels: Gemm: %s has %d floats, want at least %d for %d x %d with leading dimension %d", name, len(s), (rows-1)*ld+cols, rows, cols, ld))
	}
}

// gemm is the current matrix product of a Pool, split into blocks along k. If C has few rows, the rows of A are packed
// first; an item is some panels of B, which its thread packs and multiplies with all rows. If C has many rows, a block
// of B is packed first, one slice of k after the other; an item is some of its panels and a block of rows, which its
// thread packs slice by slice, so that its part of C stays in the L2 cache.
type gemm struct {
	pool         *Pool
	m, n, k      int
	a, b, c      []float32
	ars, aks     int // strides of op(A)
	brs, bcs     int // strides of op(B)
	ldc          int
	accumulate   bool
	pairs        bool // multiplies pairs of bfloat16
	widths       widths
	width        *width
	stepK        int // size of a slice of k
	k0, kn       int // the current block of k, several slices
	j0, jn       int // the current block of columns
	panels       int // number in the current block
	rows, blocks int // rows per item; items to cover all rows
	perItem      int // panels per item

	gatherFunc, columnFunc, packFunc, itemFunc func(worker, i int)
}

const (
	depth       = 512     // steps of a slice of k: a panel of B mostly stays in the L1 cache
	blockN      = 2048    // columns of a packed block of B
	blockFloats = 2 << 20 // of a packed block of B, which stays in the L3 cache
	fewRows     = 192     // for which a slice of k stays in the L2 cache
	tilesPerRow = 8       // tiles per block of rows, which stay in the L2 cache
	packFrom    = 128     // columns of C from which packing A pays off
	gatherRows  = 16      // rows of A that one item packs
	widestItem  = 16      // panels of B per item: their rows are in one or two pages
)

func (g *gemm) init(p *Pool) {
	g.pool = p
	g.gatherFunc, g.columnFunc, g.packFunc, g.itemFunc = g.gather, g.column, g.pack, g.item
}

func (g *gemm) compute(pairs, transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	g.m, g.n, g.k = m, n, k
	g.a, g.ars, g.aks = a, lda, 1
	if transA {
		g.ars, g.aks = 1, lda
	}
	g.b, g.brs, g.bcs = b, ldb, 1
	if transB {
		g.brs, g.bcs = 1, ldb
	}
	g.c, g.ldc, g.accumulate = c, ldc, accumulate
	isa := g.pool.isa
	g.pairs, g.widths = pairs, isa.family(pairs)
	unit := 1
	if pairs {
		unit = 2
	}
	g.stepK = even(k, depth*unit, unit)
	g.width = g.widths.best(n, m, isa.fetch)
	if m <= fewRows && !transA {
		g.byColumns()
	} else {
		g.byBlocks()
	}
	g.a, g.b, g.c = nil, nil, nil
}

// copiesA reports whether A is packed.
func (g *gemm) copiesA() bool { return g.pairs || g.n >= packFrom }

// byColumns computes a product with few rows.
func (g *gemm) byColumns() {
	g.j0, g.jn = 0, g.n
	g.panels = (g.n + g.width.nr - 1) / g.width.nr
	packed := 0
	if g.copiesA() {
		packed = g.m * pitch(steps(g.k, g.pairs))
	}
	g.perItem = max(1, min(widestItem, 2*g.panels/minItems))
	g.pool.reserve(packed, steps(g.stepK, g.pairs)*pitch(g.perItem*g.width.nr))
	if packed > 0 {
		g.pool.run((g.m+gatherRows-1)/gatherRows, g.m*g.k*packWork, g.gatherFunc)
		g.a, g.ars = g.pool.shared, pitch(steps(g.k, g.pairs))
	}
	g.pool.run((g.panels+g.perItem-1)/g.perItem, g.m*g.n*g.k, g.columnFunc)
}

// gather packs some rows of A, so that they do not map to the same cache set.
func (g *gemm) gather(_, i int) {
	row := i * gatherRows
	ld := pitch(steps(g.k, g.pairs))
	g.copyRows(g.pool.shared[row*ld:], ld, min(gatherRows, g.m-row), g.k, g.a[row*g.ars:])
}

// column computes some panels of columns of C.
func (g *gemm) column(worker, i int) {
	me := &g.pool.workers[worker]
	first, end := i*g.perItem, min((i+1)*g.perItem, g.panels)
	col := g.panel(first).col
	cols := min(g.n, end*g.width.nr) - col
	w := window{ars: g.ars, aks: g.aks, bks: pitch(cols), segs: 1, outer: 1}
	for k0 := 0; k0 < max(g.k, 1); k0 += max(g.stepK, 1) {
		kn := min(g.stepK, g.k-k0)
		acc := 0
		if g.accumulate || k0 > 0 {
			acc = 1
		}
		if kn > 0 {
			g.pool.isa.packB(g.pairs, me.scratch, w.bks, kn, cols, g.b[k0*g.brs+col*g.bcs:], g.brs, g.bcs)
		}
		w.klen = steps(kn, g.pairs)
		for j := first; j < end; j++ {
			p := g.panel(j)
			me.tile.multiply(p, w, g.m, g.a[min(steps(k0, g.pairs), len(g.a)):], me.scratch[p.col-col:], g.c[p.col:], g.ldc, acc)
		}
	}
}

// byBlocks computes a product with many rows.
func (g *gemm) byBlocks() {
	g.rows = min(g.m, even(g.m, len(g.width.tiles)*tilesPerRow, 8))
	g.blocks = (g.m + g.rows - 1) / g.rows
	stepN := even(g.n, blockN, g.width.nr)
	scratch := 0
	stepK := steps(g.stepK, g.pairs)
	if g.copiesA() {
		scratch = max(g.rows*pitch(stepK), stepK*pitch(g.rows))
	}
	blockK := g.stepK * max(1, min((g.k+g.stepK-1)/max(1, g.stepK), blockFloats/max(1, stepK*stepN)))
	g.pool.reserve(steps(blockK, g.pairs)*stepN, scratch)
	for g.j0 = 0; g.j0 < g.n; g.j0 += stepN {
		g.jn = min(stepN, g.n-g.j0)
		g.panels = (g.jn + g.width.nr - 1) / g.width.nr
		splits := max(1, min(minItems/g.blocks, g.panels/4))
		g.perItem = (g.panels + splits - 1) / splits
		splits = (g.panels + g.perItem - 1) / g.perItem
		for g.k0 = 0; g.k0 < max(g.k, 1); g.k0 += max(blockK, 1) {
			g.kn = min(blockK, g.k-g.k0)
			if g.kn > 0 {
				g.pool.run(g.panels*((g.kn+g.stepK-1)/g.stepK), g.kn*g.jn*packWork, g.packFunc)
			}
			g.pool.run(g.blocks*splits, g.m*g.jn*g.kn, g.itemFunc)
		}
	}
}

// even splits n into the fewest blocks of at most most, each but the last a multiple of unit, and returns their size.
func even(n, most, unit int) int {
	blocks := max(1, (n+most-1)/most)
	size := (n + blocks - 1) / blocks
	return (size + unit - 1) / unit * unit
}

// panel returns panel i of the current block of columns; its column is relative to the block.
func (g *gemm) panel(i int) panel {
	col := i * g.width.nr
	cols := min(g.width.nr, g.jn-col)
	return panel{col: col, cols: cols, width: g.widths.fitting(cols)}
}

// pack packs one panel of one slice of the current block of B as [slice][panel][step][cols].
func (g *gemm) pack(_, i int) {
	p := g.panel(i % g.panels)
	from := i / g.panels * g.stepK
	n := min(g.stepK, g.kn-from)
	dst := g.pool.shared[steps(from, g.pairs)*g.jn+steps(n, g.pairs)*p.col:]
	g.pool.isa.packB(g.pairs, dst, p.cols, n, p.cols, g.b[(g.k0+from)*g.brs+(g.j0+p.col)*g.bcs:], g.brs, g.bcs)
}

// item computes one block of rows of some panels, for the current block of k.
func (g *gemm) item(worker, item int) {
	me := &g.pool.workers[worker]
	r0 := item % g.blocks * g.rows
	rn := min(g.rows, g.m-r0)
	p0 := item / g.blocks * g.perItem
	acc := 0
	if g.accumulate || g.k0 > 0 {
		acc = 1
	}
	for from := 0; from < max(g.kn, 1); from += max(g.stepK, 1) {
		n := min(g.stepK, g.kn-from)
		a, w := g.rowsOfA(me.scratch, r0, rn, g.k0+from, n)
		packed := g.pool.shared[steps(from, g.pairs)*g.jn:]
		for i := p0; i < min(p0+g.perItem, g.panels); i++ {
			p := g.panel(i)
			w.bks = p.cols
			me.tile.multiply(p, w, rn, a, packed[p.col*w.klen:], g.c[r0*g.ldc+g.j0+p.col:], g.ldc, acc)
		}
		acc = 1
	}
}

// rowsOfA returns m rows of op(A) from row r on, in the slice of k from k0 on, and the window to read them: in place,
// or copied to dst so that they do not map to the same cache set.
func (g *gemm) rowsOfA(dst []float32, r, m, k0, k int) (a []float32, w window) {
	w = window{ars: g.ars, aks: g.aks, klen: steps(k, g.pairs), segs: 1, outer: 1}
	if k == 0 {
		return nil, w
	}
	a = g.a[r*g.ars+k0*g.aks:]
	switch {
	case !g.copiesA():
		return a, w
	case g.aks == 1:
		w.ars = pitch(w.klen)
		g.copyRows(dst, w.ars, m, k, a)
	case g.pairs:
		w.ars, w.aks = 1, pitch(m)
		g.pool.isa.packPairs(dst, w.aks, k, m, a, g.aks, 1)
	default:
		w.ars, w.aks = pitch(k), 1
		g.pool.isa.packPanel(dst, w.ars, m, k, a, 1, g.aks)
	}
	return dst, w
}

// copyRows copies rows of n elements along k from A, which is not transposed, to rows ld apart.
func (g *gemm) copyRows(dst []float32, ld, rows, n int, src []float32) {
	if !g.pairs {
		g.pool.isa.packPanel(dst, ld, rows, n, src, g.ars, 1)
		return
	}
	for i := range rows {
		g.pool.isa.joinNeighbours(dst[i*ld:], src[i*g.ars:][:n])
	}
}
