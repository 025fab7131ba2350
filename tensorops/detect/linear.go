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
//	found := l.Decode(values, extents, decoding)
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

// plane is a map of one image.
type plane struct {
	side, channels int
	values         []float32
}

// planes returns what the points of a level see: its map and all coarser ones, as in a pyramid. A further level has the
// means of the last map's pixels.
func (l *Linear) planes(at linearLevel, values [][]float32) (all []plane) {
	for m := at.from; m < len(l.maps); m++ {
		p := plane{l.maps[m].Side, l.maps[m].Channels, values[m]}
		if p.side > at.side {
			p = p.shrink(at.side)
		}
		all = append(all, p)
	}
	return all
}

// shrink returns a smaller plane, whose pixels are the means of those that they cover.
func (p plane) shrink(side int) plane {
	out, count := plane{side, p.channels, make([]float32, side*side*p.channels)}, make([]float32, side*side)
	for i := range p.side * p.side {
		at := i/p.side*side/p.side*side + i%p.side*side/p.side
		count[at]++
		for c, v := range p.values[i*p.channels : (i+1)*p.channels] {
			out.values[at*p.channels+c] += v
		}
	}
	for i := range out.values {
		out.values[i] /= count[i/p.channels]
	}
	return out
}

// pixel returns the pixel of a plane that a point of a level is in.
func (p plane) pixel(at linearLevel, point int) (y, x int) {
	return point / at.side * p.side / at.side, point % at.side * p.side / at.side
}

// around writes the mean of the 3x3 pixels around one, of fewer at the border.
func (p plane) around(y, x int, dst []float32) {
	clear(dst)
	n := float32(0)
	for row := max(y-1, 0); row <= min(y+1, p.side-1); row++ {
		for column := max(x-1, 0); column <= min(x+1, p.side-1); column++ {
			n++
			for c, v := range p.values[(row*p.side+column)*p.channels:][:p.channels] {
				dst[c] += v
			}
		}
	}
	for c := range dst {
		dst[c] /= n
	}
}

