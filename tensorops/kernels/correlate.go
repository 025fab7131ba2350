package kernels

// correlation slides weights over zero-padded images. The forward pass is one. The gradient of the input is one of dy
// with flipped weights, split into stride*stride phases: all input pixels of a phase use the same weights, so that the
// zeros between the pixels of a strided dy are never multiplied.
type correlation struct {
	pool          *Pool
	n             int     // number of images
	pad           padding // of the input; none if byImage, which skips taps outside the image
	stride        int     // step over the input
	outH, outW    int
	outC          int
	step          int // distance between a phase's output pixels
	phases        []phase
	panels        []panel
	weightRow     int  // rs of packPanel
	weightCol     int  // cs of packPanel
	weightTap     int  // floats of w per tap, Cin*Cout
	byImage       bool // tiles span images rather than the pixels of a row
	copied        bool // images are copied to scratch
	group, groups int  // images per item; items per band
	band, bands   int  // phase rows per item; bands per image
	bandFirst     int  // first row of the padded image that the first band reads; 0 or negative
	bandRows      int  // rows that a band reads, including those outside the image
	bandLen       int  // floats of scratch for them

	x, w, y  []float32 // of the current call
	packFunc func(worker, i int)
	itemFunc func(worker, i int)
}

// phase is the set of output pixels (row+step*j, col+step*i), j < rows, i < cols.
type phase struct {
	row, col   int
	rows, cols int
	inRow      int // row of the padded image that the first tap of output (0,0) reads; negative if outside
	inCol      int
	kh, kw     int   // taps
	taps       []int // their indices in w, row by row
	firstTap   int   // number of taps in earlier phases
}

const (
	minScratch = 8 << 10  // floats of padded images per item that fit in the L1 cache
	maxScratch = 64 << 10 // the same for the L2 cache
	minItems   = 16       // least number of items that work is split into, if the shape allows
)

// newForward prepares the forward pass.
func newForward(c Conv, pairs bool, p *Pool) *correlation {
	r := &correlation{
		pool: p,
		n:    c.N, stride: c.Stride,
		step: 1,
		outH: c.OutH(), outW: c.OutW(), outC: c.Cout,
		pad:       inputPadding(c),
		weightRow: c.Cout, weightCol: 1, weightTap: c.Cin * c.Cout,
	}
	all := phase{rows: r.outH, cols: r.outW, kh: c.KH, kw: c.KW}
	for t := range c.KH * c.KW {
		all.taps = append(all.taps, t)
	}
	r.phases = []phase{all}
	r.plan(pairs)
	return r
}

// newBackwardData prepares the gradient of the input.
func newBackwardData(c Conv, pairs bool, p *Pool) *correlation {
	r := &correlation{
		pool: p,
		n:    c.N, stride: 1,
		step: c.Stride,
		outH: c.H, outW: c.W, outC: c.Cin,
		weightRow: 1, weightCol: c.Cout, weightTap: c.Cin * c.Cout,
	}
	r.pad = padding{h: c.OutH(), w: c.OutW(), c: c.Cout}
	// Along one axis, input pixel i is used by output o through tap k if i+Pad = o*Stride+k.
	type axis struct{ out, n, first, taps int }
	along := func(size, outSize, kernel int, before, after *int) (as []axis) {
		for rest := range c.Stride {
			a := axis{out: ((rest-c.Pad)%c.Stride + c.Stride) % c.Stride}
			a.n = (size - a.out + c.Stride - 1) / c.Stride
			a.taps = max(0, (kernel-rest+c.Stride-1)/c.Stride)
			o := (a.out + c.Pad - rest) / c.Stride // the output for the smallest tap, which is read last
			a.first = o - a.taps + 1
			if a.n > 0 && a.taps > 0 {
				*before = max(*before, -a.first)
				*after = max(*after, o+a.n-outSize)
			}
			as = append(as, a)
		}
		return as
	}
	rows := along(c.H, c.OutH(), c.KH, &r.pad.top, &r.pad.bottom)
	cols := along(c.W, c.OutW(), c.KW, &r.pad.left, &r.pad.right)
	firstTap := 0
	for restH, ra := range rows {
		for restW, ca := range cols {
			ph := phase{
				row: ra.out, col: ca.out, rows: ra.n, cols: ca.n,
				inRow: ra.first + r.pad.top, inCol: ca.first + r.pad.left,
				kh: ra.taps, kw: ca.taps, firstTap: firstTap,
			}
			for i := ph.kh - 1; i >= 0; i-- {
				for j := ph.kw - 1; j >= 0; j-- {
					ph.taps = append(ph.taps, (restH+i*c.Stride)*c.KW+restW+j*c.Stride)
				}
			}
			firstTap += len(ph.taps)
			if ph.rows > 0 && ph.cols > 0 {
				r.phases = append(r.phases, ph)
			}
		}
	}
	r.plan(pairs)
	return r
}

