package kmeans

import (
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

// held are all rows of a clustering on the device of the thread pool, which assigns them at once; nil without one. What it
// finds is what the threads would, bit by bit.
type held struct {
	kernels.Held
	first   map[*float32]int // row of each batch, by its vectors
	rows    int
	order   []int32 // by parent; nil at the first level
	starts  []int   // of the parents in order
	weights []float32
}

// hold takes rows of the given width, in parts, to the device for clusterings into k; nil if the threads cluster, as they
// do rows that are the same memory.
func hold(parts [][]float32, width, k int) (*held, error) {
	h := &held{first: map[*float32]int{}}
	for _, p := range parts {
		if _, twice := h.first[&p[0]]; twice {
			return nil, nil
		}
		h.first[&p[0]] = h.rows
		h.rows += len(p) / width
	}
	h.starts = []int{0, h.rows}
	done := false
	err := compute.Run(func(pool *kernels.Pool) (err error) {
		if device := pool.Vectors(); device != nil && h.rows > 0 {
			h.Held, done, err = device.Hold(parts, width, k)
		}
		return err
	})
	if !done {
		return nil, err
	}
	return h, nil
}

// hold is hold for the rows of batches.
func (c Config) hold(batches []*record.Batch, width int) (*held, error) {
	var parts [][]float32
	var weights []float32
	for _, b := range batches {
		r, err := readRows(b, c)
		if err != nil {
			return nil, err
		}
		if b.NumRows() > 0 {
			parts = append(parts, r.vectors)
		}
		if r.weights != nil {
			weights = append(weights, r.weights.Float32Values()...)
		}
	}
	h, err := hold(parts, width, slices.Max(c.Branching))
	if h != nil {
		h.weights = weights
	}
	return h, err
}

// sort orders the rows by the given number of parents, which the batches have.
func (h *held) sort(batches []*record.Batch, parents int, cfg Config) error {
	if h == nil || parents == 1 {
		return nil
	}
	var all []int32
	h.starts, h.order = make([]int, parents+1), make([]int32, h.rows)
	for _, b := range batches {
		r, err := readRows(b, cfg)
		if err != nil {
			return err
		}
		for i := range int(b.NumRows()) {
			p := r.parent(i)
			all = append(all, int32(p))
			h.starts[p+1]++
		}
	}
	for p := range parents {
		h.starts[p+1] += h.starts[p]
	}
	next := slices.Clone(h.starts)
	for row, p := range all {
		h.order[next[p]] = int32(row)
		next[p]++
	}
	return nil
}

// assign is the model's for a batch. The first batch with a model computes the assignment of all, and their sums.
func (h *held) assign(m *model, r rows, squares bool, sums *sums) (a assignment, done bool, err error) {
	if h == nil || len(r.vectors) == 0 {
		return a, false, nil
	}
	first, ok := h.first[&r.vectors[0]]
	if !ok {
		return a, false, nil
	}
	if m.all.clusters == nil || squares && m.all.squares == nil || sums != nil && sums.held == nil {
		done, err := h.all(m, squares, sums)
		if !done {
			return a, false, err
		}
	}
	n := len(r.vectors) / r.width
	a.clusters = m.all.clusters[first : first+n]
	if squares {
		a.squares = m.all.squares[first : first+n]
	}
	return a, true, nil
}

// all assigns all rows.
func (h *held) all(m *model, squares bool, sums *sums) (done bool, err error) {
	a := kernels.Assignment{
		Order: h.order, Starts: h.starts, K: m.K, Centroids: m.Centroids, Prices: m.Prices, Longest: above(m.Longest),
		Clusters: make([]int32, h.rows),
	}
	a.Low, a.High, a.Reach = bounds(m.Width, m.Norms, m.Prices)
	if squares {
		a.Squares = make([]float64, h.rows)
	}
	if sums != nil {
		a.Sums = &kernels.FixedSums{
			Sums: make([]int64, len(m.Sizes)*sums.stride()), Vectors: sums.vectors, Weights: h.weights,
			Unit: sums.unit, Square: sums.square, Weight: sums.weight,
		}
	}
	err = compute.Run(func(*kernels.Pool) (err error) {
		done, err = h.Assign(a)
		return err
	})
	if !done {
		clear(h.first) // the threads assign from now on
		return false, err
	}
	m.all = assignment{a.Clusters, a.Squares}
	if sums != nil {
		sums.held = a.Sums.Sums
	}
	return true, nil
}

// close gives the device's memory back.
func (h *held) close() error {
	if h == nil {
		return nil
	}
	return compute.Run(func(*kernels.Pool) error { return h.Close() })
}
