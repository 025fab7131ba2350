package kmeans

import (
	"cmp"
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[drawFn]())
	beam.RegisterDoFn(reflect.TypeFor[extendFn]())
	beam.RegisterDoFn(reflect.TypeFor[reduceFn]())
}

// drawRounds is the number of times that k-means|| draws as many candidates as there are clusters, after the first one.
const drawRounds = 5

// drawing lists the passes of k-means||: each draws candidates far from the ones so far, the last counts the rows
// nearest to each of them, and k-means++ chooses among the candidates by these counts.
func (c Config) drawing(level int) (passes []pass) {
	k := c.Branching[level]
	for round := range drawRounds + 1 {
		count := k
		if round == 0 {
			count = 1
		}
		passes = append(passes, pass{&drawFn{c, round, count}, &extendFn{level, round, count}})
	}
	return append(passes, pass{&sumFn{Config: c, Last: true}, &reduceFn{c, level}})
}

// drawFn draws rows of each parent without replacement, with probability proportional to the weighted squared distance
// from the candidates so far; in the first round, when its model is that of the level above, to the weight alone. For
// that it ranks the rows by -log(u)/weight, where u is a hash of the row's content (Efraimidis and Spirakis, 2006), and
// reports the first ones of a batch. So equal rows are drawn once.
type drawFn struct {
	Config Config
	Round  int
	Count  int
}

func (fn *drawFn) ProcessElement(b *record.Batch, m *model) (*tally, error) {
	t := &tally{}
	if b.NumRows() == 0 {
		return t, nil
	}
	r, keys, err := readKeyed(b, fn.Config)
	if err != nil {
		return nil, err
	}
	var a assignment
	if fn.Round > 0 {
		if a, err = m.assign(r, true, nil); err != nil {
			return nil, err
		}
	}
	random := rng.NewGenerator()
	byParent := map[int][]point{}
	for i, key := range keys {
		weight := r.weight(i)
		if fn.Round > 0 {
			weight *= a.squares[i]
		}
		if weight > 0 {
			random.Seek(fn.Config.Seed, rng.Centroid, uint64(fn.Round), key.Row)
			p := r.parent(i)
			byParent[p] = append(byParent[p], point{Key: key, From: p, Out: -math.Log(1-random.Float64()) / weight, Vector: r.vector(i)})
		}
	}
	for _, points := range byParent {
		for _, p := range ranked(points, fn.Count) {
			p.Vector = slices.Clone(p.Vector)
			t.Points = append(t.Points, p)
		}
	}
	return t, nil
}

// ranked returns the first distinct points by rank.
func ranked(points []point, count int) []point {
	slices.SortFunc(points, func(a, b point) int { return cmp.Or(cmp.Compare(a.Out, b.Out), a.Key.compare(b.Key)) })
	points = slices.CompactFunc(points, func(a, b point) bool { return a.Key.Row == b.Key.Row })
	return points[:min(count, len(points))]
}

// extendFn adds the rows that were drawn to the candidates, which are the clusters of its models. Those of parents with
// too few rows are infinitely expensive.
type extendFn struct {
	Level, Round, Count int
}

func (fn *extendFn) ProcessElement(t *tally, m *model) (*model, error) {
	parents, before := m.Parents, m.K
	if fn.Round == 0 {
		parents, before = m.Sizes, 0
	}
	next := newModel(m, fn.Level, parents, before+fn.Count)
	drawn := make([][]point, len(parents))
	for _, p := range t.Points {
		drawn[p.From] = append(drawn[p.From], p)
	}
	for p := range parents {
		first := p * next.K
		for j := range before {
			next.setCentroid(first+j, m.centroid(p*m.K+j))
			next.Prices[first+j] = m.Prices[p*m.K+j]
		}
		points := ranked(drawn[p], fn.Count)
		for j := range fn.Count {
			g := first + before + j
			if j < len(points) {
				next.setCentroid(g, points[j].Vector)
			} else {
				next.Prices[g] = math.Inf(1)
			}
		}
	}
	return next, nil
}

// reduceFn makes the first model of a level from the candidates and the sums of their rows.
type reduceFn struct {
	Config Config
	Level  int
}

func (fn *reduceFn) ProcessElement(t *tally, m *model) (*model, error) {
	k := fn.Config.Branching[fn.Level]
	next := newModel(m, fn.Level, m.Parents, k)
	samples := make([]sample, len(m.Parents))
	stride := stride(m.Width, m.Weighted)
	for i, g := range t.Clusters {
		sums := t.Sums[i*stride:][:stride]
		weight := float64(sums[m.Width+1])
		if m.Weighted {
			weight = float(sums[m.Width+2], m.WeightUnit)
		}
		samples[int(g)/m.K].add(m.centroid(int(g)), weight)
	}
	for p := range samples {
		for j, x := range samples[p].plusPlus(k, fn.Config.Seed, uint64(fn.Level), uint64(p)) {
			next.setCentroid(p*k+j, x)
		}
	}
	return next, nil
}
