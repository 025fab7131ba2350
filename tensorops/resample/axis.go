package resample

import "math"

// precision is the number of fractional bits of a weight. Of the other bits, 8 hold the pixel and 2 the overshoot of
// filters with negative lobes.
const precision = 32 - 8 - 2

const half = 1 << (precision - 1) // rounds to nearest

// span is the range of source positions, [first, first+n), that contribute to one output position.
type span = struct{ first, n int }

// axis holds the spans and weights of one pass.
type axis struct {
	in, out  int
	from, to float64
	filter   Filter

	identity bool // the pass only copies
	spans    []span
	weights  []int32   // of all spans, concatenated
	exact    []float64 // of one span, before rounding
}

// plan computes the spans and weights that scale the range [from, to) of in positions to out positions, unless they are
// the last call's.
func (a *axis) plan(in, out int, from, to float64, filter Filter) {
	if a.in == in && a.out == out && a.from == from && a.to == to && a.filter == filter {
		return
	}
	a.in, a.out, a.from, a.to, a.filter = in, out, from, to, filter
	a.identity = in == out && from == 0 && to == float64(in)
	if a.identity {
		return
	}
	a.spans, a.weights = a.spans[:0], a.weights[:0]
	left := float64(float32(from)) // Pillow keeps the box in float32
	scale := float64(float32(to)-float32(from)) / float64(out)
	stretch := max(scale, 1)
	support := filter.support() * stretch
	inverse := 1 / stretch
	for i := range out {
		center := left + float64((float64(i)+0.5)*scale)
		first := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), in) - first
		a.exact = a.exact[:0]
		var sum float64
		for j := range n {
			w := filter.weight((float64(j+first) - center + 0.5) * inverse)
			a.exact = append(a.exact, w)
			sum += w
		}
		for _, w := range a.exact {
			if sum != 0 {
				w /= sum
			}
			a.weights = append(a.weights, int32(float64(w*(1<<precision))+math.Copysign(0.5, w)))
		}
		a.spans = append(a.spans, span{first, n})
	}
}

// rows scales height rows of width pixels horizontally.
func (a *axis) rows(dst, src []uint8, width, height int) {
	for y := range height {
		row, to := src[y*width*3:], dst[y*a.out*3:]
		if simd && y < height-1 { // avx2Row reads into the next row
			avx2Row(to, row, a.spans, a.weights)
		} else {
			scaleRow(to, row, a.spans, a.weights)
		}
	}
}

// scaleRow scales one row.
func scaleRow(to, row []uint8, spans []span, weights []int32) {
	for i, s := range spans {
		p := row[s.first*3 : (s.first+s.n)*3]
		r, g, b := int32(half), int32(half), int32(half)
		for _, w := range weights[:s.n] {
			r += int32(p[0]) * w
			g += int32(p[1]) * w
			b += int32(p[2]) * w
			p = p[3:]
		}
		weights = weights[s.n:]
		q := to[i*3 : i*3+3]
		q[0], q[1], q[2] = clip(r), clip(g), clip(b)
	}
}

// columns scales rows of stride bytes vertically; src starts at row first of the image.
func (a *axis) columns(dst, src []uint8, stride, first int) {
	const group = 16 // bytes
	weights := a.weights
	for y, s := range a.spans {
		rows := src[(s.first-first)*stride : (s.first-first+s.n)*stride]
		to := dst[y*stride : (y+1)*stride]
		if simd && stride >= group {
			avx2Column(to, rows, weights[:s.n], stride, stride/group)
			if stride%group > 0 { // the remaining bytes, with some of the preceding group
				last := stride - group
				avx2Column(to[last:], rows[last:], weights[:s.n], stride, 1)
			}
		} else {
			scaleColumns(to, rows, weights[:s.n], stride)
		}
		weights = weights[s.n:]
	}
}

// scaleColumns computes the weighted sum of rows that are stride bytes apart.
func scaleColumns(to, rows []uint8, weights []int32, stride int) {
	for x := range to {
		sum := int32(half)
		at := x
		for _, w := range weights {
			sum += int32(rows[at]) * w
			at += stride
		}
		to[x] = clip(sum)
	}
}

// clip rounds a fixed-point sum to a byte.
func clip(v int32) uint8 { return uint8(min(max(v>>precision, 0), 255)) }
