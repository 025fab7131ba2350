package parquet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	arrowparquet "github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/schema"
	"github.com/apache/thrift/lib/go/thrift"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/parquet"
)

var mem = memory.NewGoAllocator()

// golden reads types.arrow, which testdata/make_golden.py wrote.
func golden(t *testing.T) arrow.Table {
	t.Helper()
	data, err := os.ReadFile("testdata/types.arrow")
	require.NoError(t, err)
	r, err := ipc.NewFileReader(bytes.NewReader(data))
	require.NoError(t, err)
	recs := make([]arrow.Record, r.NumRecords())
	for i := range recs {
		recs[i], err = r.RecordAt(i)
		require.NoError(t, err)
	}
	return array.NewTableFromRecords(r.Schema(), recs)
}

// open opens a Parquet file in memory.
func open(t require.TestingT, data []byte) *parquet.Reader {
	r, err := parquet.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	return r
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// records reads rows as one table.
func records(t require.TestingT, r *parquet.Reader, begin, end, size int64, paths ...string) arrow.Table {
	var recs []arrow.Record
	for rec, err := range r.Records(begin, end, size, paths...) {
		require.NoError(t, err)
		require.True(t, rec.NumRows() > 0 && rec.NumRows() <= size)
		recs = append(recs, rec)
	}
	return array.NewTableFromRecords(recs[0].Schema(), recs)
}

// whole is a column of a table as one array.
func whole(t require.TestingT, table arrow.Table, i int) arrow.Array {
	all, err := array.Concatenate(table.Column(i).Data().Chunks(), mem)
	require.NoError(t, err)
	return all
}

// same compares arrays; array.Equal alone also compares what is in null structs.
func same(t require.TestingT, want, got arrow.Array, about ...any) {
	if array.Equal(want, got) {
		return
	}
	a, err := want.MarshalJSON()
	require.NoError(t, err)
	b, err := got.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, string(a), string(b), about...)
}

// Whatever the encodings, compression, pages and the cut into records: the values
// and types that pyarrow wrote.
func TestGolden(t *testing.T) {
	want := golden(t)
	for _, name := range []string{"default", "plain", "zstd", "delta", "lz4", "lz4_v2"} {
		t.Run(name, func(t *testing.T) {
			r := open(t, read(t, "testdata/"+name+".parquet"))
			require.EqualValues(t, 7, r.NumRows())
			for begin := range int64(7) {
				for size := int64(1); size <= 7; size++ {
					got := records(t, r, begin, 7, size)
					require.EqualValues(t, 7-begin, got.NumRows())
					for i, f := range want.Schema().Fields() {
						field := got.Schema().Field(i)
						require.True(t, f.Equal(field), "%v, want %v", field, f)
						column := array.NewSlice(whole(t, want, i), begin, 7)
						same(t, column, whole(t, got, i), "%s from %d by %d", f.Name, begin, size)
					}
				}
			}
		})
	}
}

// Values in any encoding are those of the column beside it, in whatever records.
func TestEncodings(t *testing.T) {
	for _, name := range []string{"encoded_v1", "encoded_v2"} {
		r := open(t, read(t, "testdata/"+name+".parquet"))
		compared := 0
		for _, size := range []int64{1, 7, 256} {
			got := records(t, r, 3, 300, size)
			var want arrow.Array
			for i, f := range got.Schema().Fields() {
				if strings.HasSuffix(f.Name, "_PLAIN") {
					want = whole(t, got, i)
					continue
				}
				require.EqualValues(t, 297, want.Len())
				same(t, want, whole(t, got, i), "%s by %d", f.Name, size)
				compared++
			}
		}
		require.Equal(t, 3*(3*3+2*4*3*2), compared)
	}
}

