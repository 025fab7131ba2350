package arrowio

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

// SaveParquet writes records of one schema as a Parquet file, one row group a
// record, compressed by zstd, with the Arrow schema stored beside. There must
// be at least one record.
func SaveParquet(ctx context.Context, path string, recs ...arrow.Record) error {
	data, err := encodeParquet(recs)
	if err == nil {
		err = files.WriteBytes(ctx, path, data)
	}
	if err != nil {
		return fmt.Errorf("arrowio: writing %s: %w", path, err)
	}
	return nil
}

func encodeParquet(recs []arrow.Record) ([]byte, error) {
	if len(recs) == 0 {
		return nil, errors.New("no record to take the schema from")
	}
	schema := nullableVectors(recs[0].Schema())
	var buf bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithAllocator(record.Mem))
	w, err := pqarrow.NewFileWriter(schema, &buf, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return nil, err
	}
	for i, rec := range recs {
		if !rec.Schema().Equal(recs[0].Schema()) {
			return nil, fmt.Errorf("record %d has the schema %v, record 0 %v", i, rec.Schema(), recs[0].Schema())
		}
		compact, err := record.Compact(rec)
		if err == nil {
			err = w.Write(array.NewRecord(schema, compact.Columns(), compact.NumRows()))
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
	}
	err = w.Close()
	return buf.Bytes(), err
}

// nullableVectors declares fixed_size_list columns nullable: Arrow's Parquet
// writer turns every value of one that is not into a null.
func nullableVectors(s *arrow.Schema) *arrow.Schema {
	fields := s.Fields()
	for i := range fields {
		fields[i].Nullable = fields[i].Nullable || fields[i].Type.ID() == arrow.FIXED_SIZE_LIST
	}
	md := s.Metadata()
	return arrow.NewSchema(fields, &md)
}

// LoadParquet reads a whole Parquet file, at least one record for each of its
// row groups with rows. Columns of vectors that no Arrow schema describes come
// as list<float32>, which [record.Matrix] takes as well.
func LoadParquet(ctx context.Context, path string) ([]arrow.Record, error) {
	data, release, err := files.Map(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("arrowio: opening %s: %w", path, err)
	}
	recs, err := decodeParquet(ctx, data)
	if err = errors.Join(err, release()); err != nil {
		return nil, fmt.Errorf("arrowio: reading %s as a Parquet file: %w", path, err)
	}
	return recs, nil
}

func decodeParquet(ctx context.Context, data []byte) ([]arrow.Record, error) {
	table, err := pqarrow.ReadTable(ctx, bytes.NewReader(data), parquet.NewReaderProperties(record.Mem), pqarrow.ArrowReadProperties{}, record.Mem)
	if err != nil {
		return nil, err
	}
	var recs []arrow.Record
	for r := array.NewTableReader(table, 0); r.Next(); {
		rec := r.Record()
		rec.Retain() // the reader releases its own reference on Next
		recs = append(recs, rec)
	}
	return recs, nil
}
