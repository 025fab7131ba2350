package kmeans

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[measureFn]())
}

// maxValue keeps squared distances well within the range of float32.
const maxValue = 1e15

// measureFn counts rows, finds the largest length and weight and the width, and rejects invalid values. If the config
// says Local, it keeps the rows for Job.
type measureFn struct {
	Config   Config
	Reserved []string // columns that the input must not have
	Job      string
}

func (fn *measureFn) ProcessElement(b *record.Batch) (*tally, error) {
	if b.NumRows() == 0 {
		fn.keep(b)
		return &tally{}, nil
	}
	data, width, err := vectors(b, fn.Config.Column)
	if err != nil {
		return nil, err
	}
	t := &tally{Rows: b.NumRows(), Widths: []int{width}}
	if t.Longest, err = checkRows(b, fn.Config.Column, data, width, fn.Reserved...); err != nil {
		return nil, err
	}
	if fn.Config.Weight != "" {
		if t.Heaviest, err = checkWeights(b, fn.Config.Weight, fn.Config.Column); err != nil {
			return nil, err
		}
	}
	if fn.Config.Local {
		t.Processes = []string{process}
		if fn.Config.Spherical {
			if b, err = onSphere(b, fn.Config.Column); err != nil {
				return nil, err
			}
		}
		fn.keep(b)
	}
	if fn.Config.Spherical {
		t.Longest = 1
	}
	return t, nil
}

// keep keeps a batch for the local clustering.
func (fn *measureFn) keep(b *record.Batch) {
	if fn.Config.Local {
		keep(fn.Job, b)
	}
}

// checkRows rejects invalid values and reserved columns, and returns the largest length of a vector.
func checkRows(b *record.Batch, column string, data []float32, width int, reserved ...string) (longest float64, err error) {
	if err := record.Reserve(b, reserved...); err != nil {
		return 0, fmt.Errorf("kmeans: %w", err)
	}
	if width == 0 {
		return 0, nil
	}
	for i := range len(data) / width {
		row := data[i*width:][:width]
		square := vecs.SquareNorm(row)
		if !(square <= maxValue*maxValue) {
			for j, v := range row {
				if !(math.Abs(float64(v)) <= maxValue) {
					return 0, fmt.Errorf("kmeans: column %q: row %d of a batch (%s) holds %v at index %d; values must be numbers of magnitude up to %g",
						column, i, record.Describe(b, i, column), v, j, maxValue)
				}
			}
		}
		longest = max(longest, square)
	}
	return math.Sqrt(longest), nil
}

// checkWeights rejects an invalid column of weights, and returns the largest one.
func checkWeights(b *record.Batch, column, vectors string) (heaviest float64, err error) {
	at := b.Schema().FieldIndices(column)
	if len(at) != 1 {
		return 0, fmt.Errorf("kmeans: Weight: expected one column %q of weights, got %d", column, len(at))
	}
	weights, ok := b.Column(at[0]).(*array.Float32)
	if !ok {
		return 0, fmt.Errorf("kmeans: Weight: column %q holds %v; want float32", column, b.Column(at[0]).DataType())
	}
	for i := range weights.Len() {
		w := float64(weights.Value(i))
		if weights.IsNull(i) || !(w >= 0 && w <= maxValue) {
			return 0, fmt.Errorf("kmeans: Weight: column %q: row %d of a batch (%s) holds %v; weights must be numbers from 0 to %g",
				column, i, record.Describe(b, i, vectors), weights.ValueStr(i), maxValue)
		}
		heaviest = max(heaviest, w)
	}
	return heaviest, nil
}

// keys identifies the rows of a batch by a seeded hash of their content.
func keys(b *record.Batch, column string, seed uint64) ([]rowKey, error) {
	data, width, err := vectors(b, column)
	if err != nil {
		return nil, err
	}
	keys := make([]rowKey, b.NumRows())
	var buf, all []byte
	for i := range keys {
		buf = append(buf[:0], arrow.Float32Traits.CastToBytes(data[i*width:(i+1)*width])...)
		for c, col := range b.Columns() {
			if name := b.ColumnName(c); name != column && name != clusterColumn {
				value := col.ValueStr(i)
				buf = binary.AppendUvarint(buf, uint64(len(value)))
				buf = append(buf, value...)
			}
		}
		keys[i] = rowKey{Row: xxh3.HashSeed(buf, seed), Index: i}
		all = binary.LittleEndian.AppendUint64(all, keys[i].Row)
	}
	sum := xxh3.Hash(all)
	for i := range keys {
		keys[i].Batch = sum
	}
	return keys, nil
}
