package kmeans

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[sumFn]())
	beam.RegisterDoFn(reflect.TypeFor[updateFn]())
}

// sumFn assigns the rows of a batch to clusters and sums per cluster. The last pass of a level leaves the sums of the
// vectors 0, and the others leave those of the squared distances 0 unless these decide something. If a parent has empty clusters, sumFn also reports as many of the farthest rows of its donor.
type sumFn struct {
	Config Config
	Last   bool
}

func (fn *sumFn) ProcessElement(b *record.Batch, m *model) (*tally, error) {
	t := &tally{}
	if fn.idle(m) {
		return t, nil
	}
	s := m.newSums(!fn.Last, b.NumRows())
	if err := fn.scan(b, m, t, s); err != nil {
		return nil, err
	}
	t.Clusters, t.Sums = s.total()
	return t, nil
}

// idle reports whether the model does not need the pass. The last one counts.
func (fn *sumFn) idle(m *model) bool { return m.Done && !fn.Last }

// scan adds a batch to the tally and the sums.
func (fn *sumFn) scan(b *record.Batch, m *model, t *tally, s *sums) error {
	if b.NumRows() == 0 {
		return nil
	}
	r, err := readRows(b, fn.Config)
	if err != nil {
		return err
	}
	far := m.donors()
	squares := fn.Last || len(far) > 0 || fn.Config.Balance > 0 || fn.Config.Tolerance > 0
	a, err := m.assign(r, squares, s)
	if err != nil {
		return err
	}
	if fn.Last || len(far) == 0 {
		return nil
	}
	for i, g := range a.clusters {
		if _, ok := far[int(g)]; ok && a.squares[i] > 0 {
			far[int(g)] = append(far[int(g)], point{Key: rowKey{Index: i}, From: int(g), Out: a.squares[i]})
		}
	}
	return fn.report(t, b, m, r, far)
}

// report adds the farthest of the donors' rows to the tally.
func (fn *sumFn) report(t *tally, b *record.Batch, m *model, r rows, far map[int][]point) error {
	keys, err := keys(b, fn.Config.Column, fn.Config.Seed)
	if err != nil {
		return err
	}
	for g, points := range far {
		for i := range points {
			points[i].Vector = r.vector(points[i].Key.Index)
			points[i].Key = keys[points[i].Key.Index]
		}
		slices.SortFunc(points, farthestFirst)
		points = points[:min(len(points), len(m.empty(g/m.K)))]
		for i := range points {
			points[i].Vector = slices.Clone(points[i].Vector)
		}
		t.Points = append(t.Points, points...)
	}
	return nil
}

func farthestFirst(a, b point) int {
	return cmp.Or(cmp.Compare(b.Out, a.Out), a.Key.compare(b.Key))
}

// empty lists the clusters of parent p that had no rows at the last count.
func (m *model) empty(p int) (empty []int) {
	for g := p * m.K; g < (p+1)*m.K; g++ {
		if m.Sizes[g] == 0 {
			empty = append(empty, g)
		}
	}
	return empty
}

// donors returns a map with one key per parent that has both rows and empty clusters: its largest cluster, which gives
// up rows to reseed the empty ones.
func (m *model) donors() map[int][]point {
	found := map[int][]point{}
	for p := range m.Parents {
		largest := p * m.K
		for g := largest; g < (p+1)*m.K; g++ {
			if m.Sizes[g] > m.Sizes[largest] {
				largest = g
			}
		}
		if m.Sizes[largest] > 0 && len(m.empty(p)) > 0 {
			found[largest] = nil
		}
	}
	return found
}

// updateFn makes the next model of a level from the sums of one pass. The last pass only records sizes and inertia.
type updateFn struct {
	Config Config
	Step   int
	Last   bool
}

func (fn *updateFn) ProcessElement(t *tally, m *model) (*model, error) { return fn.update(t, m), nil }

func (fn *updateFn) update(t *tally, m *model) *model {
	if m.Done && !fn.Last || len(t.Clusters) == 0 {
		return m
	}
	next := m.next()
	stride := stride(m.Width, m.Weighted)
	clear(next.Inertia)
	clear(next.Sizes)
	for i, g := range t.Clusters {
		next.Inertia[g] = float(t.Sums[i*stride+m.Width], m.Square)
		next.Sizes[g] = t.Sums[i*stride+m.Width+1]
	}
	if fn.Last {
		return next
	}
	changed := false
	balanced := fn.Config.Balance > 0
	moving := fn.Step < fn.Config.Iterations || balanced && fn.Step < fn.Config.Iterations+movingRounds
	if moving && (m.Priced || !fn.settled(m, next)) {
		for i, g := range t.Clusters {
			if v := m.mean(t.Sums[i*stride:][:stride], fn.Config.Spherical); v != nil {
				changed = next.setCentroid(int(g), v) || changed
			}
		}
		changed = next.reseed(t.Points) || changed
		for g, n := range next.Sizes {
			// A cluster that just became empty is reseeded after the next pass.
			changed = changed || n == 0 && m.Parents[g/m.K] > 0 && (fn.Step == 0 || m.Sizes[g] > 0)
		}
	}
	next.Priced = balanced && (m.Priced || !changed || fn.Step >= fn.Config.Iterations)
	if next.Priced {
		changed = next.reprice(fn.Config.Balance, moving) || changed
	}
	next.Done = !changed
	return next
}

// settled reports whether the inertia fell by less than Tolerance in the last iteration.
func (fn *updateFn) settled(m, next *model) bool {
	if fn.Config.Tolerance == 0 || fn.Step == 0 {
		return false
	}
	var before, now float64
	for g := range m.Inertia {
		before += m.Inertia[g]
		now += next.Inertia[g]
	}
	return before-now <= fn.Config.Tolerance*before
}

// mean returns the mean of the rows of a cluster, from their sums; nil if they have no weight. A spherical mean has
// length 1, or 0 if there is no direction.
func (m *model) mean(sums []int64, spherical bool) []float32 {
	n := float64(sums[m.Width+1])
	if m.Weighted {
		n = float(sums[m.Width+2], m.WeightUnit)
	}
	if n == 0 {
		return nil
	}
	v, unit := make([]float32, m.Width), scale(-m.Unit)
	for i, sum := range sums[:m.Width] {
		v[i] = float32(float64(sum) * unit / n)
	}
	if spherical {
		normalize(v, v)
	}
	return v
}

// reseed sets the centroids of empty clusters to the farthest rows in points and reports whether any changed.
func (m *model) reseed(points []point) (changed bool) {
	points = slices.Clone(points)
	slices.SortFunc(points, farthestFirst)
	for p := range m.Parents {
		empty := m.empty(p)
		for _, x := range points {
			if len(empty) > 0 && x.From/m.K == p {
				g := empty[0]
				empty = empty[1:]
				changed = m.setCentroid(g, x.Vector) || changed
				m.Prices[g], m.Steps[g], m.Signs[g] = 0, 0, 0
			}
		}
	}
	return changed
}
