package kernels

import (
	"slices"
	"unsafe"
)

// The micro-kernel of depthwise convolutions multiplies channel by channel. With the arguments of a tile, it computes for
// i < rows and j < cols, which may be any number,
//
//	C[i*ldc + j] (+)= sum_{o<outer} sum_{s<segs} sum_{k<klen} A[i*ars + o*aos + s*ass + k*aks + j] * B[o*bos + s*bss + k*bks + j]
//
// so that outputs are sums over taps, and gradients of taps are sums over pixels. No image is copied or padded: adjacent
// pixels that have the same taps within the image are computed together.

// depthwise computes the forward pass of a depthwise convolution or, with the roles of input and output exchanged, the
// gradient of the input.
type depthwise struct {
	pool         *Pool
	n, c, kw     int
	inH, inW     int
	outH, outW   int
	rows, cols   []reach // every row by itself, in order
	step         int     // distance of a reach's outputs
	ars, bks     int     // see tile
	band, bands  int     // rows per item; items per image
	multiplyAdds int
	panel        panel
	x, w, y      []float32 // of the current call
	itemFunc     func(worker, i int)
}

// reach lists, along one axis, n outputs from to on that each are the sum of the same number of adjacent inputs, the
// first of them being from, times the same taps of the kernel, the first of them being tap. An output without inputs has
// no taps.
type reach struct{ to, n, from, tap, taps int }

// forwardReaches lists the reach of each output of the forward pass.
func forwardReaches(out, in, kernel, stride, pad int) (rs []reach) {
	for o := range out {
		r := reach{to: o, n: 1}
		if from, to := inside(o*stride-pad, kernel, in); from < to {
			r.from, r.tap, r.taps = o*stride-pad+from, from, to-from
		}
		rs = append(rs, r)
	}
	return rs
}

// backwardReaches lists the reach of each pixel of the input's gradient: input i is used by output o through tap k if
// i+pad = o*stride+k. Taps descend by stride from one output to the next.
func backwardReaches(in, out, kernel, stride, pad int) (rs []reach) {
	for i := range in {
		r := reach{to: i, n: 1}
		first, last := max(0, (i+pad-kernel+stride)/stride), min(out-1, (i+pad)/stride)
		if first <= last {
			r.from, r.tap, r.taps = first, i+pad-first*stride, last-first+1
		}
		rs = append(rs, r)
	}
	return rs
}

// joined joins those whose outputs are step apart and have the same taps.
func joined(rs []reach, step int) (all []reach) {
next:
	for _, r := range rs {
		for i := range all {
			if a := &all[i]; a.to+a.n*step == r.to && a.tap == r.tap && a.taps == r.taps {
				a.n++
				continue next
			}
		}
		all = append(all, r)
	}
	return all
}

func newDepthwise(c Conv, what pass, p *Pool) *depthwise {
	r := &depthwise{
		pool: p, n: c.N, c: c.Cin, kw: c.KW, panel: panel{cols: c.Cin, width: p.isa.channels},
		multiplyAdds: int(c.Multiplications()),
	}
	if what == forward {
		r.inH, r.inW, r.outH, r.outW = c.H, c.W, c.OutH(), c.OutW()
		r.step, r.ars, r.bks = 1, c.Stride*c.Cin, c.Cin
		r.rows = forwardReaches(r.outH, r.inH, c.KH, c.Stride, c.Pad)
		r.cols = joined(forwardReaches(r.outW, r.inW, c.KW, c.Stride, c.Pad), r.step)
	} else {
		r.inH, r.inW, r.outH, r.outW = c.OutH(), c.OutW(), c.H, c.W
		r.step, r.ars, r.bks = c.Stride, c.Cin, -c.Stride*c.Cin
		r.rows = backwardReaches(r.outH, r.inH, c.KH, c.Stride, c.Pad)
		r.cols = joined(backwardReaches(r.outW, r.inW, c.KW, c.Stride, c.Pad), r.step)
	}
	r.bands = min(r.outH, (minItems+c.N-1)/c.N)
	r.band = (r.outH + r.bands - 1) / r.bands
	r.bands = (r.outH + r.band - 1) / r.band
	r.itemFunc = r.item
	return r
}

// compute overwrites y. x is the side that is read, y the side that is written.
func (r *depthwise) compute(x, w, y []float32) {
	r.x, r.w, r.y = x, w, y
	r.pool.run(r.n*r.bands, r.multiplyAdds, r.itemFunc)
	r.x, r.w, r.y = nil, nil, nil
}

