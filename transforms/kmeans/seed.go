package kmeans

import (
	"math"
	"reflect"
	"slices"
	"sort"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[sampleFn]())
	beam.RegisterDoFn(reflect.TypeFor[seedFn]())
}

// seeding lists the passes that choose the initial centroids of a level.
func (c Config) seeding(level int) []pass {
	if c.Init == Parallel && (level > 0 || c.Start == nil) {
		return c.drawing(level)
	}
	return []pass{{&sampleFn{Config: c, Level: level}, &seedFn{Config: c, Level: level}}}
}

// The expected number of sampled rows that initial centroids are drawn from, per parent: so many per cluster, but no
// more than the limit unless that is too few.
const (
	sampleRows  = 128
	sampleLimit = 1 << 15
	sampleLeast = 2
)

// sampleFn reports the rows with the lowest hashes per parent. Its model is that of the level above.
type sampleFn struct {
	Config Config
	Level  int
}

func (fn *sampleFn) ProcessElement(b *record.Batch, above *model) (*tally, error) {
	t := &tally{}
	if b.NumRows() == 0 || fn.Level == 0 && fn.Config.Start != nil {
		return t, nil
	}
	r, keys, err := readKeyed(b, fn.Config)
	if err != nil {
		return nil, err
	}
	k := fn.Config.Branching[fn.Level]
	rows := float64(k * max(sampleLeast, min(sampleRows, sampleLimit/k)))
	for i, key := range keys {
		p := r.parent(i)
		share := rows / float64(above.Sizes[p])
		if share >= 1 || float64(key.Row) < share*(1<<64) {
			t.Points = append(t.Points, point{Key: key, From: p, Weight: r.weight(i), Vector: slices.Clone(r.vector(i))})
		}
	}
	return t, nil
}

// seedFn makes the first model of a level from the model of the level above and a sample of rows.
type seedFn struct {
	Config Config
	Level  int
}

func (fn *seedFn) ProcessElement(t *tally, above *model) (*model, error) {
	k := fn.Config.Branching[fn.Level]
	m := newModel(above, fn.Level, above.Sizes, k)
	slices.SortFunc(t.Points, func(a, b point) int { return a.Key.compare(b.Key) })
	samples := make([]sample, len(m.Parents))
	for _, p := range t.Points {
		samples[p.From].add(p.Vector, p.Weight)
	}
	for p, sample := range samples {
		if m.Parents[p] == 0 {
			continue
		}
		start := fn.Config.Start
		if fn.Level > 0 || start == nil {
			start = sample.plusPlus(k, fn.Config.Seed, uint64(fn.Level), uint64(p))
		}
		for j, x := range start {
			if fn.Config.Spherical {
				x = slices.Clone(x)
				normalize(x, x)
			}
			m.setCentroid(p*k+j, x)
		}
	}
	return m, nil
}

// newModel returns a model of a level with k clusters per parent, all in the origin.
func newModel(like *model, level int, parents []int64, k int) *model {
	n := len(parents) * k
	return &model{
		Level: level, K: k, Width: like.Width, Unit: like.Unit, Square: like.Square, WeightUnit: like.WeightUnit,
		Weighted: like.Weighted, Longest: like.Longest, Parents: parents, held: like.held,
		Centroids: make([]float32, n*like.Width),
		Norms:     make([]float64, n),
		Prices:    make([]float64, n),
		Steps:     make([]float64, n),
		Signs:     make([]int, n),
		Sizes:     make([]int64, n),
		Inertia:   make([]float64, n),
	}
}

// sample is a list of rows that initial centroids are drawn from.
type sample struct {
	vectors [][]float32
	weights []float64
}

func (s *sample) add(vector []float32, weight float64) {
	s.vectors, s.weights = append(s.vectors, vector), append(s.weights, weight)
}

// plusPlus draws k initial centroids by greedy k-means++: each is the best of a few candidates, drawn with probability
// proportional to the weighted squared distance from the nearest earlier one. When no distinct rows are left, the first
// is repeated.
func (s *sample) plusPlus(k int, seed uint64, key ...uint64) (chosen [][]float32) {
	if len(s.vectors) == 0 {
		return nil
	}
	random := rng.New(seed, append([]uint64{rng.Centroid}, key...)...)
	first := draw(cumulate(s.weights), random.Float64())
	chosen = [][]float32{s.vectors[max(0, first)]}
	nearest := make([]float64, len(s.vectors)) // squared distance from the chosen points
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	_ = compute.Run(func(pool *kernels.Pool) error {
		tried := make([][]float64, 2+int(math.Log(float64(k))))
		for t := range tried {
			tried[t] = make([]float64, len(nearest))
		}
		s.lower(pool, nearest, chosen, tried[:1])
		nearest, tried[0] = tried[0], nearest
		for len(chosen) < k {
			weights := make([]float64, len(nearest))
			for i, d := range nearest {
				weights[i] = s.weights[i] * d
			}
			sums := cumulate(weights)
			var candidates [][]float32
			for range tried {
				if i := draw(sums, random.Float64()); i >= 0 {
					candidates = append(candidates, s.vectors[i])
				}
			}
			if len(candidates) == 0 {
				chosen = append(chosen, chosen[0])
				continue
			}
			best, least := 0, math.Inf(1)
			for t, sum := range s.lower(pool, nearest, candidates, tried) {
				if sum < least {
					best, least = t, sum
				}
			}
			chosen = append(chosen, candidates[best])
			nearest, tried[best] = tried[best], nearest
		}
		return nil
	})
	return chosen
}

// lowerRows is the number of rows that one worker compares at a time.
const lowerRows = 256

// lower sets lowered[t] to the squared distances from candidates[t] where those are smaller than nearest, which is kept
// elsewhere, and returns the weighted sum of each.
func (s *sample) lower(pool *kernels.Pool, nearest []float64, candidates [][]float32, lowered [][]float64) []float64 {
	parts := (len(s.vectors) + lowerRows - 1) / lowerRows
	sums := make([][]float64, parts)
	pool.For(parts, func(_, part int) {
		sums[part] = make([]float64, len(candidates))
		for i := part * lowerRows; i < min((part+1)*lowerRows, len(s.vectors)); i++ {
			for t, c := range candidates {
				d := min(nearest[i], vecs.SquareDistance(s.vectors[i], c))
				lowered[t][i] = d
				sums[part][t] += s.weights[i] * d
			}
		}
	})
	total := make([]float64, len(candidates))
	for _, part := range sums {
		for t, sum := range part {
			total[t] += sum
		}
	}
	return total
}

// cumulate returns the sums of the weights up to each.
func cumulate(weights []float64) []float64 {
	sums, sum := make([]float64, len(weights)), 0.0
	for i, w := range weights {
		sum += w
		sums[i] = sum
	}
	return sums
}

// draw picks an index with probability proportional to its weight, given the cumulated weights and a uniform u in
// [0, 1); -1 if all weights are 0.
func draw(sums []float64, u float64) int {
	total := sums[len(sums)-1]
	if total == 0 {
		return -1
	}
	i := sort.Search(len(sums), func(i int) bool { return sums[i] > u*total })
	if i == len(sums) { // u*total was rounded to total
		return sort.Search(len(sums), func(i int) bool { return sums[i] == total })
	}
	return i
}
