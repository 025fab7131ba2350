// Package labeled computes the features of tasks' images under models, which route and evaluate classify. Each split
// of a task is decoded once and embedded once per model, as long as the caches have room.
package labeled

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Set holds the features of one split of a task under one model.
type Set struct {
	// Features has shape (len(Labels), features per image).
	Features *tensor.Dense
	// Labels are class numbers, indices into Classes, and Sets all those of images that may have several, as in tasks.Images.
	Labels []int64
	Sets   [][]int64
	// Classes are the names of the classes.
	Classes []string
}

// Net is a model file and the images that its BatchNorm statistics come from.
type Net struct {
	// Model is the model file.
	Model string
	// Norm is the path of labeled images whose statistics replace those in the file (AdaBN, arXiv 1603.04779); empty for
	// those in the file.
	Norm string
}

// normImages bounds the number of images for statistics.
const normImages = 4096

// Open returns the net's backbone, shared and read-only.
func (n Net) Open(ctx context.Context) (*inference.Model, error) {
	models, err := open(ctx, []Net{n})
	if err != nil {
		return nil, err
	}
	return models[0], nil
}

// open opens nets. It estimates the statistics of those with the same Norm together.
func open(ctx context.Context, nets []Net) ([]*inference.Model, error) {
	models := make([]*inference.Model, len(nets))
	missing := map[string][]int{} // nets to estimate statistics of, by Norm
	for i, n := range nets {
		var err error
		if models[i], err = inference.Open(ctx, n.Model); err != nil {
			return nil, err
		}
		if n.Norm == "" {
			continue
		}
		if m, ok := adapted.Cached(n.key(ctx)); ok {
			models[i] = m
		} else {
			missing[n.Norm] = append(missing[n.Norm], i)
		}
	}
	for norm, list := range missing {
		var same []*inference.Model
		for _, i := range list {
			same = append(same, models[i])
		}
		stats, err := estimate(ctx, same, norm)
		if err != nil {
			return nil, err
		}
		for at, i := range list {
			models[i], err = adapted.Get(nets[i].key(ctx), func() (*inference.Model, int, error) {
				m := *same[at]
				m.Stats = stats[at]
				return &m, 4 * len(m.Stats), nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return models, nil
}

// estimate returns the BatchNorm statistics of models on the labeled images at a path.
func estimate(ctx context.Context, models []*inference.Model, path string) (stats [][]float32, err error) {
	im, err := Images(ctx, path, models[0].Input.Size, nil)
	if err != nil {
		return nil, err
	}
	err = compute.Run(func(pool *kernels.Pool) error {
		order := rng.New(0, rng.Sample).Perm(im.Len())
		stats, err = inference.EstimateEach(pool, models, min(im.Len(), normImages), func(i int) []uint8 { return im.At(order[i%im.Len()]) })
		return err
	})
	return stats, err
}

// key identifies the net.
func (n Net) key(ctx context.Context) string {
	if n.Norm == "" {
		return files.Identity(ctx, n.Model)
	}
	return files.Identity(ctx, n.Model) + " " + files.Identity(ctx, n.Norm)
}

// Split embeds one split of a task, the labeled images at path, under nets, and calls
// yield with the result of each in order. What consecutive nets have in common is computed once; see
// inference.FeaturesEach. classes are the classes of the training images, or nil if path is the training split; see
// tasks.Load. A Set is shared and must not be modified.
func Split(ctx context.Context, nets []Net, path string, classes []string, yield func(i int, s *Set) error) error {
	for from := 0; from < len(nets); {
		first, err := inference.Open(ctx, nets[from].Model) // only its shape matters here
		if err != nil {
			return err
		}
		im, err := Images(ctx, path, first.Input.Size, classes)
		if err != nil {
			return err
		}
		features := 4 * im.Len() * first.Backbone.FeatureDim()
		to := from + 1
		for most := from + together/(features+4*len(first.Params)); to < min(len(nets), most); to++ {
			m, err := inference.Open(ctx, nets[to].Model)
			if err != nil {
				return err
			}
			if m.Backbone != first.Backbone || m.Input != first.Input {
				break
			}
		}
		some := nets[from:to]
		found, err := splitSome(ctx, some, path, classes, im)
		if err != nil {
			return err
		}
		for i, s := range found {
			if err := yield(from+i, s); err != nil {
				return err
			}
		}
		from += len(some)
	}
	return nil
}

// together is the memory, in bytes, that the features and weights of nets may take that are computed together.
const together = 256 << 20

// splitSome is Split for a few nets and loaded images.
func splitSome(ctx context.Context, nets []Net, path string, classes []string, im *tasks.Images) ([]*Set, error) {
	found, keys := make([]*Set, len(nets)), make([]string, len(nets))
	var missing []Net
	for i, n := range nets {
		keys[i] = fmt.Sprintf("%s %s %q", n.key(ctx), files.Identity(ctx, path), classes)
		if s, ok := sets.Cached(keys[i]); ok {
			found[i] = s
		} else {
			missing = append(missing, n)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	models, err := open(ctx, missing)
	if err != nil {
		return nil, err
	}
	features, err := inference.FeaturesEach(ctx, models, im.Len(), im.At)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i] != nil {
			continue
		}
		x := features[0]
		features = features[1:]
		found[i], err = sets.Get(keys[i], func() (*Set, int, error) {
			return &Set{Features: x, Labels: im.Labels, Sets: im.Sets, Classes: im.Classes}, x.DataSize() * 4, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Images loads a split, unless the cache has it; see tasks.Load. It is shared and must not be modified.
func Images(ctx context.Context, path string, size int, classes []string) (*tasks.Images, error) {
	return images.Get(fmt.Sprintf("%s %d %q", files.Identity(ctx, path), size, classes), func() (*tasks.Images, int, error) {
		return load(ctx, path, size, classes)
	})
}

func load(ctx context.Context, path string, size int, classes []string) (*tasks.Images, int, error) {
	im, err := tasks.Load(ctx, path, size, classes)
	if err != nil {
		return nil, 0, err
	}
	if len(im.Bad) > 0 {
		slog.Warn("skipping images of a task that cannot be used", "path", path, "bad", len(im.Bad), "good", im.Len(), "first", im.Bad[0])
	}
	return im, len(im.Pixels), nil
}

// The caches for all tasks and models.
var (
	sets    = compute.NewCache[*Set](64 << 20)
	images  = compute.NewCache[*tasks.Images](256 << 20)
	adapted = compute.NewCache[*inference.Model](64 << 20)
)

// Batch returns the set as one row per image: the columns label and feature, and the columns of the single-row batch of,
// repeated. label is int64, or if the metric is tasks.MeanAP, list<int32>. The batch shares the features' memory.
func (s *Set) Batch(of *record.Batch, metric string) (*record.Batch, error) {
	if err := tasks.CheckMetric(metric, s.Sets); err != nil {
		return nil, err
	}
	b := of
	for b.NumRows() < int64(len(s.Labels)) { // doubles each time
		var err error
		if b, err = record.Concat([]*record.Batch{b, b}); err != nil {
			return nil, err
		}
	}
	b = record.New(b.NewSlice(0, int64(len(s.Labels))))
	var labels arrow.Array
	if metric == tasks.MeanAP {
		lists := array.NewListBuilderWithField(record.Mem, arrow.Field{Name: "item", Type: arrow.PrimitiveTypes.Int32})
		for _, set := range tasks.Members(s.Labels, s.Sets) {
			lists.Append(true)
			for _, c := range set {
				lists.ValueBuilder().(*array.Int32Builder).Append(int32(c))
			}
		}
		labels = lists.NewArray()
	} else {
		numbers := array.NewInt64Builder(record.Mem)
		numbers.AppendValues(s.Labels, nil)
		labels = numbers.NewArray()
	}
	features, err := record.FromDense("feature", s.Features)
	if err != nil {
		return nil, err
	}
	return record.With(record.With(b, "label", labels), "feature", features), nil
}
