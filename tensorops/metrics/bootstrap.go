package metrics

import (
	"maps"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Outcome is what two classifiers, a and b, got right on the test images of one task, for each of several seeds that
// both were trained with.
type Outcome struct {
	// Labels are the classes of the test images.
	Labels []int64
	// A and B hold each classifier's predictions, [seeds][len(Labels)].
	A, B [][]int64
	// MeanPerClass weights every class alike; otherwise every image counts alike.
	MeanPerClass bool
}

// Interval is an estimate with its 95 % confidence interval.
type Interval struct{ Mean, Low, High float64 }

// Level reports whether the interval contains 0: the difference may be chance.
func (i Interval) Level() bool { return i.Low <= 0 && i.High >= 0 }

// resamples is the number of bootstrap samples.
const resamples = 2000

// Difference estimates how much better a is than b: the mean over tasks and seeds of the difference of their metrics, as
// a fraction. The interval is a paired percentile bootstrap (Efron and Tibshirani, 1993): it resamples the test images
// within each task (and class, for the mean per class), the same images under a and b and for all seeds, and the seeds.
// It errs on the wide side, since both contribute their variance.
// All outcomes have the same number of seeds. It returns the same numbers for the same outcomes.
func Difference(tasks []Outcome) Interval {
	seeds := len(tasks[0].A)
	strata := make([]stratum, 0, len(tasks))
	for _, t := range tasks {
		strata = append(strata, t.strata(1/float64(len(tasks)))...)
	}
	random := rng.New(0, rng.Sample, rng.Name("bootstrap"))
	all := make([]int, seeds)
	for i := range all {
		all[i] = i
	}
	found := Interval{}
	for _, s := range strata {
		for image := range s.images() {
			found.Mean += s.at(image, all)
		}
	}
	means, sample := make([]float64, resamples), make([]int, seeds)
	for r := range means {
		for i := range sample {
			sample[i] = random.IntN(seeds)
		}
		for _, s := range strata {
			for range s.images() {
				means[r] += s.at(random.IntN(s.images()), sample)
			}
		}
	}
	slices.Sort(means)
	tail := int(math.Round(.025 * resamples))
	found.Low, found.High = means[tail], means[resamples-1-tail]
	return found
}

// stratum holds images that are resampled among themselves.
type stratum struct {
	differences [][]int8 // [seeds][images]: 1 if only a is right, -1 if only b is
	weight      float64  // of one image in the mean over all tasks
}

func (s stratum) images() int { return len(s.differences[0]) }

// at returns an image's part in the mean difference over seeds.
func (s stratum) at(image int, seeds []int) float64 {
	sum := 0
	for _, seed := range seeds {
		sum += int(s.differences[seed][image])
	}
	return float64(sum) * s.weight / float64(len(seeds))
}

// strata divides a task's images into one stratum, or into one per class. weight is the task's.
func (o Outcome) strata(weight float64) []stratum {
	classes := map[int64][]int{}
	for i, l := range o.Labels {
		if !o.MeanPerClass {
			l = 0
		}
		classes[l] = append(classes[l], i)
	}
	var all []stratum
	for _, c := range slices.Sorted(maps.Keys(classes)) {
		s := stratum{weight: weight / float64(len(classes)) / float64(len(classes[c]))}
		for seed := range o.A {
			d := make([]int8, 0, len(classes[c]))
			for _, i := range classes[c] {
				d = append(d, right(o.A[seed][i] == o.Labels[i])-right(o.B[seed][i] == o.Labels[i]))
			}
			s.differences = append(s.differences, d)
		}
		all = append(all, s)
	}
	return all
}

func right(is bool) int8 {
	if is {
		return 1
	}
	return 0
}
