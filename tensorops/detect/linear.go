package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Linear is a detector without a pyramid, whose head is linear in the backbone's maps and fitted in closed form. At the
// points of each level, ridge regressions tell for each class the centerness of the object that the point learns, 0
// without one, and, of the points with an object, the logarithms of the distances to its sides in strides. So it shows
// what is to be read from maps, in a small part of the time to train a Net.
//
//	l := detect.NewLinear(classes, maps, extra, pool)
//	moments, err := l.Moments(values, objects) // per image; those of several parts add up
//	err = l.Fit(moments, .01)
//	found, err := l.Decode(values, extents, decoding)
type Linear struct {
	classes int
	maps    []Map
	levels  []linearLevel
	points  []point // of all levels
	pool    *kernels.Pool
}

// linearLevel is a level and what was fitted to its points.
type linearLevel struct {
	level
	from       int       // the first map that its points see
	features   int       // per point
	class, box []float32 // [1+features, classes] and [1+features, 4]; the constants first
}

// NewLinear returns a detector for the maps of images, from fine to coarse, with as many further levels as Config.Extra.
func NewLinear(classes int, maps []Map, extra int, pool *kernels.Pool) *Linear {
	l := &Linear{classes: classes, maps: maps, pool: pool}
	last := len(maps) - 1
	for i := range len(maps) + extra {
		at := linearLevel{from: min(i, last)}
		at.side, at.stride, at.first = maps[at.from].Side, maps[at.from].Stride, len(l.points)
		for range i - at.from {
			at.side, at.stride = (at.side+1)/2, 2*at.stride
		}
		for _, m := range maps[at.from:] {
			at.features += 2 * m.Channels
		}
		l.levels = append(l.levels, at)
		l.points = append(l.points, at.points(i == 0, i == last+extra)...)
	}
	return l
}

// see writes the features of a level's points in an image: of its map and all coarser ones, as in a pyramid, the pixel
// that the point is in and the mean of the 3x3 pixels around. A further level has the means of the last map's pixels.
func (l *Linear) see(at linearLevel, values [][]float32, dst []float32) {
	column := 0
	for m := at.from; m < len(l.maps); m++ {
		side, channels, v := l.maps[m].Side, l.maps[m].Channels, values[m]
		if side > at.side {
			v, side = pool(v, side, at.side, channels), at.side
		}
		around := blur(v, side, channels)
		for p := range at.side * at.side {
			y, x := p/at.side*side/at.side, p%at.side*side/at.side
			q := (y*side + x) * channels
			to := dst[p*at.features+column:]
			copy(to, v[q:q+channels])
			copy(to[channels:], around[q:q+channels])
		}
		column += 2 * channels
	}
}

// pool returns a smaller map, whose pixels are the means of those that they cover.
func pool(v []float32, side, to, channels int) []float32 {
	out, count := make([]float32, to*to*channels), make([]float32, to*to)
	for p := range side * side {
		q := p/side*to/side*to + p%side*to/side
		count[q]++
		for c, x := range v[p*channels : (p+1)*channels] {
			out[q*channels+c] += x
		}
	}
	for i := range out {
		out[i] /= count[i/channels]
	}
	return out
}

// blur returns the means of 3x3 pixels, of fewer at the border.
func blur(v []float32, side, channels int) []float32 {
	out := make([]float32, len(v))
	for p := range side * side {
		y, x, n := p/side, p%side, float32(0)
		to := out[p*channels : (p+1)*channels]
		for row := max(y-1, 0); row <= min(y+1, side-1); row++ {
			for column := max(x-1, 0); column <= min(x+1, side-1); column++ {
				n++
				for c, w := range v[(row*side+column)*channels:][:channels] {
					to[c] += w
				}
			}
		}
		for c := range to {
			to[c] /= n
		}
	}
	return out
}

// Moments are the sums over the points of some images that Fit needs.
type Moments struct {
	class, box []moments // per level
}

// moments are the sums over points of the products of (1, x, y) and (1, x), for features x and targets y.
type moments struct {
	features, targets int
	products          []float64 // [1+features+targets, 1+features]
}

