package kmeans

import (
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[sphereFn]()) }

// sphereFn scales the vectors of a batch to length 1.
type sphereFn struct{ Column string }

func (fn *sphereFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	return onSphere(b, fn.Column)
}

// onSphere returns a batch with its vectors scaled to length 1; those of length 0 stay so.
func onSphere(b *record.Batch, column string) (*record.Batch, error) {
	if b.NumRows() == 0 {
		return b, nil
	}
	data, width, err := vectors(b, column)
	if err != nil {
		return nil, err
	}
	unit := make([]float32, len(data))
	for i := 0; i < len(data); i += width {
		normalize(unit[i:][:width], data[i:][:width])
	}
	values, err := record.FromDense(column, compute.Engine().Matrix(unit, len(data)/width, width))
	if err != nil {
		return nil, err
	}
	return record.With(record.Without(b, column), column, values), nil
}

// normalize sets unit to x scaled to length 1, or to 0 if x is 0. It may be x.
func normalize(unit, x []float32) {
	scale := 1.0
	if square := vecs.SquareNorm(x); square > 0 {
		scale = 1 / math.Sqrt(square)
	}
	for i, v := range x {
		unit[i] = float32(float64(v) * scale)
	}
}
