package kmeans

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/vecs"
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
	WeightUnit   int     // that of weights
	Weighted     bool    // rows have weights
	Longest      float64 // length that no row exceeds
	Parents      []int64 // [P] rows of each parent

	Centroids floats  // [P*K, Width]
	Norms     doubles // [P*K] squared norms of the centroids
	Prices    doubles // [P*K] added to squared distances
	Steps     doubles // [P*K] size of the last price change
	Signs     []int   // [P*K] direction of the last price change

	Sizes   []int64 // [P*K] rows at the last count
	Inertia doubles // [P*K] sum of squared distances at the last count
	Priced  bool    // price updates have begun
	Done    bool    // converged
	Moves   []move  // rows reassigned from their nearest cluster, sorted by key

	Silhouettes doubles // [P*K] of a finished level

	families families
	held     *held      // the rows of the clustering, if a device has them
	all      assignment // of these
}

// move reassigns one row to another cluster.
type move struct {
	Key rowKey
	To  int
}

// startFn makes the model above the first level: one cluster that holds all rows.
type startFn struct{ Config Config }

func (fn *startFn) ProcessElement(t *tally) (*model, error) {
	if len(t.Processes) > 1 {
		return nil, fmt.Errorf("kmeans: Local: %d worker processes read the rows; set Local only for runners with one", len(t.Processes))
	}
	if len(t.Widths) > 1 {
		return nil, fmt.Errorf("kmeans: column %q: vectors have different widths %v; all must be equally long", fn.Config.Column, t.Widths)
	}
	m := &model{Level: -1, K: 1, Sizes: []int64{t.Rows}}
	if t.Rows == 0 {
		return m, nil
	}
	m.Width = t.Widths[0]
	m.Longest = t.Longest
	limit, heaviest := t.Longest, 1.0
	if fn.Config.Weight != "" {
		m.Weighted, heaviest = true, t.Heaviest
	}
	for i, p := range fn.Config.Start {
		if len(p) != m.Width {
			return nil, fmt.Errorf("kmeans: Start[%d] has width %d; the vectors of column %q have %d", i, len(p), fn.Config.Column, m.Width)
		}
		for _, v := range p {
			if !(math.Abs(float64(v)) <= maxValue) {
				return nil, fmt.Errorf("kmeans: Start[%d] holds %v; values must be numbers of magnitude up to %g", i, v, maxValue)
			}
		}
		if !fn.Config.Spherical {
			limit = max(limit, math.Sqrt(vecs.SquareNorm(p)))
		}
	}
	m.Unit = unit(t.Rows, limit*heaviest)
	m.Square = unit(t.Rows, 4*limit*limit*heaviest)
	m.WeightUnit = unit(t.Rows, heaviest)
	return m, nil
}

// next returns a copy of the model, including everything a step may change.
func (m *model) next() *model {
	return &model{
		Level: m.Level, K: m.K, Width: m.Width, Unit: m.Unit, Square: m.Square, WeightUnit: m.WeightUnit,
		Weighted: m.Weighted, Longest: m.Longest, Parents: m.Parents,
		Centroids: slices.Clone(m.Centroids),
		Norms:     slices.Clone(m.Norms),
		Prices:    slices.Clone(m.Prices),
		Steps:     slices.Clone(m.Steps),
		Signs:     slices.Clone(m.Signs),
		Sizes:     slices.Clone(m.Sizes),
		Inertia:   slices.Clone(m.Inertia),
		Priced:    m.Priced, Done: m.Done, Moves: m.Moves, held: m.held,
	}
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
	m.Norms[g] = vecs.SquareNorm(c)
	return true
}

// square returns |x-c|² for cluster g.
func (m *model) square(x []float32, g int) float64 { return vecs.SquareDistance(x, m.centroid(g)) }

// Leaves returns the number of finest clusters.
func Leaves(branching []int) int {
	n := 1
	for _, choices := range branching {
		n *= choices
	}
	return n
}

// Code returns the code of a finest cluster, numbered from 0 in the order of their codes: the number of the choice at
// each level, joined by dots, such as 12.3.250.
func Code(cluster int, branching []int) string {
	choices := make([]int, len(branching))
	for level, k := range slices.Backward(branching) {
		choices[level] = cluster % k
		cluster /= k
	}
	code := strconv.AppendInt(nil, int64(choices[0]), 10)
	for _, c := range choices[1:] {
		code = strconv.AppendInt(append(code, '.'), int64(c), 10)
	}
	return string(code)
}

// compareCodes orders codes as the clusters' numbers: level by level, numbers by their value.
func compareCodes(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// rows are the vectors of a batch, and the parent and the weight of each. Nil parents, at the first level, mean 0 for
// every row, nil weights 1.
type rows struct {
	vectors []float32
	parents *array.Int32
	weights *array.Float32
	width   int
}

// readKeyed is readRows with the keys of the rows.
func readKeyed(b *record.Batch, cfg Config) (r rows, of []rowKey, err error) {
	if r, err = readRows(b, cfg); err == nil {
		of, err = keys(b, cfg.Column, cfg.Seed)
	}
	return r, of, err
}

func readRows(b *record.Batch, cfg Config) (r rows, err error) {
	r.vectors, r.width, err = vectors(b, cfg.Column)
	if i := b.Schema().FieldIndices(clusterColumn); len(i) > 0 {
		r.parents = b.Column(i[0]).(*array.Int32)
	}
	if i := b.Schema().FieldIndices(cfg.Weight); cfg.Weight != "" && len(i) > 0 {
		r.weights, _ = b.Column(i[0]).(*array.Float32)
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

func (r rows) weight(i int) float64 {
	if r.weights == nil {
		return 1
	}
	return float64(r.weights.Value(i))
}

// take returns the rows with the given numbers, in ascending order.
func (r rows) take(numbers []int32) rows {
	taken := rows{width: r.width}
	parents := array.NewInt32Builder(record.Mem)
	for _, i := range numbers {
		taken.vectors = append(taken.vectors, r.vector(int(i))...)
		parents.Append(int32(r.parent(int(i))))
	}
	taken.parents = parents.NewInt32Array()
	return taken
}