// Plus returns the moments of both sets of images.
func (m *Moments) Plus(o *Moments) *Moments { return m.combine(o, 1) }

// Minus returns the moments without those of some of the images.
func (m *Moments) Minus(o *Moments) *Moments { return m.combine(o, -1) }

func (m *Moments) combine(o *Moments, sign float64) *Moments {
	sum := &Moments{}
	for i := range m.class {
		sum.class = append(sum.class, m.class[i].combine(o.class[i], sign))
		sum.box = append(sum.box, m.box[i].combine(o.box[i], sign))
	}
	return sum
}

func (m moments) combine(o moments, sign float64) moments {
	m.products = slices.Clone(m.products)
	for i, v := range o.products {
		m.products[i] += sign * v
	}
	return m
}

// Moments returns those of images, given the maps and objects of each.
func (l *Linear) Moments(values [][][]float32, objects [][]Object) (*Moments, error) {
	assigned := make([][]int32, len(values))
	l.pool.For(len(values), func(_, i int) { assigned[i] = assign(l.points, objects[i]) })
	all := &Moments{}
	for _, at := range l.levels {
		pixels, x := at.side*at.side, l.seeAll(at, values)
		y := make([]float32, len(values)*pixels*l.classes)
		var inside, sides []float32 // features and targets of the points with an object
		for i, of := range assigned {
			for p, o := range of[at.first : at.first+pixels] {
				if o < 0 {
					continue
				}
				row, object := i*pixels+p, objects[i][o]
				d := l.points[at.first+p].distances(object.Box)
				y[row*l.classes+object.Class] = float32(centerness(d))
				inside = append(inside, x[row*at.features:(row+1)*at.features]...)
				for _, v := range d {
					sides = append(sides, float32(math.Log(v/float64(at.stride))))
				}
			}
		}
		class, err := l.moments(x, y, at.features, l.classes)
		if err != nil {
			return nil, err
		}
		box, err := l.moments(inside, sides, at.features, 4)
		if err != nil {
			return nil, err
		}
		all.class, all.box = append(all.class, class), append(all.box, box)
	}
	return all, nil
}

// seeAll returns the features of a level's points in all images, as rows.
func (l *Linear) seeAll(at linearLevel, values [][][]float32) []float32 {
	size := at.side * at.side * at.features
	x := make([]float32, len(values)*size)
	l.pool.For(len(values), func(_, i int) { l.see(at, values[i], x[i*size:(i+1)*size]) })
	return x
}

// momentRows is the number of points whose products are summed in float32.
const momentRows = 1 << 14

// moments sums the products of points, given their features and targets.
func (l *Linear) moments(x, y []float32, features, targets int) (moments, error) {
	wide, width := 1+features+targets, 1+features
	m := moments{features, targets, make([]float64, wide*width)}
	engine := dense.NewEngine(l.pool)
	for len(x) > 0 {
		n := min(momentRows, len(x)/features)
		left, right := make([]float32, n*wide), make([]float32, n*width)
		for i := range n {
			to := left[i*wide : (i+1)*wide]
			to[0] = 1
			copy(to[1:], x[i*features:(i+1)*features])
			copy(to[width:], y[i*targets:(i+1)*targets])
			copy(right[i*width:(i+1)*width], to)
		}
		product := engine.Matrix(make([]float32, wide*width), wide, width)
		transposed, err := engine.Matrix(left, n, wide).SafeT()
		if err != nil {
			return m, err
		}
		if err := engine.MatMul(transposed, engine.Matrix(right, n, width), product); err != nil {
			return m, err
		}
		for i, v := range product.Data().([]float32) {
			m.products[i] += float64(v)
		}
		x, y = x[n*features:], y[n*targets:]
	}
	return m, nil
}

// Fit fits the detector. ridge is the penalty, as a fraction of the mean variance of a level's features.
func (l *Linear) Fit(m *Moments, ridge float64) (err error) {
	for i := range l.levels {
		at := &l.levels[i]
		if at.class, err = m.class[i].solve(ridge); err == nil {
			at.box, err = m.box[i].solve(ridge)
		}
		if err != nil {
			return fmt.Errorf("detect: level %d: %w", i, err)
		}
	}
	return nil
}

