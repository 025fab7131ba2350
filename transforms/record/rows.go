package record

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// column is one exported field of a row struct.
type column struct {
	name  string
	index int
	typ   reflect.Type
}

var (
	bytesType  = reflect.TypeFor[[]byte]()
	vectorType = reflect.TypeFor[[]float32]()
	listType   = reflect.TypeFor[[]int32]()
	scoresType = reflect.TypeFor[[]float64]()
)

// columns lists the fields of a row struct. It panics on a type that cannot be a row, since that is a mistake in the
// program and not in the data.
func columns(t reflect.Type) []column {
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("record: rows must be structs, not %v", t))
	}
	var cols []column
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name := f.Tag.Get("arrow")
		if name == "" {
			panic(fmt.Sprintf("record: field %v.%s needs a tag `arrow:\"column name\"`", t, f.Name))
		}
		c := column{name: name, index: i, typ: f.Type}
		dataType(c, 1) // panics on a type without a column
		cols = append(cols, c)
	}
	if len(cols) == 0 {
		panic(fmt.Sprintf("record: %v has no exported fields", t))
	}
	return cols
}

// dataType returns the Arrow type of a field; width is the length of a []float32.
func dataType(c column, width int) arrow.DataType {
	switch c.typ {
	case bytesType:
		return arrow.BinaryTypes.Binary
	case vectorType:
		return arrow.FixedSizeListOf(int32(width), arrow.PrimitiveTypes.Float32)
	case listType:
		return arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int32)
	case scoresType:
		return arrow.ListOfNonNullable(arrow.PrimitiveTypes.Float64)
	}
	switch c.typ.Kind() {
	case reflect.String:
		return arrow.BinaryTypes.String
	case reflect.Bool:
		return arrow.FixedWidthTypes.Boolean
	case reflect.Int32:
		return arrow.PrimitiveTypes.Int32
	case reflect.Int64:
		return arrow.PrimitiveTypes.Int64
	case reflect.Float32:
		return arrow.PrimitiveTypes.Float32
	case reflect.Float64:
		return arrow.PrimitiveTypes.Float64
	}
	panic(fmt.Sprintf("record: column %q: Go type %v has no column type; use string, bool, int32, int64, float32, float64, []byte, []float32, []float64 or []int32", c.name, c.typ))
}

// Schema returns the Arrow schema of rows of type T: one non-nullable column per exported field, named by its `arrow`
// tag. A []float32 field becomes a fixed_size_list<float32>; widths gives the list sizes in field order. It panics if T
// cannot be a row or if the number of widths is wrong.
func Schema[T any](widths ...int) *arrow.Schema { return schema(reflect.TypeFor[T](), widths) }

func schema(t reflect.Type, widths []int) *arrow.Schema {
	cols := columns(t)
	fields := make([]arrow.Field, len(cols))
	rest := widths
	for i, c := range cols {
		width := 1
		if c.typ == vectorType {
			if len(rest) == 0 || rest[0] < 1 {
				panic(fmt.Sprintf("record: Schema[%v]: column %q needs a width of at least 1; widths given: %v", t, c.name, widths))
			}
			width, rest = rest[0], rest[1:]
		}
		fields[i] = arrow.Field{Name: c.name, Type: dataType(c, width)}
	}
	if len(rest) > 0 {
		panic(fmt.Sprintf("record: Schema[%v]: %d widths given, %d too many", t, len(widths), len(rest)))
	}
	return arrow.NewSchema(fields, nil)
}

// Of makes a batch from rows, structs whose exported fields have `arrow:"name"` tags and types string, bool, int32,
// int64, float32, float64, []byte, []float32, []float64 or []int32. A []float32 column is a fixed_size_list<float32> as
// wide as the first row's slice (1 if there are no rows); a []int32 or []float64 column is a list, of any length in each
// row. Of copies everything. It panics if T cannot be a row, or if vectors of one column are empty or differ in length.
func Of[T any](rows []T) *Batch {
	b, err := write(reflect.ValueOf(rows))
	if err != nil {
		panic(err.Error())
	}
	return b
}

// write makes a batch from a slice of row structs. Vectors of one column that are empty or differ in length are errors.
func write(rows reflect.Value) (*Batch, error) {
	cols := columns(rows.Type().Elem())
	var widths []int
	for _, c := range cols {
		if c.typ != vectorType {
			continue
		}
		width := 1
		if rows.Len() > 0 {
			width = rows.Index(0).Field(c.index).Len()
		}
		if width == 0 {
			return nil, fmt.Errorf("record: column %q: row 0 holds an empty vector", c.name)
		}
		widths = append(widths, width)
	}
	b := array.NewRecordBuilder(Mem, schema(rows.Type().Elem(), widths))
	b.Reserve(rows.Len())
	for i, c := range cols {
		if err := writeColumn(b.Field(i), c, rows); err != nil {
			return nil, err
		}
	}
	return New(b.NewRecord()), nil
}

