package nearest

import (
	"fmt"
	"math"
	"math/bits"
	"sort"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
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

// baseFloats is the size of the part of the base that is packed at a time: 2 MiB, so that it stays in the cache.
const baseFloats = 512 << 10

// Search finds, for every row of query, the k rows of base with the highest inner product, exactly (like faiss's
// IndexFlatIP). base is [rows, dim] and query [queries, dim]. For cosine similarity, [Normalize] both first. Rows whose
// similarity is NaN are never neighbors. Mismatched shapes and k < 1 are errors. On a device of the engine's pool
// ([kernels.Pool.Offload]) similarities differ in their last bits, and so may the order of those that are nearly equal.
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
	if device := e.Pool().Vectors(); device != nil {
		done, err := device.Search(kernels.Search{
			Base: b, Query: q, Width: dim, Others: others, K: k, Index: found.Index, Similarity: found.Similarity,
		})
		if err != nil {
			return nil, fmt.Errorf("nearest: %w", err)
		}
		if done {
			return found, nil
		}
	}
	part := max(1, baseFloats/dim)
	masks := make([][]uint64, e.Pool().Threads())
	var packed kernels.Packed
	for first := 0; first < rows; first += part {
		n := min(part, rows-first)
		e.Pool().Pack(&packed, n, dim, b[first*dim:], dim)
		e.Pool().Products(queries, q, dim, &packed, func(worker int, c kernels.Block) {
			if words := (c.Cols + 63) / 64; len(masks[worker]) < words {
				masks[worker] = make([]uint64, words)
			}
			for i := range c.Rows {
				at, row := c.Row+i, c.Values[i*c.Stride:][:c.Cols]
				if self := at - first - c.Col; others && self >= 0 && self < len(row) {
					row[self] = float32(math.Inf(-1))
				}
				keepLargest(found.Similarity[at*k:][:k], found.Index[at*k:][:k], row, first+c.Col, masks[worker])
			}
		})
	}
	return found, nil
}

// keepLargest merges the similarities of rows first, first+1, ... into the largest so far, which are in descending
// order. A new one is inserted after equal ones, so the lower index stays first.
func keepLargest(largest []float32, index []int32, row []float32, first int, mask []uint64) {
	last := len(largest) - 1
	vecs.Greater(mask, row, largest[last])
	for at, word := range mask[:(len(row)+63)/64] {
		for ; word != 0; word &= word - 1 {
			j := at*64 + bits.TrailingZeros64(word)
			s := row[j]
			if !(s > largest[last]) {
				continue // since the last one was replaced
			}
			to := sort.Search(last, func(i int) bool { return largest[i] < s })
			copy(largest[to+1:], largest[to:])
			copy(index[to+1:], index[to:])
			largest[to], index[to] = s, int32(first+j)
		}
	}
}

// normalizedRows is the number of rows that a thread normalizes at a time.
const normalizedRows = 256

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
	unit, errs := make([]float32, len(data)), make([]error, (rows+normalizedRows-1)/normalizedRows)
	e.Pool().For(len(errs), func(_, part int) {
		for i := part * normalizedRows; i < min((part+1)*normalizedRows, rows) && errs[part] == nil; i++ {
			errs[part] = normalize(unit[i*cols:][:cols], data[i*cols:][:cols], i)
		}
	})
	for _, err := range errs {
		if err != nil {
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
