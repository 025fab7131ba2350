package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[embedFn]()) }

// Config configures [Embed].
type Config struct {
	// Model is the path of the model file, on any Beam filesystem that the program imports.
	Model string
	// Column is the name of the features' column; empty means "feature".
	Column string
	// Target is the target duration of a request to the model; 0 means one second.
	Target time.Duration
	// MaxBatch is the maximum number of images per request; 0 means 10,000. A request is never smaller than one forward
	// pass: 256 images of up to 64 px, fewer if larger.
	MaxBatch int
}

// Validate reports all invalid fields.
func (c Config) Validate() error {
	var errs []error
	if c.Model == "" {
		errs = append(errs, errors.New("inference: Model is empty; set the path of a model file"))
	}
	if c.Target < 0 || c.MaxBatch < 0 {
		errs = append(errs, fmt.Errorf("inference: Target is %v and MaxBatch %d; they must be at least 0", c.Target, c.MaxBatch))
	}
	return errors.Join(errs...)
}

// maxBytes limits the pixels of a request at the model's input size.
const maxBytes = 64 << 20

// Embed computes features for the images of in, a PCollection<*record.Batch> with the columns width, height and pixels
// of imageio.Row. Images that do not have the model's input size are resized like imageio.RGB.Square. It returns two
// PCollection<*record.Batch>:
//
//   - features: the other input columns and a fixed_size_list<float32>, the globally pooled output of the backbone's
//     last stage;
//   - dead: the other input columns of the images without features, and the reason (string). If the input has
//     imageio.Row's columns, these rows can be read as imageio.Dead.
//
// The images of a bundle are grouped into requests whose size adapts to the measured time, as BatchElements does for
// RunInference in Beam for Python; outside the global window, every element is a request of its own. The model is
// cached per process. Embed panics if cfg is invalid.
func Embed(s beam.Scope, in beam.PCollection, cfg Config) (features, dead beam.PCollection) {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	return beam.ParDo2(s.Scope("inference.Embed"), &embedFn{Config: cfg}, in)
}

// embedFn collects images and computes their features.
type embedFn struct {
	Config Config

	model   *Model
	size    sizer
	pending []piece
	images  int // number of images in pending
}

// piece is a range of rows of one batch, without the image columns, and their images at the model's input size.
type piece struct {
	rows   *record.Batch
	images [][]uint8
}

func (p piece) slice(begin, end int) piece {
	return piece{record.New(p.rows.NewSlice(int64(begin), int64(end))), p.images[begin:end]}
}

// StartBundle discards what a failed bundle left behind.
func (fn *embedFn) StartBundle(_, _ func(*record.Batch)) { fn.pending, fn.images = nil, 0 }

func (fn *embedFn) ProcessElement(ctx context.Context, w beam.Window, b *record.Batch, emit, emitDead func(*record.Batch)) error {
	if err := fn.open(ctx); err != nil {
		return err
	}
	whole, reasons, err := prepare(b, fn.model.Input.Size)
	if err != nil {
		return err
	}
	for begin := 0; begin < len(reasons); {
		end := begin + 1
		for end < len(reasons) && reasons[end] == reasons[begin] {
			end++
		}
		if p := whole.slice(begin, end); reasons[begin] != "" {
			emitDead(p.dead(reasons[begin]))
		} else if err := fn.add(ctx, p, emit, emitDead); err != nil {
			return err
		}
		begin = end
	}
	if _, global := w.(window.GlobalWindow); !global {
		return fn.FinishBundle(ctx, emit, emitDead)
	}
	return nil
}

// open gets the model. It is called at the first element and not in Setup, where metrics are not counted.
func (fn *embedFn) open(ctx context.Context) error {
	if fn.model != nil {
		return nil
	}
	m, err := Open(ctx, fn.Config.Model)
	if err != nil {
		return fmt.Errorf("inference: %w", err)
	}
	pass, images := passImages(m.Input.Size), cmp.Or(fn.Config.MaxBatch, 10_000)
	images = min(images, maxBytes/(3*m.Input.Size*m.Input.Size))
	fn.model, fn.size = m, sizer{target: cmp.Or(fn.Config.Target, time.Second), max: max(1, images/pass)}
	return nil
}