// Without an Arrow schema the values are the same and the types what Parquet says.
func TestGoldenBare(t *testing.T) {
	want := golden(t)
	got := records(t, open(t, read(t, "testdata/bare.parquet")), 0, 7, 100)
	types := map[string]string{
		"large_string": "utf8", "large_binary": "binary", "stamp_zone": "timestamp[ns, tz=UTC]", "null": "null",
		"vector": "list<element: float32, nullable>", "category": "utf8", "uint8": "uint8", "vec": "list<element: float32, nullable>",
	}
	for i, f := range got.Schema().Fields() {
		if name, ok := types[f.Name]; ok {
			require.Equal(t, name, f.Type.String(), f.Name)
		}
		column, wanted := whole(t, got, i), whole(t, want, i)
		if f.Name == "stamp_zone" {
			wanted, column = array.NewInt64Data(wanted.Data()), array.NewInt64Data(column.Data()) // not as in Berlin
		}
		same(t, wanted, column, f.Name)
	}
}

// A file lists its row groups and its leaf columns, and gives whole columns by name.
func TestColumns(t *testing.T) {
	r := open(t, read(t, "testdata/default.parquet"))
	require.Equal(t, []int64{3, 3, 1}, r.Groups())
	var texts []string
	for _, l := range r.Leaves() {
		if l.Path == "int8" || strings.HasPrefix(l.Path, "image.") || strings.HasPrefix(l.Path, "list.") {
			texts = append(texts, fmt.Sprint(l.Path, " ", l.Type, " ", l.InList))
		}
	}
	require.Equal(t, []string{"int8 int8 false", "image.bytes binary false", "image.path utf8 false", "list.list.element float32 true"}, texts)
	got := records(t, r, 0, 7, 2, "list", "image.path")
	require.Equal(t, "list<item: float32, nullable>", strings.ReplaceAll(got.Schema().Field(0).Type.String(), "element", "item"))
	same(t, array.NewFloat32Data(whole(t, golden(t), column(t, "list")).Data().Children()[0]), array.NewFloat32Data(whole(t, got, 0).Data().Children()[0]))
	for _, err := range r.Records(0, 7, 2, "none") {
		require.ErrorContains(t, err, "there is no column none")
	}
}

// column returns the index of a golden column.
func column(t *testing.T, name string) int { return golden(t).Schema().FieldIndices(name)[0] }

func TestInt96(t *testing.T) {
	got := whole(t, records(t, open(t, read(t, "testdata/int96.parquet")), 0, 7, 100), 0).(*array.Timestamp)
	all := golden(t)
	want := whole(t, all, all.Schema().FieldIndices("stamp")[0]).(*array.Timestamp)
	for i := range want.Len() {
		require.Equal(t, want.IsNull(i), got.IsNull(i))
		if want.IsValid(i) {
			require.Equal(t, 1000*want.Value(i), got.Value(i))
		}
	}
}

func TestLeaves(t *testing.T) {
	r := open(t, read(t, "testdata/default.parquet"))
	types := map[string]string{}
	for _, l := range r.Leaves() {
		if !l.InList {
			types[l.Path] = l.Type.String()
		}
	}
	for path, want := range map[string]string{"image.bytes": "binary", "category": "utf8", "struct.in.a": "int32", "uint64": "uint64"} {
		require.Equal(t, want, types[path], path)
	}
	for _, path := range []string{"image", "none", "vector", "vector.list.element"} {
		require.NotContains(t, types, path)
	}
	for size := int64(1); size < 8; size++ {
		got := records(t, r, 1, 4, size, "category", "image.bytes")
		require.Equal(t, []string{"category", "image.bytes"}, []string{got.Schema().Field(0).Name, got.Schema().Field(1).Name})
		require.Equal(t, `[(null) "dog" "cat"]`, whole(t, got, 0).String())
		require.Equal(t, `[(null) (null) "22"]`, whole(t, got, 1).String())
	}
	_, ok := r.Metadata("none")
	require.False(t, ok)
	info, ok := r.Metadata("huggingface")
	require.True(t, ok)
	require.Equal(t, `{"info": 1}`, info)
	for _, err := range r.Records(0, 1, 1, "none") {
		require.EqualError(t, err, "there is no column none")
	}
}

