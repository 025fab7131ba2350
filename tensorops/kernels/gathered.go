package kernels

// gatheredGradient computes the weight gradient by GEMM. For one chunk of output pixels after the other, it gathers the
// input pixels of each tap (im2col) and packs dy in panels. Each part of dw belongs to one thread.
type gatheredGradient struct {
	pool   *Pool
	conv   Conv
	pixels int // of all output images
	pairs  bool
	panels []panel
	x      planes // a matrix per tap, with a row per pixel or, with pairs, per two
	dy     planes
	chunk  int // pixels per chunk
	rows   int // rows of a tap's matrix of dw, per item
	parts  int // items per tap

	zeros                    []float32 // a pixel outside the image
	first                    int       // first pixel of the current chunk
	in, out, dw              []float32
	gatherFunc, multiplyFunc func(worker, i int)
}

const (
	gatheredPixels = 512 // least pixels per chunk, so that reading and writing dw stays cheap
	gatherStep     = 16  // pixels that one item copies; even, like chunks
)

func newGatheredGradient(c Conv, pairs bool, p *Pool) *gatheredGradient {
	r := &gatheredGradient{
		pool: p, conv: c, pixels: c.N * c.OutH() * c.OutW(), pairs: pairs,
		zeros: make([]float32, c.Cin),
	}
	taps := c.KH * c.KW
	r.panels = p.isa.family(pairs).panels(c.Cout, c.Cin, 0)
	r.parts = max(1, min(minItems/taps, c.Cin/(2*len(r.panels[0].width.tiles))))
	r.rows = (c.Cin + r.parts - 1) / r.parts
	r.parts = (c.Cin + r.rows - 1) / r.rows
	r.chunk = min(r.pixels, max(gatheredPixels, stagedFloats/(taps*pitch(c.Cin)+c.Cout)/2*2))
	r.x = matrices(taps, steps(r.chunk, pairs), c.Cin)
	r.dy = paneled(1, steps(r.chunk, pairs), r.panels)
	p.reserve(r.x.floats()+r.dy.floats(), 0)
	r.gatherFunc, r.multiplyFunc = r.gather, r.multiply
	return r
}

func (r *gatheredGradient) compute(x, dy, dw []float32) {
	r.in, r.out, r.dw = x, dy, dw
	for r.first = 0; r.first < r.pixels; r.first += r.chunk {
		n := min(r.chunk, r.pixels-r.first)
		work := n * len(dw)
		r.pool.run((n+gatherStep-1)/gatherStep, work, r.gatherFunc)
		r.pool.run(r.x.count*r.parts, work, r.multiplyFunc)
	}
	r.in, r.out, r.dw = nil, nil, nil
}

// gather copies what some pixels of the chunk need.
func (r *gatheredGradient) gather(_, i int) {
	c, isa := r.conv, r.pool.isa
	shared := r.pool.shared
	from := i * gatherStep
	n := min(gatherStep, r.chunk-from, r.pixels-r.first-from)
	for _, g := range r.dy.groups {
		dst := shared[r.x.floats()+g.start+steps(from, r.pairs)*g.row:]
		isa.packB(r.pairs, dst, g.row, n, g.cols, r.out[(r.first+from)*c.Cout+g.col:], c.Cout, 1)
	}
	for tap := range c.KH * c.KW {
		dst := shared[tap*r.x.size+steps(from, r.pairs)*r.x.groups[0].row:]
		for at := from; at < from+n; {
			pixel := r.inputPixel(r.first+at, tap)
			at++
			if !r.pairs {
				copy(dst[:c.Cin], pixel)
			} else {
				next := r.zeros
				if at < from+n {
					next = r.inputPixel(r.first+at, tap)
				}
				at++
				isa.join(dst[:c.Cin], pixel, next)
			}
			dst = dst[r.x.groups[0].row:]
		}
	}
}

// inputPixel returns the input pixel that an output pixel uses at a tap; zeros if it is outside the image.
func (r *gatheredGradient) inputPixel(pixel, tap int) []float32 {
	c := r.conv
	ow, oh, image := pixel%c.OutW(), pixel/c.OutW()%c.OutH(), pixel/c.OutW()/c.OutH()
	ih, iw := oh*c.Stride+tap/c.KW-c.Pad, ow*c.Stride+tap%c.KW-c.Pad
	if ih < 0 || ih >= c.H || iw < 0 || iw >= c.W {
		return r.zeros
	}
	return r.in[((image*c.H+ih)*c.W+iw)*c.Cin:]
}

// multiply adds the chunk's products to some rows of one tap of dw.
func (r *gatheredGradient) multiply(worker, i int) {
	tap, first := i/r.parts, i%r.parts*r.rows
	acc := 1
	if r.first == 0 {
		acc = 0
	}
	w := window{ars: 1, aks: r.x.groups[0].row, klen: steps(min(r.chunk, r.pixels-r.first), r.pairs), segs: 1, outer: 1}
	multiply(&r.pool.workers[worker].tile, r.panels, w, min(r.rows, r.conv.Cin-first), steps(r.chunk, r.pairs),
		r.pool.shared[tap*r.x.size+first:], r.pool.shared[r.x.floats():],
		r.dw[(tap*r.conv.Cin+first)*r.conv.Cout:], r.conv.Cout, acc)
}

// product computes a convolution of single pixels as one GEMM.
type product struct {
	pool            *Pool
	what            pass
	pairs           bool
	pixels, in, out int
}

func (r *product) compute(a, b, c []float32) {
	g := &r.pool.gemm
	switch r.what {
	case forward:
		g.compute(r.pairs, false, false, r.pixels, r.out, r.in, a, r.in, b, r.out, c, r.out, false)
	case backwardData:
		g.compute(r.pairs, false, true, r.pixels, r.in, r.out, a, r.out, b, r.out, c, r.in, false)
	default:
		g.compute(r.pairs, true, false, r.in, r.out, r.pixels, a, r.in, b, r.out, c, r.out, false)
	}
}