// add collects a piece and sends a request as soon as there are enough images.
func (fn *embedFn) add(ctx context.Context, p piece, emit, emitDead func(*record.Batch)) error {
	for len(p.images) > 0 {
		wanted := fn.size.next() * passImages(fn.model.Input.Size)
		n := min(len(p.images), wanted-fn.images)
		fn.pending, fn.images = append(fn.pending, p.slice(0, n)), fn.images+n
		if p = p.slice(n, len(p.images)); fn.images == wanted {
			if err := fn.FinishBundle(ctx, emit, emitDead); err != nil {
				return err
			}
		}
	}
	return nil
}

// FinishBundle sends the collected images as one request.
func (fn *embedFn) FinishBundle(ctx context.Context, emit, emitDead func(*record.Batch)) error {
	if fn.images == 0 {
		return nil
	}
	pieces, images := fn.pending, make([][]uint8, 0, fn.images)
	fn.pending, fn.images = nil, 0
	for _, p := range pieces {
		images = append(images, p.images...)
	}
	start := time.Now()
	features, err := Features(ctx, fn.model, len(images), func(i int) []uint8 { return images[i] })
	if err != nil {
		failedBatches.Inc(ctx, 1)
		for _, p := range pieces {
			emitDead(p.dead(err.Error()))
		}
		return ctx.Err()
	}
	pass := passImages(fn.model.Input.Size)
	fn.size.add((len(images)+pass-1)/pass, time.Since(start))
	column, err := record.FromDense("feature", features)
	if err != nil {
		return err
	}
	for from, i := 0, 0; i < len(pieces); i++ {
		to := from + len(pieces[i].images)
		emit(record.With(pieces[i].rows, cmp.Or(fn.Config.Column, "feature"), array.NewSlice(column, int64(from), int64(to))))
		from = to
	}
	return nil
}

// dead returns the rows of a piece as dead letters.
func (p piece) dead(reason string) *record.Batch {
	reasons := array.NewStringBuilder(record.Mem)
	for range p.rows.NumRows() {
		reasons.Append(reason)
	}
	return record.With(p.rows, "reason", reasons.NewArray())
}

// prepare resizes the images of a batch to the model's input size. reasons says, per row, why an image is invalid; it
// is empty for valid ones.
func prepare(b *record.Batch, size int) (whole piece, reasons []string, err error) {
	width, err := column[*array.Int32](b, "width")
	if err != nil {
		return piece{}, nil, err
	}
	height, err := column[*array.Int32](b, "height")
	if err != nil {
		return piece{}, nil, err
	}
	pixels, err := column[*array.Binary](b, "pixels")
	if err != nil {
		return piece{}, nil, err
	}
	n := int(b.NumRows())
	whole, reasons = piece{record.Without(b, "width", "height", "pixels"), make([][]uint8, n)}, make([]string, n)
	scale := false
	for i := range n {
		w, h, bytes := int(width.Value(i)), int(height.Value(i)), len(pixels.Value(i))
		switch {
		case width.IsNull(i) || height.IsNull(i) || pixels.IsNull(i):
			reasons[i] = "width, height or pixels is null"
		case w < 1 || h < 1 || bytes != 3*w*h:
			reasons[i] = fmt.Sprintf("%d bytes of pixels; an image of %d x %d has %d", bytes, w, h, 3*w*h)
		case w == size && h == size:
			whole.images[i] = pixels.Value(i)
		default:
			scale = true
		}
	}
	if !scale {
		return whole, reasons, nil
	}
	return whole, reasons, compute.Run(func(pool *kernels.Pool) error {
		pool.For(n, func(_, i int) {
			if whole.images[i] == nil && reasons[i] == "" {
				im := imageio.RGB{Width: int(width.Value(i)), Height: int(height.Value(i)), Pix: pixels.Value(i)}
				whole.images[i] = im.Square(size).Pix
			}
		})
		return nil
	})
}

// column returns the column of that name, which must have type T.
func column[T arrow.Array](b *record.Batch, name string) (T, error) {
	var none T
	at := b.Schema().FieldIndices(name)
	if len(at) != 1 {
		return none, fmt.Errorf("inference: the input has %d columns %q; it needs width and height (int32) and pixels (binary), as in imageio.Row", len(at), name)
	}
	c, ok := b.Column(at[0]).(T)
	if !ok {
		return none, fmt.Errorf("inference: column %q has type %v; the input needs width and height (int32) and pixels (binary), as in imageio.Row", name, b.Column(at[0]).DataType())
	}
	return c, nil
}
