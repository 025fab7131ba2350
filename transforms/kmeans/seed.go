package kmeans

import (
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[sampleFn]())
	beam.RegisterDoFn(reflect.TypeFor[seedFn]())
}

// sampleRows is the expected number of sampled rows per cluster that initial centroids are drawn from.
const sampleRows = 128

// sampleFn reports the rows with the lowest hashes per parent. Its model is that of the level above.
type sampleFn struct {
	Config Config
	Level  int
}

func (fn *sampleFn) ProcessElement(b *record.Batch, above *model, emit func(*tally)) error {
	t := &tally{}
	defer func() { emit(t) }()
	if b.NumRows() == 0 || fn.Level == 0 && fn.Config.Start != nil {
		return nil
	}
	r, err := readRows(b, fn.Config.Column)
	if err != nil {
		return err
	}
	keys, err := keys(b, fn.Config.Column, fn.Config.Seed)
	if err != nil {
		return err
	}
	for i, key := range keys {
		p := r.parent(i)
		share := sampleRows * float64(fn.Config.Branching[fn.Level]) / float64(above.Sizes[p])
		if share >= 1 || float64(key.Row) < share*(1<<64) {
			t.Points = append(t.Points, point{Key: key, From: p, Vector: slices.Clone(r.vector(i))})
		}
	}
	return nil
}

// seedFn makes the first model of a level from the model of the level above
// and a sample of rows.
type seedFn struct {
	Config Config
	Level  int
}

func (fn *seedFn) ProcessElement(t *tally, above *model) *model {
	k := fn.Config.Branching[fn.Level]
	parents := len(above.Sizes)
	m := &model{
		Level: fn.Level, K: k, Width: above.Width, Unit: above.Unit, Square: above.Square, Parents: above.Sizes,
		Centroids: make([]float32, parents*k*above.Width),
		Norms:     make([]float64, parents*k),
		Prices:    make([]float64, parents*k),
		Steps:     make([]float64, parents*k),
		Signs:     make([]int, parents*k),
		Sizes:     make([]int64, parents*k),
		Inertia:   make([]float64, parents*k),
	}
	points := slices.Clone(t.Points)
	slices.SortFunc(points, func(a, b point) int { return a.Key.compare(b.Key) })
	samples := make([][][]float32, parents)
	for _, p := range points {
		samples[p.From] = append(samples[p.From], p.Vector)
	}
	for p, sample := range samples {
		start := fn.Config.Start
		if fn.Level > 0 || start == nil {
			start = plusPlus(sample, k, fn.Config.Seed, uint64(fn.Level), uint64(p))
		}
		if m.Parents[p] == 0 {
			continue
		}
		for j, x := range start {
			m.setCentroid(p*k+j, x)
		}
	}
	return m
}

// plusPlus draws k initial centroids by greedy k-means++: each is the best of a few candidates, drawn with probability
// proportional to the squared distance from the nearest earlier one. When no distinct rows are left, the first is
// repeated.
func plusPlus(sample [][]float32, k int, seed uint64, key ...uint64) [][]float32 {
	if len(sample) == 0 {
		return nil
	}
	random := rng.New(seed, append([]uint64{rng.Centroid}, key...)...)
	trials := 2 + int(math.Log(float64(k)))
	chosen := [][]float32{sample[random.IntN(len(sample))]}
	nearest := make([]float64, len(sample)) // squared distance from the chosen points
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	lower(nearest, sample, chosen[0])
	for len(chosen) < k {
		best, bestSum := -1, math.Inf(1)
		var bestNearest []float64
		for range trials {
			i := draw(nearest, random.Float64())
			if i < 0 {
				break
			}
			tried := slices.Clone(nearest)
			if sum := lower(tried, sample, sample[i]); sum < bestSum {
				best, bestSum, bestNearest = i, sum, tried
			}
		}
		if best < 0 {
			chosen = append(chosen, chosen[0])
			continue
		}
		chosen, nearest = append(chosen, sample[best]), bestNearest
	}
	return chosen
}

// lower lowers nearest to the squared distances from c where those are smaller, and returns the sum.
func lower(nearest []float64, sample [][]float32, c []float32) (sum float64) {
	for i, x := range sample {
		nearest[i] = min(nearest[i], squareDistance(x, c))
		sum += nearest[i]
	}
	return sum
}

// draw picks an index with probability proportional to its weight, given a uniform u in [0, 1); -1 if all weights are
// 0.
func draw(weights []float64, u float64) int {
	var total float64
	for _, w := range weights {
		total += w
	}
	last := -1
	for i, w := range weights {
		if w == 0 {
			continue
		}
		last = i
		if u -= w / total; u < 0 {
			break
		}
	}
	return last
}
