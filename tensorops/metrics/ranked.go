package metrics

import (
	"cmp"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Ranked are the scores that a classifier gives images for every class, where an image may have several classes.
type Ranked struct {
	// Classes is the number of classes.
	Classes int
	// Scores are [images, Classes]: the higher, the more likely the image has the class.
	Scores []float32
	// Has is [images, Classes]: 1 if the image has the class, else 0.
	Has []int64
}

// NewRanked returns the scores of images whose classes are in sets.
func NewRanked(scores []float32, sets [][]int64, classes int) Ranked {
	r := Ranked{classes, scores, make([]int64, len(sets)*classes)}
	for i, set := range sets {
		for _, c := range set {
			r.Has[i*classes+int(c)] = 1
		}
	}
	return r
}

// MeanAP returns the mean over the classes of the average precision with 11 points (Pascal VOC 2007): that of the highest
// precisions at a recall of at least 0, 0.1, ... and 1, when the images are ranked by their score for the class. Images with
// the same score are ranked together, so their order makes no difference. Classes that no image has do not count.
func (r Ranked) MeanAP() float64 { return r.mean(r.order(), nil) }

// Error returns the standard error of MeanAP as an estimate for other images.
func (r Ranked) Error() float64 {
	order := r.order()
	return r.spread(func(times []uint8) float64 { return r.mean(order, times) })
}

// ErrorFrom returns the standard error of the difference between the MeanAP of two classifiers on the same images.
func (r Ranked) ErrorFrom(other Ranked) float64 {
	a, b := r.order(), other.order()
	return r.spread(func(times []uint8) float64 { return r.mean(a, times) - other.mean(b, times) })
}

func (r Ranked) images() int { return len(r.Has) / max(1, r.Classes) }

// order returns the images of each class by descending score.
func (r Ranked) order() [][]int32 {
	order := make([][]int32, r.Classes)
	for c := range order {
		order[c] = make([]int32, r.images())
		for i := range order[c] {
			order[c][i] = int32(i)
		}
		slices.SortStableFunc(order[c], func(a, b int32) int { return -cmp.Compare(r.score(a, c), r.score(b, c)) })
	}
	return order
}

func (r Ranked) score(image int32, class int) float32 { return r.Scores[int(image)*r.Classes+class] }

// mean is MeanAP where each image counts so many times; nil for once.
func (r Ranked) mean(order [][]int32, times []uint8) float64 {
	sum, present := 0., 0.
	for c := range order {
		if ap, ok := r.precision(order[c], c, times); ok {
			sum, present = sum+ap, present+1
		}
	}
	return sum / max(1, present)
}

// recalls is the number of recalls at which the precision is taken.
const recalls = 11

// precision returns the average precision of a class, and whether any image has it.
func (r Ranked) precision(order []int32, class int, times []uint8) (ap float64, ok bool) {
	count := func(i int32) int64 {
		if times == nil {
			return 1
		}
		return int64(times[i])
	}
	total := int64(0)
	for _, i := range order {
		total += count(i) * r.Has[int(i)*r.Classes+class]
	}
	if total == 0 {
		return 0, false
	}
	var best [recalls]float64 // precision at a recall that reaches this point, but not the next
	found, seen := int64(0), int64(0)
	for at, i := range order {
		found += count(i) * r.Has[int(i)*r.Classes+class]
		seen += count(i)
		if at+1 < len(order) && r.score(order[at+1], class) == r.score(i, class) || seen == 0 {
			continue
		}
		reached := found * (recalls - 1) / total
		best[reached] = max(best[reached], float64(found)/float64(seen))
	}
	highest := 0.
	for p := recalls - 1; p >= 0; p-- {
		highest = max(highest, best[p])
		ap += highest / recalls
	}
	return ap, true
}

// errorSamples is the number of bootstrap samples for a standard error.
const errorSamples = 200

// spread returns the standard deviation of a figure over samples of the images.
func (r Ranked) spread(figure func(times []uint8) float64) float64 {
	random := rng.New(0, rng.Sample, rng.Name("ranked"))
	sum, squares := 0., 0.
	for range errorSamples {
		times := make([]uint8, r.images())
		for range times {
			times[random.IntN(len(times))]++
		}
		v := figure(times)
		sum, squares = sum+v, squares+v*v
	}
	mean := sum / errorSamples
	return math.Sqrt(max(0, squares/errorSamples-mean*mean))
}
