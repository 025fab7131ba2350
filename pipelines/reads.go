package pipelines

import (
	"context"
	"slices"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// reads are the files that a job reads.
type reads struct {
	images  []string // files and folders of images
	columns imageio.Columns
	models  []string // model files
}

// spare refuses to replace a file that is read by one that is written.
func (r reads) spare(ctx context.Context, written ...string) error {
	for _, file := range written {
		exists, err := files.Exists(ctx, file)
		if err != nil {
			return err
		}
		if exists && (slices.ContainsFunc(r.models, func(m string) bool { return files.Same(m, file) }) || imageio.Reads(ctx, r.images, r.columns, file)) {
			return run.Usagef("%s is to be read and written; give another file to write", file)
		}
	}
	return nil
}

// spareTasks is spare for a job that reads models and tasks, which are in a folder or a file or match a pattern.
func spareTasks(ctx context.Context, path string, columns imageio.Columns, models []train.Model, written ...string) error {
	r := reads{columns: columns}
	for _, m := range models {
		r.models = append(r.models, m.Path)
	}
	var err error
	if r.images, err = tasks.Paths(ctx, path); err != nil {
		return err
	}
	return r.spare(ctx, written...)
}
