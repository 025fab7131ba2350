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
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// ShardRows is the number of images that imageio.Plan is asked to put into a
// split, and so the most images of a shard.
const ShardRows = 2048

// Config says what to read and where to write.
type Config struct {
	// Splits are the images, as imageio.Plan listed them; each split becomes one
	// shard.
	Splits []imageio.Split
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
	beam.RegisterType(reflect.TypeFor[imageio.Split]())
	beam.RegisterDoFn(reflect.TypeFor[shardFn]())
	beam.RegisterDoFn(reflect.TypeFor[checkFn]())
}

// Ingest writes the images of every split as one shard, Dir/shards/shard-%05d.arrow
// by the number of the split, whose bytes depend on the split's images and
// nothing else. Images that cannot be read are left out and listed in the
// dead-letter file; if they are too many, the pipeline fails.
//
// out: *record.Batch of shards.Ref, one batch of one row for each shard. They
// come after all shards are written and the share of bad images is checked.
func Ingest(s beam.Scope, cfg Config) beam.PCollection {
	s = s.Scope("ingest.Ingest")
	splits := beam.Reshuffle(s, beam.CreateList(s, cfg.Splits))
	refs, dead := beam.ParDo2(s, &shardFn{Size: cfg.Size, Dir: cfg.Dir}, splits)
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
	bad, err := record.All[Dead](dead)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	shards.Sort(written)
	slices.SortFunc(bad, func(a, b Dead) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Row, b.Row)) })
	if err := WriteDead(ctx, fn.DeadLetter, bad); err != nil {
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
