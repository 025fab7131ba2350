// Package classes maps the labels of rows to class indices from 0.
package classes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/transforms/record"
)

// Set is the distinct labels of some rows, ascending: numbers from 0, or names.
type Set struct {
	numbers []int64  // either these
	names   []string // or these
}

// Of returns the classes of a column of labels and the class index of each row. Labels are int64, at least 0, or
// non-empty strings; anything else is an error, including a null.
func Of(b *record.Batch, column string) (*Set, []int64, error) {
	at := b.Schema().FieldIndices(column)
	if len(at) != 1 {
		return nil, nil, fmt.Errorf("expected one column %q of labels, got %d", column, len(at))
	}
	c := b.Column(at[0])
	if c.NullN() > 0 {
		return nil, nil, fmt.Errorf("column %q: %d of %d rows have no label", column, c.NullN(), c.Len())
	}
	switch c := c.(type) {
	case *array.Int64:
		values := c.Int64Values()
		if i := slices.IndexFunc(values, func(v int64) bool { return v < 0 }); i >= 0 {
			return nil, nil, fmt.Errorf("column %q: the label of row %d is %d; want numbers from 0, or a column of names", column, i, values[i])
		}
		distinct, numbers := count(values)
		return &Set{numbers: distinct}, numbers, nil
	case *array.String:
		values := make([]string, c.Len())
		for i := range values {
			if values[i] = c.Value(i); values[i] == "" {
				return nil, nil, fmt.Errorf("column %q: the label of row %d is empty", column, i)
			}
		}
		distinct, numbers := count(values)
		return &Set{names: distinct}, numbers, nil
	}
	return nil, nil, fmt.Errorf("column %q holds %v; want labels as int64 or utf8", column, c.DataType())
}

// Lists returns the classes of each row of a column of lists of class numbers, list<int32>, and one more than the highest
// class; ok is false if the column has no lists. A number below 0 is an error.
func Lists(b *record.Batch, column string) (sets [][]int64, classes int, ok bool, err error) {
	at := b.Schema().FieldIndices(column)
	if len(at) != 1 || b.Column(at[0]).DataType().ID() != arrow.LIST {
		return nil, 0, false, nil // Of says what else is wrong
	}
	c := b.Column(at[0]).(*array.List)
	values, isNumber := c.ListValues().(*array.Int32)
	if !isNumber || c.NullN() > 0 || values.NullN() > 0 {
		return nil, 0, true, fmt.Errorf("column %q holds %v with %d nulls; want lists of class numbers as int32, without nulls", column, c.DataType(), c.NullN())
	}
	sets = make([][]int64, c.Len())
	for i := range sets {
		begin, end := c.ValueOffsets(i)
		for _, v := range values.Int32Values()[begin:end] {
			if v < 0 {
				return nil, 0, true, fmt.Errorf("column %q: a label of row %d is %d; want numbers from 0", column, i, v)
			}
			sets[i] = append(sets[i], int64(v))
			classes = max(classes, int(v)+1)
		}
	}
	return sets, classes, true, nil
}

// Scores is the column that classification of rows with lists of classes adds.
const Scores = "scores"

// WithScores adds the column Scores to a batch, of scores, [rows, classes].
func WithScores(b *record.Batch, scores []float32, classes int) *record.Batch {
	lists := array.NewListBuilderWithField(record.Mem, arrow.Field{Name: "item", Type: arrow.PrimitiveTypes.Float64})
	values := lists.ValueBuilder().(*array.Float64Builder)
	for row := range int(b.NumRows()) {
		lists.Append(true)
		for _, v := range scores[row*classes:][:classes] {
			values.Append(float64(v))
		}
	}
	return record.With(b, Scores, lists.NewArray())
}

// count returns the distinct values and, for each value, its index among them.
func count[T cmp.Ordered](values []T) (distinct []T, numbers []int64) {
	distinct = slices.Compact(slices.Sorted(slices.Values(values)))
	numbers = make([]int64, len(values))
	for i, v := range values {
		at, _ := slices.BinarySearch(distinct, v)
		numbers[i] = int64(at)
	}
	return distinct, numbers
}

// Len is the number of classes.
func (s *Set) Len() int { return len(s.numbers) + len(s.names) }

// Column returns the labels of the classes with the given indices.
func (s *Set) Column(numbers []int64) arrow.Array {
	if s.names != nil {
		b := array.NewStringBuilder(record.Mem)
		for _, n := range numbers {
			b.Append(s.names[n])
		}
		return b.NewArray()
	}
	b := array.NewInt64Builder(record.Mem)
	for _, n := range numbers {
		b.Append(s.numbers[n])
	}
	return b.NewArray()
}
