package record_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterFunction(sumRows)
	beam.RegisterFunction(keyOf)
	beam.RegisterFunction(sumGroup)
}

func TestMain(m *testing.M) { ptest.Main(m) }

type row struct {
	Name    string    `arrow:"name"`
	Dead    bool      `arrow:"dead"`
	Small   int32     `arrow:"small"`
	Big     int64     `arrow:"big"`
	Single  float32   `arrow:"single"`
	Double  float64   `arrow:"double"`
	Image   []byte    `arrow:"image"`
	Feature []float32 `arrow:"feature"`
	Classes []int32   `arrow:"classes"`
	Scores  []float64 `arrow:"scores"`
	note    string    // unexported fields are not columns
}

func rowGen(width int) *rapid.Generator[row] {
	return rapid.Custom(func(t *rapid.T) row {
		return row{
			Name: rapid.String().Draw(t, "name"), Dead: rapid.Bool().Draw(t, "dead"),
			Small: rapid.Int32().Draw(t, "small"), Big: rapid.Int64().Draw(t, "big"),
			Single: rapid.Float32().Draw(t, "single"), Double: rapid.Float64().Draw(t, "double"),
			Image:   rapid.SliceOf(rapid.Byte()).Draw(t, "image"),
			Feature: rapid.SliceOfN(rapid.Float32(), width, width).Draw(t, "feature"),
			Classes: rapid.SliceOf(rapid.Int32()).Draw(t, "classes"),
			Scores:  rapid.SliceOf(rapid.Float64()).Draw(t, "scores"),
			note:    "not written",
		}
	})
}

// roundTrip checks Of, slicing, the coder and Rows against each other.
func roundTrip(t *rapid.T) {
	width := rapid.IntRange(1, 9).Draw(t, "width")
	rows := rapid.SliceOfN(rowGen(width), 0, 40).Draw(t, "rows")
	from := rapid.IntRange(0, len(rows)).Draw(t, "from")
	to := rapid.IntRange(from, len(rows)).Draw(t, "to")
	b := record.New(record.Of(rows).NewSlice(int64(from), int64(to)))
	data, err := record.Encode(b)
	require.NoError(t, err)
	decoded, err := record.Decode(data)
	require.NoError(t, err)
	again, err := record.Encode(record.Of(rows[from:to]))
	require.NoError(t, err)
	if from < to { // the width of no rows is 1
		require.Equal(t, again, data, "the bytes depend on where the rows were sliced from")
	}
	for _, b := range []*record.Batch{b, decoded} {
		got, err := record.Rows[row](b)
		require.NoError(t, err)
		for i, want := range rows[from:to] {
			want.note = ""
			require.Equal(t, want, got[i])
		}
		require.Len(t, got, to-from)
	}
}

func TestRoundTrip(t *testing.T) { rapid.Check(t, roundTrip) }

func FuzzRoundTrip(f *testing.F) { f.Fuzz(rapid.MakeFuzz(roundTrip)) }

func TestSchema(t *testing.T) {
	type two struct {
		A []float32 `arrow:"a"`
		N int32     `arrow:"n"`
		B []float32 `arrow:"b"`
	}
	require.True(t, record.Schema[two](2, 5).Equal(record.Of([]two{{A: make([]float32, 2), B: make([]float32, 5)}}).Schema()))
	require.PanicsWithValue(t, `record: Schema[record_test.two]: column "b" needs a width of at least 1; widths given: [2]`, func() { record.Schema[two](2) })
	require.PanicsWithValue(t, `record: Schema[record_test.two]: 3 widths given, 1 too many`, func() { record.Schema[two](2, 5, 6) })
}

func TestRowTypesThatCannotBe(t *testing.T) {
	type untagged struct{ A int32 }
	type unsupported struct {
		A uint8 `arrow:"a"`
	}
	require.PanicsWithValue(t, "record: field record_test.untagged.A needs a tag `arrow:\"column name\"`", func() { record.Of([]untagged{{}}) })
	require.PanicsWithValue(t, `record: column "a": Go type uint8 has no column type; use string, bool, int32, int64, float32, float64, []byte, []float32, []float64 or []int32`, func() { record.Of([]unsupported{{}}) })
	require.PanicsWithValue(t, "record: rows must be structs, not int", func() { record.Of([]int{1}) })
	type vec struct {
		V []float32 `arrow:"v"`
	}
	require.PanicsWithValue(t, `record: column "v": row 1 holds 3 values, row 0 holds 2; all vectors of a column must be equally long`, func() { record.Of([]vec{{make([]float32, 2)}, {make([]float32, 3)}}) })
	require.PanicsWithValue(t, `record: column "v": row 0 holds an empty vector`, func() { record.Of([]vec{{}}) })
}

