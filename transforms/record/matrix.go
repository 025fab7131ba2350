package record

import (
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// Dense returns a column of vectors as a matrix of shape (NumRows, width) on the engine of this process. It is a
// zero-copy view and must not be modified. The column is a fixed_size_list<float32>, or a list<float32> with lists of
// equal length, as Parquet readers return. Slices of records work. Nulls are errors, and so is a batch without rows,
// since a tensor cannot be empty.
func Dense(b *Batch, column string) (*tensor.Dense, error) {
	data, width, err := matrix(b, column)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("record: column %q: a tensor needs at least one value, got %d rows of width %d", column, b.NumRows(), width)
	}
	return compute.Engine().Matrix(data, len(data)/width, width), nil
}

// matrix returns the values of a column of vectors, [NumRows, width] row-major. A list column without rows has width 0.
func matrix(b *Batch, column string) (data []float32, width int, err error) {
	const want = "fixed_size_list<float32> or list<float32>"
	col, err := find(b, column, want)
	if err != nil {
		return nil, 0, err
	}
	lists, ok := col.(array.ListLike)
	var values *array.Float32
	if ok {
		values, ok = lists.ListValues().(*array.Float32)
	}
	if !ok {
		return nil, 0, fmt.Errorf("record: column %q: expected %s, got %v", column, want, col.DataType())
	}
	rows := lists.Len()
	if t, ok := col.DataType().(*arrow.FixedSizeListType); ok {
		width = int(t.Len())
	} else if rows > 0 {
		start, end := lists.ValueOffsets(0)
		width = int(end - start)
	}
	if rows == 0 {
		return []float32{}, width, nil
	}
	first, _ := lists.ValueOffsets(0)
	for i := range rows {
		if start, end := lists.ValueOffsets(i); start != first+int64(i*width) || end != start+int64(width) {
			return nil, 0, fmt.Errorf("record: column %q: row %d holds %d values, row 0 holds %d; all vectors of a column must be equally long", column, i, end-start, width)
		}
	}
	last := int(first) + rows*width
	if values.NullN() > 0 {
		for i := int(first); i < last; i++ {
			if values.IsNull(i) {
				return nil, 0, fmt.Errorf("record: column %q: expected %s without nulls, got a null in row %d", column, want, (i-int(first))/width)
			}
		}
	}
	return values.Float32Values()[first:last:last], width, nil
}

// FromDense makes a fixed_size_list<float32> column from a float32 matrix of shape (rows, width) without copying; the
// tensor must not be modified afterwards. The name of the column is used in errors. Tensors of another type or rank,
// transposed tensors and strided views are errors.
func FromDense(name string, t *tensor.Dense) (arrow.Array, error) {
	data, rows, width, err := dense.Rows(t)
	if err != nil {
		return nil, fmt.Errorf("record: column %q: %w", name, err)
	}
	values := array.NewData(arrow.PrimitiveTypes.Float32, rows*width,
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Float32Traits.CastToBytes(data))}, nil, 0, 0)
	list := array.NewData(arrow.FixedSizeListOf(int32(width), arrow.PrimitiveTypes.Float32), rows,
		[]*memory.Buffer{nil}, []arrow.ArrayData{values}, 0, 0)
	return array.NewFixedSizeListData(list), nil
}
