package knn

import (
	"fmt"
	"math"
	"sort"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Neighbours are the results of a search, nearest first.
type Neighbours struct {
	// K is the number of neighbours a query.
	K int
	// Index is [queries, K] row-major: rows of the base, -1 where there are fewer than K.
	Index []int32
	// Similarity is [queries, K] row-major: inner products, -Inf where Index is -1.
	Similarity []float32
}

// Rows of queries and of the base whose products are computed at once; 4 MiB of scratch.
const (
	queryBlock = 512
	baseBlock  = 2048
)

// Search finds, for every row of query, the k rows of base with the largest inner product, exactly (as faiss's
// IndexFlatIP does). base is [rows, dim] and query [queries, dim], both row-major. For cosine similarity give it rows
// of length 1, see [Normalize]. A similarity that is not a number is never a neighbour. It panics if k < 1 or if a
// matrix is no whole number of rows.
func Search(base []float32, dim int, query []float32, k int, pool *kernels.Pool) Neighbours {
	return search(base, dim, query, k, false, pool)
}

// SearchOthers is [Search] for every row of base among all rows but itself.
func SearchOthers(base []float32, dim, k int, pool *kernels.Pool) Neighbours {
	return search(base, dim, base, k, true, pool)
}

func search(base []float32, dim int, query []float32, k int, others bool, pool *kernels.Pool) Neighbours {
	if k < 1 || dim < 1 || len(base)%dim != 0 || len(query)%dim != 0 {
		panic(fmt.Sprintf("knn: cannot search %d nearest of %d base values for %d query values in %d dimensions", k, len(base), len(query), dim))
	}
	rows, queries := len(base)/dim, len(query)/dim
	found := Neighbours{K: k, Index: make([]int32, queries*k), Similarity: make([]float32, queries*k)}
	for i := range found.Index {
		found.Index[i], found.Similarity[i] = -1, float32(math.Inf(-1))
	}
	scores := make([]float32, min(queries, queryBlock)*min(rows, baseBlock))
	for q0 := 0; q0 < queries; q0 += queryBlock {
		m := min(queryBlock, queries-q0)
		for b0 := 0; b0 < rows; b0 += baseBlock {
			n := min(baseBlock, rows-b0)
			pool.Gemm(false, true, m, n, dim, query[q0*dim:], dim, base[b0*dim:], dim, scores, n, false)
			pool.For(m, func(_, i int) {
				q, row := q0+i, scores[i*n:][:n]
				if self := q - b0; others && self >= 0 && self < n {
					row[self] = float32(math.Inf(-1))
				}
				keepLargest(found.Similarity[q*k:][:k], found.Index[q*k:][:k], row, b0)
			})
		}
	}
	return found
}

// keepLargest merges the similarities of rows first, first+1, ... into the largest so far, both in descending order. A
// new one goes behind those equal to it, so the lower index stays in front.
func keepLargest(largest []float32, index []int32, row []float32, first int) {
	last := len(largest) - 1
	worst := largest[last]
	for j, s := range row {
		if s > worst {
			at := sort.Search(last, func(i int) bool { return largest[i] < s })
			copy(largest[at+1:], largest[at:])
			copy(index[at+1:], index[at:])
			largest[at], index[at] = s, int32(first+j)
			worst = largest[last]
		}
	}
}

// Normalize returns the rows of x, [rows, dim] row-major, scaled to Euclidean length 1. Rows of zeros stay.
func Normalize(x []float32, dim int) []float32 {
	unit := make([]float32, len(x))
	for at := 0; at+dim <= len(x); at += dim {
		sum := 0.0
		for _, v := range x[at : at+dim] {
			sum += float64(v) * float64(v)
		}
		if sum == 0 {
			continue
		}
		scale := 1 / math.Sqrt(sum)
		for i, v := range x[at : at+dim] {
			unit[at+i] = float32(float64(v) * scale)
		}
	}
	return unit
}

// normalized is Normalize for input that may be wrong.
func normalized(name string, x []float32, dim int) ([]float32, error) {
	if dim < 1 || len(x)%dim != 0 {
		return nil, fmt.Errorf("knn: %s holds %d values, no whole number of rows of %d", name, len(x), dim)
	}
	for i, v := range x {
		if v-v != 0 {
			return nil, fmt.Errorf("knn: %s has a %v in row %d, column %d; did the model that made the features diverge?", name, v, i/dim, i%dim)
		}
	}
	return Normalize(x, dim), nil
}
