package detect

import "math"

// point is a point of a level, in pixels of the image.
type point struct {
	x, y, stride float64
	low, high    float64 // the range of the largest distance to a side of the objects that it learns
}

// An object is learned by points that are within centerRadius strides of its center in both directions, of the level
// where the largest distance to a side is between nearStrides and farStrides.
const (
	centerRadius = 1.5
	nearStrides  = 4
	farStrides   = 8
)

// points lists the points of a level, row by row. The first and the last level have no limit below or above.
func (l *level) points(first, last bool) (all []point) {
	s := float64(l.stride)
	for y := range l.side {
		for x := range l.side {
			p := point{float64(x) * s, float64(y) * s, s, nearStrides * s, farStrides * s}
			if first {
				p.low = 0
			}
			if last {
				p.high = math.Inf(1)
			}
			all = append(all, p)
		}
	}
	return all
}

// distances returns the distances of a point to the sides of a box.
func (p point) distances(b Box) [4]float64 {
	return [4]float64{p.x - float64(b[0]), p.y - float64(b[1]), float64(b[2]) - p.x, float64(b[3]) - p.y}
}

// learns reports whether a point learns an object.
func (p point) learns(b Box) bool {
	d := p.distances(b)
	least, most := min(d[0], d[1], d[2], d[3]), max(d[0], d[1], d[2], d[3])
	off := max(math.Abs(d[0]-d[2]), math.Abs(d[1]-d[3])) / 2 // from the center
	return least > 0 && most > p.low && most < p.high && off < centerRadius*p.stride
}

// assign returns for each point the index of the smallest object that it learns, or -1.
func assign(points []point, objects []Object) []int32 {
	of := make([]int32, len(points))
	for i, p := range points {
		of[i] = -1
		for j, o := range objects {
			if p.learns(o.Box) && (of[i] < 0 || o.Box.Area() < objects[of[i]].Box.Area()) {
				of[i] = int32(j)
			}
		}
	}
	return of
}

// centerness says how central a point with these distances is, from 0 to 1.
func centerness(d [4]float64) float64 {
	return math.Sqrt(min(d[0], d[2]) / max(d[0], d[2]) * min(d[1], d[3]) / max(d[1], d[3]))
}

// Losses are the parts of the loss of a batch.
type Losses struct {
	// Class is the focal loss, Box the generalized intersection over union, Center the cross-entropy of the centerness,
	// all of them sums divided by the number of points that learn an object.
	Class, Box, Center float64
	// Points is that number.
	Points int
}

// Total returns the sum of the losses.
func (l Losses) Total() float64 { return l.Class + l.Box + l.Center }

// Loss returns the losses of the last Forward, given the objects of each image, and prepares Backward.
func (n *Net) Loss(objects [][]Object) Losses {
	assigned := make([][]int32, n.batch)
	n.each(func(i int) { assigned[i] = assign(n.points, objects[i]) })
	var total Losses
	for _, of := range assigned {
		for _, o := range of {
			if o >= 0 {
				total.Points++
			}
		}
	}
	scale := 1 / float64(max(total.Points, 1))
	parts := make([]Losses, n.batch)
	n.each(func(i int) {
		for _, l := range n.levels {
			parts[i].add(l.loss(n, i, assigned[i], objects[i], scale))
		}
	})
	for _, p := range parts {
		total.add(p)
	}
	return total
}

func (l *Losses) add(o Losses) {
	l.Class += o.Class
	l.Box += o.Box
	l.Center += o.Center
}

// loss computes a level's part of the losses of an image and their gradients.
func (l *level) loss(n *Net, image int, assigned []int32, objects []Object, scale float64) (sum Losses) {
	logits, dLogits := l.logits.of(l.logits.value, image), l.logits.of(l.logits.grad, image)
	boxes, dBoxes := l.boxes.of(l.boxes.value, image), l.boxes.of(l.boxes.grad, image)
	center, dCenter := l.center.of(l.center.value, image), l.center.of(l.center.grad, image)
	clear(dBoxes)
	clear(dCenter)
	classes := n.Config.Classes
	for i := range l.side * l.side {
		p, o := n.points[l.first+i], assigned[l.first+i]
		for c := range classes {
			loss, slope := focal(float64(logits[i*classes+c]), o >= 0 && objects[o].Class == c)
			sum.Class += scale * loss
			dLogits[i*classes+c] = float32(scale * slope)
		}
		if o < 0 {
			continue
		}
		d := p.distances(objects[o].Box)
		loss, slope := giou(p.box([4]float32(boxes[4*i:])), wide(objects[o].Box))
		sum.Box += scale * loss
		for side, s := range slope {
			if side < 2 {
				s = -s
			}
			dBoxes[4*i+side] = float32(scale * s * p.stride)
		}
		loss, s := crossEntropy(float64(center[i]), centerness(d))
		sum.Center += scale * loss
		dCenter[i] = float32(scale * s)
	}
	return sum
}

// box returns the box with distances in strides from the point.
func (p point) box(d [4]float32) [4]float64 {
	s := p.stride
	return [4]float64{p.x - s*float64(d[0]), p.y - s*float64(d[1]), p.x + s*float64(d[2]), p.y + s*float64(d[3])}
}

func wide(b Box) (w [4]float64) {
	for i, v := range b {
		w[i] = float64(v)
	}
	return w
}
