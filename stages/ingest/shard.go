package ingest

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/batch"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
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

func (fn *shardFn) ProcessElement(ctx context.Context, split imageio.Split, emitRef, emitDead func(*batch.Batch)) error {
	w := newWriter(fn.Size)
	err := imageio.Read(ctx, split, func(im imageio.Image) error {
		if w.pending = append(w.pending, im); len(w.pending) == cap(w.pending) {
			w.flush()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	w.flush()
	imagesCounter.Inc(ctx, int64(len(w.rows)))
	if len(w.dead) > 0 {
		deadCounter.Inc(ctx, int64(len(w.dead)))
		emitDead(batch.Of(w.dead))
	}
	if len(w.rows) == 0 {
		return nil
	}
	path := files.Join(fn.Dir, "shards", fmt.Sprintf("shard-%05d.arrow", split.Index))
	if err := arrowio.WriteFile(ctx, path, shards.Schema(fn.Size), w.record()); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	emitRef(batch.Of([]shards.Ref{{Path: path, Rows: int64(len(w.rows))}}))
	return nil
}

// writer collects the columns of one shard.
type writer struct {
	size    int
	pending []imageio.Image // read, not yet decoded
	decoded []imageio.RGB
	errs    []error
	sources []string
	rows    []int64
	pixels  []uint8
	dead    []Dead
}

// pendingImages is how many images are decoded at once.
const pendingImages = 128

func newWriter(size int) *writer {
	return &writer{
		size:    size,
		pending: make([]imageio.Image, 0, pendingImages),
		decoded: make([]imageio.RGB, pendingImages),
		errs:    make([]error, pendingImages),
	}
}

// flush decodes the pending images on all processors and appends them in order.
func (w *writer) flush() {
	workers := min(runtime.GOMAXPROCS(0), len(w.pending))
	var group sync.WaitGroup
	for first := range workers {
		group.Go(func() {
			for i := first; i < len(w.pending); i += workers {
				rgb, err := imageio.Decode(w.pending[i].Data)
				if err == nil {
					rgb = rgb.Square(w.size)
				}
				w.decoded[i], w.errs[i] = rgb, err
			}
		})
	}
	group.Wait()
	for i, im := range w.pending {
		if err := w.errs[i]; err != nil {
			w.dead = append(w.dead, Dead{Path: im.Source, Row: im.Row, Reason: err.Error()})
			continue
		}
		w.sources = append(w.sources, im.Source)
		w.rows = append(w.rows, im.Row)
		w.pixels = append(w.pixels, w.decoded[i].Pix...)
	}
	clear(w.decoded)
	clear(w.pending)
	w.pending = w.pending[:0]
}

// record is the shard's record, in the schema of package shards.
func (w *writer) record() arrow.Record {
	schema, n := shards.Schema(w.size), len(w.rows)
	sources := array.NewStringBuilder(batch.Mem)
	sources.AppendValues(w.sources, nil)
	rows := array.NewInt64Builder(batch.Mem)
	rows.AppendValues(w.rows, nil)
	pixels := array.NewData(schema.Field(2).Type, n, []*memory.Buffer{nil, memory.NewBufferBytes(w.pixels)}, nil, 0, 0)
	return array.NewRecord(schema, []arrow.Array{sources.NewArray(), rows.NewArray(), array.NewFixedSizeBinaryData(pixels)}, int64(n))
}