// Lists as old writers nested them; parquet.thrift says what they mean.
func TestOldLists(t *testing.T) {
	values := schema.NewInt32Node
	repeated, required, optional := arrowparquet.Repetitions.Repeated, arrowparquet.Repetitions.Required, arrowparquet.Repetitions.Optional
	list := func(name string, n schema.Node) schema.Node {
		return schema.MustGroup(schema.NewGroupNodeLogical(name, optional, schema.FieldList{n}, schema.ListLogicalType{}, -1))
	}
	root := schema.MustGroup(schema.NewGroupNode("schema", repeated, schema.FieldList{
		list("two", values("item", repeated, -1)),
		values("one", repeated, -1),
		list("tuple", schema.MustGroup(schema.NewGroupNode("array", repeated, schema.FieldList{values("x", required, -1)}, -1))),
		schema.MustGroup(schema.NewGroupNode("group", repeated, schema.FieldList{values("x", optional, -1)}, -1)),
	}, -1))
	var b bytes.Buffer
	w := file.NewParquetWriter(&b, root)
	group := w.AppendRowGroup()
	for _, levels := range [][]int16{{2, 2, 0, 1}, {1, 1, 0, 0}, {2, 2, 0, 1}, {2, 1, 0, 0}} { // [a, b], null or [], []
		c, err := group.NextColumn()
		require.NoError(t, err)
		_, err = c.(*file.Int32ColumnChunkWriter).WriteBatch([]int32{7, 8}, levels, []int16{0, 1, 0, 0})
		require.NoError(t, err)
	}
	require.NoError(t, group.Close())
	require.NoError(t, w.Close())
	got := records(t, open(t, b.Bytes()), 0, 3, 100)
	for i, want := range []string{
		`[[7 8] (null) []]`, `[[7 8] [] []]`, `[{[7 8]} (null) {[]}]`, `[{[7 (null)]} {[]} {[]}]`,
	} {
		require.Equal(t, want, whole(t, got, i).String())
	}
	require.Equal(t, "list<item: int32>", got.Schema().Field(0).Type.String())
	require.Equal(t, "list<array: struct<x: int32>>", got.Schema().Field(2).Type.String())
}

// writable is the golden table without the columns that are only read.
func writable(t *testing.T) []arrow.Record {
	all := golden(t)
	var fields []arrow.Field
	var columns []arrow.Column
	for i, f := range all.Schema().Fields() {
		switch f.Type.ID() {
		case arrow.FLOAT16, arrow.TIME32, arrow.TIME64, arrow.DECIMAL128, arrow.DECIMAL256, arrow.NULL, arrow.MAP:
			continue
		}
		fields, columns = append(fields, f), append(columns, *all.Column(i))
	}
	meta := all.Schema().Metadata()
	table := array.NewTable(arrow.NewSchema(fields, &meta), columns, all.NumRows())
	var recs []arrow.Record
	for r := array.NewTableReader(table, 0); r.Next(); {
		r.Record().Retain()
		recs = append(recs, r.Record())
	}
	return recs
}

