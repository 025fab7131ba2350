package imageio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"
)

// Parquet is a file with a column image: struct<bytes, path>, and perhaps label:
// the class's number, whose name is in the metadata of HuggingFace's library, or
// its name. Images are numbered by row.
const Parquet = "parquet"

var parquetKind = kind{
	name:     Parquet,
	files:    "HuggingFace Parquet files (.parquet)",
	labels:   "a column label in Parquet",
	suffixes: []string{".parquet"},
	count:    countParquet,
	read:     readParquet,
}

// parquetBatch is how many rows are decoded at once.
const parquetBatch = 256

func openParquet(ctx context.Context, name string) (r *file.Reader, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some damage
			err = fmt.Errorf("read %s: not a sound Parquet file: %v", name, p)
		}
	}()
	source, err := openAt(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if r, err = file.NewParquetReader(source); err != nil {
		return nil, fmt.Errorf("read %s: not a sound Parquet file: %w", name, errors.Join(err, source.Close()))
	}
	return r, nil
}

func countParquet(ctx context.Context, name string) (int64, error) {
	r, err := openParquet(ctx, name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := columnsOf(r); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return r.NumRows(), nil
}

// columns are the leaf columns that are read; label is -1 if there is none.
type columns struct{ image, label int }

// columnsOf finds the image bytes, image.bytes or img.bytes as HuggingFace
// names them or a binary column image, and the label.
func columnsOf(r *file.Reader) (columns, error) {
	schema := r.MetaData().Schema
	found := columns{-1, -1}
	for _, name := range []string{"image.bytes", "img.bytes", "image"} {
		if found.image < 0 {
			found.image = schema.ColumnIndexByName(name)
		}
	}
	if found.image < 0 || schema.Column(found.image).PhysicalType() != parquet.Types.ByteArray {
		return found, errors.New("no column image: struct<bytes: binary, path: string>, as HuggingFace's image datasets have it")
	}
	found.label = schema.ColumnIndexByName("label")
	return found, nil
}

func readParquet(ctx context.Context, split Split, yield func(Image) error) (err error) {
	row := split.Begin
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read %s, row %d: not a sound Parquet file: %v", split.Path, row, p)
		}
	}()
	r, err := openParquet(ctx, split.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	fail := func(err error) error { return fmt.Errorf("read %s, row %d: %w", split.Path, row, err) }
	cols, err := columnsOf(r)
	if err != nil {
		return fail(err)
	}
	groups, skip := rowGroups(r, split.Begin, split.End)
	if len(groups) == 0 {
		return nil
	}
	leaves := []int{cols.image}
	if cols.label >= 0 {
		leaves = append(leaves, cols.label)
	}
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: parquetBatch}, memory.DefaultAllocator)
	if err != nil {
		return fail(err)
	}
	records, err := reader.GetRecordReader(ctx, leaves, groups)
	if err != nil {
		return fail(err)
	}
	defer records.Release()
	names := classNames(r)
	for row < split.End && records.Next() {
		rec := records.Record()
		from := min(skip, rec.NumRows())
		skip -= from
		value, err := imageBytes(rec.Column(0))
		if err != nil {
			return fail(err)
		}
		for i := int(from); i < int(rec.NumRows()) && row < split.End; i++ {
			im := Image{Source: split.Path, Row: row, Data: bytes.Clone(value(i)), Label: -1}
			if rec.NumCols() > 1 {
				im.Label, im.Class = label(rec.Column(1), i, names)
			}
			if err := yield(im); err != nil {
				return err
			}
			row++
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	return nil
}

// rowGroups returns the row groups that hold rows [begin, end), and how many
// rows of the first one come before begin.
func rowGroups(r *file.Reader, begin, end int64) (groups []int, skip int64) {
	at := int64(0)
	for g := range r.NumRowGroups() {
		n := r.MetaData().RowGroup(g).NumRows()
		if at < end && at+n > begin {
			if len(groups) == 0 {
				skip = begin - at
			}
			groups = append(groups, g)
		}
		at += n
	}
	return groups, skip
}

// imageBytes returns the access to a column's images; a null is no bytes.
func imageBytes(column arrow.Array) (func(i int) []byte, error) {
	if s, ok := column.(*array.Struct); ok {
		if s.NumField() == 0 {
			return nil, errors.New("column image has no field bytes")
		}
		column = s.Field(0)
	}
	switch c := column.(type) {
	case *array.Binary:
		return c.Value, nil
	case *array.LargeBinary:
		return c.Value, nil
	}
	return nil, fmt.Errorf("column image holds %s, want binary", column.DataType())
}

// label returns a row's class as number and name.
func label(column arrow.Array, i int, names []string) (int64, string) {
	v := int64(-1)
	switch c := column.(type) {
	case *array.Int64:
		v = c.Value(i)
	case *array.Int32:
		v = int64(c.Value(i))
	case *array.String:
		return -1, c.Value(i)
	}
	if column.IsNull(i) || v < 0 {
		return -1, ""
	}
	if v < int64(len(names)) {
		return v, names[v]
	}
	return v, ""
}

// classNames reads the names of the classes from the metadata that the
// HuggingFace library keeps in the file.
func classNames(r *file.Reader) []string {
	text := r.MetaData().KeyValueMetadata().FindValue("huggingface")
	var meta struct {
		Info struct {
			Features struct {
				Label struct {
					Names []string `json:"names"`
				} `json:"label"`
			} `json:"features"`
		} `json:"info"`
	}
	if text == nil || json.Unmarshal([]byte(*text), &meta) != nil {
		return nil
	}
	return meta.Info.Features.Label.Names
}
