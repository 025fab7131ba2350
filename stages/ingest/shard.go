package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
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

// tally counts what was read of a split.
type tally struct {
	Split   int64  `arrow:"split"`
	Images  int64  `arrow:"images"`
	Labeled int64  `arrow:"labeled"`
	Damaged int64  `arrow:"damaged"` // but readable
	Plain   int64  `arrow:"plain"`   // of a single color
	Clipped int64  `arrow:"clipped"` // mostly gray that is clipped to white
	Hashes  []byte `arrow:"hashes"`  // of different images, as many as are needed to tell that they are enough
}

const hashBytes = 8 // of an image in tally.Hashes

// shardFn writes the images of one split, which come as one batch, to a shard and emits its reference and its tally.
type shardFn struct {
	Size  int
	Dir   string
	Least int
}

func (fn *shardFn) ProcessElement(ctx context.Context, images *record.Batch, emitRef, emitTally func(*record.Batch)) error {
	column := func(name string) arrow.Array { return images.Column(images.Schema().FieldIndices(name)[0]) }
	split := imageio.SplitOf(column("index").(*array.Int64).Value(0))
	path := files.Join(fn.Dir, "shards", shards.Name(split))
	schema, rows := shards.Schema(fn.Size), images.NumRows()
	pixels := column("pixels").(*array.Binary)
	sums := sumsOf(pixels)
	shard := array.NewRecord(schema, []arrow.Array{column("source"), column("row"), fixed(pixels, schema.Field(2).Type), sums}, rows)
	if err := arrowio.WriteFile(ctx, path, schema, shard); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	t := tally{Split: split, Images: rows, Plain: plain(pixels), Hashes: different(sums, fn.Least)}
	labels, classes, damage := column("label").(*array.Int64), column("class").(*array.String), column("damage").(*array.String)
	clipped := column("clipped").(*array.Boolean)
	for i := range labels.Len() {
		if labels.Value(i) >= 0 || classes.Value(i) != "" {
			t.Labeled++
		}
		if damage.Value(i) != "" {
			t.Damaged++
		}
		if clipped.Value(i) {
			t.Clipped++
		}
	}
	emitRef(record.Of([]shards.Ref{{Path: path, Rows: rows}}))
	emitTally(record.Of([]tally{t}))
	return nil
}

// plain counts the images of a single color.
func plain(images *array.Binary) (n int64) {
	for i := range images.Len() {
		pixels := images.Value(i)
		if bytes.Equal(pixels[3:], pixels[:len(pixels)-3]) {
			n++
		}
	}
	return n
}

// sumsOf computes the checksum of each image.
func sumsOf(images *array.Binary) *array.Uint64 {
	b := array.NewUint64Builder(record.Mem)
	for i := range images.Len() {
		b.Append(shards.Sum(images.Value(i)))
	}
	return b.NewUint64Array()
}

// different returns up to most different checksums.
func different(sums *array.Uint64, most int) (hashes []byte) {
	seen := map[uint64]bool{}
	for i := 0; i < sums.Len() && len(seen) < most; i++ {
		if sum := sums.Value(i); !seen[sum] {
			seen[sum] = true
			hashes = binary.LittleEndian.AppendUint64(hashes, sum)
		}
	}
	return hashes
}

// fixed converts a column of equally long values to the fixed-size type t, sharing its memory.
func fixed(values *array.Binary, t arrow.DataType) arrow.Array {
	data := array.NewData(t, values.Len(), []*memory.Buffer{nil, memory.NewBufferBytes(values.ValueBytes())}, nil, 0, 0)
	return array.NewFixedSizeBinaryData(data)
}
