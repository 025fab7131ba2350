// # As Beam transforms
//
// [Read], [ReadAll] and [ReadSplits] list, read and decode inside a pipeline.
//
// Inputs and outputs. Paths or splits in; out come a PCollection<*record.Batch> of
// decoded images, rows [Row], and one of dead letters, rows [Dead]: the images that
// cannot be decoded, each with its reason.
//
// Determinism. The same files give the same rows, byte for byte, on every runner;
// Index orders them. A batch has images of one split, in order.
//
// Errors. A missing path, a path without an image and a damaged collection fail the
// pipeline with the file and the place in it. A damaged image is a dead letter.
//
// The images go to the next transform in memory where the runner fuses the two; put
// no Reshuffle or GroupByKey between, unless the images may travel.
package imageio

import (
	"context"
	"fmt"
	"reflect"
	"runtime"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Split]())
	beam.RegisterType(reflect.TypeFor[Row]())
	beam.RegisterType(reflect.TypeFor[Dead]())
	beam.RegisterDoFn(reflect.TypeFor[planFn]())
	beam.RegisterDoFn(reflect.TypeFor[planPathFn]())
	beam.RegisterDoFn(reflect.TypeFor[readFn]())
}

// splitRows is the number of images that a worker reads at a time.
const splitRows = 1024

// What a batch holds at most where [ReadConfig] does not say; a larger image is
// alone in its batch.
const (
	batchRows  = 256
	batchBytes = 32 << 20 // of pixels
)

// maxBatchBytes is what a batch of any configuration holds at most: Arrow's binary
// columns count bytes by int32.
const maxBatchBytes = 1 << 30

// ReadConfig says how images are read.
type ReadConfig struct {
	// Size brings images to Size x Size pixels, as [DecodeSquare] does. 0 leaves
	// them as they are.
	Size int
	// Batch is the most images of a batch. 0 makes batches of at most 256 images
	// and about 32 MiB.
	Batch int
}

// Read reads and decodes the images of files and folders, as [Plan] lists them, and
// returns two PCollection<*record.Batch>: the images as rows [Row], and those that
// cannot be decoded as rows [Dead]. The paths are listed when the pipeline runs,
// and the images read where there is a free worker; one element of images has
// images of one split in their order.
//
// A path that does not exist, a path without any image and a collection that is
// damaged fail the pipeline.
func Read(s beam.Scope, paths ...string) (images, dead beam.PCollection) {
	s = s.Scope("imageio.Read")
	return ReadSplits(s, beam.ParDo(s, &planFn{Paths: paths}, beam.Impulse(s)), ReadConfig{})
}

// ReadAll is [Read] of the paths of a PCollection<string>. The index of the images
// orders those of one path.
func ReadAll(s beam.Scope, paths beam.PCollection, cfg ReadConfig) (images, dead beam.PCollection) {
	s = s.Scope("imageio.ReadAll")
	return ReadSplits(s, beam.ParDo(s, &planPathFn{}, paths), cfg)
}

// ReadSplits is [Read] of a PCollection<Split>, for who has called [Plan]. If
// cfg.Batch is at least the size of the splits, and the pixels of one are less
// than 1 GiB, each split with a good image makes one batch.
func ReadSplits(s beam.Scope, splits beam.PCollection, cfg ReadConfig) (images, dead beam.PCollection) {
	s = s.Scope("imageio.ReadSplits")
	if cfg.Size < 0 || cfg.Batch < 0 {
		panic(fmt.Sprintf("imageio: Size is %d and Batch %d, must be at least 0", cfg.Size, cfg.Batch))
	}
	return beam.ParDo2(s, &readFn{Config: cfg}, beam.Reshuffle(s, splits))
}

// planFn lists the splits of some paths.
type planFn struct{ Paths []string }

func (fn *planFn) ProcessElement(ctx context.Context, _ []byte, emit func(Split)) error {
	splits, err := Plan(ctx, fn.Paths, splitRows)
	for _, split := range splits {
		emit(split)
	}
	return err
}

// planPathFn lists the splits of one path.
type planPathFn struct{}

func (*planPathFn) ProcessElement(ctx context.Context, path string, emit func(Split)) error {
	splits, err := Plan(ctx, []string{path}, splitRows)
	for _, split := range splits {
		emit(split)
	}
	return err
}

var (
	readCounter = beam.NewCounter("imageio", "images")
	deadCounter = beam.NewCounter("imageio", "dead_letters")
)

// readFn decodes the images of one split.
type readFn struct{ Config ReadConfig }

func (fn *readFn) ProcessElement(ctx context.Context, split Split, emitImages, emitDead func(*record.Batch)) error {
	var dead []Dead
	good, index := newRows(), split.Index<<32
	flush := func() {
		if good.len() > 0 {
			readCounter.Inc(ctx, int64(good.len()))
			emitImages(good.batch())
			good = newRows()
		}
	}
	err := fn.decode(ctx, split, func(im Image, rgb RGB, damage error) error {
		if damage != nil {
			dead = append(dead, Dead{Index: index, Source: im.Source, Row: im.Row, Reason: damage.Error()})
		} else {
			if good.len() > 0 && fn.full(good, len(rgb.Pix)) {
				flush()
			}
			good.add(index, im, rgb)
		}
		index++
		return nil
	})
	if err != nil {
		return fmt.Errorf("imageio: %w", err)
	}
	flush()
	if len(dead) > 0 {
		deadCounter.Inc(ctx, int64(len(dead)))
		emitDead(record.Of(dead))
	}
	return nil
}

// decode gives the decoded images to yield in order.
func (fn *readFn) decode(ctx context.Context, split Split, yield func(Image, RGB, error) error) error {
	if fn.Config.Size > 0 {
		return Squares(ctx, split, fn.Config.Size, yield)
	}
	return decodeAhead(ctx, split, 2*runtime.GOMAXPROCS(0), Decode, yield) // few: they may be large
}

// full tells whether a batch has no room for an image of so many bytes.
func (fn *readFn) full(r *rows, bytes int) bool {
	bytes += len(r.pixels)
	if fn.Config.Batch > 0 {
		return r.len() == fn.Config.Batch || bytes > maxBatchBytes
	}
	return r.len() == batchRows || bytes > batchBytes
}
