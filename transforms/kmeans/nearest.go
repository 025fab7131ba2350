package kmeans

import (
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// blockCosts is the number of costs, rows times clusters, that are kept at a time: 4 MiB.
const blockCosts = 1 << 20

// assignment is where the rows of a batch belong.
type assignment struct {
	clusters []int32   // the row's cluster
	squares  []float64 // its squared distance from the cluster's centroid
}

// assign finds, for every row, the cluster of its parent with the lowest |x-c|² + price; on ties the lowest cluster.
// Matrix products in float32 bound the costs, and where they cannot tell which one is the lowest, float64 decides. So the
// result depends neither on the instruction set nor on how rows are split into batches.
func (m *model) assign(r rows) assignment {
	n := len(r.vectors) / max(1, m.Width)
	a := assignment{make([]int32, n), make([]float64, n)}
	byParent := r.byParent(n, len(m.Parents))
	_ = compute.Run(func(pool *kernels.Pool) error {
		s := &searcher{model: m, pool: pool, reach: m.reach()}
		for p, list := range byParent {
			size := min(max(64, blockCosts/m.K), 1<<14)
			for from := 0; from < len(list); from += size {
				s.block(r, p, list[from:min(from+size, len(list))], a)
			}
		}
		return nil
	})
	return a
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

// reach returns, for each cluster, the largest error of the cost of a row of length 1: twice that of the product of
// vectors in float32, whose sums have a relative error of at most Width·2^-24.
func (m *model) reach() []float64 {
	reach := make([]float64, len(m.Norms))
	for g, norm := range m.Norms {
		reach[g] = 2.02 * float64(m.Width+8) * 0x1p-24 * math.Sqrt(norm)
	}
	return reach
}

// searcher finds the nearest clusters of blocks of rows.
type searcher struct {
	model       *model
	pool        *kernels.Pool
	reach       []float64
	x, products []float32
}

// block assigns some rows of a parent.
func (s *searcher) block(r rows, p int, list []int32, a assignment) {
	m := s.model
	x := r.vectors[int(list[0])*m.Width:]
	if n := len(list); int(list[n-1]-list[0]) != n-1 { // other parents' rows lie in between
		s.x = grow(s.x, n*m.Width)
		x = s.x
		s.pool.For(n, func(_, i int) { copy(x[i*m.Width:(i+1)*m.Width], r.vector(int(list[i]))) })
	}
	s.products = grow(s.products, len(list)*m.K)
	s.pool.Gemm(false, true, len(list), m.K, m.Width, x, m.Width, m.Centroids[p*m.K*m.Width:], m.Width, s.products, m.K, false)
	s.pool.For(len(list), func(_, i int) {
		row := int(list[i])
		g, square := s.row(r.vector(row), p, s.products[i*m.K:][:m.K])
		a.clusters[row], a.squares[row] = int32(g), square
	})
}

// underflow exceeds what a sum of products loses where they are too small for a normal float32.
const underflow = 0x1p-100

// row assigns a row, given its products with the parent's centroids.
func (s *searcher) row(x []float32, p int, products []float32) (g int, square float64) {
	m, first := s.model, p*s.model.K
	norms, prices, reach := m.Norms[first:][:len(products)], m.Prices[first:][:len(products)], s.reach[first:][:len(products)]
	length := math.Sqrt(squareNorm(x))
	limit := math.Inf(1) // that the lowest cost is not above
	for j, dot := range products {
		limit = min(limit, norms[j]-2*float64(dot)+prices[j]+length*reach[j]+underflow)
	}
	least := math.Inf(1)
	for j, dot := range products {
		if norms[j]-2*float64(dot)+prices[j]-length*reach[j]-underflow > limit {
			continue
		}
		d := m.square(x, first+j)
		if cost := d + prices[j]; cost < least {
			g, square, least = first+j, d, cost
		}
	}
	return g, square
}

// sum adds up the rows of each cluster: [P*K, Width+2], the sum of the vectors if wanted, of the squared distances, and
// the number of rows, in fixed point, so that the order does not matter.
func (m *model) sum(r rows, a assignment, vectors bool) []int64 {
	stride := m.Width + 2
	sums := make([]int64, len(m.Sizes)*stride)
	lists := make([][]int32, len(m.Sizes))
	for i, g := range a.clusters {
		lists[g] = append(lists[g], int32(i))
	}
	unit, square := scale(m.Unit), scale(m.Square)
	_ = compute.Run(func(pool *kernels.Pool) error {
		pool.For(len(lists), func(_, g int) {
			of := sums[g*stride : (g+1)*stride]
			for _, i := range lists[g] {
				if vectors {
					add(of[:m.Width], r.vector(int(i)), unit)
				}
				of[m.Width] += fix(a.squares[i], square)
			}
			of[m.Width+1] = int64(len(lists[g]))
		})
		return nil
	})
	return sums
}

// add adds a vector to sums in fixed point.
func add(sums []int64, x []float32, scale float64) {
	x = x[:len(sums)]
	for j := range sums {
		sums[j] += fix(float64(x[j]), scale)
	}
}

// grow returns a slice of n floats, if possible s.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// squareNorm returns the squared length of a vector.
func squareNorm(x []float32) float64 {
	var sums [4]float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v := x[i : i+4 : i+4]
		sums[0] += float64(v[0]) * float64(v[0])
		sums[1] += float64(v[1]) * float64(v[1])
		sums[2] += float64(v[2]) * float64(v[2])
		sums[3] += float64(v[3]) * float64(v[3])
	}
	for ; i < len(x); i++ {
		sums[0] += float64(x[i]) * float64(x[i])
	}
	return sums[0] + sums[1] + (sums[2] + sums[3])
}

// squareDistance returns the squared distance of two vectors of the same length.
func squareDistance(x, centroid []float32) float64 {
	var sums [4]float64
	centroid = centroid[:len(x)]
	i := 0
	for ; i+4 <= len(x); i += 4 {
		v, c := x[i:i+4:i+4], centroid[i:i+4:i+4]
		d0, d1 := float64(v[0])-float64(c[0]), float64(v[1])-float64(c[1])
		d2, d3 := float64(v[2])-float64(c[2]), float64(v[3])-float64(c[3])
		sums[0] += d0 * d0
		sums[1] += d1 * d1
		sums[2] += d2 * d2
		sums[3] += d3 * d3
	}
	for ; i < len(x); i++ {
		d := float64(x[i]) - float64(centroid[i])
		sums[0] += d * d
	}
	return sums[0] + sums[1] + (sums[2] + sums[3])
}
