package parquet

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/bitutil"
	"github.com/apache/arrow/go/v15/arrow/decimal128"
	"github.com/apache/arrow/go/v15/arrow/decimal256"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
)

// build makes the array of a column from the rows that its leaves have read.
func (c *column) build(leaves map[int]file.RecordReader) (arrow.ArrayData, error) {
	if c.children == nil {
		return c.values(leaves[c.index])
	}
	children := make([]arrow.ArrayData, len(c.children))
	for i, child := range c.children {
		var err error
		if children[i], err = child.build(leaves); err != nil {
			return nil, err
		}
	}
	if c.field.Type.ID() == arrow.STRUCT {
		valid, nulls := c.structs(leaves)
		return array.NewData(c.field.Type, children[0].Len(), []*memory.Buffer{valid}, children, nulls, 0), nil
	}
	offsets, present := c.lists(leaves)
	valid, nulls := bitmap(present)
	if t, ok := c.field.Type.(*arrow.FixedSizeListType); ok {
		items, err := fixedItems(int(t.Len()), offsets, present, children[0])
		if err != nil {
			return nil, err
		}
		return array.NewData(t, len(present), []*memory.Buffer{valid}, []arrow.ArrayData{items}, nulls, 0), nil
	}
	starts := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))
	return array.NewData(c.field.Type, len(present), []*memory.Buffer{valid, starts}, children, nulls, 0), nil
}

// levelsOf are the definition and repetition levels that a leaf has read, nil where
// they are all 0.
func levelsOf(r file.RecordReader) (def, rep []int16) {
	def, rep = r.DefLevels(), r.RepLevels()
	if len(def) > 0 {
		def = def[:r.LevelsPos()]
	}
	if len(rep) > 0 {
		rep = rep[:r.LevelsPos()]
	}
	return def, rep
}

// structs tells which structs are there; nil if all are.
func (c *column) structs(leaves map[int]file.RecordReader) (valid *memory.Buffer, nulls int) {
	if !c.field.Nullable {
		return nil, 0
	}
	var present []bool
	for leaf := range c.leaves() {
		def, rep := levelsOf(leaves[leaf.index])
		for i, d := range def {
			inner := rep != nil && rep[i] > c.levels.RepLevel // goes on with a list in the struct
			if d >= c.levels.RepeatedAncestorDefLevel && !inner {
				present = append(present, d >= c.levels.DefLevel)
			}
		}
		break // any leaf tells
	}
	return bitmap(present)
}

// lists tells where each list begins in the items, and ends, and which are there.
func (c *column) lists(leaves map[int]file.RecordReader) (offsets []int32, present []bool) {
	items := int32(0)
	for leaf := range c.leaves() {
		def, rep := levelsOf(leaves[leaf.index])
		for i, d := range def {
			if d < c.levels.RepeatedAncestorDefLevel || rep[i] > c.levels.RepLevel {
				continue // no list here, or within an item
			}
			if rep[i] < c.levels.RepLevel {
				offsets, present = append(offsets, items), append(present, d >= c.levels.DefLevel-1)
			}
			if d >= c.levels.DefLevel {
				items++
			}
		}
		break // any leaf tells
	}
	return append(offsets, items), present
}

// bitmap is the validity bitmap of values that are there or not; nil if all are.
func bitmap(present []bool) (valid *memory.Buffer, nulls int) {
	bits := make([]byte, bitutil.BytesForBits(int64(len(present))))
	for i, p := range present {
		if p {
			bitutil.SetBit(bits, i)
		} else {
			nulls++
		}
	}
	if nulls == 0 {
		return nil, 0
	}
	return memory.NewBufferBytes(bits), nulls
}

// fixedItems are the items of fixed-size lists: Arrow has items in null lists, too.
func fixedItems(size int, offsets []int32, present []bool, items arrow.ArrayData) (arrow.ArrayData, error) {
	var parts []arrow.Array
	for i, p := range present {
		switch n := int(offsets[i+1] - offsets[i]); {
		case !p:
			parts = append(parts, array.MakeArrayOfNull(mem, items.DataType(), size))
		case n != size:
			return nil, fmt.Errorf("a list of %d items among lists of %d", n, size)
		default:
			parts = append(parts, array.MakeFromData(array.NewSliceData(items, int64(offsets[i]), int64(offsets[i+1]))))
		}
	}
	if !slices.Contains(present, false) {
		return items, nil
	}
	all, err := array.Concatenate(parts, mem)
	if err != nil {
		return nil, err
	}
	return all.Data(), nil
}

