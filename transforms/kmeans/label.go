package kmeans

import (
	"cmp"
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

func (fn *labelFn) ProcessElement(b *record.Batch, m *model, emit func(*record.Batch)) error {
	final := m.Level == len(fn.Config.Branching)-1
	if isMarker(b) {
		if !final {
			emit(b)
		}
		return nil
	}
	r, err := readRows(b, fn.Config.Column)
	if err != nil {
		return err
	}
	var rowKeys []rowKey
	if len(m.Moves) > 0 {
		if rowKeys, err = keys(b, fn.Config.Column, fn.Config.Seed); err != nil {
			return err
		}
	}
	clusters := array.NewInt32Builder(record.Mem)
	codes := array.NewStringBuilder(record.Mem)
	distances := array.NewFloat32Builder(record.Mem)
	a := m.assign(r)
	for i := range int(b.NumRows()) {
		g, square := int(a.clusters[i]), a.squares[i]
		if rowKeys != nil {
			if j, ok := slices.BinarySearchFunc(m.Moves, rowKeys[i], func(a move, k rowKey) int { return a.Key.compare(k) }); ok {
				g = m.Moves[j].To
				square = m.square(r.vector(i), g)
			}
		}
		clusters.Append(int32(g))
		codes.Append(Code(g, fn.Config.Branching[:m.Level+1]))
		distances.Append(float32(math.Sqrt(square)))
	}
	if final {
		b = record.Without(b, clusterColumn, fn.Config.Column)
		emit(record.With(record.With(b, "code", codes.NewArray()), "distance", distances.NewArray()))
	} else {
		emit(record.With(b, clusterColumn, clusters.NewArray()))
	}
	return nil
}

// Centroid is one row of the centroids that [Cluster] returns.
type Centroid struct {
	Code     string    `arrow:"code"`     // one digit per level
	Size     int64     `arrow:"size"`     // number of rows
	Inertia  float64   `arrow:"inertia"`  // sum of the rows' squared distances
	Centroid []float32 `arrow:"centroid"` // the point that distances are measured from
}

// centroidsFn emits the non-empty clusters of a finished level, sorted by code.
type centroidsFn struct{ Config Config }

func (fn *centroidsFn) ProcessElement(m *model, emit func(*record.Batch)) {
	var list []Centroid
	for g, n := range m.Sizes {
		if n > 0 {
			list = append(list, Centroid{Code(g, fn.Config.Branching[:m.Level+1]), n, m.Inertia[g], m.centroid(g)})
		}
	}
	slices.SortFunc(list, func(a, b Centroid) int { return cmp.Compare(a.Code, b.Code) })
	if len(list) > 0 {
		emit(record.Of(list))
	}
}