// see writes the features of a point: of each plane, the pixel that it is in and the mean of those around.
func (at linearLevel) see(planes []plane, point int, dst []float32) {
	for _, p := range planes {
		y, x := p.pixel(at, point)
		copy(dst, p.values[(y*p.side+x)*p.channels:][:p.channels])
		p.around(y, x, dst[p.channels:2*p.channels])
		dst = dst[2*p.channels:]
	}
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

// background is the number of points without an object of a level and image from which the others without are estimated.
const background = 200

// Moments returns those of images, given the maps and objects of each. Of a level with many points, some of those without an
// object stand for all of them.
func (l *Linear) Moments(values [][][]float32, objects [][]Object) (*Moments, error) {
	all := &Moments{}
	for _, at := range l.levels {
		class, box := make([][]float32, len(values)), make([][]float32, len(values))
		l.pool.For(len(values), func(_, i int) { class[i], box[i] = l.rows(at, values[i], objects[i]) })
		for _, part := range []struct {
			to      *[]moments
			rows    [][]float32
			targets int
		}{{&all.class, class, l.classes}, {&all.box, box, 4}} {
			m, err := l.moments(slices.Concat(part.rows...), at.features, part.targets)
			if err != nil {
				return nil, err
			}
			*part.to = append(*part.to, m)
		}
	}
	return all, nil
}

// rows returns the points of a level in an image as rows (1, x, y): for the classes and, those with an object, for the box.
// A row that stands for n points is multiplied by √n.
func (l *Linear) rows(at linearLevel, values [][]float32, objects []Object) (class, box []float32) {
	planes, pixels := l.planes(at, values), at.side*at.side
	step := max(1, pixels/background)
	row := make([]float32, 1+at.features)
	assigned := assign(l.points[at.first:at.first+pixels], objects)
	for p, o := range assigned {
		weight := float32(1)
		if o < 0 {
			if (p+p/at.side)%step != 0 { // on diagonals
				continue
			}
			weight = float32(math.Sqrt(float64(step)))
		}
		row[0] = 1
		at.see(planes, p, row[1:])
		from := len(class)
		class = append(append(class, row...), make([]float32, l.classes)...)
		if o < 0 {
			for i := range class[from:] {
				class[from+i] *= weight
			}
			continue
		}
		d := l.points[at.first+p].distances(objects[o].Box)
		class[from+len(row)+objects[o].Class] = float32(centerness(d))
		box = append(box, row...)
		for _, v := range d {
			box = append(box, float32(math.Log(v/float64(at.stride))))
		}
	}
	return class, box
}

// momentRows is the number of points whose products are summed in float32.
const momentRows = 1 << 14

// moments sums the products of rows (1, x, y) with (1, x).
func (l *Linear) moments(rows []float32, features, targets int) (moments, error) {
	wide, width := 1+features+targets, 1+features
	m := moments{features, targets, make([]float64, wide*width)}
	engine := dense.NewEngine(l.pool)
	for some := range slices.Chunk(rows, momentRows*wide) {
		n := len(some) / wide
		right := make([]float32, n*width)
		for i := range n {
			copy(right[i*width:(i+1)*width], some[i*wide:])
		}
		product := engine.Matrix(make([]float32, wide*width), wide, width)
		transposed, err := engine.Matrix(some, n, wide).SafeT()
		if err != nil {
			return m, err
		}
		if err := engine.MatMul(transposed, engine.Matrix(right, n, width), product); err != nil {
			return m, err
		}
		for i, v := range product.Data().([]float32) {
			m.products[i] += float64(v)
		}
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
func (l *Linear) Decode(values [][][]float32, extents [][2]float32, d Decoding) [][]Found {
	found := make([][]Found, len(values))
	l.pool.For(len(values), func(_, i int) {
		for _, at := range l.levels {
			found[i] = append(found[i], l.decode(at, l.planes(at, values[i]), extents[i], d)...)
		}
		found[i] = Suppress(found[i], d.Overlap)
		found[i] = found[i][:min(len(found[i]), d.Most)]
	})
	return found
}

// decode lists the surest objects of a level in an image.
func (l *Linear) decode(at linearLevel, planes []plane, extent [2]float32, d Decoding) (found []Found) {
	scores := l.scores(at, planes)
	var sure []int
	for i, s := range scores {
		if s > d.Score {
			sure = append(sure, i)
		}
	}
	slices.SortStableFunc(sure, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	x := make([]float32, at.features)
	for _, i := range sure[:min(len(sure), d.PerLevel)] {
		p := i / l.classes
		at.see(planes, p, x)
		logs := [4]float32(at.box)
		for j, v := range x {
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

// scores returns the centerness of each class at each point of a level. Since all is linear, it is computed once for each
// pixel of a plane, and the means are taken of that.
func (l *Linear) scores(at linearLevel, planes []plane) []float32 {
	scores := slices.Repeat(at.class[:l.classes], at.side*at.side)
	weights := at.class[l.classes:]
	around := make([]float32, l.classes)
	for _, p := range planes {
		one := plane{p.side, l.classes, p.product(weights, l.classes)}
		mean := plane{p.side, l.classes, p.product(weights[p.channels*l.classes:], l.classes)}
		weights = weights[2*p.channels*l.classes:]
		for i := range at.side * at.side {
			y, x := p.pixel(at, i)
			mean.around(y, x, around)
			for c, v := range one.values[(y*p.side+x)*l.classes:][:l.classes] {
				scores[i*l.classes+c] += v + around[c]
			}
		}
	}
	return scores
}

// product returns the pixels' products with the first of some weights, [channels, columns].
func (p plane) product(weights []float32, columns int) []float32 {
	out := make([]float32, p.side*p.side*columns)
	for i := range p.side * p.side {
		to := out[i*columns : (i+1)*columns]
		for c, v := range p.values[i*p.channels : (i+1)*p.channels] {
			for j, w := range weights[c*columns : (c+1)*columns] {
				to[j] += v * w
			}
		}
	}
	return out
}
