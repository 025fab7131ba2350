package kernels

// weightGradient sums x times dy over all pixels. It splits the batch into chunks with a partial sum each, which it
// then adds in order; the work on a chunk is split into parts of dw.
type weightGradient struct {
	partials
	pad        padding // of x, as far as it is read
	top, left  int     // padding that is skipped instead
	stride     int
	outH, outW int
	kh         int
	rowLen     int // floats of x for one row of the kernel: KW*Cin
	cout       int
	group      int // images in scratch at a time
	jobs       []job
	parts      int // parts that the jobs are divided into

	x, dy    []float32 // of the current call
	itemFunc func(worker, i int)
}

// partials are the partial sums of a weight gradient: one of each chunk of the n images, in the pool's shared memory, or
// dw itself if there is only one.
type partials struct {
	pool          *Pool
	n             int
	chunk, chunks int // images per chunk, and number of chunks
	one           [1]float32

	dw      []float32 // of the current call
	sumFunc func(worker, i int)
}

// job is one tile of dw: rows [row,row+rows) of kernel row kh, and the columns of panel. It sums over the output pixels
// of rows [fromH,toH) and columns [fromW,toW), whose input pixels are inside the image.
type job struct {
	panel                  panel
	kh, row, rows          int
	fromH, toH, fromW, toW int
}

const (
	pixelsPerTile = 256     // least pixels per visit to a tile of dw, so that reading and writing it stays cheap
	stepsPerChunk = 256     // least pixels per partial sum, so that adding them stays cheap
	partialFloats = 8 << 20 // most floats of partial sums in total
	sumFloats     = 4096    // floats of dw per item of the final sum
)

func newWeightGradient(c Conv, p *Pool) *weightGradient {
	r := &weightGradient{
		pad: inputPadding(c), stride: c.Stride, outH: c.OutH(), outW: c.OutW(),
		kh: c.KH, rowLen: c.KW * c.Cin, cout: c.Cout,
	}
	r.split(c, p)
	r.top, r.pad.top, r.pad.bottom = r.pad.top, 0, 0
	r.makeJobs(c)

	r.parts = min(len(r.jobs), (minItems+r.chunks-1)/r.chunks)
	r.group = max(1, min(r.chunk, max(maxScratch/r.pad.size(), pixelsPerTile/(r.outH*r.outW))))
	if !r.pad.none() {
		p.reserve(0, r.group*r.pad.size())
	}
	r.itemFunc = r.item
	return r
}

// split chooses the chunks, from the shape alone, and reserves memory.
func (r *partials) split(c Conv, p *Pool) {
	r.pool, r.n, r.one = p, c.N, [1]float32{1}
	r.chunks = max(1, min(minItems, c.N, c.N*c.OutH()*c.OutW()/stepsPerChunk, partialFloats/c.Weights()))
	r.chunk = (c.N + r.chunks - 1) / r.chunks
	r.chunks = (c.N + r.chunk - 1) / r.chunk
	if r.chunks > 1 {
		p.reserve(r.chunks*c.Weights(), 0)
	}
	r.sumFunc = r.sum
}

// of returns the images of a chunk and its partial sum.
func (r *partials) of(chunk int) (first, end int, sum []float32) {
	first, end = chunk*r.chunk, min((chunk+1)*r.chunk, r.n)
	if r.chunks > 1 {
		return first, end, r.pool.shared[chunk*len(r.dw) : (chunk+1)*len(r.dw)]
	}
	return first, end, r.dw
}

// add makes dw the total.
func (r *partials) add() {
	if r.chunks > 1 {
		r.pool.run((len(r.dw)+sumFloats-1)/sumFloats, r.chunks*len(r.dw)*packWork, r.sumFunc)
	}
}

