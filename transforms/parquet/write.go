package parquet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// Write writes records of one schema, at least one, as a Parquet file: one row
// group a record, compressed by zstd, with the Arrow schema and its metadata in the
// file's metadata. Columns may be booleans, integers, floats, strings, bytes, dates
// and timestamps, and structs, lists and fixed-size lists of these.
func Write(w io.Writer, recs ...arrow.Record) (err error) {
	if len(recs) == 0 {
		return errors.New("no record to take the schema from")
	}
	root, meta, err := schemaOf(recs[0].Schema())
	if err != nil {
		return err
	}
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithAllocator(mem))
	f := file.NewParquetWriter(w, root, file.WithWriterProps(props), file.WithWriteMetadata(meta))
	for i, rec := range recs {
		if !rec.Schema().Equal(recs[0].Schema()) {
			return fmt.Errorf("record %d has the schema %v, record 0 %v", i, rec.Schema(), recs[0].Schema())
		}
		if err := writeRowGroup(f.AppendRowGroup(), rec); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	return f.Close()
}

// schemaOf is the Parquet schema of an Arrow schema, and the file's metadata.
func schemaOf(s *arrow.Schema) (*schema.GroupNode, metadata.KeyValueMetadata, error) {
	var fields schema.FieldList
	for _, f := range s.Fields() {
		n, err := nodeOf(f.Name, f)
		if err != nil {
			return nil, nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		fields = append(fields, n)
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Repeated, fields, -1)
	if err != nil {
		return nil, nil, err
	}
	var stream bytes.Buffer
	if err := ipc.NewWriter(&stream, ipc.WithSchema(s), ipc.WithAllocator(mem)).Close(); err != nil {
		return nil, nil, err
	}
	own := s.Metadata()
	keys := append([]string{schemaKey}, own.Keys()...)
	values := append([]string{base64.StdEncoding.EncodeToString(stream.Bytes())}, own.Values()...)
	meta := metadata.NewKeyValueMetadata()
	for i := range keys {
		if err := meta.Append(keys[i], values[i]); err != nil {
			return nil, nil, err
		}
	}
	return root, meta, nil
}

// nodeOf is the Parquet schema of a field, under a name.
func nodeOf(name string, f arrow.Field) (schema.Node, error) {
	repetition := parquet.Repetitions.Required
	if f.Nullable {
		repetition = parquet.Repetitions.Optional
	}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		var fields schema.FieldList
		for _, f := range t.Fields() {
			n, err := nodeOf(f.Name, f)
			if err != nil {
				return nil, err
			}
			fields = append(fields, n)
		}
		return schema.NewGroupNode(name, repetition, fields, -1)
	case *arrow.ListType, *arrow.FixedSizeListType:
		item, err := nodeOf("element", t.(arrow.ListLikeType).ElemField())
		if err != nil {
			return nil, err
		}
		return schema.ListOfWithName(name, item, repetition, -1)
	}
	physical, logical, length := storage(f.Type)
	if logical == nil {
		return nil, fmt.Errorf("%v is not written to Parquet files", f.Type)
	}
	return schema.NewPrimitiveNodeLogical(name, repetition, logical, physical, length, -1)
}

// storage is how values of an Arrow type lie in a file; logical is nil if they cannot.
func storage(t arrow.DataType) (physical parquet.Type, logical schema.LogicalType, length int) {
	p, none := parquet.Types, schema.NoLogicalType{}
	switch t := t.(type) {
	case *arrow.BooleanType:
		return p.Boolean, none, -1
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type:
		return p.Int32, schema.NewIntLogicalType(bits(t), true), -1
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type:
		return p.Int32, schema.NewIntLogicalType(bits(t), false), -1
	case *arrow.Int64Type:
		return p.Int64, schema.NewIntLogicalType(64, true), -1
	case *arrow.Uint64Type:
		return p.Int64, schema.NewIntLogicalType(64, false), -1
	case *arrow.Float32Type:
		return p.Float, none, -1
	case *arrow.Float64Type:
		return p.Double, none, -1
	case *arrow.StringType, *arrow.LargeStringType:
		return p.ByteArray, schema.StringLogicalType{}, -1
	case *arrow.BinaryType, *arrow.LargeBinaryType:
		return p.ByteArray, none, -1
	case *arrow.FixedSizeBinaryType:
		return p.FixedLenByteArray, none, t.ByteWidth
	case *arrow.Date32Type:
		return p.Int32, schema.DateLogicalType{}, -1
	case *arrow.TimestampType:
		units := map[arrow.TimeUnit]schema.TimeUnitType{arrow.Millisecond: schema.TimeUnitMillis, arrow.Microsecond: schema.TimeUnitMicros, arrow.Nanosecond: schema.TimeUnitNanos}
		if unit, ok := units[t.Unit]; ok {
			return p.Int64, schema.NewTimestampLogicalType(t.TimeZone != "", unit), -1
		}
	}
	return p.Undefined, nil, -1
}

func bits(t arrow.DataType) int8 { return int8(t.(arrow.FixedWidthDataType).BitWidth()) }

func writeRowGroup(w file.SerialRowGroupWriter, rec arrow.Record) error {
	for i, col := range rec.Columns() {
		s := newShredder(col, rec.Schema().Field(i).Nullable, 0)
		for row := range col.Len() {
			s.slot(row, 0, 0)
		}
		for _, leaf := range s.leaves() {
			if err := leaf.write(w); err != nil {
				return fmt.Errorf("column %s: %w", rec.ColumnName(i), err)
			}
		}
	}
	return w.Close()
}

