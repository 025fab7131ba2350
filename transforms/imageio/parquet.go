package imageio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/transforms/parquet"
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

func openParquet(ctx context.Context, name string) (*parquet.Reader, error) {
	source, err := openAt(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	r, err := parquet.NewReader(source)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, errors.Join(err, source.Close()))
	}
	return r, nil
}

func countParquet(ctx context.Context, name string) (int64, error) {
	r, err := openParquet(ctx, name)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := imageColumn(r); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return r.NumRows(), nil
}

// imageColumn finds the image bytes: image.bytes or img.bytes as HuggingFace names
// them, or a binary column image.
func imageColumn(r *parquet.Reader) (string, error) {
	for _, name := range []string{"image.bytes", "img.bytes", "image"} {
		if t, ok := r.Leaf(name); ok && t.ID() == arrow.BINARY {
			return name, nil
		} else if ok {
			return "", fmt.Errorf("column %s holds %v, want binary", name, t)
		}
	}
	return "", errors.New("no column image: struct<bytes: binary, path: string>, as HuggingFace's image datasets have it")
}

func readParquet(ctx context.Context, split Split, yield func(Image) error) error {
	r, err := openParquet(ctx, split.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	row := split.Begin
	fail := func(err error) error { return fmt.Errorf("read %s, row %d: %w", split.Path, row, err) }
	image, err := imageColumn(r)
	if err != nil {
		return fail(err)
	}
	paths := []string{image}
	if _, ok := r.Leaf("label"); ok {
		paths = append(paths, "label")
	}
	names := classNames(r)
	for rec, err := range r.Records(split.Begin, split.End, parquetBatch, paths...) {
		if err != nil {
			return fail(err)
		}
		images := rec.Column(0).(*array.Binary)
		for i := range images.Len() {
			im := Image{Source: split.Path, Row: row, Data: bytes.Clone(images.Value(i)), Label: -1}
			if len(paths) > 1 {
				im.Label, im.Class = label(rec.Column(1), i, names)
			}
			if err := yield(im); err != nil {
				return err
			}
			row++
		}
	}
	return nil
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
func classNames(r *parquet.Reader) []string {
	text, _ := r.Metadata("huggingface")
	var meta struct {
		Info struct {
			Features struct {
				Label struct {
					Names []string `json:"names"`
				} `json:"label"`
			} `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &meta) != nil {
		return nil
	}
	return meta.Info.Features.Label.Names
}
