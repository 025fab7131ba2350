package nearest

import (
	"fmt"
	"math"
	"sort"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
)

// Neighbours are the results of a search, nearest first.
type Neighbours struct {
	// K is the number of neighbors per query.
	K int
	// Index is [queries, K] row-major: rows of base, -1 where there are fewer than K.
	Index []int32
	// Similarity is [queries, K] row-major: inner products, -Inf where Index is -1.
	Similarity []float32
}

// The numbers of rows of the queries and the base per block of products; a block takes 4 MiB.
const (
	queryBlock = 512
	baseBlock  = 2048
)

// Search finds, for every row of query, the k rows of base with the highest inner product, exactly (like faiss's
// IndexFlatIP). base is [rows, dim] and query [queries, dim]. For cosine similarity, [Normalize] both first. Rows whose
// similarity is NaN are never neighbors. Mismatched shapes and k < 1 are errors.
func Search(base, query *tensor.Dense, k int) (*Neighbours, error) {
	return search(base, query, k, false)
}

// SearchOthers is [Search] for every row of base among all other rows.
func SearchOthers(base *tensor.Dense, k int) (*Neighbours, error) {
	return search(base, base, k, true)
}

func search(base, query *tensor.Dense, k int, others bool) (*Neighbours, error) {
	e, err := dense.Of(base)
	if err != nil {
		return nil, fmt.Errorf("nearest: %w", err)
	}
	b, rows, dim, err := dense.Rows(base)
	if err != nil {
		return nil, fmt.Errorf("nearest: base: %w", err)
	}
	q, queries, width, err := dense.Rows(query)
	if err != nil {
		return nil, fmt.Errorf("nearest: query: %w", err)
	}
	if k < 1 || width != dim {
		return nil, fmt.Errorf("nearest: cannot search the %d nearest of %d rows of %d values for %d rows of %d", k, rows, dim, queries, width)
	}
	found := &Neighbours{K: k, Index: make([]int32, queries*k), Similarity: make([]float32, queries*k)}
	for i := range found.Index {
		found.Index[i], found.Similarity[i] = -1, float32(math.Inf(-1))
	}
	scores := make([]float32, min(queries, queryBlock)*min(rows, baseBlock))
	for q0 := 0; q0 < queries; q0 += queryBlock {
		m := min(queryBlock, queries-q0)
		for b0 := 0; b0 < rows; b0 += baseBlock {
			n := min(baseBlock, rows-b0)
			transposed := e.Matrix(b[b0*dim:][:n*dim], n, dim)
			if err := transposed.T(); err != nil {
				return nil, fmt.Errorf("nearest: %w", err)
			}
			if err := e.MatMul(e.Matrix(q[q0*dim:][:m*dim], m, dim), transposed, e.Matrix(scores[:m*n], m, n)); err != nil {
				return nil, fmt.Errorf("nearest: %w", err)
			}
			e.Pool().For(m, func(_, i int) {
				at, row := q0+i, scores[i*n:][:n]
				if self := at - b0; others && self >= 0 && self < n {
					row[self] = float32(math.Inf(-1))
				}
				keepLargest(found.Similarity[at*k:][:k], found.Index[at*k:][:k], row, b0)
			})
		}
	}
	return found, nil
}

// keepLargest merges the similarities of rows first, first+1, ... into the largest so far, which are in descending
// order. A new one is inserted after equal ones, so the lower index stays first.
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

// Normalize returns the rows of x scaled to unit Euclidean length, on the same engine. Zero rows stay zero. A
// non-finite value is an error.
func Normalize(x *tensor.Dense) (*tensor.Dense, error) {
	e, err := dense.Of(x)
	if err != nil {
		return nil, err
	}
	data, rows, cols, err := dense.Rows(x)
	if err != nil {
		return nil, err
	}
	unit := make([]float32, len(data))
	for i := range rows {
		if err := normalize(unit[i*cols:][:cols], data[i*cols:][:cols], i); err != nil {
			return nil, err
		}
	}
	return e.Matrix(unit, rows, cols), nil
}

func normalize(unit, row []float32, number int) error {
	sum := 0.0
	for j, v := range row {
		if v-v != 0 {
			return fmt.Errorf("a %v in row %d, column %d; did the model that made the features diverge?", v, number, j)
		}
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return nil
	}
	scale := 1 / math.Sqrt(sum)
	for j, v := range row {
		unit[j] = float32(float64(v) * scale)
	}
	return nil
}
