// Package ingest is the stage that reads a collection of images, resizes them to one size and writes them as Arrow
// shards, which later stages map into memory instead of decoding the images again. Labels are not stored.
package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// ShardRows returns the number of images per split to request from imageio.Plan, and so the maximum number of images
// per shard, for images of size x size pixels: 2048, or fewer if such a shard would exceed a gigabyte.
func ShardRows(size int) int { return max(1, min(2048, (1<<30)/(3*size*size))) }

// Config says how to read the images and where to write the shards.
type Config struct {
	// Size is the height and width in pixels of stored images: the shorter side is scaled to Size, then the image is
	// center-cropped.
	Size int
	// Dir is the stage's folder; the shards go to its subfolder shards.
	Dir string
	// DeadLetter is the path of the Parquet file that lists unreadable images.
	DeadLetter string
	// MaxBad is the fraction of unreadable images, 0 to 1, above which the stage fails.
	MaxBad float64
	// Least is the number of different images below which the stage fails, since one mini-batch would hold an image twice; 0
	// for none.
	Least int
	// Subsets is the number of subsets that the images will be divided into, of which there is a warning if they have fewer
	// than Least images each.
	Subsets int
	// Sources are what the splits come from, as imageio.Survey returns them; a line about each is logged.
	Sources []imageio.Source
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[shardFn]())
	beam.RegisterDoFn(reflect.TypeFor[checkFn]())
}

// Ingest writes each split, as made by imageio.Plan with [ShardRows], to one shard, Dir/shards/shard-%05d.arrow with
// the split's number. A shard's bytes depend only on the split's images. Unreadable images are left out and listed in
// the dead-letter file; if there are too many, the pipeline fails.
//
// in: imageio.Split. out: *record.Batch of shards.Ref, one single-row batch per shard, emitted after all shards are
// written and the fraction of unreadable images is checked.
func Ingest(s beam.Scope, splits beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("ingest.Ingest")
	images, dead := imageio.ReadSplits(s, splits, imageio.ReadConfig{Size: cfg.Size, Batch: ShardRows(cfg.Size)})
	refs, tallies := beam.ParDo2(s, &shardFn{Size: cfg.Size, Dir: cfg.Dir, Least: cfg.Least}, images)
	checked := beam.ParDo(s, &checkFn{DeadLetter: cfg.DeadLetter, MaxBad: cfg.MaxBad, Least: cfg.Least, Subsets: cfg.Subsets, Sources: cfg.Sources}, beam.Impulse(s),
		beam.SideInput{Input: refs}, beam.SideInput{Input: tallies}, beam.SideInput{Input: dead})
	return beam.Reshuffle(s, checked)
}

// mostPlain is the fraction of images of a single color, or of clipped ones, above which there is a warning.
const mostPlain = .05

// checkFn writes the dead-letter file, logs what was read of each source, and passes the references on unless there are
// too many unreadable images.
type checkFn struct {
	DeadLetter string
	MaxBad     float64
	Least      int
	Subsets    int
	Sources    []imageio.Source
}

func (fn *checkFn) ProcessElement(ctx context.Context, _ []byte, refs, tallies, dead func(**record.Batch) bool, emit func(*record.Batch)) error {
	written, err := record.All[shards.Ref](refs)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	read, err := record.All[tally](tallies)
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
	fn.log(read, bad)
	if err := fn.check(total, bad, read); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	for _, ref := range written {
		emit(record.Of([]shards.Ref{ref}))
	}
	return nil
}

// log logs a line about each source.
func (fn *checkFn) log(read []tally, bad []imageio.Dead) {
	for _, source := range fn.Sources {
		var t imageio.Tally
		plain, clipped := int64(0), int64(0)
		for _, r := range read {
			if source.Has(r.Split) {
				t.Images, t.Labeled, t.Damaged = t.Images+r.Images, t.Labeled+r.Labeled, t.Damaged+r.Damaged
				plain, clipped = plain+r.Plain, clipped+r.Clipped
			}
		}
		for _, d := range bad {
			if source.Has(imageio.SplitOf(d.Index)) {
				t.Dead++
			}
		}
		slog.Info(source.Summary(t))
		if float64(plain) > mostPlain*float64(t.Images) {
			slog.Warn("many images are of a single color, so there is nothing to learn from them", "path", source.Path, "images", plain, "of", t.Images)
		}
		if float64(clipped) > mostPlain*float64(t.Images) {
			slog.Warn("many images are mostly gray above 255, which is clipped to white, as by Pillow; scale their gray to 8 bits",
				"path", source.Path, "images", clipped, "of", t.Images)
		}
	}
}
