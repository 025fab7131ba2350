package parquet

import (
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/schema"

	"github.com/sdr-ml/sdr/transforms/arrowipc"
)

// column is an Arrow field and what holds it in a file: a leaf column, or other
// columns where it is a struct, a list or a map.
type column struct {
	field arrow.Field
	// levels are the definition and repetition levels that say which of its
	// values are there and which belong to one list.
	levels file.LevelInfo
	// index and descr are those of a leaf column.
	index int
	descr *schema.Column
	// children are the fields of a struct, or the items of a list or map.
	children []*column
}

// leaves are the leaf columns that hold a column, in the order of the file.
func (c *column) leaves() iter.Seq[*column] {
	return func(yield func(*column) bool) { c.eachLeaf(yield) }
}

func (c *column) eachLeaf(yield func(*column) bool) bool {
	if c.children == nil {
		return yield(c)
	}
	for _, child := range c.children {
		if !child.eachLeaf(yield) {
			return false
		}
	}
	return true
}

// allColumns are the columns of a file as its Arrow schema has them.
func (r *Reader) allColumns() (cols []*column, err error) {
	root := r.file.MetaData().Schema.Root()
	origin, err := r.arrowSchema()
	if err != nil {
		return nil, err
	}
	for i := range root.NumFields() {
		c, err := r.column(root.Field(i), file.LevelInfo{NullSlotUsage: 1})
		if err != nil {
			return nil, err
		}
		if origin != nil && origin.NumFields() == root.NumFields() {
			c.restore(origin.Field(i))
		}
		cols = append(cols, c)
	}
	return cols, nil
}

// whole finds a column by its name.
func (r *Reader) whole(name string) (*column, error) {
	root := r.file.MetaData().Schema.Root()
	i := root.FieldIndexByName(name)
	if i < 0 {
		return nil, fmt.Errorf("there is no column %s", name)
	}
	return r.column(root.Field(i), file.LevelInfo{NullSlotUsage: 1})
}

// schemaKey is the key of the metadata that holds the Arrow schema, an IPC stream
// without records in base64.
const schemaKey = "ARROW:schema"

// arrowSchema is the Arrow schema that the file was written from, nil if the file
// does not tell.
func (r *Reader) arrowSchema() (*arrow.Schema, error) {
	text, ok := r.Metadata(schemaKey)
	if !ok {
		return nil, nil
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, fmt.Errorf("metadata %s: %w", schemaKey, err)
	}
	stream, err := arrowipc.OpenStream(data)
	if err != nil {
		return nil, fmt.Errorf("metadata %s: %w", schemaKey, err)
	}
	return stream.Schema(), nil
}

// leaf finds the leaf column of a path, which names its field.
func (r *Reader) leaf(path string) (*column, error) {
	sc := r.file.MetaData().Schema
	i := sc.ColumnIndexByName(path)
	if i < 0 {
		return nil, fmt.Errorf("there is no column %s", path)
	}
	descr := sc.Column(i)
	if descr.MaxRepetitionLevel() > 0 {
		return nil, fmt.Errorf("column %s holds lists", path)
	}
	t, err := leafType(descr.SchemaNode().(*schema.PrimitiveNode))
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", path, err)
	}
	levels := file.LevelInfo{NullSlotUsage: 1, DefLevel: descr.MaxDefinitionLevel()}
	return &column{field: arrow.Field{Name: path, Type: t, Nullable: levels.DefLevel > 0}, levels: levels, index: i, descr: descr}, nil
}

// column makes the column of a node below nodes of the given levels.
func (r *Reader) column(n schema.Node, levels file.LevelInfo) (*column, error) {
	switch n.RepetitionType() {
	case parquet.Repetitions.Repeated: // a list without a group around it
		return r.list(n, n, levels)
	case parquet.Repetitions.Optional:
		levels.IncrementOptional()
	}
	group, ok := n.(*schema.GroupNode)
	if !ok {
		return r.primitive(n, levels)
	}
	if kind := group.LogicalType(); kind.Equals(schema.ListLogicalType{}) || kind.Equals(schema.MapLogicalType{}) {
		if group.NumFields() != 1 || group.Field(0).RepetitionType() != parquet.Repetitions.Repeated {
			return nil, fmt.Errorf("column %s: a %v needs one repeated field", n.Path(), kind)
		}
		return r.list(n, group.Field(0), levels)
	}
	return r.structOf(group, levels)
}

