package detect

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// finderBatch is the number of images of a forward pass.
const finderBatch = 16

// finder finds objects with a detector.
type finder struct {
	*model
	backbone *nn.Net
	head     *detect.Net
	input    []float32
}

func newFinder(ctx context.Context, path string, pool *kernels.Pool) (*finder, error) {
	m, backbone, head, err := open(ctx, path, finderBatch, pool)
	if err != nil {
		return nil, err
	}
	return &finder{m, backbone, head, make([]float32, finderBatch*m.Input.Size*m.Input.Size*3)}, nil
}

// object is an object that was found, with its box in pixels of the image.
type object struct {
	class int
	score float64
	box   metrics.Box
}

// find returns the objects in at most finderBatch pictures, the surest of each first. What is found in a picture does not
// depend on the others.
func (f *finder) find(pictures []picture) [][]object {
	size := f.Input.Size
	extents, objects := make([][2]float32, len(pictures)), make([][]object, len(pictures))
	for i, p := range pictures {
		p.put(f.input[i*size*size*3:(i+1)*size*size*3], size, f.Input, false)
		extents[i] = [2]float32{float32(p.Width), float32(p.Height)}
	}
	f.backbone.Forward(f.input, nn.RunningStats)
	f.head.Forward(values(f.backbone))
	for i, found := range f.head.Decode(extents, detect.Default) {
		for _, o := range found {
			objects[i] = append(objects[i], object{o.Class, float64(o.Score), pictures[i].original(o.Box)})
		}
	}
	return objects
}

// Found is the schema of Find's output: the objects that were found in an image, the surest first.
type Found struct {
	// Index, Source, Row, LabelLost and Damage are those of imageio.Row, and Labeled says whether it has a label.
	Index     int64  `arrow:"index"`
	Source    string `arrow:"source"`
	Row       int64  `arrow:"row"`
	Labeled   bool   `arrow:"labeled"`
	LabelLost bool   `arrow:"label_lost"`
	Damage    string `arrow:"damage"`
	// Classes are indices into Card.Classes, Scores how sure the detector is, from 0 to 1, and Boxes the left, top, width and
	// height of each object, in pixels of the image.
	Classes []int32   `arrow:"classes"`
	Scores  []float64 `arrow:"scores"`
	Boxes   []float64 `arrow:"boxes"`
}

// Detections returns the objects, by the names of the classes.
func (f Found) Detections(classes []string) (all []Detection) {
	for i, class := range f.Classes {
		b := f.Boxes[4*i:]
		all = append(all, Detection{
			Source: f.Source, Class: classes[class], Score: f.Scores[i], Left: b[0], Top: b[1], Width: b[2], Height: b[3],
		})
	}
	return all
}

// Find detects objects in any images, as Predict does in those of a split.
//
// in: *record.Batch of imageio.Row, images of any size. out: *record.Batch of Found, a row for each, with the objects of at
// least a score.
func Find(s beam.Scope, images beam.PCollection, detector string, minScore float64) beam.PCollection {
	return beam.ParDo(s.Scope("detect.Find"), &findFn{Detector: detector, MinScore: minScore}, images)
}

// findFn collects images for a forward pass.
type findFn struct {
	Detector string
	MinScore float64

	finder   *finder
	rows     []Found
	pictures []picture
}

// StartBundle discards what a failed bundle left behind.
func (fn *findFn) StartBundle(func(*record.Batch)) { fn.rows, fn.pictures = nil, nil }

func (fn *findFn) ProcessElement(ctx context.Context, b *record.Batch, emit func(*record.Batch)) error {
	images, err := record.Rows[imageio.Row](b)
	if err != nil {
		return fmt.Errorf("detect: %w", err)
	}
	if fn.finder == nil {
		err := compute.Run(func(pool *kernels.Pool) (err error) {
			fn.finder, err = newFinder(ctx, fn.Detector, pool)
			return err
		})
		if err != nil {
			return fmt.Errorf("detect: %w", err)
		}
	}
	for _, im := range images {
		fn.rows = append(fn.rows, Found{
			Index: im.Index, Source: im.Source, Row: im.Row, Labeled: im.Label >= 0 || im.Class != "", LabelLost: im.LabelLost, Damage: im.Damage,
		})
		rgb := imageio.RGB{Width: int(im.Width), Height: int(im.Height), Pix: im.Pixels}
		fn.pictures = append(fn.pictures, newPicture(rgb, fn.finder.Input.Size))
		if len(fn.rows) == finderBatch {
			if err := fn.FinishBundle(ctx, emit); err != nil {
				return err
			}
		}
	}
	return nil
}

// FinishBundle detects objects in the images that were collected.
func (fn *findFn) FinishBundle(ctx context.Context, emit func(*record.Batch)) error {
	if len(fn.rows) == 0 {
		return nil
	}
	var all [][]object
	err := compute.Run(func(*kernels.Pool) error {
		all = fn.finder.find(fn.pictures)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for i, objects := range all {
		for _, o := range objects {
			if r := &fn.rows[i]; o.score >= fn.MinScore {
				r.Classes, r.Scores, r.Boxes = append(r.Classes, int32(o.class)), append(r.Scores, o.score), append(r.Boxes, o.box[:]...)
			}
		}
	}
	emit(record.Of(fn.rows))
	fn.rows, fn.pictures = nil, nil
	return nil
}
