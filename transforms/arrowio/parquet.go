package arrowio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/parquet"
	"github.com/sdr-ml/sdr/transforms/record"
)

// maxRows is the maximum number of rows per record of a Parquet file.
const maxRows = 1 << 16

// SaveParquet writes records, at least one, with the same schema as a Parquet file: one row group per record,
// compressed by zstd, and the Arrow schema in the metadata.
func SaveParquet(ctx context.Context, path string, recs ...arrow.Record) error {
	var data bytes.Buffer
	err := parquet.Write(&data, recs...)
	if err == nil {
		err = files.WriteBytes(ctx, path, data.Bytes())
	}
	if err != nil {
		return fmt.Errorf("arrowio: writing %s: %w", path, err)
	}
	return nil
}

// LoadParquet reads a Parquet file, as one record or more of at most 65,536 rows per row group that has rows. In a file
// without an Arrow schema, columns of vectors have the type list<float32>, which [record.Dense] takes as well.
func LoadParquet(ctx context.Context, path string) ([]arrow.Record, error) {
	data, release, err := files.Map(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("arrowio: opening %s: %w", path, err)
	}
	recs, err := decodeParquet(data)
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("arrowio: reading %s as a Parquet file: %w", path, err)
	}
	return recs, nil
}

// LoadRows reads the rows of a Parquet file with the columns of T; see [record.Rows]. A file that does not exist has none.
func LoadRows[T any](ctx context.Context, path string) (all []T, err error) {
	recs, err := LoadParquet(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, rec := range recs {
		rows, err := record.Rows[T](record.New(rec))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, rows...)
	}
	return all, err
}

func decodeParquet(data []byte) ([]arrow.Record, error) {
	r, err := parquet.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var recs []arrow.Record
	for rec, err := range r.Records(0, r.NumRows(), maxRows) {
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}