// solve returns the weights of ridge regression, zeros if there are no points. The constants have no penalty.
func (m moments) solve(ridge float64) ([]float32, error) {
	w := make([]float32, (1+m.features)*m.targets)
	n := m.products[0]
	if n == 0 {
		return w, nil
	}
	covariance := func(i, j int) float64 { // of value i of (1, x, y) and feature j
		at := func(i, j int) float64 { return m.products[i*(1+m.features)+j] / n }
		return at(i, 1+j) - at(i, 0)*at(0, 1+j)
	}
	left, right, trace := mat.NewSymDense(m.features, nil), mat.NewDense(m.features, m.targets, nil), 0.
	for i := range m.features {
		for j := i; j < m.features; j++ {
			left.SetSym(i, j, covariance(1+i, j))
		}
		for t := range m.targets {
			right.Set(i, t, covariance(1+m.features+t, i))
		}
		trace += left.At(i, i)
	}
	const least = 1e-12 // for features that do not vary
	for i := range m.features {
		left.SetSym(i, i, left.At(i, i)+ridge*trace/float64(m.features)+least)
	}
	var c mat.Cholesky
	if !c.Factorize(left) {
		return nil, fmt.Errorf("the covariance of %d features of %.0f points is not positive definite", m.features, n)
	}
	var solved mat.Dense
	if err := c.SolveTo(&solved, right); err != nil {
		return nil, err
	}
	for t := range m.targets {
		constant := m.products[(1+m.features+t)*(1+m.features)] / n
		for i := range m.features {
			w[(1+i)*m.targets+t] = float32(solved.At(i, t))
			constant -= solved.At(i, t) * m.products[1+i] / n
		}
		w[t] = float32(constant)
	}
	return w, nil
}

// Decode returns what is found in images with these maps, per image and the surest first. A score is a centerness. Extents
// are the images' widths and heights in pixels.
func (l *Linear) Decode(values [][][]float32, extents [][2]float32, d Decoding) ([][]Found, error) {
	found := make([][]Found, len(values))
	engine := dense.NewEngine(l.pool)
	for _, at := range l.levels {
		pixels, x := at.side*at.side, l.seeAll(at, values)
		weights := engine.Matrix(at.class[l.classes:], at.features, l.classes)
		scores := engine.Matrix(make([]float32, len(values)*pixels*l.classes), len(values)*pixels, l.classes)
		if err := engine.MatMul(engine.Matrix(x, len(values)*pixels, at.features), weights, scores); err != nil {
			return nil, err
		}
		of := func(values []float32, i, columns int) []float32 {
			return values[i*pixels*columns : (i+1)*pixels*columns]
		}
		l.pool.For(len(values), func(_, i int) {
			s := of(scores.Data().([]float32), i, l.classes)
			for j := range s {
				s[j] += at.class[j%l.classes]
			}
			found[i] = append(found[i], l.decode(at, s, of(x, i, at.features), extents[i], d)...)
		})
	}
	l.pool.For(len(values), func(_, i int) {
		found[i] = Suppress(found[i], d.Overlap)
		found[i] = found[i][:min(len(found[i]), d.Most)]
	})
	return found, nil
}

// decode lists the surest objects of a level in an image.
func (l *Linear) decode(at linearLevel, scores, x []float32, extent [2]float32, d Decoding) (found []Found) {
	var sure []int
	for i, s := range scores {
		if s > d.Score {
			sure = append(sure, i)
		}
	}
	slices.SortStableFunc(sure, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	for _, i := range sure[:min(len(sure), d.PerLevel)] {
		p := i / l.classes
		logs := [4]float32(at.box)
		for j, v := range x[p*at.features : (p+1)*at.features] {
			for side := range logs {
				logs[side] += v * at.box[4*(1+j)+side]
			}
		}
		var distances [4]float32
		for side, v := range logs {
			distances[side] = float32(math.Exp(float64(v)))
		}
		found = append(found, Found{Class: i % l.classes, Score: scores[i], Box: l.points[at.first+p].within(distances, extent)})
	}
	return found
}
