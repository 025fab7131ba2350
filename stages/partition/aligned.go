package partition

import (
	"fmt"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[beginFn]())
	beam.RegisterDoFn(reflect.TypeFor[selectFn]())
	beam.RegisterDoFn(reflect.TypeFor[chooseFn]())
	beam.RegisterDoFn(reflect.TypeFor[endFn]())
}

// The columns that vectors and the choices so far have between the levels.
const (
	restColumn   = "rest"
	chosenColumn = "chosen"
)

// aligned clusters the vectors once per level, all images together, so that a choice means the same whatever those of the
// levels above are: what these leave over (Residual), or a part of the dimensions (Product).
func aligned(s beam.Scope, vectors beam.PCollection, k kmeans.Config, method string) beam.PCollection {
	levels := k.Branching
	rows := beam.ParDo(s, &beginFn{Column: k.Column}, vectors)
	for level, choices := range levels {
		k.Branching = []int{choices}
		selected := beam.ParDo(s, &selectFn{Column: k.Column, Method: method, Level: level, Levels: len(levels)}, rows)
		assigned, centroids := kmeans.Cluster(s, selected, k)
		rows = beam.ParDo(s, &chooseFn{Method: method}, assigned, beam.SideInput{Input: centroids})
	}
	return beam.ParDo(s, &endFn{}, rows)
}

// beginFn renames the vectors and adds empty codes.
type beginFn struct{ Column string }

func (fn *beginFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	vectors, err := record.Dense(b, fn.Column)
	if err != nil {
		return nil, err
	}
	rest, err := record.FromDense(restColumn, vectors)
	if err != nil {
		return nil, err
	}
	return record.With(record.With(record.Without(b, fn.Column), restColumn, rest), chosenColumn, texts(make([]string, b.NumRows()))), nil
}

// selectFn adds the vectors to cluster at a level.
type selectFn struct {
	Column, Method string
	Level, Levels  int
}

func (fn *selectFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	rest, err := record.Dense(b, restColumn)
	if err != nil {
		return nil, err
	}
	data, rows, width, err := dense.Rows(rest)
	if err != nil {
		return nil, err
	}
	if fn.Method == Product {
		if width < fn.Levels {
			return nil, fmt.Errorf("partition: method %s: features of %d dimensions for %d levels; want at least as many", Product, width, fn.Levels)
		}
		// The first dimensions of whitened features vary most, so they go to the levels in turn.
		var part []float32
		for row := range rows {
			for i := fn.Level; i < width; i += fn.Levels {
				part = append(part, data[row*width+i])
			}
		}
		rest = compute.Engine().Matrix(part, rows, len(part)/rows)
	}
	column, err := record.FromDense(fn.Column, rest)
	if err != nil {
		return nil, err
	}
	return record.With(b, fn.Column, column), nil
}

// chooseFn adds the choice of a level to the codes and, for Residual, subtracts the centroids from the vectors.
type chooseFn struct{ Method string }

func (fn *chooseFn) ProcessElement(b *record.Batch, centroids func(**record.Batch) bool) (*record.Batch, error) {
	type row struct {
		Chosen string `arrow:"chosen"`
		Code   string `arrow:"code"`
	}
	rows, err := record.Rows[row](b)
	if err != nil {
		return nil, err
	}
	all, err := record.All[kmeans.Centroid](centroids)
	if err != nil {
		return nil, err
	}
	byCode := map[string][]float32{}
	for _, c := range all {
		byCode[c.Code] = c.Centroid
	}
	codes := make([]string, len(rows))
	for i, r := range rows {
		if codes[i] = r.Code; r.Chosen != "" {
			codes[i] = r.Chosen + "." + r.Code
		}
	}
	b = record.With(record.Without(b, "code", "distance"), chosenColumn, texts(codes))
	if fn.Method != Residual {
		return b, nil
	}
	rest, err := record.Dense(b, restColumn)
	if err != nil {
		return nil, err
	}
	data, n, width, err := dense.Rows(rest)
	if err != nil {
		return nil, err
	}
	left := make([]float32, 0, len(data))
	for i, r := range rows {
		for j, v := range byCode[r.Code] {
			left = append(left, data[i*width+j]-v)
		}
	}
	column, err := record.FromDense(restColumn, compute.Engine().Matrix(left, n, width))
	if err != nil {
		return nil, err
	}
	return record.With(b, restColumn, column), nil
}

// endFn names the codes as Cluster does and drops the vectors.
type endFn struct{}

func (*endFn) ProcessElement(b *record.Batch) *record.Batch {
	codes := b.Column(b.Schema().FieldIndices(chosenColumn)[0])
	return record.With(record.Without(b, restColumn, chosenColumn), "code", codes)
}

// texts returns a column of strings.
func texts(values []string) *array.String {
	b := array.NewStringBuilder(record.Mem)
	b.AppendValues(values, nil)
	return b.NewStringArray()
}
