package arrowio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterFunction(rowStrings) }

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
}

// golden are the rows of testdata/make_golden.py.
var golden = []row{
	{"a", true, -1, 1 << 40, 0.5, 1e300, []byte{}, []float32{1, 2}},
	{"", false, 2, -5, -1.25, 0.1, []byte{0, 255}, []float32{3, 4}},
	{"ü", true, 3, 6, 3, -2, []byte("xyz"), []float32{5, 6}},
}

func rowsOf(t *testing.T, recs ...arrow.Record) []row {
	t.Helper()
	var all []row
	for _, rec := range recs {
		rows, err := record.Rows[row](record.New(rec))
		require.NoError(t, err)
		all = append(all, rows...)
	}
	return all
}

func recordsOf(t *testing.T, path string) []arrow.Record {
	t.Helper()
	f, err := arrowio.OpenFile(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	recs := make([]arrow.Record, f.NumRecords())
	for i := range recs {
		recs[i], err = f.Record(i)
		require.NoError(t, err)
		require.True(t, recs[i].Schema().Equal(f.Schema()))
	}
	_, err = f.Record(len(recs))
	require.EqualError(t, err, fmt.Sprintf("arrowio: %s has no record %d, only %d records", path, len(recs), len(recs)))
	return recs
}

func TestGoldenFromPyarrow(t *testing.T) {
	recs := recordsOf(t, "testdata/golden.arrow")
	require.Len(t, recs, 2)
	require.Equal(t, golden, rowsOf(t, recs...))

	recs, err := arrowio.LoadParquet(t.Context(), "testdata/golden.parquet")
	require.NoError(t, err)
	require.Equal(t, golden, rowsOf(t, recs...))
}

func TestFilesOnEveryFilesystem(t *testing.T) {
	whole := record.Of(golden)
	parts := []arrow.Record{whole.NewSlice(0, 2), whole.NewSlice(2, 3)}
	for _, dir := range []string{filepath.Join(t.TempDir(), "new", "folder [a]"), "memfs://bucket/folder"} {
		path := dir + "/x.arrow"
		for range 2 { // the second time replaces the file
			require.NoError(t, arrowio.WriteFile(t.Context(), path, whole.Schema(), parts...))
			recs := recordsOf(t, path)
			require.Len(t, recs, 2)
			require.True(t, array.RecordEqual(parts[1], recs[1]))
			require.Equal(t, golden, rowsOf(t, recs...))
		}
		path = dir + "/x.parquet"
		require.NoError(t, arrowio.SaveParquet(t.Context(), path, parts...))
		recs, err := arrowio.LoadParquet(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, golden, rowsOf(t, recs...))
		require.True(t, arrow.TypeEqual(recs[0].Schema().Field(7).Type, whole.Schema().Field(7).Type), "got %v", recs[0].Schema())

		path = dir + "/empty.arrow"
		require.NoError(t, arrowio.WriteFile(t.Context(), path, whole.Schema()))
		require.Empty(t, recordsOf(t, path))
		require.ErrorContains(t, arrowio.SaveParquet(t.Context(), path), "no record to take the schema from")
	}
}

func TestNoTemporaryFilesStay(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, arrowio.WriteFile(t.Context(), dir+"/x.arrow", record.Of(golden).Schema()))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := arrowio.OpenFile(t.Context(), dir+"/none.arrow")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = arrowio.LoadParquet(t.Context(), dir+"/none.parquet")
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, content := range []string{"", "ARROW1", strings.Repeat("no arrow ", 99)} {
		require.NoError(t, os.WriteFile(dir+"/bad", []byte(content), 0o600))
		_, err = arrowio.OpenFile(t.Context(), dir+"/bad")
		require.ErrorContains(t, err, "bad as an Arrow IPC file")
		_, err = arrowio.LoadParquet(t.Context(), dir+"/bad")
		require.ErrorContains(t, err, "bad as a Parquet file")
	}
	type other struct {
		N int32 `arrow:"n"`
	}
	err = arrowio.WriteFile(t.Context(), dir+"/x.arrow", record.Of(golden).Schema(), record.Of([]other{{1}}).Record)
	require.ErrorContains(t, err, "x.arrow: record 0")
	require.NoFileExists(t, dir+"/x.arrow")
	_, err = arrowio.OpenFile(t.Context(), "nofs://x")
	require.ErrorContains(t, err, `"nofs" not registered`)
}

func rowStrings(b *record.Batch, emit func(string)) error {
	rows, err := record.Rows[row](b)
	for _, r := range rows {
		emit(fmt.Sprintf("%v", r))
	}
	return err
}

// TestTransforms writes on one runner and reads on another; the names must be
// the same, even where batches were sliced or went through a coder.
func TestTransforms(t *testing.T) {
	whole := record.Of(golden)
	sliced := []any{record.New(whole.NewSlice(0, 2)), record.New(whole.NewSlice(2, 3))}
	fresh := []any{record.Of(golden[:2]), record.Of(golden[2:])}
	var rows []any
	for _, r := range golden {
		rows = append(rows, fmt.Sprintf("%v", r))
	}
	dir := t.TempDir()
	var names []string
	for _, w := range []struct {
		runner  string
		batches []any
	}{{"prism", sliced}, {"direct", fresh}, {"direct", sliced}} {
		p, s := beam.NewPipelineWithRoot()
		passert.Count(s, arrowio.WriteDir(s, dir, beam.Create(s, w.batches...)), "paths", 2)
		_, err := beam.Run(t.Context(), w.runner, p)
		require.NoError(t, err)
		got, err := filepath.Glob(dir + "/*")
		require.NoError(t, err)
		require.Len(t, got, 2)
		if names != nil {
			require.Equal(t, names, got)
		}
		names = got

		p, s = beam.NewPipelineWithRoot()
		passert.Equals(s, beam.ParDo(s, rowStrings, arrowio.ReadIPC(s, dir+"/*.arrow")), rows...)
		_, err = beam.Run(t.Context(), w.runner, p)
		require.NoError(t, err)
	}
}

