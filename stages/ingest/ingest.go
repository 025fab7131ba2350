// Package ingest is the stage that reads a collection of images, brings them to
// one size and writes them as Arrow shards, which every later stage maps into
// memory instead of decoding again. Labels are not stored.
package ingest

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// ShardRows is the number of images that imageio.Plan is asked to put into a
// split, and so the most images of a shard: 2048, or fewer where images of that
// size would make a shard of more than a gigabyte.
func ShardRows(size int) int { return max(1, min(2048, (1<<30)/(3*size*size))) }

// Config says how to read and where to write.
type Config struct {
	// Size is the height and width in pixels at which images are stored: the
	// shorter side is scaled to it and the middle square cut out.
	Size int
	// Dir is the stage's folder; the shards go to its folder shards.
	Dir string
	// DeadLetter is the Parquet file that lists the images that cannot be read.
	DeadLetter string
	// MaxBad is the share of such images, 0 to 1, above which the stage fails.
	MaxBad float64
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[shardFn]())
	beam.RegisterDoFn(reflect.TypeFor[checkFn]())
}

// Ingest writes the images of every split, as imageio.Plan makes them for
// [ShardRows], as one shard, Dir/shards/shard-%05d.arrow
// by the number of the split, whose bytes depend on the split's images and
// nothing else. Images that cannot be read are left out and listed in the
// dead-letter file; if they are too many, the pipeline fails.
//
// in: imageio.Split. out: *record.Batch of shards.Ref, one batch of one row for
// each shard. They come after all shards are written and the share of bad images is checked.
func Ingest(s beam.Scope, splits beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("ingest.Ingest")
	images, dead := imageio.ReadSplits(s, splits, imageio.ReadConfig{Size: cfg.Size, Batch: ShardRows(cfg.Size)})
	refs := beam.ParDo(s, &shardFn{Size: cfg.Size, Dir: cfg.Dir}, images)
	checked := beam.ParDo(s, &checkFn{DeadLetter: cfg.DeadLetter, MaxBad: cfg.MaxBad}, beam.Impulse(s),
		beam.SideInput{Input: refs}, beam.SideInput{Input: dead})
	return beam.Reshuffle(s, checked)
}

// checkFn writes the dead-letter file and lets the references through if there
// are not too many bad images.
type checkFn struct {
	DeadLetter string
	MaxBad     float64
}

func (fn *checkFn) ProcessElement(ctx context.Context, _ []byte, refs, dead func(**record.Batch) bool, emit func(*record.Batch)) error {
	written, err := record.All[shards.Ref](refs)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	bad, err := record.All[imageio.Dead](dead)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	shards.Sort(written)
	slices.SortFunc(bad, func(a, b imageio.Dead) int { return cmp.Compare(a.Index, b.Index) })
	if err := arrowio.SaveParquet(ctx, fn.DeadLetter, record.Of(bad).Record); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	total := int64(len(bad))
	for _, ref := range written {
		total += ref.Rows
	}
	if err := fn.check(total, bad); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	for _, ref := range written {
		emit(record.Of([]shards.Ref{ref}))
	}
	return nil
}
