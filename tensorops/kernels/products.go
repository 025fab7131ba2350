package kernels

import "fmt"

// Packed is a matrix of rows in the layout that the micro-kernel reads, for [Pool.Products].
type Packed struct {
	rows, k int
	stepK   int // size of a slice of k
	width   *width
	data    []float32 // [slice][panel][step][cols]
}

// Block is a part of the products of two matrices' rows: those of rows Row to Row+Rows of the one and rows Col to
// Col+Cols of the other. Values has Rows rows of Cols floats that are Stride floats apart.
type Block struct {
	Row, Rows, Col, Cols int
	Values               []float32
	Stride               int
}

const (
	blockCols   = 1024    // of a Block, at most: its values stay in the L2 cache
	blockPacked = 1 << 17 // floats of A that an item packs, at most: they stay in the L2 cache, too
	blockTiles  = 14      // tiles of a block of rows, for which all of B is read once
)

// Pack packs rows of k floats, ld floats apart, into b, whose memory is reused.
func (p *Pool) Pack(b *Packed, rows, k int, data []float32, ld int) {
	checkMatrix("B", false, rows, k, data, ld)
	if rows < 1 || k < 1 {
		panic(fmt.Sprintf("kernels: Pack: a matrix of %d x %d; want at least one row and one column", rows, k))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(b.data) < rows*k {
		b.data = NewFloats(rows * k)
	}
	b.rows, b.k, b.data = rows, k, b.data[:rows*k]
	b.stepK = even(k, depth, 1)
	b.width = p.isa.widths.best(rows, 1<<10, p.isa.fetch)
	panels := (rows + b.width.nr - 1) / b.width.nr
	p.run(panels, rows*k*packWork, func(_, i int) {
		col := i * b.width.nr
		cols := min(b.width.nr, rows-col)
		for from := 0; from < k; from += b.stepK {
			n := min(b.stepK, k-from)
			p.isa.packPanel(b.data[from*rows+n*col:], cols, n, cols, data[col*ld+from:], 1, ld)
		}
	})
}

// Products multiplies each of the m rows of a, lda floats apart, with each row of b, and passes the products to f block
// by block: those of one row come in ascending order of Col and from the same worker. f must write only data that belong
// to the rows of its block, or to the worker, and must not use the pool. The values are valid until f returns.
func (p *Pool) Products(m int, a []float32, lda int, b *Packed, f func(worker int, c Block)) {
	checkMatrix("A", false, m, b.k, a, lda)
	p.mu.Lock()
	defer p.mu.Unlock()
	longest := len(b.width.tiles)
	tiles := max(1, min(blockTiles, blockPacked/(b.k*longest)))
	rows := even(m, longest*tiles, 1)
	step := blockCols / b.width.nr * b.width.nr
	pitchA, pitchC := 0, pitch(min(b.rows, step))
	if b.rows >= packFrom {
		pitchA = pitch(b.k)
	}
	p.reserve(0, rows*(pitchA+pitchC))
	p.run((m+rows-1)/max(1, rows), m*b.rows*b.k, func(worker, i int) {
		me := &p.workers[worker]
		c := Block{Row: i * rows, Rows: min(rows, m-i*rows), Stride: pitchC, Values: me.scratch[rows*pitchA:]}
		from, ld := a[c.Row*lda:], lda
		if pitchA > 0 { // so that rows do not map to the same cache set
			p.isa.packPanel(me.scratch, pitchA, c.Rows, b.k, from, lda, 1)
			from, ld = me.scratch, pitchA
		} else {
			me.touched = touch(from[:(c.Rows-1)*lda+b.k])
		}
		for c.Col = 0; c.Col < b.rows; c.Col += step {
			c.Cols = min(step, b.rows-c.Col)
			me.multiply(p.isa.widths, b, from, ld, c)
			f(worker, c)
		}
	})
}

// multiply computes the values of a block from its rows of A.
func (w *worker) multiply(all widths, b *Packed, a []float32, lda int, c Block) {
	for k0 := 0; k0 < b.k; k0 += b.stepK {
		n := min(b.stepK, b.k-k0)
		for col := c.Col; col < c.Col+c.Cols; col += b.width.nr {
			cols := min(b.width.nr, b.rows-col)
			p := panel{cols: cols, width: all.fitting(cols)}
			win := window{ars: lda, aks: 1, bks: cols, klen: n, segs: 1, outer: 1}
			w.tile.multiply(p, win, c.Rows, a[k0:], b.data[k0*b.rows+n*col:], c.Values[col-c.Col:], c.Stride, min(k0, 1))
		}
	}
}

// touch reads one float per cache line and returns their sum. In order, memory is read faster than in that of the
// micro-kernel, which reads many rows at once.
func touch(x []float32) (sum float32) {
	for i := 0; i < len(x); i += 16 {
		sum += x[i]
	}
	return sum
}
