package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// With returns b with the column added, or replacing the one of that name. It shares the memory of the other columns.
func With(b *Batch, name string, column arrow.Array) *Batch {
	fields, columns := b.Schema().Fields(), slices.Clone(b.Columns())
	field := arrow.Field{Name: name, Type: column.DataType(), Nullable: column.NullN() > 0}
	if at := b.Schema().FieldIndices(name); len(at) > 0 {
		fields[at[0]], columns[at[0]] = field, column
	} else {
		fields, columns = append(fields, field), append(columns, column)
	}
	return rebuild(b, fields, columns)
}

// Without returns b without the columns of the given names, if it has them.
func Without(b *Batch, names ...string) *Batch {
	var fields []arrow.Field
	var columns []arrow.Array
	for i, f := range b.Schema().Fields() {
		if !slices.Contains(names, f.Name) {
			fields, columns = append(fields, f), append(columns, b.Column(i))
		}
	}
	return rebuild(b, fields, columns)
}

func rebuild(b *Batch, fields []arrow.Field, columns []arrow.Array) *Batch {
	metadata := b.Schema().Metadata()
	return New(array.NewRecord(arrow.NewSchema(fields, &metadata), columns, b.NumRows()))
}

// Describe describes a row by the values of its columns, for errors, leaving out the columns in without.
func Describe(b *Batch, row int, without ...string) string {
	var parts []string
	for i, column := range b.Columns() {
		if name := b.ColumnName(i); !slices.Contains(without, name) {
			parts = append(parts, fmt.Sprintf("%s=%s", name, column.ValueStr(row)))
		}
	}
	return strings.Join(parts, ", ")
}

// Name identifies a batch in errors by its first row, leaving out the columns in without.
func Name(b *Batch, without ...string) string {
	if b.NumRows() == 0 {
		return "an empty batch"
	}
	return "the batch that begins with " + Describe(b, 0, without...)
}

// Reserve returns an error if a batch already has a column with one of the names, which its output needs.
func Reserve(b *Batch, names ...string) error {
	for _, name := range names {
		if b.Schema().HasField(name) {
			return fmt.Errorf("the input has a column %q, which the output needs; rename it", name)
		}
	}
	return nil
}
