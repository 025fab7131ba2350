package kmeans

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[measureFn]())
}

// maxValue keeps squared distances well within the range of float32.
const maxValue = 1e15

// measureFn counts rows, finds the largest magnitude and the width, and rejects invalid values.
type measureFn struct {
	Column   string
	Reserved []string // columns that the input must not have
}

func (fn *measureFn) ProcessElement(b *record.Batch, emit func(*tally)) error {
	if b.NumRows() == 0 {
		emit(&tally{})
		return nil
	}
	data, width, err := vectors(b, fn.Column)
	if err != nil {
		return err
	}
	largest, err := checkRows(b, fn.Column, data, width, fn.Reserved...)
	if err != nil {
		return err
	}
	emit(&tally{Rows: b.NumRows(), Max: largest, Widths: []int{width}})
	return nil
}

// checkRows rejects invalid values and reserved columns, and returns the largest magnitude.
func checkRows(b *record.Batch, column string, data []float32, width int, reserved ...string) (largest float64, err error) {
	if err := record.Reserve(b, reserved...); err != nil {
		return 0, fmt.Errorf("kmeans: %w", err)
	}
	for i, v := range data {
		x := math.Abs(float64(v))
		if !(x <= maxValue) {
			return 0, fmt.Errorf("kmeans: column %q: row %d of a batch (%s) holds %v at index %d; values must be numbers of magnitude up to %g",
				column, i/width, record.Describe(b, i/width, column), v, i%width, maxValue)
		}
		largest = max(largest, x)
	}
	return largest, nil
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
		buf = buf[:0]
		for _, v := range data[i*width : (i+1)*width] {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
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
