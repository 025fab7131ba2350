package kmeans

import (
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// siblings are centroids of which rows look for the nearest: the one with the lowest |x-c|² + price, on ties the first.
// Products in float32 bound half the costs, less half the row's squared length, and where the bounds cannot tell which
// one is the lowest, float64 decides. So the result depends neither on the instruction set nor on how rows are split
// into batches.
type siblings struct {
	width            int
	vectors          []float32
	prices           []float64 // nil if all are 0
	low, high, reach []float32 // bounds without the product, and their distance per length of the row
	packed           kernels.Packed
}

// underflow exceeds what a sum of products loses where they are too small for a normal float32.
const underflow = 0x1p-100

func newSiblings(pool *kernels.Pool, vectors []float32, width int, norms, prices []float64) *siblings {
	s := &siblings{width: width, vectors: vectors, prices: prices}
	s.low, s.high, s.reach = bounds(width, norms, prices)
	pool.Pack(&s.packed, len(norms), width, vectors, width)
	return s
}

// bounds returns those of centroids with the given squared lengths; see kernels.Assignment.
func bounds(width int, norms, prices []float64) (low, high, reach []float32) {
	n := len(norms)
	low, high, reach = make([]float32, n), make([]float32, n), make([]float32, n)
	for j, norm := range norms {
		half := norm / 2
		if prices != nil {
			half += prices[j] / 2
		}
		if math.IsInf(half, 1) {
			low[j], high[j] = float32(half), float32(half)
			continue
		}
		slack := math.Abs(half)*0x1p-22 + underflow
		low[j], high[j] = float32(half-slack), float32(half+slack)
		// A product's sums have a relative error of at most Width·2^-24; 16 more cover the arithmetic of the bounds.
		reach[j] = float32(1.01 * float64(width+16) * 0x1p-24 * math.Sqrt(norm))
	}
	return low, high, reach
}

// seeking is a search for the nearest centroids of rows.
type seeking struct {
	*siblings
	x       []float32
	longest float32 // no row is longer
	squares bool    // whether found needs distances
	found   func(worker, row, j int, square float64)
	workers []seeker
}

// nearest calls found with the number of the nearest centroid of each row and its squared distance, which may be NaN if
// squares is not set. No row may be longer than longest. The workers of the pool call it, each for other rows.
func (s *siblings) nearest(pool *kernels.Pool, x []float32, longest float64, squares bool, found func(worker, row, j int, square float64)) {
	k := &seeking{s, x, above(longest), squares, found, make([]seeker, pool.Threads())}
	pool.Products(len(x)/s.width, x, s.width, &s.packed, k.block)
}

// above returns a float32 that is not below a length.
func above(length float64) float32 { return float32(length * (1 + 0x1p-20)) }

// seeker is one worker's state of the rows that it works on.
type seeker struct {
	rows []bounded
	mask []uint64
	_    [64]byte // prevents false sharing
}

// bounded is what bounds say of a row.
type bounded struct {
	limit      float32     // that the lowest cost is not above
	candidates []candidate // that may have the lowest cost
}

// candidate is a centroid whose cost may be the lowest.
type candidate struct {
	j         int32
	low, rise float32 // its cost is at least low - length·rise
}

// block bounds the costs of a block of products and, if it is the rows' last one, decides.
func (k *seeking) block(worker int, c kernels.Block) {
	me := &k.workers[worker]
	for len(me.rows) < c.Rows {
		me.rows = append(me.rows, bounded{})
	}
	if words := (c.Cols + 63) / 64; len(me.mask) < words {
		me.mask = make([]uint64, words)
	}
	mask := me.mask[:(c.Cols+63)/64]
	low, high, reach := k.low[c.Col:][:c.Cols], k.high[c.Col:][:c.Cols], k.reach[c.Col:][:c.Cols]
	for i := range c.Rows {
		r := &me.rows[i]
		if c.Col == 0 {
			*r = bounded{float32(math.Inf(1)), r.candidates[:0]}
		}
		products := c.Values[i*c.Stride:][:c.Cols]
		r.limit = min(r.limit, vecs.Least(products, high, reach, k.longest)+k.rounding(k.longest))
		vecs.Within(mask, products, low, reach, k.longest, r.limit)
		for at, word := range mask {
			for ; word != 0; word &= word - 1 {
				j := at*64 + bits.TrailingZeros64(word)
				r.candidates = append(r.candidates, candidate{int32(c.Col + j), low[j] - products[j], reach[j]})
			}
		}
		if c.Col+c.Cols == len(k.reach) {
			j, square := k.decide(k.x[(c.Row+i)*k.width:][:k.width], r)
			k.found(worker, c.Row+i, j, square)
		}
	}
}

// rounding bounds the error of half a cost in float64, for a row of the given length.
func (k *seeking) rounding(length float32) float32 { return length * length * 0x1p-40 }

// few is the number of candidates whose distances take about as long as a row's own length.
const few = 2

// decide returns the nearest of a row's candidates.
func (k *seeking) decide(x []float32, r *bounded) (nearest int, square float64) {
	if len(r.candidates) > few {
		k.tighten(x, r)
	}
	if len(r.candidates) == 1 && !k.squares {
		return int(r.candidates[0].j), math.NaN()
	}
	least := math.Inf(1)
	for _, c := range r.candidates {
		d := vecs.SquareDistance(x, k.vectors[int(c.j)*k.width:][:k.width])
		cost := d
		if k.prices != nil {
			cost += k.prices[c.j]
		}
		if cost < least {
			nearest, square, least = int(c.j), d, cost
		}
	}
	return nearest, square
}

// tighten drops candidates that a row's own length rules out.
func (k *seeking) tighten(x []float32, r *bounded) {
	length := float32(math.Sqrt(vecs.SquareNorm(x)) * (1 + 0x1p-20))
	limit := r.limit
	for _, c := range r.candidates { // low and high differ by twice their slack, high by reach like low
		limit = min(limit, k.high[c.j]-k.low[c.j]+c.low+length*c.rise*(1+0x1p-20)+k.rounding(length)+underflow)
	}
	r.candidates = slices.DeleteFunc(r.candidates, func(c candidate) bool {
		return c.low-length*c.rise*(1+0x1p-20)-underflow > limit
	})
}

// families caches the siblings of each parent of a model.
type families struct {
	sync.Mutex
	of []*siblings
}

// family returns the clusters of a parent.
func (m *model) family(pool *kernels.Pool, p int) *siblings {
	m.families.Lock()
	defer m.families.Unlock()
	if m.families.of == nil {
		m.families.of = make([]*siblings, len(m.Parents))
	}
	if m.families.of[p] == nil {
		first, end := p*m.K, (p+1)*m.K
		m.families.of[p] = newSiblings(pool, m.Centroids[first*m.Width:end*m.Width], m.Width, m.Norms[first:end], m.Prices[first:end])
	}
	return m.families.of[p]
}

// assignment is where the rows of a batch belong.
type assignment struct {
	clusters []int32   // the row's cluster
	squares  []float64 // its squared distance from the cluster's centroid
}

// assign finds the nearest cluster of the parent of every row, and adds the rows to sums unless these are nil. Without
// squares, distances may be NaN or missing.
func (m *model) assign(r rows, squares bool, sums *sums) (assignment, error) {
	if a, done, err := m.held.assign(m, r, squares, sums); done || err != nil {
		return a, err
	}
	n := len(r.vectors) / max(1, m.Width)
	a := assignment{make([]int32, n), make([]float64, n)}
	err := compute.Run(func(pool *kernels.Pool) error {
		for p, list := range r.byParent(n, len(m.Parents)) {
			if len(list) == 0 {
				continue
			}
			f := m.family(pool, p)
			r.pieces(pool, list, func(list []int32, x []float32) {
				f.nearest(pool, x, m.Longest, squares, func(worker, i, j int, square float64) {
					row, g := list[i], int32(p*m.K+j)
					a.clusters[row], a.squares[row] = g, square
					if sums != nil {
						sums.add(worker, g, x[i*m.Width:][:m.Width], square, r.weight(int(row)))
					}
				})
			})
		}
		return nil
	})
	return a, err
}

// byParent lists the rows of each parent.
func (r rows) byParent(n, parents int) [][]int32 {
	lists := make([][]int32, parents)
	for i := range n {
		p := r.parent(i)
		lists[p] = append(lists[p], int32(i))
	}
	return lists
}

// pieceFloats is the size of the copies that pieces makes: 16 MiB.
const pieceFloats = 4 << 20

// pieces calls f with some listed rows after the other and their vectors, which it copies if other rows lie in between.
func (r rows) pieces(pool *kernels.Pool, list []int32, f func(list []int32, x []float32)) {
	n := len(list)
	if int(list[n-1]-list[0]) == n-1 {
		f(list, r.vectors[int(list[0])*r.width:][:n*r.width])
		return
	}
	size := min(n, max(1, pieceFloats/r.width))
	copied := make([]float32, size*r.width)
	for len(list) > 0 {
		piece := list[:min(size, len(list))]
		pool.For(len(piece), func(_, i int) { copy(copied[i*r.width:][:r.width], r.vector(int(piece[i]))) })
		f(piece, copied[:len(piece)*r.width])
		list = list[len(piece):]
	}
}
