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

// The numbers of rounds of price updates after the Lloyd iterations, first with moving and then with fixed centroids.
const (
	movingRounds  = 12
	restingRounds = 12
)

// limits returns the minimum and maximum size of a cluster of parent p.
func (m *model) limits(p int, balance float64) (low, high int64) {
	n, k := m.Parents[p], int64(m.K)
	share := float64(n) / float64(k)
	low = min(int64(math.Ceil(share/balance)), n/k)
	high = max(int64(min(share*balance, float64(n))), (n+k-1)/k)
	return low, high
}

// reprice updates prices to counter violations of the size limits: up in clusters that are too large, down in those
// that are too small. Each cluster has its own step size, which grows while the direction stays the same and halves
// when it flips (Rprop; Riedmiller and Braun, 1993); the step is scaled down when the violation is below a quarter of
// the mean size. With relax, prices of clusters within the limits decay toward 0, since only an active limit may have a
// price. It reports whether a price changed.
func (m *model) reprice(balance float64, relax bool) (changed bool) {
	for p, n := range m.Parents {
		low, high := m.limits(p, balance)
		var inertia float64
		for g := p * m.K; g < (p+1)*m.K; g++ {
			inertia += m.Inertia[g]
		}
		if inertia == 0 {
			continue // every row coincides with its centroid: prices cannot separate them
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

// missing returns the number of rows of parent p above and below the limits, an upper bound on the rows that must move.
func (m *model) missing(p int, balance float64) (rows int64) {
	low, high := m.limits(p, balance)
	for _, n := range m.Sizes[p*m.K : (p+1)*m.K] {
		rows += max(n-high, 0) + max(low-n, 0)
	}
	return rows
}

// offerFn reports candidates for reassignment. For every pair of sibling clusters under a parent with a violated limit
// it reports the rows of a batch that are cheapest to move from one to the other, as many as may be needed.
type offerFn struct{ Config Config }

func (fn *offerFn) ProcessElement(b *record.Batch, m *model) (*tally, error) {
	t := &tally{}
	need := make([]int64, len(m.Parents))
	for p := range need {
		need[p] = m.missing(p, fn.Config.Balance)
	}
	if b.NumRows() == 0 || slices.Max(need) == 0 {
		return t, nil
	}
	r, keys, err := readKeyed(b, fn.Config)
	if err != nil {
		return nil, err
	}
	a, err := m.assign(r, true, nil)
	if err != nil {
		return nil, err
	}
	offers := make([][]point, len(m.Sizes)*m.K) // by cluster, then by destination sibling
	for i, key := range keys {
		p := r.parent(i)
		if need[p] == 0 {
			continue
		}
		low, high := m.limits(p, fn.Config.Balance)
		x, from, out := r.vector(i), int(a.clusters[i]), a.squares[i]
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
	return t, nil
}

func cheapestFirst(a, b point) int {
	return cmp.Or(cmp.Compare(a.In-a.Out, b.In-b.Out), a.Key.compare(b.Key))
}

// repairFn greedily reassigns surplus rows at least cost until all sizes are within the limits. It takes rows from
// clusters above their limit while there are any, and gives them to clusters below theirs while there are any.
type repairFn struct{ Config Config }

func (fn *repairFn) ProcessElement(t *tally, m *model) (*model, error) {
	if len(t.Points) == 0 {
		return m, nil
	}
	next := m.next()
	offers := make([][]point, len(m.Sizes)*m.K)
	for _, o := range t.Points {
		i := o.From*m.K + o.To%m.K
		offers[i] = append(offers[i], o)
	}
	for _, pair := range offers {
		slices.SortFunc(pair, cheapestFirst)
		for i := 1; i < len(pair); i++ {
			if pair[i].Key == pair[i-1].Key {
				return nil, fmt.Errorf("kmeans: two batches hold the same rows, so Balance cannot tell them apart; add a column that identifies the rows of column %q", fn.Config.Column)
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
				return nil, fmt.Errorf("kmeans: no row is left to move to meet the size limits %d to %d; this is a bug", low, high)
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

// cheapest returns the cheapest allowed offer among the clusters of one parent. It drops offers of rows that have
// moved.
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
