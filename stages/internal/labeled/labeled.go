// Package labeled computes the features of tasks' images under models, which route and evaluate classify. Each split
// of a task is decoded once and embedded once per model, as long as the caches have room.
package labeled

import (
	"context"
	"fmt"
	"log/slog"

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
	// Labels are class numbers, indices into Classes.
	Labels []int64
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
	m, err := inference.Open(ctx, n.Model)
	if err != nil || n.Norm == "" {
		return m, err
	}
	return adapted.Get(n.key(ctx), func() (*inference.Model, int, error) {
		im, err := Images(ctx, n.Norm, m.Input.Size, nil)
		if err != nil {
			return nil, 0, err
		}
		a := *m
		err = compute.Run(func(pool *kernels.Pool) error {
			order := rng.New(0, rng.Sample).Perm(im.Len())
			a.Stats, err = inference.Estimate(pool, m, min(im.Len(), normImages), func(i int) []uint8 { return im.At(order[i%im.Len()]) })
			return err
		})
		return &a, 4 * len(a.Stats), err
	})
}

// key identifies the net.
func (n Net) key(ctx context.Context) string {
	if n.Norm == "" {
		return files.Identity(ctx, n.Model)
	}
	return files.Identity(ctx, n.Model) + " " + files.Identity(ctx, n.Norm)
}

// Split embeds one split of a task, the labeled images at path, under a net. classes are the classes of the training
// images, or nil if path is the training split; see tasks.Load. The Set is shared and must not be modified.
func Split(ctx context.Context, net Net, path string, classes []string) (*Set, error) {
	return sets.Get(fmt.Sprintf("%s %s %q", net.key(ctx), files.Identity(ctx, path), classes), func() (*Set, int, error) {
		m, err := net.Open(ctx)
		if err != nil {
			return nil, 0, err
		}
		im, err := Images(ctx, path, m.Input.Size, classes)
		if err != nil {
			return nil, 0, err
		}
		features, err := inference.Features(ctx, m, im.Len(), im.At)
		return &Set{Features: features, Labels: im.Labels, Classes: im.Classes}, 4 * im.Len() * m.Backbone.FeatureDim(), err
	})
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
		slog.Warn("skipping unreadable images of a task", "path", path, "bad", len(im.Bad), "good", im.Len(), "first", im.Bad[0])
	}
	return im, len(im.Pixels), nil
}

// The caches for all tasks and models.
var (
	sets    = compute.NewCache[*Set](128 << 20)
	images  = compute.NewCache[*tasks.Images](256 << 20)
	adapted = compute.NewCache[*inference.Model](64 << 20)
)

// Batch returns the set as one row per image: the columns label (int64) and feature, and the columns of the single-row
// batch of, repeated. It shares the features' memory.
func (s *Set) Batch(of *record.Batch) (*record.Batch, error) {
	b := of
	for b.NumRows() < int64(len(s.Labels)) { // doubles each time
		var err error
		if b, err = record.Concat([]*record.Batch{b, b}); err != nil {
			return nil, err
		}
	}
	b = record.New(b.NewSlice(0, int64(len(s.Labels))))
	labels := array.NewInt64Builder(record.Mem)
	labels.AppendValues(s.Labels, nil)
	features, err := record.FromDense("feature", s.Features)
	if err != nil {
		return nil, err
	}
	return record.With(record.With(b, "label", labels.NewArray()), "feature", features), nil
}
