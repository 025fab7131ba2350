package ingest

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// shardFn writes the images of one split, which come as one batch, to a shard and emits its reference.
type shardFn struct {
	Size int
	Dir  string
}

func (fn *shardFn) ProcessElement(ctx context.Context, images *record.Batch) (*record.Batch, error) {
	column := func(name string) arrow.Array { return images.Column(images.Schema().FieldIndices(name)[0]) }
	split := imageio.SplitOf(column("index").(*array.Int64).Value(0))
	path := files.Join(fn.Dir, "shards", fmt.Sprintf("shard-%05d.arrow", split))
	schema, rows := shards.Schema(fn.Size), images.NumRows()
	shard := array.NewRecord(schema, []arrow.Array{column("source"), column("row"), fixed(column("pixels").(*array.Binary), schema.Field(2).Type)}, rows)
	if err := arrowio.WriteFile(ctx, path, schema, shard); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	return record.Of([]shards.Ref{{Path: path, Rows: rows}}), nil
}

// fixed converts a column of equally long values to the fixed-size type t, sharing its memory.
func fixed(values *array.Binary, t arrow.DataType) arrow.Array {
	data := array.NewData(t, values.Len(), []*memory.Buffer{nil, memory.NewBufferBytes(values.ValueBytes())}, nil, 0, 0)
	return array.NewFixedSizeBinaryData(data)
}
