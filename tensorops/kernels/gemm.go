package kernels

import "fmt"

// Gemm computes C = op(A)·op(B), or C += op(A)·op(B) if accumulate is set, where op transposes if transA or transB
// is set. op(A) is m x k, op(B) k x n and C m x n, all row-major with rows lda, ldb and ldc floats apart. It panics
// where a slice is too short. C must not overlap A or B.
func (p *Pool) Gemm(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
	checkMatrix("A", transA, m, k, a, lda)
	checkMatrix("B", transB, k, n, b, ldb)
	checkMatrix("C", false, m, n, c, ldc)
	if m == 0 || n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gemm.compute(transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
}

// checkMatrix panics where rows x cols floats (cols x rows if transposed) do not fit.
func checkMatrix(name string, trans bool, rows, cols int, s []float32, ld int) {
	if trans {
		rows, cols = cols, rows
	}
	if rows < 0 || cols < 0 || ld < cols {
		panic(fmt.Sprintf("kernels: Gemm: %s is %d x %d with rows %d apart; sizes must not be negative nor rows overlap", name, rows, cols, ld))
	}
	if rows > 0 && cols > 0 && len(s) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernels: Gemm: %s has %d floats, want at least %d for %d x %d with rows %d apart", name, len(s), (rows-1)*ld+cols, rows, cols, ld))
	}
}

// gemm is the running matrix product of a Pool. B is packed in blocks of blockK x blockN that all threads share; an
// item is a block of rows times some panels of the packed block.
type gemm struct {
	pool         *Pool
	m, n, k      int
	a, b, c      []float32
	ars, aks     int // strides of op(A)
	brs, bcs     int // strides of op(B)
	ldc          int
	accumulate   bool
	packA        bool // copy the rows of an item together
	k0, kn       int  // the present block of k
	j0, jn       int  // the present block of n
	width        *width
	panels       int // in the present block
	rows, blocks int // rows per item; items that cover all rows
	perItem      int // panels per item
	packFunc     func(worker, i int)
	itemFunc     func(worker, i int)
}

const (
	blockK      = 512  // a tile's rows of A stay in the first-level cache, a panel of B at least in the second
	blockN      = 2048 // bounds the packed block of B to 4 MB
	tilesPerRow = 4    // tiles per block of rows: the rows stay in the second-level cache
	packFrom    = 128  // columns of C from which on copying the rows of A together pays
)

func (g *gemm) init(p *Pool) {
	g.pool = p
	g.packFunc, g.itemFunc = g.pack, g.item
}

func (g *gemm) compute(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, accumulate bool) {
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
	g.packA = n >= packFrom
	g.width = g.pool.isa.best(n, m, fetchPacked)
	longest := len(g.width.tiles)
	g.blocks = (m + longest*tilesPerRow - 1) / (longest * tilesPerRow)
	g.rows = (m + g.blocks - 1) / g.blocks
	g.blocks = (m + g.rows - 1) / g.rows
	stepN, stepK := even(n, blockN, g.width.nr), even(k, blockK, 1)
	scratch := 0
	if g.packA {
		scratch = max(g.rows*pitch(stepK), stepK*pitch(g.rows))
	}
	g.pool.reserve(stepK*stepN, scratch)
	for g.j0 = 0; g.j0 < n; g.j0 += stepN {
		g.jn = min(stepN, n-g.j0)
		g.panels = (g.jn + g.width.nr - 1) / g.width.nr
		splits := max(1, min(minItems/g.blocks, g.panels/4))
		g.perItem = (g.panels + splits - 1) / splits
		splits = (g.panels + g.perItem - 1) / g.perItem
		for g.k0 = 0; g.k0 < max(k, 1); g.k0 += max(stepK, 1) {
			g.kn = min(stepK, k-g.k0)
			g.pool.run(g.panels, g.kn*g.jn*packWork, g.packFunc)
			g.pool.run(g.blocks*splits, g.m*g.jn*g.kn, g.itemFunc)
		}
	}
	g.a, g.b, g.c = nil, nil, nil
}

// even cuts n into the fewest blocks of at most most, a multiple of unit each but the last, and returns their size.
func even(n, most, unit int) int {
	blocks := max(1, (n+most-1)/most)
	size := (n + blocks - 1) / blocks
	return (size + unit - 1) / unit * unit
}

// panel returns panel i of the present block of columns, its column counted from the start of the block.
func (g *gemm) panel(i int) panel {
	col := i * g.width.nr
	cols := min(g.width.nr, g.jn-col)
	return panel{col: col, cols: cols, width: g.pool.isa.fitting(cols)}
}

// pack packs panel i of the present block of B as [kn][cols].
func (g *gemm) pack(_, i int) {
	p := g.panel(i)
	if g.kn > 0 {
		packPanel(g.pool.shared[p.col*g.kn:], p.cols, g.kn, p.cols, g.b[g.k0*g.brs+(g.j0+p.col)*g.bcs:], g.brs, g.bcs)
	}
}

// item computes one block of rows of some panels, for the present block of k.
func (g *gemm) item(worker, item int) {
	me := &g.pool.workers[worker]
	t := &me.tile
	r0 := item % g.blocks * g.rows
	rn := min(g.rows, g.m-r0)
	p0 := item / g.blocks * g.perItem
	p1 := min(p0+g.perItem, g.panels)
	a, ars, aks := g.a, g.ars, g.aks
	if g.kn > 0 {
		a = a[r0*ars+g.k0*aks:]
		if g.packA {
			a, ars, aks = packRows(me.scratch, a, rn, g.kn, ars, aks)
		}
	}
	t.acc = 0
	if g.accumulate || g.k0 > 0 {
		t.acc = 1
	}
	t.ldc = g.ldc * f32
	t.repeat(1, 0, 0)
	for i := p0; i < p1; i++ {
		p := g.panel(i)
		t.setCols(p.cols)
		t.setWindow(window{ars: ars, aks: aks, bks: p.cols, klen: g.kn, segs: 1, outer: 1})
		for s := g.width.split(rn); s.next(); {
			t.read(a, s.row*ars, g.pool.shared, p.col*g.kn)
			t.write(g.c, (r0+s.row)*g.ldc+g.j0+p.col)
			t.rows = s.rows
			p.width.tiles[s.rows-1](t)
		}
	}
}

// packRows copies the block of m x k floats with strides ars and aks, of which one is 1, to dst, in which rows do not
// meet in a cache set, and returns the block and its strides there.
func packRows(dst, src []float32, m, k, ars, aks int) (block []float32, newARS, newAKS int) {
	if aks == 1 {
		packPanel(dst, pitch(k), m, k, src, ars, 1)
		return dst, pitch(k), 1
	}
	packPanel(dst, pitch(m), k, m, src, aks, 1)
	return dst, 1, pitch(m)
}