func TestRowsErrors(t *testing.T) {
	type a struct {
		N int32 `arrow:"n"`
	}
	type b struct {
		N int64 `arrow:"n"`
	}
	type c struct {
		M int32 `arrow:"m"`
	}
	type v struct {
		N []float32 `arrow:"n"`
	}
	in := record.Of([]a{{1}, {2}})
	_, err := record.Rows[b](in)
	require.EqualError(t, err, `record: column "n": expected int64, got int32`)
	_, err = record.Rows[c](in)
	require.EqualError(t, err, `record: expected one column "m" of type int32, got 0 in the columns n int32`)
	_, err = record.Rows[v](in)
	require.EqualError(t, err, `record: column "n": expected fixed_size_list<float32> or list<float32>, got int32`)

	nb := array.NewInt32Builder(record.Mem)
	nb.AppendValues([]int32{1, 0}, []bool{true, false})
	col := nb.NewArray()
	nulls := record.New(array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "n", Type: col.DataType(), Nullable: true}}, nil), []arrow.Array{col}, 2))
	_, err = record.Rows[a](nulls)
	require.EqualError(t, err, `record: column "n": expected int32 without nulls, got 1 nulls in 2 rows`)
}

// lists builds a list<float32> or fixed_size_list<float32> column; a nil row is
// a null, a NaN a null element.
func lists(t *testing.T, fixed int32, rows ...[]float32) *record.Batch {
	t.Helper()
	var lb array.ListLikeBuilder = array.NewListBuilder(record.Mem, arrow.PrimitiveTypes.Float32)
	if fixed > 0 {
		lb = array.NewFixedSizeListBuilder(record.Mem, fixed, arrow.PrimitiveTypes.Float32)
	}
	for _, r := range rows {
		lb.Append(r != nil)
		vb := lb.ValueBuilder().(*array.Float32Builder)
		if r == nil && fixed > 0 {
			vb.AppendValues(make([]float32, fixed), nil)
		}
		for _, x := range r {
			if math.IsNaN(float64(x)) {
				vb.AppendNull()
			} else {
				vb.Append(x)
			}
		}
	}
	col := lb.NewArray()
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: col.DataType(), Nullable: true}}, nil)
	return record.New(array.NewRecord(schema, []arrow.Array{col}, int64(len(rows))))
}

// values returns the matrix of a column and its width.
func values(b *record.Batch) ([]float32, int, error) {
	d, err := record.Dense(b, "x")
	if err != nil {
		return nil, 0, err
	}
	data, _, width, err := dense.Rows(d)
	return data, width, err
}

func TestMatrix(t *testing.T) {
	nan := float32(math.NaN())
	for _, fixed := range []int32{0, 2} {
		b := lists(t, fixed, []float32{1, 2}, []float32{3, 4}, []float32{5, nan})
		_, _, err := values(b)
		require.EqualError(t, err, `record: column "x": expected fixed_size_list<float32> or list<float32> without nulls, got a null in row 2`)
		data, width, err := values(record.New(b.NewSlice(1, 2))) // the null is outside the slice
		require.NoError(t, err)
		require.Equal(t, 2, width)
		require.Equal(t, []float32{3, 4}, data)

		b = lists(t, fixed, []float32{1, 2}, nil)
		_, _, err = values(b)
		require.EqualError(t, err, `record: column "x": expected fixed_size_list<float32> or list<float32> without nulls, got 1 nulls in 2 rows`)

		_, _, err = values(lists(t, fixed))
		require.EqualError(t, err, fmt.Sprintf(`record: column "x": a tensor needs at least one value, got 0 rows of width %d`, fixed))
	}
	_, _, err := values(lists(t, 0, []float32{1, 2}, []float32{3}))
	require.EqualError(t, err, `record: column "x": row 1 holds 1 values, row 0 holds 2; all vectors of a column must be equally long`)
	_, _, err = values(lists(t, 0, []float32{}, []float32{}))
	require.EqualError(t, err, `record: column "x": a tensor needs at least one value, got 2 rows of width 0`)
}

func TestDense(t *testing.T) {
	b := record.New(lists(t, 2, []float32{1, 2}, []float32{3, 4}, []float32{5, 6}).NewSlice(1, 3))
	d, err := record.Dense(b, "x")
	require.NoError(t, err)
	require.Equal(t, tensor.Shape{2, 2}, d.Shape())
	require.Equal(t, compute.Engine(), d.Engine())
	data := d.Data().([]float32)
	column := b.Column(0).(*array.FixedSizeList).ListValues().(*array.Float32).Float32Values()
	require.Same(t, &column[2], &data[0], "Dense must not copy")

	col, err := record.FromDense("x", d)
	require.NoError(t, err)
	back := record.New(array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "x", Type: col.DataType()}}, nil), []arrow.Array{col}, 2))
	again, width, err := values(back)
	require.NoError(t, err)
	require.Equal(t, 2, width)
	require.Equal(t, []float32{3, 4, 5, 6}, again)
	require.Same(t, &data[0], &again[0], "FromDense must not copy")
}

