package detect

import (
	"math"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/vecs"
)

const epsilon = 1e-5

// piece is the number of pixels whose sums are computed in float32.
const piece = 128

// groupNorm is GroupNorm (arXiv 1803.08494), then ReLU.
type groupNorm struct {
	in, out      *array
	scale, shift nn.Span
	groups       int
	mean, factor []float64   // [batch, groups] of the last forward; factor is 1/√(variance + ε)
	tiles        [][]float32 // per image, for six values of each channel
}

// newGroupNorm returns an operation from x to y.
func newGroupNorm(x, y *array, scale, shift nn.Span, groups, batch int) *groupNorm {
	g := &groupNorm{in: x, out: y, scale: scale, shift: shift, groups: groups}
	g.mean, g.factor = make([]float64, batch*groups), make([]float64, batch*groups)
	for range batch {
		g.tiles = append(g.tiles, make([]float32, 6*x.channels))
	}
	return g
}

// tile returns the values of the channels in place k of an image's tiles.
func (g *groupNorm) tile(image, k int) []float32 {
	c := g.in.channels
	return g.tiles[image][k*c : (k+1)*c]
}

// total adds up, in double precision, the two sums per channel that add computes of a range of an image's values.
func (g *groupNorm) total(image int, sums, others []float64, add func(s, q []float32, from, to int)) {
	clear(sums)
	clear(others)
	s, q, size := g.tile(image, 0), g.tile(image, 1), g.in.side*g.in.side*g.in.channels
	for from := 0; from < size; from += piece * g.in.channels {
		clear(s)
		clear(q)
		add(s, q, from, min(from+piece*g.in.channels, size))
		for c := range s {
			sums[c] += float64(s[c])
			others[c] += float64(q[c])
		}
	}
}

// group returns the range of channels of a group.
func (g *groupNorm) group(i int) (from, to int) {
	width := g.in.channels / g.groups
	return i * width, (i + 1) * width
}

// count returns the number of values of an image in a group.
func (g *groupNorm) count() float64 { return float64(g.in.side * g.in.side * g.in.channels / g.groups) }

// sumsOf returns room for two sums per channel of an image; the rows of images are next to each other.
func (g *groupNorm) sumsOf(n *Net, image int) (sums, others []float64) {
	c := g.in.channels
	return n.sums[image*c : (image+1)*c], n.sums[(n.batch+image)*c : (n.batch+image+1)*c]
}

func (g *groupNorm) forward(n *Net) {
	scale, shift := g.scale.Of(n.Params), g.shift.Of(n.Params)
	n.each(func(i int) {
		x, y := g.in.of(g.in.value, i), g.out.of(g.out.value, i)
		sums, squares := g.sumsOf(n, i)
		zero, a, b := g.tile(i, 2), g.tile(i, 3), g.tile(i, 4)
		clear(zero)
		g.total(i, sums, squares, func(s, q []float32, from, to int) { vecs.Moments(s, q, x[from:to], zero) })
		for group := range g.groups {
			from, to := g.group(group)
			var sum, square float64
			for c := from; c < to; c++ {
				sum += sums[c]
				square += squares[c]
			}
			mean := sum / g.count()
			factor := 1 / math.Sqrt(max(square/g.count()-mean*mean, 0)+epsilon)
			g.mean[i*g.groups+group], g.factor[i*g.groups+group] = mean, factor
			for c := from; c < to; c++ {
				k := factor * float64(scale[c])
				a[c], b[c] = float32(k), float32(float64(shift[c])-mean*k)
			}
		}
		vecs.ScaleShiftReLU(y, x, a, b, nn.ReLU.Top())
	})
}

// backward computes, with g the gradient before ReLU, h = g·scale and u = (x-mean)·f of a group of m values,
//
//	dscale = Σg·u, dshift = Σg, dx = f·(h - Σh/m - u·Σh·u/m)
func (g *groupNorm) backward(n *Net) {
	scale := g.scale.Of(n.Params)
	g.in.receive(n, func(dst []float32) {
		n.each(func(i int) {
			x, y, dy, dx := g.in.of(g.in.value, i), g.out.of(g.out.value, i), g.out.of(g.out.grad, i), g.in.of(dst, i)
			dshift, dscale := g.sumsOf(n, i)
			mean, a, b, c0 := g.tile(i, 2), g.tile(i, 3), g.tile(i, 4), g.tile(i, 5)
			for c := range mean {
				mean[c] = float32(g.mean[i*g.groups+c*g.groups/g.in.channels])
			}
			g.total(i, dshift, dscale, func(s, q []float32, from, to int) {
				vecs.GradMoments(s, q, dy[from:to], dy[from:to], nil, y[from:to], x[from:to], mean, nn.ReLU.Top())
			})
			for group := range g.groups {
				from, to := g.group(group)
				factor := g.factor[i*g.groups+group]
				var sum, dot float64
				for c := from; c < to; c++ {
					dscale[c] *= factor
					sum += dshift[c] * float64(scale[c])
					dot += dscale[c] * float64(scale[c])
				}
				for c := from; c < to; c++ {
					a[c] = float32(factor * float64(scale[c]))
					b[c] = float32(-factor * factor * dot / g.count())
					c0[c] = float32(-factor * sum / g.count())
				}
			}
			vecs.Combine(dx, dy, x, a, b, c0, mean)
		})
	})
	half := n.batch * g.in.channels
	addSums(g.shift.Of(n.Grads), n.sums[:half])
	addSums(g.scale.Of(n.Grads), n.sums[half:2*half])
}