// item computes a band of rows of an image.
func (r *depthwise) item(worker, item int) {
	t := &r.pool.workers[worker].tile
	image, first := item/r.bands, item%r.bands*r.band
	x, y := r.x[image*r.inH*r.inW*r.c:], r.y[image*r.outH*r.outW*r.c:]
	for _, row := range r.rows[first:min(first+r.band, r.outH)] {
		for _, col := range r.cols {
			t.multiply(r.panel, window{
				ars: r.ars, aks: r.c, ass: r.inW * r.c, bks: r.bks, skip: r.kw - col.taps,
				klen: col.taps, segs: row.taps, outer: 1,
			}, col.n, x[(row.from*r.inW+col.from)*r.c:], r.w[(row.tap*r.kw+col.tap)*r.c:],
				y[(row.to*r.outW+col.to)*r.c:], r.step*r.c, 0)
		}
	}
}

// depthwiseGradient computes the weight gradient of a depthwise convolution. Of a chunk's images, it takes as many at a
// time, or rows of one, as stay in the cache while their products with all taps are summed.
type depthwiseGradient struct {
	partials
	conv        Conv
	cols        []reach
	group, band int // images and output rows at a time
	panel       panel

	x, dy    []float32 // of the current call
	itemFunc func(worker, i int)
}

func newDepthwiseGradient(c Conv, p *Pool) *depthwiseGradient {
	r := &depthwiseGradient{conv: c, panel: panel{cols: c.Cin, width: p.isa.channels}}
	r.split(c, p)
	r.cols = slices.DeleteFunc(joined(forwardReaches(c.OutW(), c.W, c.KW, c.Stride, c.Pad), 1), func(r reach) bool { return r.taps == 0 })
	row := (c.OutW() + c.W*c.Stride) * c.Cin // of the output, and as many of the input as it takes
	r.band = max(1, min(c.OutH(), maxScratch/row))
	r.group = max(1, min(r.chunk, maxScratch/(row*c.OutH())))
	r.itemFunc = r.item
	return r
}

// compute overwrites dw.
func (r *depthwiseGradient) compute(x, dy, dw []float32) {
	r.x, r.dy, r.dw = x, dy, dw
	r.pool.run(r.chunks, int(r.conv.Multiplications()), r.itemFunc)
	r.add()
	r.x, r.dy, r.dw = nil, nil, nil
}

// item computes the partial sum of a chunk.
func (r *depthwiseGradient) item(worker, chunk int) {
	t := &r.pool.workers[worker].tile
	first, end, sum := r.of(chunk)
	clear(sum)
	for image := first; image < end; image += r.group {
		for row := 0; row < r.conv.OutH(); row += r.band {
			r.addBand(t, sum, image, min(r.group, end-image), row)
		}
	}
}

// addBand adds the products of a band of rows of some images.
func (r *depthwiseGradient) addBand(t *tile, sum []float32, image, images, first int) {
	c := r.conv
	outH, outW := c.OutH(), c.OutW()
	for kh := range c.KH {
		from, to := outputsInside(kh-c.Pad, c.H, outH, c.Stride)
		from, to = max(from, first), min(to, first+r.band)
		if from >= to {
			continue
		}
		in := (image*c.H + from*c.Stride + kh - c.Pad) * c.W
		out := (image*outH + from) * outW
		for _, col := range r.cols {
			t.multiply(r.panel, window{
				ars: c.Cin, aks: c.Stride * c.Cin, ass: c.Stride * c.W * c.Cin, aos: c.H * c.W * c.Cin,
				bks: c.Cin, skip: outW - col.n, skipOut: (outH - to + from) * outW,
				klen: col.n, segs: to - from, outer: images,
			}, col.taps, r.x[(in+col.from)*c.Cin:], r.dy[(out+col.to)*c.Cin:], sum[(kh*c.KW+col.tap)*c.Cin:], c.Cin, 1)
		}
	}
}

// channelsPortable is the micro-kernel in Go.
func channelsPortable(t *tile) {
	for r := range t.reps {
		for i := range t.rows {
			c := unsafe.Slice((*float32)(unsafe.Add(t.c, r*t.cRep+i*t.ldc)), t.cols)
			if t.acc == 0 {
				clear(c)
			}
			a, b := r*t.aRep+i*t.ars, 0
			for range t.outer {
				for range t.segs {
					for range t.klen {
						x, w := unsafe.Slice((*float32)(unsafe.Add(t.a, a)), t.cols), unsafe.Slice((*float32)(unsafe.Add(t.b, b)), t.cols)
						for j := range c {
							c[j] += x[j] * w[j]
						}
						a += t.aks
						b += t.bks
					}
					a += t.segStep
					b += t.bSegStep
				}
				a += t.outStep
				b += t.bOutStep
			}
		}
	}
}