// TestDamagedName checks that a file of WriteDir that is no longer what its name says is refused.
func TestDamagedName(t *testing.T) {
	dir := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, dir, beam.Create(s, record.Of(golden)))
	_, err := beam.Run(t.Context(), "direct", p)
	require.NoError(t, err)
	paths, err := filepath.Glob(dir + "/*")
	require.NoError(t, err)
	none := func(*record.Batch) error { return nil }
	require.NoError(t, arrowio.Each(t.Context(), paths[0], none))
	data, err := os.ReadFile(paths[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(paths[0], data, 0o644))
	require.ErrorContains(t, arrowio.Each(t.Context(), paths[0], none), paths[0]+" is damaged")
}

// TestOneFile writes all batches to one file, by several runners and in several
// orders: always the same bytes, and what was written is read.
func TestOneFile(t *testing.T) {
	whole := record.Of(golden)
	orders := [][]any{
		{record.New(whole.NewSlice(0, 2)), record.New(whole.NewSlice(2, 3))},
		{record.Of(golden[2:]), record.Of(golden[:2])},
	}
	var rows []any
	for _, r := range golden {
		rows = append(rows, fmt.Sprintf("%v", r))
	}
	for _, f := range []struct {
		name  string
		write func(beam.Scope, string, beam.PCollection) beam.PCollection
		read  func(beam.Scope, string) beam.PCollection
	}{{"x.parquet", arrowio.WriteParquet, arrowio.ReadParquet}, {"x.arrow", arrowio.WriteIPC, arrowio.ReadIPC}} {
		var want []byte
		for i, runner := range []string{"prism", "direct", "direct"} {
			path := filepath.Join(t.TempDir(), "new [a]", f.name)
			p, s := beam.NewPipelineWithRoot()
			passert.Equals(s, f.write(s, path, beam.Reshuffle(s, beam.Create(s, orders[i%2]...))), path)
			_, err := beam.Run(t.Context(), runner, p)
			require.NoError(t, err)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			if want == nil {
				want = data
			}
			require.Equal(t, want, data)

			p, s = beam.NewPipelineWithRoot()
			passert.Equals(s, beam.ParDo(s, rowStrings, f.read(s, filepath.Join(filepath.Dir(files.Quote(path)), "*"))), rows...)
			_, err = beam.Run(t.Context(), runner, p)
			require.NoError(t, err)
		}
	}
}

// TestNothingToWrite has no batch, so no schema: there is no file then.
func TestNothingToWrite(t *testing.T) {
	path := t.TempDir() + "/x.parquet"
	p, s := beam.NewPipelineWithRoot()
	passert.Empty(s, arrowio.WriteParquet(s, path, beam.CreateList(s, []*record.Batch{})))
	_, err := beam.Run(t.Context(), "direct", p)
	require.NoError(t, err)
	require.NoFileExists(t, path)
}

func TestTransformErrors(t *testing.T) {
	type other struct {
		N int32 `arrow:"n"`
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/bad.parquet", []byte("no parquet"), 0o600))
	for want, build := range map[string]func(beam.Scope){
		"arrowio: no file matches memfs://bucket/missing/*.arrow": func(s beam.Scope) { arrowio.ReadIPC(s, "memfs://bucket/missing/*.arrow") },
		"arrowio: no file matches " + dir + "/*.arrow":            func(s beam.Scope) { arrowio.ReadIPC(s, dir+"/*.arrow") },
		"bad.parquet as a Parquet file":                           func(s beam.Scope) { arrowio.ReadParquet(s, dir+"/*.parquet") },
		"arrowio: writing " + dir + "/x.parquet: record 1 has the schema": func(s beam.Scope) {
			arrowio.WriteParquet(s, dir+"/x.parquet", beam.Create(s, record.Of(golden), record.Of([]other{{1}})))
		},
	} {
		for _, runner := range []string{"prism", "direct"} {
			p, s := beam.NewPipelineWithRoot()
			build(s)
			_, err := beam.Run(t.Context(), runner, p)
			require.ErrorContains(t, err, want)
		}
	}
	require.NoFileExists(t, dir+"/x.parquet")
}

// TestTruncatedFile opens beginnings of a file: an error, not a panic.
func TestTruncatedFile(t *testing.T) {
	good, err := os.ReadFile("testdata/golden.arrow")
	require.NoError(t, err)
	path := t.TempDir() + "/x.arrow"
	for n := 0; n < len(good); n += 7 {
		require.NoError(t, os.WriteFile(path, good[:n], 0o600))
		_, err := arrowio.OpenFile(t.Context(), path)
		require.ErrorContains(t, err, "x.arrow as an Arrow IPC file", "%d bytes", n)
	}
}

// FuzzFile: any bytes yield an error, or records with the columns of the schema, in bounded memory.
func FuzzFile(f *testing.F) {
	good, err := os.ReadFile("testdata/golden.arrow")
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)-20])
	path := f.TempDir() + "/x.arrow"
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		err := arrowio.Each(t.Context(), path, func(b *record.Batch) error {
			require.Len(t, b.Columns(), b.Schema().NumFields())
			return nil
		})
		if err != nil {
			require.ErrorContains(t, err, path)
		}
	})
}
