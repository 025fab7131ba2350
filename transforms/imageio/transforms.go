// # As Beam transforms
//
// [Read], [ReadAll] and [ReadSplits] list, read and decode inside a pipeline.
//
// Inputs and outputs. They take paths or splits and return two PCollection<*record.Batch>: the decoded images, rows
// [Row], and the dead letters, rows [Dead]: the images that cannot be decoded, each with the reason.
//
// Determinism. The same files produce the same rows, byte for byte, on every runner; sort them by Index. A batch holds
// images of one split, in order.
//
// Errors. A missing path, and a path without images that can be read, fail the pipeline. A damaged image becomes a dead
// letter, and so do those that are lost with a damaged collection, with the file and the position.
//
// If the runner fuses them, images pass to the next transform in memory; a Reshuffle or GroupByKey in between
// serializes the pixels.
package imageio

import (
	"context"
	"fmt"
	"reflect"
	"runtime"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/files"
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

// splitRows is the maximum number of images per split.
const splitRows = 1024

// Default limits of a batch, unless [ReadConfig] sets one; a larger image gets a batch of its own.
const (
	batchRows  = 256
	batchBytes = 32 << 20 // of pixels
)

// maxBatchBytes limits the pixels of a batch for any configuration: Arrow's binary columns have int32 offsets.
const maxBatchBytes = 1 << 30

// ReadConfig configures [ReadAll] and [ReadSplits].
type ReadConfig struct {
	// Size resizes images to Size x Size pixels like [DecodeSquare]; 0 keeps their size.
	Size int
	// Batch is the maximum number of images per batch; 0 means at most 256 images and about 32 MiB.
	Batch int
	// Labels makes a dead letter of an image with a label that cannot be used, such as a date; else the image has none.
	Labels bool
	// Strict makes it an error where Labels makes a dead letter.
	Strict bool
}

// ErrLabel is the error of a transform for a label that cannot be used; see package fault for how to find it in a runner's.
var ErrLabel = fault.New("unusable-label")

// Read reads and decodes the images in files and folders, as [Plan] lists them. It returns two
// PCollection<*record.Batch>: the images as rows [Row], and those that cannot be decoded as rows [Dead]. Paths are
// listed when the pipeline runs, and splits are distributed over the workers. A batch of images holds images of one
// split, in order.
//
// A path that does not exist and a path without images that can be read fail the pipeline.
func Read(s beam.Scope, paths ...string) (images, dead beam.PCollection) {
	s = s.Scope("imageio.Read")
	fn := &planFn{}
	for _, path := range paths {
		fn.Paths = append(fn.Paths, []byte(path))
	}
	return ReadSplits(s, beam.ParDo(s, fn, beam.Impulse(s)), ReadConfig{})
}

// ReadAll is [Read] for a PCollection<string> of paths. Index orders the images of each path; different paths use the
// same indices.
func ReadAll(s beam.Scope, paths beam.PCollection, cfg ReadConfig) (images, dead beam.PCollection) {
	s = s.Scope("imageio.ReadAll")
	return ReadSplits(s, beam.ParDo(s, &planPathFn{}, paths), cfg)
}

// ReadSplits is [Read] for a PCollection<Split> from [Plan]. If cfg.Batch is at least the size of the splits, and a
// split has less than 1 GiB of pixels, each split with a readable image becomes one batch.
func ReadSplits(s beam.Scope, splits beam.PCollection, cfg ReadConfig) (images, dead beam.PCollection) {
	s = s.Scope("imageio.ReadSplits")
	if cfg.Size < 0 || cfg.Batch < 0 {
		panic(fmt.Sprintf("imageio: Size is %d and Batch %d, must be at least 0", cfg.Size, cfg.Batch))
	}
	return beam.ParDo2(s, &readFn{Config: cfg}, beam.Reshuffle(s, splits))
}

// planFn emits the splits of its paths, which are not strings since these would have to be UTF-8 in Beam's JSON.
type planFn struct{ Paths [][]byte }

func (fn *planFn) ProcessElement(ctx context.Context, _ []byte, emit func(Split)) error {
	var paths []string
	for _, path := range fn.Paths {
		paths = append(paths, string(path))
	}
	return emitSplits(ctx, paths, emit)
}

// planPathFn emits the splits of a path.
type planPathFn struct{}

func (*planPathFn) ProcessElement(ctx context.Context, path string, emit func(Split)) error {
	return emitSplits(ctx, []string{path}, emit)
}

func emitSplits(ctx context.Context, paths []string, emit func(Split)) error {
	splits, err := Plan(ctx, paths, splitRows)
	for _, split := range splits {
		emit(split)
	}
	return sayable(err)
}

// sayable returns an error that a runner can pass on.
func sayable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("imageio: %s", files.Text(err.Error()))
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
		if damage == nil && fn.Config.Labels && im.LabelError != "" {
			if damage = fmt.Errorf("its label cannot be used: %s", im.LabelError); fn.Config.Strict {
				return fmt.Errorf("%s, row %d: %w [%w]", im.Source, im.Row, damage, ErrLabel)
			}
		}
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
		return sayable(err)
	}
	flush()
	if len(dead) > 0 {
		deadCounter.Inc(ctx, int64(len(dead)))
		emitDead(record.Of(dead))
	}
	return nil
}

// decode calls yield with the decoded images, in order.
func (fn *readFn) decode(ctx context.Context, split Split, yield func(Image, RGB, error) error) error {
	if fn.Config.Size > 0 {
		return Squares(ctx, split, fn.Config.Size, yield)
	}
	return decodeAhead(ctx, split, 2*runtime.GOMAXPROCS(0), Decode, yield) // only a few: they may be large
}

// full reports whether a batch has no room for an image of so many bytes.
func (fn *readFn) full(r *rows, bytes int) bool {
	bytes += len(r.pixels)
	if fn.Config.Batch > 0 {
		return r.len() == fn.Config.Batch || bytes > maxBatchBytes
	}
	return r.len() == batchRows || bytes > batchBytes
}
