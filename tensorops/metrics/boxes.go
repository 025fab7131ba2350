package metrics

import (
	"cmp"
	"math"
	"slices"
)

// Box is a rectangle in an image: left, top, width and height in pixels.
type Box [4]float64

// Area returns the box's area.
func (b Box) Area() float64 { return b[2] * b[3] }

// Object is an annotated object in an image.
type Object struct {
	// Image and Class are numbers from 0.
	Image, Class int
	// Box is where the object is.
	Box Box
	// Area decides whether the object is small, medium or large: that of its mask, or else of its box.
	Area float64
	// Crowd marks a box around many objects. It counts neither as found nor as missed, and nor do the detections in it.
	Crowd bool
	// Difficult marks an object that counts neither as found nor as missed, and nor does its detection.
	Difficult bool
}

// Detection is a detected object in an image.
type Detection struct {
	// Image and Class are numbers from 0.
	Image, Class int
	// Box is where the object is.
	Box Box
	// Score is how sure the detector is, in any unit.
	Score float64
}

// Sizes of objects, by area, as COCO divides them.
const (
	anySize = iota
	small   // less than 32² pixels
	medium
	large // more than 96²
	sizes
)

var areas = [sizes][2]float64{{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}

const (
	thresholds    = 10  // of the intersection over union
	points        = 101 // of recall
	maxDetections = 100 // per image and class
)

// threshold and recallAt are numpy.linspace(.5, .95, 10) and numpy.linspace(0, 1, 101), to the bit.
func threshold(t int) float64 { return linspace(.5, .95, thresholds, t) }
func recallAt(r int) float64  { return linspace(0, 1, points, r) }

func linspace(from, to float64, n, i int) float64 {
	if i == n-1 {
		return to
	}
	step := (to - from) / float64(n-1)
	return float64(float64(i)*step) + from // without fused multiply-add
}

// Matches says which detections of a detector are right: the evaluation of COCO's bounding boxes (Lin et al., arXiv
// 1405.0312), with the figures of pycocotools.
type Matches struct {
	images  int
	classes [][sizes]ranking
}

// ranking holds all detections of a class, the surest first, compared with the objects of a size.
type ranking struct {
	found   []match
	objects []int // per image
}

// match is a detection. Each threshold has a bit.
type match struct {
	image   int
	score   float64
	rank    int    // among those of its image and class
	right   uint16 // it has found an object, which may be one that does not count
	ignored uint16 // it counts neither as right nor as wrong
}

// NewMatches compares detections with objects, in so many images and of so many classes. For each threshold and image, the
// surest detections choose first, each the unclaimed object that it overlaps most; only the 100 surest of an image and
// class count. Detections with equal scores are taken in the order of the images, then as given.
func NewMatches(objects []Object, detections []Detection, images, classes int) *Matches {
	m := &Matches{images: images, classes: make([][sizes]ranking, classes)}
	type cell struct{ class, image int }
	byCell := map[cell]*scene{}
	at := func(class, image int) *scene {
		c := cell{class, image}
		if byCell[c] == nil {
			byCell[c] = &scene{}
		}
		return byCell[c]
	}
	for _, o := range objects {
		s := at(o.Class, o.Image)
		s.objects = append(s.objects, o)
	}
	for _, d := range detections {
		s := at(d.Class, d.Image)
		s.detections = append(s.detections, d)
	}
	for class := range m.classes {
		for size := range sizes {
			r := &m.classes[class][size]
			r.objects = make([]int, images)
			for image := range images {
				if s := byCell[cell{class, image}]; s != nil {
					s.prepare()
					r.found = append(r.found, s.match(areas[size])...)
					r.objects[image] = s.counted(areas[size])
				}
			}
			slices.SortStableFunc(r.found, func(a, b match) int { return cmp.Compare(b.score, a.score) })
		}
	}
	return m
}

// scene holds the objects and detections of a class in an image.
type scene struct {
	objects    []Object
	detections []Detection
	overlaps   [][]float64 // [detections][objects]
}

// prepare sorts the detections and computes the overlaps.
func (s *scene) prepare() {
	if s.overlaps != nil {
		return
	}
	slices.SortStableFunc(s.detections, func(a, b Detection) int { return cmp.Compare(b.Score, a.Score) })
	s.detections = s.detections[:min(len(s.detections), maxDetections)]
	s.overlaps = make([][]float64, len(s.detections))
	for d := range s.detections {
		for _, o := range s.objects {
			s.overlaps[d] = append(s.overlaps[d], overlap(s.detections[d].Box, o.Box, o.Crowd))
		}
	}
}

// overlap returns the intersection of a detection and an object over their union, over the detection for a crowd.
func overlap(d, o Box, crowd bool) float64 {
	w := min(d[0]+d[2], o[0]+o[2]) - max(d[0], o[0])
	h := min(d[1]+d[3], o[1]+o[3]) - max(d[1], o[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	i := float64(w * h)
	if crowd {
		return i / d.Area()
	}
	return i / (float64(d.Area()) + float64(o.Area()) - i)
}

// outside reports whether an area is not of a size.
func outside(area float64, size [2]float64) bool { return area < size[0] || area > size[1] }

// uncounted reports whether an object counts neither as found nor as missed.
func (o Object) uncounted(size [2]float64) bool {
	return o.Crowd || o.Difficult || outside(o.Area, size)
}

// counted returns the number of objects that count.
func (s *scene) counted(size [2]float64) (n int) {
	for _, o := range s.objects {
		if !o.uncounted(size) {
			n++
		}
	}
	return n
}

// match lets the detections choose among the objects.
func (s *scene) match(size [2]float64) []match {
	order := make([]int, len(s.objects)) // those that count first
	for i := range order {
		order[i] = i
	}
	rank := func(i int) int {
		if s.objects[i].uncounted(size) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	all := make([]match, len(s.detections))
	claimed := make([]uint16, len(s.objects))
	for d, found := range s.detections {
		all[d] = match{image: found.Image, score: found.Score, rank: d}
		for t := range thresholds {
			bit := uint16(1) << t
			best, least := -1, min(threshold(t), 1-1e-10)
			for _, o := range order {
				if claimed[o]&bit != 0 && !s.objects[o].Crowd {
					continue
				}
				if best >= 0 && rank(best) == 0 && rank(o) == 1 {
					break // an object that counts is preferred
				}
				if v := s.overlaps[d][o]; v >= least {
					best, least = o, v
				}
			}
			switch {
			case best >= 0:
				all[d].right |= bit
				claimed[best] |= bit
				if rank(best) == 1 {
					all[d].ignored |= bit
				}
			case outside(found.Box.Area(), size):
				all[d].ignored |= bit
			}
		}
	}
	return all
}

// curve is what a class reaches at one threshold: the precision at each recall, and the greatest recall.
type curve struct {
	precision [points]float64
	recall    float64
}

// curves computes the curves of a ranking for the surest limit detections per image, where each image counts so many
// times. It reports whether there is an object.
func (r *ranking) curves(limit int, times []uint8) (all [thresholds]curve, any bool) {
	objects := 0
	for image, n := range r.objects {
		objects += n * int(times[image])
	}
	if objects == 0 {
		return all, false
	}
	type point struct{ recall, precision float64 }
	path := make([]point, 0, len(r.found))
	for t := range thresholds {
		bit := uint16(1) << t
		var right, wrong int
		path = path[:0]
		for _, f := range r.found {
			n := int(times[f.image])
			if f.rank >= limit || n == 0 {
				continue
			}
			switch {
			case f.ignored&bit != 0:
			case f.right&bit != 0:
				right += n
			default:
				wrong += n
			}
			const epsilon = 0x1p-52 // numpy.spacing(1)
			path = append(path, point{float64(right) / float64(objects), float64(right) / (float64(wrong+right) + epsilon)})
		}
		for i := len(path) - 1; i > 0; i-- {
			path[i-1].precision = max(path[i-1].precision, path[i].precision)
		}
		c, i := &all[t], 0
		for at := range points {
			for i < len(path) && path[i].recall < recallAt(at) {
				i++
			}
			if i < len(path) {
				c.precision[at] = path[i].precision
			}
		}
		if len(path) > 0 {
			c.recall = path[len(path)-1].recall
		}
	}
	return all, true
}

// BoxSummary holds COCO's twelve figures, as fractions. A figure is NaN where there is no object that counts.
type BoxSummary struct {
	// AP is the average precision: the mean over 101 recalls, ten thresholds of the intersection over union (0.5 to 0.95)
	// and the classes. AP50 and AP75 are those of one threshold; the next three are of objects of one size.
	AP, AP50, AP75, APSmall, APMedium, APLarge float64
	// AR1, AR10 and AR are the average recall with 1, 10 and 100 detections per image and class.
	AR1, AR10, AR, ARSmall, ARMedium, ARLarge float64
}

// Summary returns the figures over all classes.
func (m *Matches) Summary() BoxSummary {
	all := make([]int, len(m.classes))
	for c := range all {
		all[c] = c
	}
	return m.summary(all)
}

// ClassSummary returns the figures of one class.
func (m *Matches) ClassSummary(class int) BoxSummary { return m.summary([]int{class}) }

func (m *Matches) summary(classes []int) BoxSummary {
	once := slices.Repeat([]uint8{1}, m.images)
	var s BoxSummary
	s.AP, s.AP50, s.AP75, s.AR = m.means(classes, anySize, maxDetections, once)
	s.APSmall, _, _, s.ARSmall = m.means(classes, small, maxDetections, once)
	s.APMedium, _, _, s.ARMedium = m.means(classes, medium, maxDetections, once)
	s.APLarge, _, _, s.ARLarge = m.means(classes, large, maxDetections, once)
	_, _, _, s.AR1 = m.means(classes, anySize, 1, once)
	_, _, _, s.AR10 = m.means(classes, anySize, 10, once)
	return s
}

// means returns the average precision, that of two thresholds, and the average recall, over those classes that have
// objects.
func (m *Matches) means(classes []int, size, limit int, times []uint8) (ap, ap50, ap75, ar float64) {
	n := 0.
	for _, c := range classes {
		all, any := m.classes[c][size].curves(limit, times)
		if !any {
			continue
		}
		n++
		for t, curve := range all {
			sum := 0.
			for _, p := range curve.precision {
				sum += p
			}
			sum /= points
			ap += sum / thresholds
			ar += curve.recall / thresholds
			switch t {
			case 0:
				ap50 += sum
			case 5:
				ap75 += sum
			}
		}
	}
	if n == 0 {
		nan := math.NaN()
		return nan, nan, nan, nan
	}
	return ap / n, ap50 / n, ap75 / n, ar / n
}
