package ingest

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

var (
	imagesCounter = beam.NewCounter("ingest", "images")
	deadCounter   = beam.NewCounter("ingest", "dead")
)

// shardFn writes one split as a shard and emits a batch with its reference and,
// where there are any, a batch with its bad images.
type shardFn struct {
	Size int
	Dir  string
}

func (fn *shardFn) ProcessElement(ctx context.Context, split imageio.Split, emitRef, emitDead func(*record.Batch)) error {
	w := writer{size: fn.Size}
	if err := imageio.Squares(ctx, split, fn.Size, w.add); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	imagesCounter.Inc(ctx, int64(len(w.rows)))
	if len(w.dead) > 0 {
		deadCounter.Inc(ctx, int64(len(w.dead)))
		emitDead(record.Of(w.dead))
	}
	if len(w.rows) == 0 {
		return nil
	}
	path := files.Join(fn.Dir, "shards", fmt.Sprintf("shard-%05d.arrow", split.Index))
	if err := arrowio.WriteFile(ctx, path, shards.Schema(fn.Size), w.record()); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	emitRef(record.Of([]shards.Ref{{Path: path, Rows: int64(len(w.rows))}}))
	return nil
}

// writer collects the columns of one shard.
type writer struct {
	size    int
	sources []string
	rows    []int64
	pixels  []uint8
	dead    []Dead
}

func (w *writer) add(im imageio.Image, square imageio.RGB, damage error) error {
	if damage != nil {
		w.dead = append(w.dead, Dead{Path: im.Source, Row: im.Row, Reason: damage.Error()})
		return nil
	}
	w.sources = append(w.sources, im.Source)
	w.rows = append(w.rows, im.Row)
	w.pixels = append(w.pixels, square.Pix...)
	return nil
}

// record is the shard's record, in the schema of package shards.
func (w *writer) record() arrow.Record {
	schema, n := shards.Schema(w.size), len(w.rows)
	sources := array.NewStringBuilder(record.Mem)
	sources.AppendValues(w.sources, nil)
	rows := array.NewInt64Builder(record.Mem)
	rows.AppendValues(w.rows, nil)
	pixels := array.NewData(schema.Field(2).Type, n, []*memory.Buffer{nil, memory.NewBufferBytes(w.pixels)}, nil, 0, 0)
	return array.NewRecord(schema, []arrow.Array{sources.NewArray(), rows.NewArray(), array.NewFixedSizeBinaryData(pixels)}, int64(n))
}