// TestWritten compares with a file of which testdata/check_written.py has shown that
// pyarrow reads it as types.arrow. Where the bytes may change, let SDR_UPDATE=1
// write it anew, and run the script.
func TestWritten(t *testing.T) {
	const path = "testdata/written.parquet"
	var b bytes.Buffer
	require.NoError(t, parquet.Write(&b, writable(t)...))
	if os.Getenv("SDR_UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	require.True(t, bytes.Equal(read(t, path), b.Bytes()), "the file differs")
}

// Columns of slices of records, written and read, are what they were.
func TestRoundTrip(t *testing.T) {
	recs := writable(t)
	rapid.Check(t, func(t *rapid.T) {
		column := rapid.IntRange(0, int(recs[0].NumCols())-1).Draw(t, "column")
		s := arrow.NewSchema([]arrow.Field{recs[0].Schema().Field(column)}, nil)
		var parts []arrow.Record
		for _, rec := range recs {
			from := rapid.Int64Range(0, rec.NumRows()).Draw(t, "from")
			to := rapid.Int64Range(from, rec.NumRows()).Draw(t, "to")
			parts = append(parts, array.NewRecord(s, []arrow.Array{rec.Column(column)}, rec.NumRows()).NewSlice(from, to))
		}
		var b bytes.Buffer
		require.NoError(t, parquet.Write(&b, parts...))
		r := open(t, b.Bytes())
		var got []arrow.Record
		for rec, err := range r.Records(0, r.NumRows(), 100) {
			require.NoError(t, err)
			got = append(got, rec)
		}
		for _, part := range parts {
			if part.NumRows() == 0 {
				continue
			}
			same(t, part.Column(0), got[0].Column(0))
			require.True(t, s.Field(0).Equal(got[0].Schema().Field(0)))
			got = got[1:]
		}
		require.Empty(t, got)
	})
}

func TestWriteErrors(t *testing.T) {
	require.ErrorContains(t, parquet.Write(&bytes.Buffer{}), "no record")
	column := func(name string, dt arrow.DataType) arrow.Record {
		s := arrow.NewSchema([]arrow.Field{{Name: name, Type: dt}}, nil)
		return array.NewRecordBuilder(mem, s).NewRecord()
	}
	for _, dt := range []arrow.DataType{arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.Timestamp_s, arrow.ListOf(arrow.Null)} {
		require.ErrorContains(t, parquet.Write(&bytes.Buffer{}, column("x", dt)), "column x: ")
	}
	a, b := column("a", arrow.PrimitiveTypes.Int8), column("b", arrow.PrimitiveTypes.Int8)
	require.ErrorContains(t, parquet.Write(&bytes.Buffer{}, a, b), "record 1 has the schema")
}

// readAll reads a file that may be damaged, all columns or those of the paths.
func readAll(data []byte, paths ...string) error {
	r, err := parquet.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	rows := int64(0)
	for rec, err := range r.Records(0, 100, 2, paths...) {
		if err != nil {
			return err
		}
		rows += rec.NumRows()
		_ = rec.Columns()[0].String()
	}
	if rows < min(r.NumRows(), 100) {
		panic(fmt.Sprintf("%d rows of %d and no error", rows, r.NumRows()))
	}
	return nil
}

// leaves are columns that are read without the Arrow schema in the footer, which
// Arrow's own reader believes.
var leaves = []string{"image.bytes", "string", "int64", "float32"}

// footer returns where the footer of a file begins.
func footer(data []byte) int {
	return len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
}

// Cut or changed at any byte, a file gives an error or as many rows as it says.
func TestDamage(t *testing.T) {
	for _, name := range []string{"default", "plain", "zstd", "delta", "bare", "lz4", "lz4_v2"} {
		sound := read(t, "testdata/"+name+".parquet")
		require.NoError(t, readAll(sound))
		failed := 0
		rapid.Check(t, func(t *rapid.T) {
			paths, end := leaves, len(sound)
			if rapid.Bool().Draw(t, "all columns") {
				paths, end = nil, footer(sound)
			}
			data := bytes.Clone(sound)
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				data[rapid.IntRange(0, end-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
			}
			if readAll(data, paths...) != nil {
				failed++
			}
			require.Error(t, readAll(sound[:rapid.IntRange(0, len(sound)-1).Draw(t, "end")]))
		})
		require.Positive(t, failed)
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"default", "plain", "zstd", "delta", "bare", "int96", "lz4", "lz4_v2"} {
		data, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = readAll(data, leaves...) })
}

// Groups in groups without an end are an error before anything recurses into them.
func TestDepth(t *testing.T) {
	ctx := t.Context()
	for depth, problem := range map[int]string{100: "", 1 << 20: "columns in more than 128 groups"} {
		buf := thrift.NewTMemoryBuffer()
		p := thrift.NewTCompactProtocolConf(buf, nil)
		field := func(id int16, kind thrift.TType, write func() error) {
			require.NoError(t, p.WriteFieldBegin(ctx, "", kind, id))
			require.NoError(t, write())
		}
		field(1, thrift.I32, func() error { return p.WriteI32(ctx, 1) })
		field(2, thrift.LIST, func() error { return p.WriteListBegin(ctx, thrift.STRUCT, depth+1) })
		for i := range depth + 1 {
			require.NoError(t, p.WriteStructBegin(ctx, ""))
			if i == depth {
				field(1, thrift.I32, func() error { return p.WriteI32(ctx, 1) }) // a column of int32
			}
			field(4, thrift.STRING, func() error { return p.WriteString(ctx, "x") })
			if i < depth {
				field(5, thrift.I32, func() error { return p.WriteI32(ctx, 1) })
			}
			require.NoError(t, p.WriteFieldStop(ctx))
			require.NoError(t, p.WriteStructEnd(ctx))
		}
		field(3, thrift.I64, func() error { return p.WriteI64(ctx, 0) })
		field(4, thrift.LIST, func() error { return p.WriteListBegin(ctx, thrift.STRUCT, 0) })
		require.NoError(t, p.WriteFieldStop(ctx))
		data := append([]byte("PAR1"), buf.Bytes()...)
		data = binary.LittleEndian.AppendUint32(data, uint32(buf.Len()))
		_, err := parquet.NewReader(bytes.NewReader(append(data, "PAR1"...)))
		if problem == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, problem)
		}
	}
}