func (r *Reader) primitive(n schema.Node, levels file.LevelInfo) (*column, error) {
	sc := r.file.MetaData().Schema
	t, err := leafType(n.(*schema.PrimitiveNode))
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", n.Path(), err)
	}
	i := sc.ColumnIndexByNode(n)
	return &column{field: field(n, t), levels: levels, index: i, descr: sc.Column(i)}, nil
}

func (r *Reader) structOf(n *schema.GroupNode, levels file.LevelInfo) (*column, error) {
	c := &column{levels: levels}
	for i := range n.NumFields() {
		child, err := r.column(n.Field(i), levels)
		if err != nil {
			return nil, err
		}
		c.children = append(c.children, child)
	}
	if len(c.children) == 0 {
		return nil, fmt.Errorf("column %s: a struct without fields", n.Path())
	}
	c.field = field(n, c.nested(arrow.STRUCT, 0))
	return c, nil
}

// list makes a column of lists or maps named by the node n, whose items are the
// occurrences of a repeated node.
func (r *Reader) list(n, repeated schema.Node, levels file.LevelInfo) (c *column, err error) {
	kind := arrow.LIST
	if n.LogicalType().Equals(schema.MapLogicalType{}) {
		kind = arrow.MAP
	}
	items := levels
	items.IncrementRepeated()
	c = &column{levels: items, children: make([]*column, 1)}
	c.levels.RepeatedAncestorDefLevel = levels.RepeatedAncestorDefLevel
	group, ok := repeated.(*schema.GroupNode)
	switch {
	case !ok:
		c.children[0], err = r.primitive(repeated, items)
	case n != repeated && group.NumFields() == 1 && kind == arrow.LIST && group.Name() != "array" && group.Name() != n.Name()+"_tuple":
		c.children[0], err = r.column(group.Field(0), items) // parquet.thrift has these rules for files of old writers
	default:
		c.children[0], err = r.structOf(group, items)
	}
	if err != nil {
		return nil, err
	}
	if kind == arrow.MAP && (group == nil || group.NumFields() != 2) {
		return nil, fmt.Errorf("column %s: a map needs keys and values", n.Path())
	}
	c.field = field(n, c.nested(kind, 0))
	return c, nil
}

// field is the Arrow field of a node.
func field(n schema.Node, t arrow.DataType) arrow.Field {
	return arrow.Field{Name: n.Name(), Type: t, Nullable: n.RepetitionType() == parquet.Repetitions.Optional}
}

// nested is the type of a column with children; size is that of fixed-size lists.
func (c *column) nested(kind arrow.Type, size int32) arrow.DataType {
	item := c.children[0].field
	switch kind {
	case arrow.LIST:
		return arrow.ListOfField(item)
	case arrow.FIXED_SIZE_LIST:
		return arrow.FixedSizeListOfField(size, item)
	case arrow.MAP:
		entry := item.Type.(*arrow.StructType)
		m := arrow.MapOf(entry.Field(0).Type, entry.Field(1).Type)
		m.SetItemNullable(entry.Field(1).Nullable)
		return m
	}
	fields := make([]arrow.Field, len(c.children))
	for i, child := range c.children {
		fields[i] = child.field
	}
	return arrow.StructOf(fields...)
}

// restore gives a column the properties of the Arrow field that it was written
// from which Parquet cannot express.
func (c *column) restore(origin arrow.Field) {
	c.field.Metadata = origin.Metadata
	switch t := origin.Type.(type) {
	case arrow.ExtensionType:
		c.restore(arrow.Field{Type: t.StorageType(), Metadata: origin.Metadata})
	case *arrow.DictionaryType:
		c.restore(arrow.Field{Type: t.ValueType, Metadata: origin.Metadata})
	case *arrow.StructType:
		if c.field.Type.ID() == arrow.STRUCT && len(c.children) == t.NumFields() {
			for i, child := range c.children {
				child.restore(t.Field(i))
			}
			c.field.Type = c.nested(arrow.STRUCT, 0)
		}
	case *arrow.MapType:
		if c.field.Type.ID() == arrow.MAP {
			c.children[0].restore(t.ElemField())
			c.field.Type = c.nested(arrow.MAP, 0)
		}
	case *arrow.ListType:
		c.restoreList(t.ElemField(), arrow.LIST, 0)
	case *arrow.FixedSizeListType:
		c.restoreList(t.ElemField(), arrow.FIXED_SIZE_LIST, t.Len())
	default:
		if sameValues(t, c.field.Type) {
			c.field.Type = t
		}
	}
}

