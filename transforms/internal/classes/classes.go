// Package classes numbers the classes of labelled rows, for what counts them from 0.
package classes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/transforms/record"
)

// Set is the different labels of some rows, ascending: numbers from 0, or names.
type Set struct {
	numbers []int64 // one of the two
	names   []string
}

// Of returns the classes of a column of labels and the number of the class of each
// row. Labels are int64, at least 0, or strings that are not empty; what else there
// is, is an error, also a null.
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

// count returns the different values and which of them each one is.
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

// Column is the labels of classes by their numbers.
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