// Rows that take much memory together, as compressed files may hold them, come one by one.
func TestLargeRows(t *testing.T) {
	for _, dictionary := range []bool{false, true} {
		size, n := 3<<20, 60
		var b bytes.Buffer
		node := schema.NewByteArrayNode("image", arrowparquet.Repetitions.Required, -1)
		w := file.NewParquetWriter(&b, must(schema.NewGroupNode("schema", arrowparquet.Repetitions.Required, schema.FieldList{node}, -1)),
			file.WithWriterProps(arrowparquet.NewWriterProperties(arrowparquet.WithDictionaryDefault(dictionary), arrowparquet.WithCompression(compress.Codecs.Zstd),
				arrowparquet.WithDictionaryPageSizeLimit(1<<30))))
		column := must(w.AppendRowGroup().NextColumn()).(*file.ByteArrayColumnChunkWriter)
		for range n {
			_, err := column.WriteBatch([]arrowparquet.ByteArray{make([]byte, size)}, nil, nil)
			require.NoError(t, err)
		}
		require.NoError(t, column.Close())
		require.NoError(t, w.Close())
		require.Less(t, b.Len(), 1<<20)
		rows := 0
		for rec, err := range open(t, b.Bytes()).Records(1, int64(n), 256) {
			require.NoError(t, err)
			require.EqualValues(t, 1, rec.NumRows())
			require.Len(t, rec.Column(0).(*array.Binary).Value(0), size)
			rows++
		}
		require.Equal(t, n-1, rows)
	}
}

// A page whose data do not have their checksum of gzip is damage, which ends the column, for any version of pages.
func TestGzipChecksum(t *testing.T) {
	for _, version := range []arrowparquet.DataPageVersion{arrowparquet.DataPageV1, arrowparquet.DataPageV2} {
		var b bytes.Buffer
		node := schema.NewByteArrayNode("image", arrowparquet.Repetitions.Optional, -1)
		w := file.NewParquetWriter(&b, must(schema.NewGroupNode("schema", arrowparquet.Repetitions.Required, schema.FieldList{node}, -1)),
			file.WithWriterProps(arrowparquet.NewWriterProperties(arrowparquet.WithDictionaryDefault(false), arrowparquet.WithDataPageVersion(version),
				arrowparquet.WithDataPageSize(1), arrowparquet.WithCompression(compress.Codecs.Gzip))))
		column := must(w.AppendRowGroup().NextColumn()).(*file.ByteArrayColumnChunkWriter)
		for i := range 3 {
			_, err := column.WriteBatch([]arrowparquet.ByteArray{bytes.Repeat([]byte{byte(i)}, 100)}, []int16{1}, nil)
			require.NoError(t, err)
		}
		require.NoError(t, column.Close())
		require.NoError(t, w.Close())
		require.NoError(t, readAll(b.Bytes()))

		data := b.Bytes()
		chunk := must(must(file.NewParquetReader(bytes.NewReader(data))).MetaData().RowGroup(0).ColumnChunk(0))
		data[chunk.DataPageOffset()+chunk.TotalCompressedSize()-8] ^= 1 // the checksum is in front of the length, at the end
		rows := 0
		for rec, err := range open(t, data).Records(0, 3, 1) {
			if err != nil {
				require.ErrorContains(t, err, "column image: rows 2 to 3 of a row group of 3: gzip: invalid checksum")
				break
			}
			require.Equal(t, bytes.Repeat([]byte{byte(rows)}, 100), rec.Column(0).(*array.Binary).Value(0))
			rows++
		}
		require.Equal(t, 2, rows)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