func (c *column) restoreList(item arrow.Field, kind arrow.Type, size int32) {
	if c.field.Type.ID() == arrow.LIST {
		c.children[0].restore(item)
		c.children[0].field.Name = item.Name
		c.field.Type = c.nested(kind, size)
	}
}

// sameValues reports whether values that a file declares to be of one type can be
// given the other that they were written from.
func sameValues(origin, declared arrow.DataType) bool {
	switch t := origin.(type) {
	case *arrow.LargeStringType:
		return declared.ID() == arrow.STRING
	case *arrow.LargeBinaryType:
		return declared.ID() == arrow.BINARY
	case *arrow.Decimal256Type:
		return declared.ID() == arrow.DECIMAL128
	case *arrow.TimestampType:
		d, ok := declared.(*arrow.TimestampType)
		return ok && t.Unit == d.Unit && (t.TimeZone == "") == (d.TimeZone == "")
	}
	return false
}

// leafType is the Arrow type of a leaf column.
func leafType(n *schema.PrimitiveNode) (arrow.DataType, error) {
	switch t := n.LogicalType().(type) {
	case *schema.DecimalLogicalType:
		if t.Precision() > 38 {
			return &arrow.Decimal256Type{Precision: t.Precision(), Scale: t.Scale()}, nil
		}
		return &arrow.Decimal128Type{Precision: t.Precision(), Scale: t.Scale()}, nil
	case *schema.IntLogicalType:
		return intType(int(t.BitWidth()), t.IsSigned()), nil
	case *schema.TimeLogicalType:
		unit := timeUnit(t.TimeUnit())
		if unit == arrow.Millisecond {
			return &arrow.Time32Type{Unit: unit}, nil
		}
		return &arrow.Time64Type{Unit: unit}, nil
	case *schema.TimestampLogicalType:
		zone := ""
		if t.IsAdjustedToUTC() && !t.IsFromConvertedType() {
			zone = "UTC"
		}
		return &arrow.TimestampType{Unit: timeUnit(t.TimeUnit()), TimeZone: zone}, nil
	case schema.StringLogicalType:
		return arrow.BinaryTypes.String, nil
	case schema.DateLogicalType:
		return arrow.FixedWidthTypes.Date32, nil
	case schema.Float16LogicalType:
		return arrow.FixedWidthTypes.Float16, nil
	case schema.NullLogicalType:
		return arrow.Null, nil
	}
	switch n.PhysicalType() {
	case parquet.Types.Boolean:
		return arrow.FixedWidthTypes.Boolean, nil
	case parquet.Types.Int32:
		return arrow.PrimitiveTypes.Int32, nil
	case parquet.Types.Int64:
		return arrow.PrimitiveTypes.Int64, nil
	case parquet.Types.Int96:
		return arrow.FixedWidthTypes.Timestamp_ns, nil
	case parquet.Types.Float:
		return arrow.PrimitiveTypes.Float32, nil
	case parquet.Types.Double:
		return arrow.PrimitiveTypes.Float64, nil
	case parquet.Types.ByteArray:
		return arrow.BinaryTypes.Binary, nil
	case parquet.Types.FixedLenByteArray:
		return &arrow.FixedSizeBinaryType{ByteWidth: n.TypeLength()}, nil
	}
	return nil, errors.New("unknown type")
}

func intType(bits int, signed bool) arrow.DataType {
	p := arrow.PrimitiveTypes
	if signed {
		return map[int]arrow.DataType{8: p.Int8, 16: p.Int16, 32: p.Int32, 64: p.Int64}[bits]
	}
	return map[int]arrow.DataType{8: p.Uint8, 16: p.Uint16, 32: p.Uint32, 64: p.Uint64}[bits]
}

func timeUnit(u schema.TimeUnitType) arrow.TimeUnit {
	switch u {
	case schema.TimeUnitMillis:
		return arrow.Millisecond
	case schema.TimeUnitMicros:
		return arrow.Microsecond
	}
	return arrow.Nanosecond
}
