package pipelines

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// data are the files with the images of a run or study, in the order in which they are read.
type data []files.Fingerprint

// readers is the number of files that are read at a time to take their fingerprints.
const readers = 8

// identify lists the files with images at some paths. known are their fingerprints of an earlier time, if any. Of single
// images on object stores, where each look takes a request, only the names count.
func identify(ctx context.Context, paths []string, known data) data {
	before := map[string]files.Fingerprint{}
	for _, f := range known {
		before[f.Path] = f
	}
	all := slices.Collect(imageio.Files(ctx, paths))
	found := make(data, len(all))
	var g errgroup.Group
	g.SetLimit(readers)
	for i, path := range all {
		name := files.Text(path)
		if _, collection := imageio.Stem(path); !collection && !files.IsLocal(path) {
			found[i] = files.Fingerprint{Path: name}
			continue
		}
		g.Go(func() error {
			found[i] = files.TakeFingerprint(ctx, path, before[name])
			return nil
		})
	}
	_ = g.Wait()
	return found
}

// warnTwice warns of data that are given twice.
func warnTwice(paths []string) {
	for path, in := range imageio.Overlaps(paths) {
		slog.Warn("data are given twice: what both have counts twice", "data", path, "is_in", in)
	}
}

// digest identifies the files and their content.
func (d data) digest() string {
	var all []string
	for _, f := range d {
		all = append(all, f.Path, f.Identity())
	}
	return run.Digest(all)
}

// changes says which files are not those that they were before; empty if all are.
func (d data) changes(before data) string {
	old := map[string]files.Fingerprint{}
	for _, f := range before {
		old[f.Path] = f
	}
	var all []string
	for _, f := range d {
		switch was, known := old[f.Path]; {
		case !known:
			all = append(all, f.Path+" is new")
		case !f.Same(was):
			all = append(all, f.Path+" has changed")
		}
		delete(old, f.Path)
	}
	for _, f := range before {
		if _, left := old[f.Path]; left {
			all = append(all, f.Path+" is gone")
		}
	}
	switch n := len(all); {
	case n == 0:
		return ""
	case n > 1:
		return fmt.Sprintf("%s (%d files differ)", all[0], n)
	}
	return all[0]
}

// saveData keeps the list of files in a folder, so that a later run in it can tell whether they have changed.
func saveData(ctx context.Context, folder *run.Folder, d data) error {
	return arrowio.SaveParquet(ctx, folder.DataPath(), record.Of(d).Record)
}

// loadData returns what saveData has kept in a folder; nothing if it has not.
func loadData(ctx context.Context, folder *run.Folder) (data, error) {
	kept, err := arrowio.LoadRows[files.Fingerprint](ctx, folder.DataPath())
	if err != nil {
		return nil, fmt.Errorf("%w; remove it to go on without a comparison of the images with those of the run", err)
	}
	return kept, nil
}

// compareData adds the files with images at some paths to those that are known, and says which are not those that saveData
// found; empty if all are, or if it has not looked.
func compareData(ctx context.Context, folder *run.Folder, known data, paths []string) (all data, changes string, err error) {
	before, err := loadData(ctx, folder)
	if err != nil {
		return nil, "", err
	}
	all = slices.Concat(known, identify(ctx, paths, before))
	if before != nil {
		changes = all.changes(before)
	}
	return all, changes, nil
}

// checkData is like compareData, and refuses to resume a run if its images are not those that it has read.
func checkData(ctx context.Context, dir string, known data, paths []string) (data, error) {
	folder := &run.Folder{Dir: dir}
	all, changes, err := compareData(ctx, folder, known, paths)
	if err != nil {
		return nil, err
	}
	ingested, err := folder.ReadManifest(ctx, "ingest")
	if ingested != nil && changes != "" {
		return nil, run.Usagef("%s %w: %s", dir, run.ErrOtherData, changes)
	}
	return all, err
}

// stamps identifies the images of tasks. What cannot be listed is reported where it is read.
func stamps(ctx context.Context, found []tasks.Task) (all []string) {
	for _, t := range found {
		for _, path := range []string{t.Train, t.Test} {
			paths, _ := tasks.Paths(ctx, path)
			all = append(all, identify(ctx, paths, nil).digest())
		}
	}
	return all
}
