package kmeans

import (
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// sums add up the rows of each cluster, in fixed point, so that the order does not matter: vector, squared distance,
// number of rows and, if rows have weights, weight; the first two are weighted then. Each worker has sums of its own, of
// the clusters that it met.
type sums struct {
	vectors bool // otherwise those sums stay 0
	weights bool
	width   int

	unit, square, weight float64 // scales
	expected             int     // clusters that a worker meets
	workers              []workerSums
	held                 []int64 // [cluster, stride] of all rows, if a device has added them up
}

type workerSums struct {
	slots    []int32 // of each cluster, from 1; 0 if it has none
	clusters []int32 // of each slot
	sums     []int64 // [slot, stride]
	_        [64]byte
}

// newSums returns the sums of no rows yet; rows is the expected number.
func (m *model) newSums(vectors bool, rows int64) *sums {
	s := &sums{
		vectors: vectors, weights: m.Weighted, width: m.Width,
		unit: scale(m.Unit), square: scale(m.Square), weight: scale(m.WeightUnit),
	}
	_ = compute.Run(func(pool *kernels.Pool) error {
		s.workers = make([]workerSums, pool.Threads())
		s.expected = int(min(int64(len(m.Sizes)), rows/int64(pool.Threads())+1))
		return nil
	})
	for w := range s.workers {
		s.workers[w].slots = make([]int32, len(m.Sizes))
	}
	return s
}

func (s *sums) stride() int { return stride(s.width, s.weights) }

// stride is the number of sums per cluster.
func stride(width int, weights bool) int {
	if weights {
		return width + 3
	}
	return width + 2
}

// add adds a row.
func (s *sums) add(worker int, cluster int32, x []float32, square, weight float64) {
	w := &s.workers[worker]
	stride := s.stride()
	slot := int(w.slots[cluster]) - 1
	if slot < 0 {
		slot = len(w.clusters)
		w.clusters = append(w.clusters, cluster)
		w.slots[cluster] = int32(slot + 1)
		if len(w.sums)+stride > cap(w.sums) {
			w.sums = slices.Grow(w.sums, max(s.expected, min(2*slot, len(w.slots)))*stride-len(w.sums))
		}
		w.sums = w.sums[:len(w.sums)+stride]
	}
	of := w.sums[slot*stride:][:stride]
	if s.vectors {
		vecs.AddFixed(of[:s.width], x, s.unit*weight)
	}
	if square > 0 { // not NaN
		of[s.width] += fix(square*weight, s.square)
	}
	of[s.width+1]++
	if s.weights {
		of[s.width+2] += fix(weight, s.weight)
	}
}

// total returns the sums of the clusters that have any, in ascending order of the clusters. It takes them from s.
func (s *sums) total() (clusters []int32, total []int64) {
	if s.held != nil {
		total = s.held[:0]
		for g := range len(s.held) / s.stride() {
			if of := s.held[g*s.stride():][:s.stride()]; of[s.width+1] > 0 {
				clusters, total = append(clusters, int32(g)), append(total, of...)
			}
		}
		return clusters, total
	}
	first := s.workers[0]
	for _, w := range s.workers[1:] {
		for slot, g := range w.clusters {
			first.merge(g, w.sums[slot*s.stride():][:s.stride()])
		}
	}
	clusters = slices.Clone(first.clusters)
	slices.Sort(clusters)
	total = make([]int64, 0, len(clusters)*s.stride())
	for _, g := range clusters {
		total = append(total, first.sums[int(first.slots[g]-1)*s.stride():][:s.stride()]...)
	}
	return clusters, total
}

// merge adds the sums of a cluster.
func (w *workerSums) merge(cluster int32, sums []int64) {
	if w.slots[cluster] == 0 {
		w.clusters = append(w.clusters, cluster)
		w.slots[cluster] = int32(len(w.clusters))
		w.sums = append(w.sums, sums...)
		return
	}
	of := w.sums[int(w.slots[cluster]-1)*len(sums):][:len(sums)]
	for i, v := range sums {
		of[i] += v
	}
}
