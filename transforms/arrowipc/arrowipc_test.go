package arrowipc_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowipc"
)

// written returns a record as a stream and as a file, with nested fields and metadata.
func written(t testing.TB) (stream, file []byte) {
	of := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32}, arrow.Field{Name: "b", Type: arrow.ListOf(arrow.BinaryTypes.String)})
	meta := arrow.NewMetadata([]string{"key"}, []string{"value"})
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: of, Metadata: meta}, {Name: "y", Type: arrow.FixedWidthTypes.Boolean}}, &meta)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	require.NoError(t, b.UnmarshalJSON([]byte(`{"x": {"a": 3, "b": ["c", "d"]}, "y": true}`)))
	rec := b.NewRecord()
	var buf bytes.Buffer
	s := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	require.NoError(t, s.Write(rec))
	require.NoError(t, s.Close())
	path := t.TempDir() + "/x.arrow"
	f, err := os.Create(path)
	require.NoError(t, err)
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(schema))
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	file, err = os.ReadFile(path)
	require.NoError(t, err)
	return buf.Bytes(), file
}

// read reads all records.
func read(stream, file []byte) (streamErr, fileErr error) {
	s, streamErr := arrowipc.OpenStream(stream)
	if streamErr == nil {
		streamErr = arrowipc.Guard(func() error {
			for s.Next() {
			}
			return s.Err()
		})
	}
	f, fileErr := arrowipc.OpenFile(file)
	if fileErr == nil {
		fileErr = arrowipc.Guard(func() (err error) {
			for i := 0; i < f.NumRecords() && err == nil; i++ {
				_, err = f.RecordAt(i)
			}
			return err
		})
	}
	return streamErr, fileErr
}

// A length that is too large anywhere is an error at most.
func TestLengths(t *testing.T) {
	stream, file := written(t)
	streamErr, fileErr := read(stream, file)
	require.NoError(t, streamErr)
	require.NoError(t, fileErr)
	failed := 0
	for _, of := range []*[]byte{&stream, &file} {
		whole := bytes.Clone(*of)
		for at := 0; at+4 <= len(whole); at++ {
			*of = bytes.Clone(whole)
			binary.LittleEndian.PutUint32((*of)[at:], 0x7fffff00)
			if streamErr, fileErr := read(stream, file); streamErr != nil || fileErr != nil {
				failed++
			}
		}
		*of = whole
	}
	require.Greater(t, failed, 100)
}

// Fields that are nested as deeply as nobody's are, such as one that is its own child, are an error.
func TestDepth(t *testing.T) {
	for depth, sound := range map[int]bool{60: true, 70: false} {
		of := arrow.DataType(arrow.PrimitiveTypes.Int32)
		for range depth {
			of = arrow.ListOf(of)
		}
		var buf bytes.Buffer
		require.NoError(t, ipc.NewWriter(&buf, ipc.WithSchema(arrow.NewSchema([]arrow.Field{{Name: "x", Type: of}}, nil))).Close())
		if _, err := arrowipc.OpenStream(buf.Bytes()); sound {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "fields are nested in more than 64 others")
		}
	}
}

// FuzzRead: any bytes yield an error, or records in bounded memory.
func FuzzRead(f *testing.F) {
	stream, file := written(f)
	f.Add(stream)
	f.Add(file)
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = read(data, data) })
}
