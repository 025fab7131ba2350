package kmeans

import (
	"math"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[labelFn]())
	beam.RegisterDoFn(reflect.TypeFor[centroidsFn]())
}

// labelFn labels every row with its cluster of a finished level: as clusterColumn for the next level or, after the
// last, as code and distance.
type labelFn struct{ Config Config }

func (fn *labelFn) ProcessElement(b *record.Batch, m *model) (*record.Batch, error) {
	r, err := readRows(b, fn.Config)
	if err != nil {
		return nil, err
	}
	a, err := m.assign(r, true, nil)
	if err != nil {
		return nil, err
	}
	if len(m.Moves) > 0 {
		keys, err := keys(b, fn.Config.Column, fn.Config.Seed)
		if err != nil {
			return nil, err
		}
		a = assignment{slices.Clone(a.clusters), slices.Clone(a.squares)}
		for i, key := range keys {
			if to, ok := m.moved(key); ok {
				a.clusters[i], a.squares[i] = int32(to), m.square(r.vector(i), to)
			}
		}
	}
	if m.Level < len(fn.Config.Branching)-1 {
		clusters := array.NewInt32Builder(record.Mem)
		clusters.AppendValues(a.clusters, nil)
		return record.With(record.Without(b, clusterColumn), clusterColumn, clusters.NewArray()), nil
	}
	codes := map[int32]string{}
	return withCodes(b, a.squares, func(i int) string {
		g := a.clusters[i]
		if codes[g] == "" {
			codes[g] = Code(int(g), fn.Config.Branching)
		}
		return codes[g]
	}, clusterColumn, fn.Config.Column), nil
}

// moved returns where a row was moved to, if it was.
func (m *model) moved(key rowKey) (to int, ok bool) {
	i, ok := slices.BinarySearchFunc(m.Moves, key, func(a move, k rowKey) int { return a.Key.compare(k) })
	if !ok {
		return 0, false
	}
	return m.Moves[i].To, true
}

// withCodes returns a batch without some columns, and with the code and distance of each row.
func withCodes(b *record.Batch, squares []float64, code func(row int) string, without ...string) *record.Batch {
	codes, distances := array.NewStringBuilder(record.Mem), array.NewFloat32Builder(record.Mem)
	for i, square := range squares {
		codes.Append(code(i))
		distances.Append(float32(math.Sqrt(square)))
	}
	b = record.Without(b, without...)
	return record.With(record.With(b, "code", codes.NewArray()), "distance", distances.NewArray())
}

// Centroid is one row of the centroids that [Cluster] returns.
type Centroid struct {
	Code     string    `arrow:"code"`     // see [Code]
	Size     int64     `arrow:"size"`     // number of rows
	Inertia  float64   `arrow:"inertia"`  // sum of the rows' squared distances, times their weights
	Centroid []float32 `arrow:"centroid"` // the point that distances are measured from

	// Silhouette is the mean silhouette of the cluster's rows, estimated from about 1,000 rows of the whole data: -1 to
	// 1, higher if the cluster is compact and apart from the others of its level; 0 if there are none of it.
	Silhouette float64 `arrow:"silhouette"`
}

// centroidsFn emits the non-empty clusters of a finished level, sorted by code.
type centroidsFn struct{ Config Config }

func (fn *centroidsFn) ProcessElement(m *model, emit func(*record.Batch)) {
	var list []Centroid
	for g, n := range m.Sizes {
		if n > 0 {
			list = append(list, Centroid{Code(g, fn.Config.Branching[:m.Level+1]), n, m.Inertia[g], m.centroid(g), m.Silhouettes[g]})
		}
	}
	if len(list) > 0 {
		emit(record.Of(list))
	}
}