// plan chooses panels, tiles and the split into items, from the shape alone. With pairs, products are of bfloat16.
func (r *correlation) plan(pairs bool) {
	isa := r.pool.isa
	widths := isa.family(pairs)
	r.pad.pairs = pairs
	rows, cols, taps := 0, 0, 0
	for _, ph := range r.phases {
		rows, cols = max(rows, ph.rows), max(cols, ph.cols)
		taps = max(taps, ph.firstTap+len(ph.taps))
	}
	// On small images, tiles along a row are short; tiles that span images do not depend on the image size.
	const perTile = 12
	r.panels = widths.panels(r.outC, cols, isa.fetch)
	if r.n > 1 && cols < perTile {
		images := min(r.n, perTile)
		byImage := widths.panels(r.outC, images, isa.fetch)
		cost := r.tapsInside() * panelsCost(byImage, images, isa.fetch) / float64(images)
		r.byImage = cost < 0.9*panelsCost(r.panels, cols, isa.fetch)/float64(cols)
		if r.byImage {
			r.panels = byImage
			r.dropPadding()
		}
	}
	// Copy images also if their distance maps them to the same few cache sets.
	r.copied = !r.pad.none() || pairs || r.byImage && r.pad.rawSize()%256 == 0

	weights := taps * r.pad.pixel() * r.outC
	scratch := min(maxScratch, max(minScratch, weights)) // large weights need many pixels per read to pay off
	r.group = max(1, min(scratch/r.pad.size(), r.n/minItems))
	if r.byImage {
		longest := len(r.panels[0].width.tiles)
		r.group = min(r.n, longest*max(1, scratch/(longest*r.pad.size())))
	}
	r.groups = (r.n + r.group - 1) / r.group
	r.group = (r.n + r.groups - 1) / r.groups
	r.groups = (r.n + r.group - 1) / r.group
	r.bands = (minItems + r.groups - 1) / r.groups
	if r.group == 1 {
		r.bands = max(r.bands, (r.pad.size()+scratch-1)/scratch)
	}
	r.band = max(1, rows/r.bands)
	r.bands = (rows + r.band - 1) / r.band
	scratch = 0
	if r.copied {
		last := 0
		for _, ph := range r.phases {
			r.bandFirst, last = min(r.bandFirst, ph.inRow), max(last, ph.inRow+ph.kh)
		}
		r.bandRows = (r.band-1)*r.stride + last - r.bandFirst
		r.bandLen = pitch(min(r.bandRows, r.pad.height()) * r.pad.rowLen())
		scratch = r.group * r.bandLen
	}
	r.pool.reserve(weights, scratch)
	r.packFunc, r.itemFunc = r.pack, r.item
}

// tapsInside returns the share of taps that read pixels rather than padding.
func (r *correlation) tapsInside() float64 {
	inner, all := 0, 0
	for _, ph := range r.phases {
		var h, w int
		for j := range ph.rows {
			from, to := inside(ph.inRow-r.pad.top+j*r.stride, ph.kh, r.pad.h)
			h += to - from
		}
		for i := range ph.cols {
			from, to := inside(ph.inCol-r.pad.left+i*r.stride, ph.kw, r.pad.w)
			w += to - from
		}
		inner += h * w
		all += ph.rows * ph.kh * ph.cols * ph.kw
	}
	return float64(inner) / float64(max(1, all))
}

// inside returns the range of n taps, the first at pixel start, that are within an axis of size pixels.
func inside(start, n, size int) (from, to int) {
	from, to = max(0, -start), min(n, size-start)
	if from >= to {
		return 0, 0
	}
	return from, to
}

// dropPadding makes the phases' positions relative to the unpadded image.
func (r *correlation) dropPadding() {
	for i := range r.phases {
		r.phases[i].inRow -= r.pad.top
		r.phases[i].inCol -= r.pad.left
	}
	r.pad = padding{h: r.pad.h, w: r.pad.w, c: r.pad.c, pairs: r.pad.pairs}
}

// compute overwrites y. x is the side that is read, y the side that is written.
func (r *correlation) compute(x, w, y []float32) {
	r.x, r.w, r.y = x, w, y
	r.pool.run(len(r.panels), len(w)*packWork, r.packFunc)
	r.pool.run(r.groups*r.bands, r.n*r.pad.h*r.pad.w*len(w)/(r.stride*r.stride), r.itemFunc)
	r.x, r.w, r.y = nil, nil, nil
}

