package kmeans

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[offerFn]())
	beam.RegisterDoFn(reflect.TypeFor[repairFn]())
}

// After the Lloyd iterations come rounds that move prices: together with the
// centroids first, then with the centroids at rest.
const (
	movingRounds  = 12
	restingRounds = 12
)

// limits are the least and the greatest size of a cluster of parent p.
func (m *model) limits(p int, balance float64) (low, high int64) {
	n, k := m.Parents[p], int64(m.K)
	share := float64(n) / float64(k)
	low = min(int64(math.Ceil(share/balance)), n/k)
	high = max(int64(min(share*balance, float64(n))), (n+k-1)/k)
	return low, high
}

// reprice moves prices against the violation of the size limits, each cluster
// with a step of its own that grows while the direction stays and halves when
// it turns (Rprop; Riedmiller and Braun, 1993), less of it when the violation
// is below a quarter of the mean size. With relax, prices of clusters inside
// the limits move back towards 0, since only a tight limit may cost. It reports
// whether a price changed.
func (m *model) reprice(balance float64, relax bool) (changed bool) {
	for p, n := range m.Parents {
		low, high := m.limits(p, balance)
		var inertia float64
		for g := p * m.K; g < (p+1)*m.K; g++ {
			inertia += m.Inertia[g]
		}
		if inertia == 0 {
			continue // all rows sit on centroids: prices cannot tell them apart
		}
		quarter := float64(n) / float64(4*m.K)
		for g := p * m.K; g < (p+1)*m.K; g++ {
			before := m.Prices[g]
			change := float64(max(m.Sizes[g]-high, 0)-max(low-m.Sizes[g], 0)) / quarter
			inside := change == 0
			if inside && relax {
				change = -before
			}
			sign := cmp.Compare(change, 0)
			if sign == 0 {
				continue
			}
			switch m.Signs[g] {
			case sign:
				m.Steps[g] *= 1.2
			case -sign:
				m.Steps[g] /= 2
			default:
				m.Steps[g] = inertia / float64(16*n)
			}
			m.Signs[g] = sign
			if inside { // never past 0
				m.Prices[g] += float64(sign) * min(m.Steps[g], math.Abs(before))
			} else {
				m.Prices[g] += m.Steps[g] * max(-1, min(change, 1))
			}
			changed = changed || m.Prices[g] != before
		}
	}
	return changed
}

// missing is the number of rows of parent p above and below the limits, at
// least as many as have to move.
func (m *model) missing(p int, balance float64) (rows int64) {
	low, high := m.limits(p, balance)
	for _, n := range m.Sizes[p*m.K : (p+1)*m.K] {
		rows += max(n-high, 0) + max(low-n, 0)
	}
	return rows
}

// offerFn reports, for every pair of clusters of a parent whose sizes are
// outside the limits, the rows of a batch that would move at the least cost,
// as many as may be needed.
type offerFn struct{ Config Config }

func (fn *offerFn) ProcessElement(b *record.Batch, m *model, emit func(*tally)) error {
	t := &tally{}
	defer func() { emit(t) }()
	need := make([]int64, len(m.Parents))
	for p := range need {
		need[p] = m.missing(p, fn.Config.Balance)
	}
	if b.NumRows() == 0 || slices.Max(need) == 0 {
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
	offers := make([][]point, len(m.Sizes)*m.K) // by cluster, then the sibling to go to
	for i, key := range keys {
		p := r.parent(i)
		if need[p] == 0 {
			continue
		}
		low, high := m.limits(p, fn.Config.Balance)
		x := r.vector(i)
		from, out := m.nearest(x, p)
		if m.Sizes[from] <= low {
			continue
		}
		for j := range m.K {
			if to := p*m.K + j; to != from && m.Sizes[to] < high {
				offers[from*m.K+j] = append(offers[from*m.K+j], point{Key: key, From: from, To: to, Out: out, In: m.square(x, to)})
			}
		}
	}
	for i, pair := range offers {
		slices.SortFunc(pair, cheapestFirst)
		t.Points = append(t.Points, pair[:min(len(pair), int(need[i/m.K/m.K]))]...)
	}
	return nil
}

func cheapestFirst(a, b point) int {
	return cmp.Or(cmp.Compare(a.In-a.Out, b.In-b.Out), a.Key.compare(b.Key))
}

// repairFn chooses the rows that move until all sizes are inside the limits:
// again and again the cheapest, out of clusters above their limit as long as
// there are any, into clusters below theirs as long as there are any.
type repairFn struct{ Config Config }

func (fn *repairFn) ProcessElement(t *tally, m *model) (*model, error) {
	if len(t.Points) == 0 {
		return m, nil
	}
	next := m.clone()
	offers := make([][]point, len(m.Sizes)*m.K)
	for _, o := range t.Points {
		i := o.From*m.K + o.To%m.K
		offers[i] = append(offers[i], o)
	}
	for _, pair := range offers {
		slices.SortFunc(pair, cheapestFirst)
		for i := 1; i < len(pair); i++ {
			if pair[i].Key == pair[i-1].Key {
				return nil, fmt.Errorf("kmeans: two batches hold the same rows, so that Balance cannot choose between them; give column %q's rows an identifying column", fn.Config.Column)
			}
		}
	}
	moved := map[rowKey]bool{}
	for p := range m.Parents {
		low, high := m.limits(p, fn.Config.Balance)
		siblings := offers[p*m.K*m.K : (p+1)*m.K*m.K]
		for next.missing(p, fn.Config.Balance) > 0 {
			best := next.cheapest(siblings, moved, low, high)
			if best == nil {
				return nil, fmt.Errorf("kmeans: no row is left to move into the size limits %d to %d; this is a defect", low, high)
			}
			moved[best.Key] = true
			next.Sizes[best.From]--
			next.Sizes[best.To]++
			next.Inertia[best.From] -= best.Out
			next.Inertia[best.To] += best.In
			next.Moves = append(next.Moves, move{Key: best.Key, To: best.To})
		}
	}
	slices.SortFunc(next.Moves, func(a, b move) int { return a.Key.compare(b.Key) })
	return next, nil
}

// cheapest is the best allowed offer among the clusters of one parent. It
// drops offers of rows that have moved.
func (m *model) cheapest(offers [][]point, moved map[rowKey]bool, low, high int64) *point {
	above, below := false, false
	for i := range offers {
		for len(offers[i]) > 0 && moved[offers[i][0].Key] {
			offers[i] = offers[i][1:]
		}
		if len(offers[i]) > 0 {
			above = above || m.Sizes[offers[i][0].From] > high
			below = below || m.Sizes[offers[i][0].To] < low
		}
	}
	var best *point
	for _, pair := range offers {
		if len(pair) == 0 {
			continue
		}
		o := &pair[0]
		from, to := m.Sizes[o.From], m.Sizes[o.To]
		if above && from <= high || !above && from <= low || below && to >= low || !below && to >= high {
			continue
		}
		if best == nil || cheapestFirst(*o, *best) < 0 {
			best = o
		}
	}
	return best
}
