// Package embed computes the features of images under a model: Split for a
// task's images, which route and evaluate classify, and Images for any, which
// the embed job writes out. Route and evaluate want the same features, and many
// models see the same images, so Split keeps both for a while.
package embed

import (
	"context"
	"fmt"
	"log/slog"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Set is the features of one split of a task under one model.
type Set struct {
	// Features are of shape (len(Labels), features of an image).
	Features *tensor.Dense
	// Labels number the classes.
	Labels []int64
	// Classes are their names.
	Classes []string
}

// Split embeds the labelled images of one split of a task, at a path, under a
// model. classes are those of the training images, nil for these themselves;
// see tasks.Load. The Set is shared and must not be changed.
func Split(ctx context.Context, model, path string, classes []string) (*Set, error) {
	modelKey, pathKey := identify(ctx, model), identify(ctx, path)
	return features.get(fmt.Sprintf("%s %s %q", modelKey, pathKey, classes), func() (*Set, int, error) {
		m, err := inference.Load(ctx, model)
		if err != nil {
			return nil, 0, err
		}
		im, err := images.get(fmt.Sprintf("%s %d %q", pathKey, m.Input.Size, classes), func() (*tasks.Images, int, error) {
			return load(ctx, path, m.Input.Size, classes)
		})
		if err != nil {
			return nil, 0, err
		}
		set := &Set{Labels: im.Labels, Classes: im.Classes}
		err = compute.Run(func(pool *kernels.Pool) error {
			set.Features = inference.NewEmbedder(m, pool).Embed(im.Len(), im.At)
			return nil
		})
		return set, 4 * im.Len() * m.Backbone.FeatureDim(), err
	})
}

func load(ctx context.Context, path string, size int, classes []string) (*tasks.Images, int, error) {
	im, err := tasks.Load(ctx, path, size, classes)
	if err != nil {
		return nil, 0, err
	}
	if len(im.Bad) > 0 {
		slog.Warn("images of a task cannot be read and are left out", "path", path, "bad", len(im.Bad), "good", im.Len(), "first", im.Bad[0])
	}
	return im, len(im.Pixels), nil
}

// identify names a file and its content, by the time it last changed: models
// are trained anew under the same name. Where there is no such time, because
// the path is missing or a folder on an object store, the name has to do.
func identify(ctx context.Context, path string) string {
	at, _ := files.Modified(ctx, path)
	return fmt.Sprintf("%q %d", path, at.UnixNano())
}

// What is kept of all tasks and models.
var (
	features = cache[*Set]{limit: 128 << 20}
	images   = cache[*tasks.Images]{limit: 256 << 20}
)