func TestFromDenseErrors(t *testing.T) {
	m := tensor.New(tensor.WithShape(3, 4), tensor.WithBacking(tensor.Range(tensor.Float32, 0, 12)))
	rows, err := m.Slice(tensor.S(1, 3))
	require.NoError(t, err)
	col, err := record.FromDense("x", rows.(*tensor.Dense)) // whole rows are contiguous
	require.NoError(t, err)
	require.Equal(t, "[[4 5 6 7] [8 9 10 11]]", fmt.Sprint(col))

	cols, err := m.Slice(nil, tensor.S(1, 3))
	require.NoError(t, err)
	_, err = record.FromDense("x", cols.(*tensor.Dense))
	require.ErrorContains(t, err, `record: column "x": expected a contiguous row-major matrix`)
	tr := m.ShallowClone()
	require.NoError(t, tr.T())
	_, err = record.FromDense("x", tr)
	require.ErrorContains(t, err, `record: column "x": expected a contiguous row-major matrix`)
	_, err = record.FromDense("x", tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float64)))
	require.ErrorContains(t, err, `record: column "x": expected a float32 matrix, got a tensor of float64`)
	_, err = record.FromDense("x", tensor.New(tensor.WithShape(4), tensor.Of(tensor.Float32)))
	require.ErrorContains(t, err, `record: column "x": expected a float32 matrix`)
}

func TestEncodeWithoutRecord(t *testing.T) {
	for _, b := range []*record.Batch{nil, {}} {
		_, err := record.Encode(b)
		require.EqualError(t, err, "record: cannot encode a batch without a record; make it with record.New or record.Of")
	}
}

// TestDecodeTruncated decodes every prefix of a stream. The last 8 bytes are
// the end-of-stream marker, which is optional in Arrow.
func TestDecodeTruncated(t *testing.T) {
	data, err := record.Encode(record.Of([]row{{Name: "a", Image: []byte{1}, Feature: []float32{1, 2}}}))
	require.NoError(t, err)
	for n := range len(data) - 8 {
		_, err = record.Decode(data[:n])
		require.ErrorContains(t, err, "record: decoding", "of %d bytes, %d", len(data), n)
	}
}

func TestDecodeTwoRecords(t *testing.T) {
	b := record.Of([]count{{1}})
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(b.Schema()))
	require.NoError(t, w.Write(b.Record))
	require.NoError(t, w.Write(b.Record))
	require.NoError(t, w.Close())
	_, err := record.Decode(buf.Bytes())
	require.ErrorContains(t, err, "holds more than one record")
}

type count struct {
	N int64 `arrow:"n"`
}

func sumRows(b *record.Batch, emit func(int64)) error {
	rows, err := record.Rows[count](b)
	if err != nil {
		return err
	}
	for _, r := range rows {
		emit(r.N)
	}
	return nil
}

func keyOf(b *record.Batch) (string, *record.Batch) {
	return fmt.Sprint(b.NumRows()), b
}

func sumGroup(key string, batches func(**record.Batch) bool, emit func(int64)) error {
	rows, err := record.All[count](batches)
	var sum int64
	for _, r := range rows {
		sum += r.N
	}
	emit(sum)
	return err
}

// TestPipeline sends batches through a coder, a GroupByKey and a Reshuffle on
// both local runners.
func TestPipeline(t *testing.T) {
	for _, runner := range []string{"prism", "direct"} {
		t.Run(runner, func(t *testing.T) {
			p, s := beam.NewPipelineWithRoot()
			in := beam.Create(s, record.Of([]count{{1}, {2}}), record.Of([]count{{4}}), record.Of([]count{{8}, {16}}))
			passert.Equals(s, beam.ParDo(s, sumRows, beam.Reshuffle(s, in)), int64(1), int64(2), int64(4), int64(8), int64(16))
			passert.Equals(s, beam.ParDo(s, sumGroup, beam.GroupByKey(s, beam.ParDo(s, keyOf, in))), int64(27), int64(4))
			_, err := beam.Run(context.Background(), runner, p)
			require.NoError(t, err)
		})
	}
}

// FuzzDecode: any bytes yield an error, or a batch with the columns of its schema, in bounded memory.
func FuzzDecode(f *testing.F) {
	data, err := record.Encode(record.Of([]row{{Name: "a", Feature: []float32{1}}, {Image: []byte{1}, Feature: []float32{2}}}))
	require.NoError(f, err)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := record.Decode(data); err == nil {
			require.Len(t, b.Columns(), b.Schema().NumFields())
		}
	})
}