// values is the array of the values that a leaf has read.
func (c *column) values(r file.RecordReader) (arrow.ArrayData, error) {
	t, n := c.field.Type, r.ValuesWritten()
	if b, ok := r.(file.BinaryRecordReader); ok {
		return c.binary(b)
	}
	nulls, valid := int(r.NullCount()), r.ReleaseValidBits()
	if nulls == 0 {
		valid = nil
	}
	fixed := func(values []byte) (arrow.ArrayData, error) {
		return array.NewData(t, n, []*memory.Buffer{valid, memory.NewBufferBytes(values)}, nil, nulls, 0), nil
	}
	data := r.ReleaseValues().Bytes()
	switch t.ID() {
	case arrow.NULL:
		return array.NewData(t, n, []*memory.Buffer{nil}, nil, n, 0), nil
	case arrow.BOOL:
		bits := make([]byte, bitutil.BytesForBits(int64(n)))
		for i := range n {
			bitutil.SetBitTo(bits, i, data[i] != 0)
		}
		return fixed(bits)
	case arrow.DECIMAL128, arrow.DECIMAL256:
		width := r.Type().ByteSize()
		return c.decimals(n, valid, nulls, func(i int) *big.Int {
			if width == 4 {
				return big.NewInt(int64(arrow.Int32Traits.CastFromBytes(data)[i]))
			}
			return big.NewInt(arrow.Int64Traits.CastFromBytes(data)[i])
		})
	}
	if r.Type() == parquet.Types.Int96 {
		stamps := make([]int64, n)
		for i, v := range parquet.Int96Traits.CastFromBytes(data)[:n] {
			if binary.LittleEndian.Uint32(v[8:]) != 0 { // not a null
				stamps[i] = v.ToTime().UnixNano()
			}
		}
		return fixed(arrow.Int64Traits.CastToBytes(stamps))
	}
	// The other values lie as Arrow has them, but for integers of 1 or 2 bytes, which take 4 in Parquet.
	width := t.(arrow.FixedWidthDataType).Bytes()
	if stored := r.Type().ByteSize(); stored > width {
		narrow := make([]byte, 0, n*width)
		for at := 0; at < n*stored; at += stored {
			narrow = append(narrow, data[at:at+width]...)
		}
		data = narrow
	}
	return fixed(data)
}

// binary is the array of a leaf of byte arrays.
func (c *column) binary(r file.BinaryRecordReader) (arrow.ArrayData, error) {
	chunks := r.GetBuilderChunks()
	data := chunks[0].Data()
	buffers, n := data.Buffers(), data.Len()
	switch t := c.field.Type.(type) {
	case arrow.DecimalType:
		values := chunks[0].(interface{ Value(int) []byte })
		return c.decimals(n, buffers[0], data.NullN(), func(i int) *big.Int { return twosComplement(values.Value(i)) })
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType, *arrow.FixedSizeBinaryType, *arrow.Float16Type:
		return array.NewData(t, n, buffers, nil, data.NullN(), 0), nil
	}
	return nil, fmt.Errorf("%v cannot be made of byte arrays", c.field.Type)
}

// decimals is an array of decimals of which value gives the digits.
func (c *column) decimals(n int, valid *memory.Buffer, nulls int, value func(i int) *big.Int) (arrow.ArrayData, error) {
	var data []byte
	for i := range n {
		v := new(big.Int)
		if nulls == 0 || bitutil.BitIsSet(valid.Bytes(), i) {
			v = value(i)
		}
		if c.field.Type.ID() == arrow.DECIMAL128 {
			data = append(data, arrow.Decimal128Traits.CastToBytes([]decimal128.Num{decimal128.FromBigInt(v)})...)
		} else {
			data = append(data, arrow.Decimal256Traits.CastToBytes([]decimal256.Num{decimal256.FromBigInt(v)})...)
		}
	}
	return array.NewData(c.field.Type, n, []*memory.Buffer{valid, memory.NewBufferBytes(data)}, nil, nulls, 0), nil
}

// twosComplement is the number that big-endian bytes stand for.
func twosComplement(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return v
}
