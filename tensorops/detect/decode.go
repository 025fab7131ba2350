package detect

import (
	"cmp"
	"math"
	"slices"
)

// Found is a detected object.
type Found struct {
	// Class is a number from 0, Score the geometric mean of its probability and of the centerness.
	Class int
	Score float32
	// Box is where it is, within the image.
	Box Box
}

// Decoding says which of all points' objects Decode returns.
type Decoding struct {
	// Score is the least score, and PerLevel the number of objects of a level that are looked at, the surest first.
	Score    float32
	PerLevel int
	// Overlap is the intersection over union with a surer object of the same class beyond which an object is left out.
	Overlap float32
	// Most is the number of objects of an image, the surest first.
	Most int
}

// Default is torchvision's decoding, with a lower Score, as average precision takes it: a wrong object that is less sure
// than all right ones costs nothing.
var Default = Decoding{Score: .01, PerLevel: 1000, Overlap: .6, Most: 100}

// Decode returns what the last Forward found, per image and the surest first. Extents are the images' widths and heights
// in pixels.
func (n *Net) Decode(extents [][2]float32, d Decoding) [][]Found {
	found := make([][]Found, len(extents))
	n.each(func(i int) {
		if i >= len(extents) {
			return
		}
		for _, l := range n.levels {
			found[i] = append(found[i], l.decode(n, i, extents[i], d)...)
		}
		found[i] = Suppress(found[i], d.Overlap)
		found[i] = found[i][:min(len(found[i]), d.Most)]
	})
	return found
}

// decode lists the surest objects of a level.
func (l *level) decode(n *Net, image int, extent [2]float32, d Decoding) []Found {
	type candidate struct {
		score float32
		at    int // point and class
	}
	logits, center := l.logits.of(l.logits.value, image), l.center.of(l.center.value, image)
	var all []candidate
	classes := n.Config.Classes
	for i, x := range logits {
		score := float32(math.Sqrt(sigmoid(float64(x)) * sigmoid(float64(center[i/classes]))))
		if score > d.Score {
			all = append(all, candidate{score, i})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	all = all[:min(len(all), d.PerLevel)]
	boxes := l.boxes.of(l.boxes.value, image)
	var found []Found
	for _, c := range all {
		i := c.at / classes
		box := n.points[l.first+i].within([4]float32(boxes[4*i:]), extent)
		found = append(found, Found{Class: c.at % classes, Score: c.score, Box: box})
	}
	return found
}

// within returns the part of a box that is in an image.
func (p point) within(distances [4]float32, extent [2]float32) (b Box) {
	for side, v := range p.box(distances) {
		b[side] = min(max(float32(v), 0), extent[side%2])
	}
	return b
}

// Suppress returns the objects, the surest first, without those that overlap a surer one of the same class by more than
// the given intersection over union (non-maximum suppression). Of equally sure ones, the first is kept.
func Suppress(found []Found, overlap float32) []Found {
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(b.Score, a.Score) })
	kept := found[:0]
	for _, f := range found {
		if !slices.ContainsFunc(kept, func(k Found) bool { return k.Class == f.Class && iou(k.Box, f.Box) > overlap }) {
			kept = append(kept, f)
		}
	}
	return kept
}

// iou returns the intersection over union of two boxes.
func iou(a, b Box) float32 {
	w, h := min(a[2], b[2])-max(a[0], b[0]), min(a[3], b[3])-max(a[1], b[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (a.Area() + b.Area() - w*h)
}
