package kmeans

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// Lloyd is k-means on vectors in memory, without a pipeline: what an iteration of [Cluster] computes. Its methods use
// the thread pool of package compute and its device. Close it after use.
type Lloyd struct {
	model *model
	rows  rows
}

// NewLloyd starts from the given centroids. The vectors are [rows, width] row-major and must not change.
func NewLloyd(vectors []float32, width int, start [][]float32) (*Lloyd, error) {
	if width < 1 || len(vectors) == 0 || len(vectors)%width != 0 || len(start) == 0 {
		return nil, fmt.Errorf("kmeans: %d values of vectors of width %d and %d centroids; want at least one vector and one centroid", len(vectors), width, len(start))
	}
	t := &tally{Rows: int64(len(vectors) / width), Widths: []int{width}}
	for i := 0; i < len(vectors); i += width {
		square := vecs.SquareNorm(vectors[i:][:width])
		if !(square <= maxValue*maxValue) {
			return nil, fmt.Errorf("kmeans: vector %d has the length %v; want at most %g", i/width, math.Sqrt(square), maxValue)
		}
		t.Longest = max(t.Longest, math.Sqrt(square))
	}
	cfg := Config{Column: "vectors", Branching: []int{len(start)}, Start: start}
	above, err := (&startFn{Config: cfg}).ProcessElement(t)
	if err != nil {
		return nil, err
	}
	m, err := (&seedFn{Config: cfg}).ProcessElement(&tally{}, above)
	if err == nil {
		m.held, err = hold([][]float32{vectors}, width, len(start))
	}
	if err != nil {
		return nil, err
	}
	return &Lloyd{m, rows{vectors: vectors, width: width}}, nil
}

// Close gives memory of a device back.
func (l *Lloyd) Close() error { return l.model.held.close() }

// Iterate assigns every vector to its nearest centroid and moves the centroids to the means of their vectors. Those
// without any stay where they are.
func (l *Lloyd) Iterate() error {
	s := l.model.newSums(true, l.model.Parents[0])
	if _, err := l.model.assign(l.rows, false, s); err != nil {
		return err
	}
	t := &tally{}
	t.Clusters, t.Sums = s.total()
	l.model = (&updateFn{Config: Config{Iterations: math.MaxInt}}).update(t, l.model)
	l.model.Done = false
	return nil
}

// Centroids returns the centroids, [centroids, width] row-major, which must not be modified.
func (l *Lloyd) Centroids() []float32 { return l.model.Centroids }

// Inertia returns the sum of the squared distances of the vectors from their nearest centroids.
func (l *Lloyd) Inertia() (inertia float64, err error) {
	s := l.model.newSums(false, l.model.Parents[0])
	if _, err := l.model.assign(l.rows, true, s); err != nil {
		return 0, err
	}
	clusters, sums := s.total()
	for i := range clusters {
		inertia += float(sums[i*s.stride()+l.model.Width], l.model.Square)
	}
	return inertia, nil
}