// makeJobs splits dw into tiles. Tiles of a single kernel column can skip the pixels in the padding; tiles across all
// columns may have more rows.
func (r *weightGradient) makeJobs(c Conv) {
	widths := r.pool.isa.widths
	panels, apart := widths.panels(c.Cout, r.rowLen, 0), widths.panels(c.Cout, c.Cin, 0)
	columns, cost := 0, panelsCost(panels, r.rowLen, 0)*float64(r.outW)
	for kw := range c.KW {
		from, to := outputsInside(kw-c.Pad, c.W, r.outW, c.Stride)
		columns += to - from
	}
	parts, rows := 1, r.rowLen
	if c.Pad > 0 && panelsCost(apart, c.Cin, 0)*float64(columns) < cost {
		panels, parts, rows = apart, c.KW, c.Cin
		r.left, r.pad.left, r.pad.right = r.pad.left, 0, 0
	}
	for kh := range c.KH {
		fromH, toH := outputsInside(kh-c.Pad, c.H, r.outH, c.Stride)
		for part := range parts {
			fromW, toW := 0, r.outW
			if r.left > 0 {
				fromW, toW = outputsInside(part-c.Pad, c.W, r.outW, c.Stride)
			}
			for _, pan := range panels {
				for s := pan.width.split(rows); s.next(); {
					r.jobs = append(r.jobs, job{pan, kh, part*rows + s.row, s.rows, fromH, toH, fromW, toW})
				}
			}
		}
	}
}

// outputsInside returns the range of n outputs, which read pixels start, start+stride, ... of an axis, that read within
// its size pixels.
func outputsInside(start, size, n, stride int) (from, to int) {
	from, to = max(0, stride-1-start)/stride, min(n, max(0, size-start+stride-1)/stride)
	if from >= to {
		return 0, 0
	}
	return from, to
}

func (r *weightGradient) compute(x, dy, dw []float32) {
	r.x, r.dy, r.dw = x, dy, dw
	r.pool.run(r.chunks*r.parts, r.n*r.outH*r.outW*len(dw), r.itemFunc)
	r.add()
	r.x, r.dy, r.dw = nil, nil, nil
}

// item computes one part of one chunk's partial sum.
func (r *weightGradient) item(worker, item int) {
	me := &r.pool.workers[worker]
	t := &me.tile
	chunk, part := item/r.parts, item%r.parts
	jobs := r.jobs[part*len(r.jobs)/r.parts : (part+1)*len(r.jobs)/r.parts]
	begin, end, out := r.of(chunk)
	row := r.pad.rowLen()
	t.repeat(1, 0, 0)
	t.ldc, t.acc = r.cout*f32, 0
	for first := begin; first < end; first += r.group {
		images := min(r.group, end-first)
		in := r.x[first*r.pad.rawSize():]
		if !r.pad.none() {
			in = me.scratch
			for g := range images {
				img := r.x[(first+g)*r.pad.rawSize():]
				r.pad.fill(r.pool.isa, in[g*r.pad.size():(g+1)*r.pad.size()], img, 0, r.pad.height())
			}
		}
		for _, j := range jobs {
			h, w := j.toH-j.fromH, j.toW-j.fromW
			t.setWindow(window{
				ars: 1, aks: r.stride * r.pad.c, ass: r.stride * row, aos: r.pad.size(),
				bks: r.cout, skip: r.outW - w, skipOut: (r.outH - h) * r.outW,
				klen: w, segs: h, outer: images,
			})
			t.setCols(j.panel.cols)
			t.read(in, (j.fromH*r.stride+j.kh-r.top)*row+(j.fromW*r.stride-r.left)*r.pad.c+j.row,
				r.dy, ((first*r.outH+j.fromH)*r.outW+j.fromW)*r.cout+j.panel.col)
			t.write(out, (j.kh*r.rowLen+j.row)*r.cout+j.panel.col)
			t.rows = j.rows
			j.panel.width.tiles[j.rows-1](t)
		}
		t.acc = 1
	}
}

// sum adds up the partial sums of one range of dw: a row of ones times the matrix of partial sums.
func (r *partials) sum(worker, i int) {
	t := &r.pool.workers[worker].tile
	start := i * sumFloats
	end := min(start+sumFloats, len(r.dw))
	t.setWindow(window{bks: len(r.dw), klen: r.chunks, segs: 1, outer: 1})
	t.rows, t.acc = 1, 0
	t.repeat(1, 0, 0)
	for col := start; col < end; {
		w := &r.pool.isa.widths[len(r.pool.isa.widths)-1]
		if end-col < w.nr {
			w = r.pool.isa.widths.fitting(end - col)
		}
		cols := min(w.nr, end-col)
		t.setCols(cols)
		t.read(r.one[:], 0, r.pool.shared, col)
		t.write(r.dw, col)
		w.tiles[0](t)
		col += cols
	}
}
