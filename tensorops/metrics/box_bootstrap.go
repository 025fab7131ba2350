package metrics

import (
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// BoxSample is the mean over seeds of a detector's average precision, or of the difference between two: the measured
// value, and its bootstrap samples.
type BoxSample struct {
	value     float64
	resampled []float64
}

// ResampleBoxes measures the average precision of a detector that was trained with several seeds, all of them on the same
// test images. It resamples the images and the seeds, for all detectors on the same images in the same way, so that
// differences are paired. Each class keeps its weight: those without an object in a sample are left out of it.
func ResampleBoxes(seeds []*Matches) BoxSample {
	images, classes := seeds[0].images, make([]int, len(seeds[0].classes))
	for c := range classes {
		classes[c] = c
	}
	random := rng.New(0, rng.Sample, rng.Name("boxes"))
	var s BoxSample
	for _, m := range seeds {
		s.value += m.Summary().AP / float64(len(seeds))
	}
	for range resamples {
		times := make([]uint8, images)
		for range images {
			times[random.IntN(images)]++
		}
		drawn := make([]int, len(seeds))
		for range seeds {
			drawn[random.IntN(len(seeds))]++
		}
		mean := 0.
		for i, n := range drawn {
			if n > 0 {
				ap, _, _, _ := seeds[i].means(classes, anySize, maxDetections, times)
				mean += ap * float64(n) / float64(len(seeds))
			}
		}
		s.resampled = append(s.resampled, mean)
	}
	return s
}

// Minus returns the difference to another detector with as many seeds on the same images.
func (s BoxSample) Minus(o BoxSample) BoxSample {
	d := BoxSample{s.value - o.value, slices.Clone(s.resampled)}
	for i := range d.resampled {
		d.resampled[i] -= o.resampled[i]
	}
	return d
}

// Interval returns the estimate with its 95 % confidence interval.
func (s BoxSample) Interval() Interval {
	if slices.ContainsFunc(s.resampled, math.IsNaN) { // a sample has no object at all
		return Interval{s.value, math.NaN(), math.NaN()}
	}
	return around(s.value, s.resampled)
}