// pack packs panel i of the weights in the order in which the micro-kernel reads them: [phase][tap][channel][nr].
func (r *correlation) pack(_, i int) {
	p := r.panels[i]
	step := r.pad.pixel() * p.cols
	for _, ph := range r.phases {
		dst := r.packed(p, ph)
		for t, tap := range ph.taps {
			src := r.w[tap*r.weightTap+p.col*r.weightCol:]
			r.pool.isa.packB(r.pad.pairs, dst[t*step:], p.cols, r.pad.c, p.cols, src, r.weightRow, r.weightCol)
		}
	}
}

// packed returns the packed weights of a panel and phase.
func (r *correlation) packed(p panel, ph phase) []float32 {
	c := r.pad.pixel()
	n := len(ph.taps) * c
	start := ph.firstTap*c*r.outC + p.col*n
	return r.pool.shared[start : start+n*p.cols]
}

// block is the work of one item: a band of phase rows for a group of images.
type block struct {
	first, images int       // the group
	from          int       // first phase row
	in            []float32 // the images as they are read: from padded row inRow, inImage floats apart
	inRow         int
	inImage       int
}

// item computes one band for one group of images.
func (r *correlation) item(worker, item int) {
	me := &r.pool.workers[worker]
	b := block{first: item / r.bands * r.group, from: item % r.bands * r.band}
	b.images = min(r.group, r.n-b.first)
	size := r.pad.rawSize()
	if !r.copied {
		b.in, b.inImage = r.x[b.first*size:], size
	} else {
		start := b.from*r.stride + r.bandFirst
		b.in, b.inImage, b.inRow = me.scratch, r.bandLen, max(0, start)
		to := max(b.inRow, min(r.pad.height(), start+r.bandRows))
		for g := range b.images {
			r.pad.fill(r.pool.isa, b.in[g*b.inImage:(g+1)*b.inImage], r.x[(b.first+g)*size:], b.inRow, to)
		}
	}
	for _, p := range r.panels {
		for i := range r.phases {
			r.blockPhase(&me.tile, p, &r.phases[i], b)
		}
	}
}

// blockPhase computes one panel of one phase of a block.
func (r *correlation) blockPhase(t *tile, p panel, ph *phase, b block) {
	rows := min(b.from+r.band, ph.rows) - b.from
	if rows <= 0 {
		return
	}
	pixel := r.pad.pixel()
	inRow, inPixel := r.pad.rowLen(), r.stride*pixel
	outImage, outRow, outPixel := r.outH*r.outW*r.outC, r.step*r.outW*r.outC, r.step*r.outC
	out := b.first*outImage + ph.row*r.outW*r.outC + b.from*outRow + ph.col*r.outC + p.col

	t.setCols(p.cols)
	t.acc = 0
	if r.byImage {
		weights := r.packed(p, *ph)
		for j := range rows {
			row := ph.inRow + (b.from+j)*r.stride
			h0, h1 := inside(row, ph.kh, r.pad.h)
			for i, n := 0, 0; i < ph.cols; i += n {
				col := ph.inCol + i*r.stride
				w0, w1 := inside(col, ph.kw, r.pad.w)
				for n = 1; i+n < ph.cols; n++ { // pixels that use the same taps
					if from, to := inside(col+n*r.stride, ph.kw, r.pad.w); from != w0 || to != w1 {
						break
					}
				}
				t.setWindow(window{
					ars: b.inImage, aks: 1, ass: inRow, bks: p.cols, skip: (ph.kw - w1 + w0) * pixel,
					klen: (w1 - w0) * pixel, segs: h1 - h0, outer: 1,
				})
				t.repeat(n, inPixel, outPixel)
				in := (row+h0-b.inRow)*inRow + (col+w0)*pixel
				taps := weights[min((h0*ph.kw+w0)*pixel*p.cols, len(weights)):]
				r.tiles(t, p, taps, b.in, in, b.inImage, out+j*outRow+i*outPixel, outImage, b.images)
			}
		}
		return
	}
	in := (ph.inRow+b.from*r.stride-b.inRow)*inRow + ph.inCol*pixel
	t.setWindow(window{ars: inPixel, aks: 1, ass: inRow, bks: p.cols, klen: ph.kw * pixel, segs: ph.kh, outer: 1})
	t.repeat(rows, r.stride*inRow, outRow)
	for g := range b.images {
		r.tiles(t, p, r.packed(p, *ph), b.in, in+g*b.inImage, inPixel, out+g*outImage, outPixel, ph.cols)
	}
}

// tiles runs the micro-kernel for m output pixels, outPixel floats apart from r.y[out] on, from packed weights and
// windows inPixel floats apart from src[in] on.
func (r *correlation) tiles(t *tile, p panel, weights, src []float32, in, inPixel, out, outPixel, m int) {
	t.ldc = outPixel * f32
	for s := p.width.split(m); s.next(); {
		t.rows = s.rows
		t.read(src, in+s.row*inPixel, weights, 0)
		t.write(r.y, out+s.row*outPixel)
		p.width.tiles[s.rows-1](t)
	}
}