// shredder takes an array apart into leaf columns: the values that are there, and
// for each place a definition level that says which of the nested nullable and
// repeated fields around it are there, and a repetition level that says which of the
// lists around it goes on (Dremel, VLDB 2010).
type shredder struct {
	array    arrow.Array
	nullable bool
	depth    int16 // of the lists around the items, where it is a list
	children []*shredder
	// of a leaf:
	def, rep []int16
	at       []int // the values that are there, by their index in array
}

func newShredder(a arrow.Array, nullable bool, depth int16) *shredder {
	s := &shredder{array: a, nullable: nullable, depth: depth}
	switch a := a.(type) {
	case *array.Struct:
		for i, f := range a.DataType().(*arrow.StructType).Fields() {
			s.children = append(s.children, newShredder(a.Field(i), f.Nullable, depth))
		}
	case array.ListLike:
		s.depth++
		item := a.DataType().(arrow.ListLikeType).ElemField()
		s.children = []*shredder{newShredder(a.ListValues(), item.Nullable, s.depth)}
	}
	return s
}

// leaves are the leaf columns, in the order of the file.
func (s *shredder) leaves() []*shredder {
	if s.children == nil {
		return []*shredder{s}
	}
	var all []*shredder
	for _, child := range s.children {
		all = append(all, child.leaves()...)
	}
	return all
}

// slot adds element i of the array, where the levels around it are rep and def.
func (s *shredder) slot(i int, rep, def int16) {
	if s.nullable && s.array.IsNull(i) {
		s.missing(rep, def)
		return
	}
	if s.nullable {
		def++
	}
	switch a := s.array.(type) {
	case *array.Struct:
		for _, child := range s.children {
			child.slot(i, rep, def)
		}
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		if from == to {
			s.missing(rep, def)
		}
		for j := from; j < to; j++ {
			s.children[0].slot(int(j), rep, def+1)
			rep = s.depth
		}
	default:
		s.def, s.rep, s.at = append(s.def, def), append(s.rep, rep), append(s.at, i)
	}
}

// missing adds a place without a value to all leaves.
func (s *shredder) missing(rep, def int16) {
	for _, leaf := range s.leaves() {
		leaf.def, leaf.rep = append(leaf.def, def), append(leaf.rep, rep)
	}
}

// write writes a leaf as the next column.
func (s *shredder) write(group file.SerialRowGroupWriter) error {
	w, err := group.NextColumn()
	if err != nil {
		return err
	}
	switch w := w.(type) {
	case *file.BooleanColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, s.array.(*array.Boolean).Value), s.def, s.rep)
	case *file.Int32ColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, int32s(s.array)), s.def, s.rep)
	case *file.Int64ColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, int64s(s.array)), s.def, s.rep)
	case *file.Float32ColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, s.array.(*array.Float32).Value), s.def, s.rep)
	case *file.Float64ColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, s.array.(*array.Float64).Value), s.def, s.rep)
	case *file.ByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(gather(s.at, byteArrays(s.array)), s.def, s.rep)
	case *file.FixedLenByteArrayColumnChunkWriter:
		value := s.array.(*array.FixedSizeBinary).Value
		_, err = w.WriteBatch(gather(s.at, func(i int) parquet.FixedLenByteArray { return value(i) }), s.def, s.rep)
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// gather returns the values of the indices.
func gather[T any](at []int, value func(i int) T) []T {
	values := make([]T, len(at))
	for i, j := range at {
		values[i] = value(j)
	}
	return values
}

// int32s returns the access to an array whose values Parquet has as 32-bit integers.
func int32s(a arrow.Array) func(i int) int32 {
	switch a := a.(type) {
	case *array.Int8:
		return func(i int) int32 { return int32(a.Value(i)) }
	case *array.Int16:
		return func(i int) int32 { return int32(a.Value(i)) }
	case *array.Uint8:
		return func(i int) int32 { return int32(a.Value(i)) }
	case *array.Uint16:
		return func(i int) int32 { return int32(a.Value(i)) }
	case *array.Uint32:
		return func(i int) int32 { return int32(a.Value(i)) }
	case *array.Date32:
		return func(i int) int32 { return int32(a.Value(i)) }
	}
	return a.(*array.Int32).Value
}

// int64s is int32s for 64-bit integers.
func int64s(a arrow.Array) func(i int) int64 {
	switch a := a.(type) {
	case *array.Uint64:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Timestamp:
		return func(i int) int64 { return int64(a.Value(i)) }
	}
	return a.(*array.Int64).Value
}

// byteArrays returns the access to an array of strings or bytes.
func byteArrays(a arrow.Array) func(i int) parquet.ByteArray {
	switch a := a.(type) {
	case *array.String:
		return func(i int) parquet.ByteArray { return parquet.ByteArray(a.Value(i)) }
	case *array.LargeString:
		return func(i int) parquet.ByteArray { return parquet.ByteArray(a.Value(i)) }
	case *array.LargeBinary:
		return func(i int) parquet.ByteArray { return a.Value(i) }
	}
	value := a.(*array.Binary).Value
	return func(i int) parquet.ByteArray { return value(i) }
}
