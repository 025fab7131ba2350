package metrics

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Task says how a task measures classifiers.
type Task struct {
	// Labels are the classes of the test images.
	Labels []int64
	// MeanPerClass weights every class alike; otherwise every image counts alike.
	MeanPerClass bool
	// Classes, if it is not 0, says that an image may have several of so many classes: Labels are [Ranked].Has, and the
	// metric is Ranked.MeanAP.
	Classes int
}

// Bootstrap estimates confidence intervals of classifiers' metrics and of their differences by the paired percentile
// bootstrap (Efron and Tibshirani, 1993). It resamples the test images within each task (and class, for the mean per
// class), the same images for all classifiers and seeds, and the seeds, the same for all classifiers and tasks. It errs
// on the wide side, since both contribute their variance. The same tasks and number of seeds give the same samples.
type Bootstrap struct {
	seeds  [][]int // [resamples][seeds]
	images []resampled
}

// resampled holds the resampled images of one task.
type resampled struct {
	task    Task
	weights []float64 // of each image in the task's metric
	counts  [][]uint8 // [resamples][images]: how often each image was drawn
}

// resamples is the number of bootstrap samples.
const resamples = 2000

// NewBootstrap returns a bootstrap for classifiers that are each trained with so many seeds and measured on the tasks.
func NewBootstrap(tasks []Task, seeds int) *Bootstrap {
	random := rng.New(0, rng.Sample, rng.Name("bootstrap"))
	b := &Bootstrap{seeds: make([][]int, resamples), images: make([]resampled, len(tasks))}
	for r := range b.seeds {
		b.seeds[r] = make([]int, seeds)
		for i := range b.seeds[r] {
			b.seeds[r][i] = random.IntN(seeds)
		}
	}
	for t := range tasks {
		b.images[t] = tasks[t].resample(random)
	}
	return b
}

// resample draws as many images as there are, from each stratum: all images, or those of one class.
func (t Task) resample(random *rand.Rand) resampled {
	strata := [][]int{}
	at := map[int64]int{}
	images := len(t.Labels) / max(1, t.Classes)
	for i := range images {
		class := int64(0)
		if t.MeanPerClass {
			class = t.Labels[i]
		}
		if _, ok := at[class]; !ok {
			at[class] = len(strata)
			strata = append(strata, nil)
		}
		strata[at[class]] = append(strata[at[class]], i)
	}
	d := resampled{t, make([]float64, images), make([][]uint8, resamples)}
	for _, images := range strata {
		for _, i := range images {
			d.weights[i] = 1 / float64(len(strata)) / float64(len(images))
		}
	}
	for r := range d.counts {
		d.counts[r] = make([]uint8, len(d.weights))
		for _, images := range strata {
			for range images {
				d.counts[r][images[random.IntN(len(images))]]++
			}
		}
	}
	return d
}

// Right returns 1 for every correct prediction and 0 for every other.
func Right(pred, labels []int64) []float32 {
	right := make([]float32, len(labels))
	for i, p := range pred {
		if p == labels[i] {
			right[i] = 1
		}
	}
	return right
}

// Sample is the mean over seeds of a classifier's metric, as a fraction, or of the difference between two, on each task:
// the measured value, and its bootstrap samples.
type Sample struct {
	values    []float64   // [tasks]
	resampled [][]float64 // [tasks][resamples]
}

// Measure returns a classifier's metric on each task. right[task][seed] says how right it is about each image: [Right]
// of its predictions, or the mean of several classifiers' Right. On a task with Classes, it is Ranked.Scores.
func (b *Bootstrap) Measure(right [][][]float32) Sample {
	s := Sample{make([]float64, len(right)), make([][]float64, len(right))}
	for t, seeds := range right {
		s.resampled[t] = make([]float64, resamples)
		values := make([][]float64, len(seeds))
		for seed := range seeds {
			found, resampled := b.images[t].measure(seeds[seed])
			s.values[t] += found / float64(len(seeds))
			values[seed] = resampled
		}
		for r := range s.resampled[t] {
			for _, seed := range b.seeds[r] {
				s.resampled[t][r] += values[seed][r] / float64(len(seeds))
			}
		}
	}
	return s
}

// measure returns the metric on all images and on each of their resamples.
func (d resampled) measure(right []float32) (found float64, resampled []float64) {
	if d.task.Classes > 0 {
		ranked := Ranked{d.task.Classes, right, d.task.Labels}
		order := ranked.order()
		for _, counts := range d.counts {
			resampled = append(resampled, ranked.mean(order, counts))
		}
		return ranked.mean(order, nil), resampled
	}
	parts := make([]float64, len(right)) // of the metric
	for i, x := range right {
		parts[i] = float64(x) * d.weights[i]
		found += parts[i]
	}
	resampled = make([]float64, resamples)
	for r, counts := range d.counts {
		sum := 0.
		for i, p := range parts {
			sum += float64(counts[i]) * p
		}
		resampled[r] = sum
	}
	return found, resampled
}

// Minus returns the difference to another classifier on the same tasks.
func (s Sample) Minus(o Sample) Sample {
	d := Sample{slices.Clone(s.values), make([][]float64, len(s.resampled))}
	for t := range d.values {
		d.values[t] -= o.values[t]
		d.resampled[t] = slices.Clone(s.resampled[t])
		for r := range d.resampled[t] {
			d.resampled[t][r] -= o.resampled[t][r]
		}
	}
	return d
}

// Interval is an estimate with its 95 % confidence interval.
type Interval struct{ Mean, Low, High float64 }

// Level reports whether the interval contains 0: the difference may be chance.
func (i Interval) Level() bool {
	const rounding = 1e-9
	return i.Low <= rounding && i.High >= -rounding
}

// Intervals returns the estimates of the mean over the tasks, and of each task.
func (s Sample) Intervals() (mean Interval, each []Interval) {
	value, means := 0., make([]float64, resamples)
	for t := range s.values {
		value += s.values[t] / float64(len(s.values))
		for r, v := range s.resampled[t] {
			means[r] += v / float64(len(s.values))
		}
		each = append(each, around(s.values[t], s.resampled[t]))
	}
	return around(value, means), each
}

// around returns a value with the interval that holds 95 % of its bootstrap samples.
func around(value float64, samples []float64) Interval {
	sorted := slices.Sorted(slices.Values(samples))
	tail := int(math.Round(.025 * resamples))
	return Interval{value, sorted[tail], sorted[resamples-1-tail]}
}
