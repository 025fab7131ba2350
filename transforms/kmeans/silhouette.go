package kmeans

import (
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[witnessFn]())
	beam.RegisterDoFn(reflect.TypeFor[silhouetteFn]())
}

// witnesses is the expected number of rows that silhouettes are computed from; with fewer rows it is all of them.
const witnesses = 1000

// witnessFn reports the rows with the lowest hashes, with their clusters of a finished level.
type witnessFn struct{ Config Config }

func (fn *witnessFn) ProcessElement(b *record.Batch, m *model) (*tally, error) {
	t := &tally{}
	if b.NumRows() == 0 {
		return t, nil
	}
	r, keys, err := readKeyed(b, fn.Config)
	if err != nil {
		return nil, err
	}
	var rows int64
	for _, n := range m.Parents {
		rows += n
	}
	share := float64(witnesses) / float64(rows)
	var chosen []int32
	for i, key := range keys {
		if share >= 1 || float64(key.Row) < share*(1<<64) {
			chosen = append(chosen, int32(i))
			t.Points = append(t.Points, point{Key: key, Vector: slices.Clone(r.vector(i))})
		}
	}
	a, err := m.assign(r.take(chosen), true, nil)
	if err != nil {
		return nil, err
	}
	for i := range t.Points {
		p := &t.Points[i]
		p.From = int(a.clusters[i])
		if to, ok := m.moved(p.Key); ok {
			p.From = to
		}
	}
	return t, nil
}

// silhouetteFn computes the silhouettes of the clusters from the witnesses (Rousseeuw, 1987): of each the mean of
// (b-a)/max(a, b), where a is a witness's mean distance from the others of its cluster, and b that from those of the
// nearest other cluster. A cluster's only witness has the silhouette 0.
type silhouetteFn struct{}

func (fn *silhouetteFn) ProcessElement(t *tally, m *model) (*model, error) {
	slices.SortFunc(t.Points, func(a, b point) int { return a.Key.compare(b.Key) })
	counts := map[int]float64{} // witnesses by cluster
	for _, p := range t.Points {
		counts[p.From]++
	}
	each := make([]float64, len(t.Points))
	_ = compute.Run(func(pool *kernels.Pool) error {
		pool.For(len(each), func(_, i int) { each[i] = silhouette(t.Points, i, counts) })
		return nil
	})
	next := m.next()
	next.Silhouettes = make([]float64, len(m.Sizes))
	for i, p := range t.Points {
		next.Silhouettes[p.From] += each[i] / counts[p.From]
	}
	return next, nil
}

// silhouette returns the silhouette of point i.
func silhouette(points []point, i int, counts map[int]float64) float64 {
	own := points[i].From
	if counts[own] == 1 {
		return 0
	}
	sums := map[int]float64{}
	for _, p := range points {
		sums[p.From] += math.Sqrt(vecs.SquareDistance(points[i].Vector, p.Vector))
	}
	inside, outside := sums[own]/(counts[own]-1), math.Inf(1)
	for g, sum := range sums {
		if g != own {
			outside = min(outside, sum/counts[g])
		}
	}
	if most := max(inside, outside); most > 0 && !math.IsInf(most, 1) {
		return (outside - inside) / most
	}
	return 0
}