// writeColumn appends one field of all rows to a column builder.
func writeColumn(b array.Builder, c column, rows reflect.Value) error {
	n, field := rows.Len(), func(i int) reflect.Value { return rows.Index(i).Field(c.index) }
	switch b := b.(type) {
	case *array.StringBuilder:
		for i := range n {
			b.Append(field(i).String())
		}
	case *array.BooleanBuilder:
		for i := range n {
			b.Append(field(i).Bool())
		}
	case *array.Int32Builder:
		for i := range n {
			b.Append(int32(field(i).Int()))
		}
	case *array.Int64Builder:
		for i := range n {
			b.Append(field(i).Int())
		}
	case *array.Float32Builder:
		for i := range n {
			b.Append(float32(field(i).Float()))
		}
	case *array.Float64Builder:
		for i := range n {
			b.Append(field(i).Float())
		}
	case *array.BinaryBuilder:
		for i := range n {
			b.Append(append([]byte{}, field(i).Bytes()...)) // never nil, which would become a null
		}
	case *array.ListBuilder:
		for i := range n {
			b.Append(true)
			switch values := b.ValueBuilder().(type) {
			case *array.Int32Builder:
				values.AppendValues(field(i).Interface().([]int32), nil)
			case *array.Float64Builder:
				values.AppendValues(field(i).Interface().([]float64), nil)
			}
		}
	case *array.FixedSizeListBuilder:
		values := b.ValueBuilder().(*array.Float32Builder)
		width := int(b.Type().(*arrow.FixedSizeListType).Len())
		values.Reserve(n * width)
		for i := range n {
			v := field(i).Interface().([]float32)
			if len(v) != width {
				return fmt.Errorf("record: column %q: row %d holds %d values, row 0 holds %d; all vectors of a column must be equally long", c.name, i, len(v), width)
			}
			b.Append(true)
			values.AppendValues(v, nil)
		}
	}
	return nil
}

// Rows reads the columns named by T's `arrow` tags and ignores the others. A missing column, a column of another type
// and a null are errors that name the column. The rows share no memory with the batch.
func Rows[T any](b *Batch) ([]T, error) {
	rows := make([]T, b.NumRows())
	if err := read(b, reflect.ValueOf(rows)); err != nil {
		return nil, err
	}
	return rows, nil
}

// read fills a slice of row structs, one for each row of the batch.
func read(b *Batch, rows reflect.Value) error {
	for _, c := range columns(rows.Type().Elem()) {
		if err := readColumn(b, c, rows); err != nil {
			return err
		}
	}
	return nil
}

// readColumn sets one field of all rows.
func readColumn(b *Batch, c column, rows reflect.Value) error {
	n, field := rows.Len(), func(i int) reflect.Value { return rows.Index(i).Field(c.index) }
	if c.typ == vectorType {
		data, width, err := matrix(b, c.name)
		if err != nil {
			return err
		}
		data = append([]float32{}, data...)
		for i := range n {
			field(i).Set(reflect.ValueOf(data[i*width : (i+1)*width : (i+1)*width]))
		}
		return nil
	}
	col, err := find(b, c.name, dataType(c, 1).String())
	if err != nil {
		return err
	}
	if got, want := col.DataType(), dataType(c, 1); !arrow.TypeEqual(got, want) {
		return fmt.Errorf("record: column %q: expected %v, got %v", c.name, want, got)
	}
	switch col := col.(type) {
	case *array.String:
		for i := range n {
			field(i).SetString(strings.Clone(col.Value(i)))
		}
	case *array.Boolean:
		for i := range n {
			field(i).SetBool(col.Value(i))
		}
	case *array.Int32:
		for i := range n {
			field(i).SetInt(int64(col.Value(i)))
		}
	case *array.Int64:
		for i := range n {
			field(i).SetInt(col.Value(i))
		}
	case *array.Float32:
		for i := range n {
			field(i).SetFloat(float64(col.Value(i)))
		}
	case *array.Float64:
		for i := range n {
			field(i).SetFloat(col.Value(i))
		}
	case *array.Binary:
		for i := range n {
			field(i).SetBytes(append([]byte{}, col.Value(i)...))
		}
	case *array.List:
		for i := range n {
			begin, end := col.ValueOffsets(i)
			switch values := col.ListValues().(type) {
			case *array.Int32:
				field(i).Set(reflect.ValueOf(append([]int32{}, values.Int32Values()[begin:end]...)))
			case *array.Float64:
				field(i).Set(reflect.ValueOf(append([]float64{}, values.Float64Values()[begin:end]...)))
			}
		}
	}
	return nil
}

// find returns a column without nulls; want describes the expected type.
func find(b *Batch, name, want string) (arrow.Array, error) {
	idx := b.Schema().FieldIndices(name)
	if len(idx) != 1 {
		return nil, fmt.Errorf("record: expected one column %q of type %s, got %d in the columns %s", name, want, len(idx), describe(b.Schema()))
	}
	col := b.Column(idx[0])
	if n := col.NullN(); n > 0 {
		return nil, fmt.Errorf("record: column %q: expected %s without nulls, got %d nulls in %d rows", name, want, n, col.Len())
	}
	return col, nil
}

// describe lists the columns of a schema as "name type, name type".
func describe(s *arrow.Schema) string {
	var d []string
	for _, f := range s.Fields() {
		d = append(d, fmt.Sprintf("%s %v", f.Name, f.Type))
	}
	return strings.Join(d, ", ")
}

// All reads the rows of all batches of a GroupByKey or side-input iterator, in order of arrival, which varies: sort
// them by a key before use.
func All[T any](iter func(**Batch) bool) ([]T, error) {
	var all []T
	var b *Batch
	for iter(&b) {
		rows, err := Rows[T](b)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}
