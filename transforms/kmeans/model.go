package kmeans

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[startFn]())
}

// clusterColumn is a temporary column: the cluster of each row at the level above (int32).
const clusterColumn = "kmeans.cluster"

// model is the state of one level. Cluster g = parent*K + j is the j-th child of its parent, and is parent g of the
// next level.
type model struct {
	Level        int
	K            int     // clusters per parent
	Width        int     // length of the vectors
	Unit, Square int     // fixed-point exponents: of values, of squared distances
	Parents      []int64 // [P] rows of each parent

	Centroids []float32 // [P*K, Width]
	Norms     []float64 // [P*K] squared norms of the centroids
	Prices    []float64 // [P*K] added to squared distances
	Steps     []float64 // [P*K] size of the last price change
	Signs     []int     // [P*K] direction of the last price change

	Sizes   []int64   // [P*K] rows at the last count
	Inertia []float64 // [P*K] sum of squared distances at the last count
	Priced  bool      // price updates have begun
	Done    bool      // converged
	Moves   []move    // rows reassigned from their nearest cluster, sorted by key
}

// move reassigns one row to another cluster.
type move struct {
	Key rowKey
	To  int
}

// startFn makes the model above the first level: one cluster that holds all rows.
type startFn struct{ Config Config }

func (fn *startFn) ProcessElement(t *tally) (*model, error) {
	if len(t.Widths) > 1 {
		return nil, fmt.Errorf("kmeans: column %q: vectors have different widths %v; all must be equally long", fn.Config.Column, t.Widths)
	}
	m := &model{Level: -1, K: 1, Sizes: []int64{t.Rows}}
	if t.Rows == 0 {
		return m, nil
	}
	m.Width = t.Widths[0]
	limit := t.Max
	for i, p := range fn.Config.Start {
		if len(p) != m.Width {
			return nil, fmt.Errorf("kmeans: Start[%d] has width %d; the vectors of column %q have %d", i, len(p), fn.Config.Column, m.Width)
		}
		for _, v := range p {
			if !(math.Abs(float64(v)) <= maxValue) {
				return nil, fmt.Errorf("kmeans: Start[%d] holds %v; values must be numbers of magnitude up to %g", i, v, maxValue)
			}
			limit = max(limit, math.Abs(float64(v)))
		}
	}
	m.Unit = unit(t.Rows, limit)
	m.Square = unit(t.Rows, float64(m.Width)*4*limit*limit)
	return m, nil
}

// clone copies the model, including everything a step may change.
func (m *model) clone() *model {
	c := *m
	c.Centroids = slices.Clone(m.Centroids)
	c.Norms = slices.Clone(m.Norms)
	c.Prices = slices.Clone(m.Prices)
	c.Steps = slices.Clone(m.Steps)
	c.Signs = slices.Clone(m.Signs)
	c.Sizes = slices.Clone(m.Sizes)
	c.Inertia = slices.Clone(m.Inertia)
	return &c
}

// centroid returns the vector of cluster g.
func (m *model) centroid(g int) []float32 { return m.Centroids[g*m.Width : (g+1)*m.Width] }

// setCentroid sets the centroid of cluster g and reports whether it changed.
func (m *model) setCentroid(g int, vector []float32) bool {
	c := m.centroid(g)
	if slices.Equal(c, vector) {
		return false
	}
	copy(c, vector)
	m.Norms[g] = squareNorm(c)
	return true
}

// square returns |x-c|² for cluster g.
func (m *model) square(x []float32, g int) float64 { return squareDistance(x, m.centroid(g)) }

// Code returns the code of a finest cluster, numbered from 0 in the order of their codes: the index of the choice at each
// level, such as 12.0.3.
func Code(cluster int, branching []int) string {
	code := make([]string, len(branching))
	for level, k := range slices.Backward(branching) {
		code[level] = strconv.Itoa(cluster % k)
		cluster /= k
	}
	return strings.Join(code, ".")
}

// rows are the vectors of a batch and the parent of each. Nil parents, at the first level, mean 0 for every row.
type rows struct {
	vectors []float32
	parents *array.Int32
	width   int
}

func readRows(b *record.Batch, column string) (r rows, err error) {
	r.vectors, r.width, err = vectors(b, column)
	if i := b.Schema().FieldIndices(clusterColumn); len(i) > 0 {
		r.parents = b.Column(i[0]).(*array.Int32)
	}
	return r, err
}

// vectors returns the values of a column of vectors, row-major, and their width; nil and 0 for a batch without rows.
func vectors(b *record.Batch, column string) (data []float32, width int, err error) {
	if b.NumRows() == 0 {
		return nil, 0, nil
	}
	d, err := record.Dense(b, column)
	if err != nil {
		return nil, 0, fmt.Errorf("kmeans: %w", err)
	}
	data, _, width, err = dense.Rows(d)
	return data, width, err
}

func (r rows) vector(i int) []float32 { return r.vectors[i*r.width : (i+1)*r.width] }

func (r rows) parent(i int) int {
	if r.parents == nil {
		return 0
	}
	return int(r.parents.Value(i))
}
