package imageio

import (
	"context"
	"iter"
	"math"
	"path/filepath"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Files iterates over the files that [Plan] finds images and labels in: image files, collections, the labels next to
// IDX files, the metadata files in folders, and the image files that a list names. Files that cannot be listed are left out;
// Plan reports them.
func Files(ctx context.Context, paths []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, path := range paths {
			if !eachFile(ctx, path, yield) {
				return
			}
		}
	}
}

// Reads reports whether [Survey] finds images or labels in a file, which exists, if it is given some paths. It finds none in a
// table without images, unless that is one of the paths.
func Reads(ctx context.Context, paths []string, columns Columns, file string) bool {
	for _, path := range paths {
		for name := range Files(ctx, []string{path}) {
			if !files.Same(name, file) {
				continue
			}
			p := planner{ctx: ctx, maxRows: math.MaxInt64, columns: columns, sources: make([]Source, 1)}
			if name == path || isMetadata(name) || p.addFile(name, true) != nil || len(p.splits)+len(p.faults) > 0 {
				return true
			}
		}
	}
	return false
}

// Overlaps iterates over the paths that are the same as another one, or inside it, each with that one: what both have is read
// twice. Links in local paths are followed.
func Overlaps(paths []string) iter.Seq2[string, string] {
	real := make([]string, len(paths))
	first := map[string]int{} // index of each of these
	for i, path := range paths {
		real[i] = path
		if absolute, err := filepath.Abs(path); files.IsLocal(path) && err == nil {
			if target, err := filepath.EvalSymlinks(absolute); err == nil {
				absolute = target
			}
			real[i] = filepath.ToSlash(absolute)
		}
		real[i] = strings.TrimSuffix(real[i], "/")
		if _, known := first[real[i]]; !known {
			first[real[i]] = i
		}
	}
	return func(yield func(string, string) bool) {
		for i, path := range real {
			at := first[path]
			twice := at < i
			for end := strings.LastIndexByte(path, '/'); end >= 0 && !twice; end = strings.LastIndexByte(path[:end], '/') {
				at, twice = first[path[:end]]
				twice = twice && !ignored(path[end+1:])
			}
			if twice && !yield(paths[i], paths[at]) {
				return
			}
		}
	}
}

// eachFile calls yield with the files of a path until it returns false.
func eachFile(ctx context.Context, path string, yield func(string) bool) bool {
	p := planner{ctx: ctx}
	file, err := p.isFile(path)
	if err != nil {
		return true
	}
	if file {
		return eachPart(ctx, path, yield)
	}
	for name, err := range walk(ctx, path, "") {
		more := true
		switch k := kindOf(name); {
		case err != nil:
		case k != nil && !k.direct:
			more = eachPart(ctx, join(path, name), yield)
		case isMetadata(name):
			more = yield(join(path, name))
		}
		if !more {
			return false
		}
	}
	return true
}

// eachPart calls yield with a file and those that belong to it until it returns false.
func eachPart(ctx context.Context, file string, yield func(string) bool) bool {
	k := kindOf(file)
	if k == nil {
		return true
	}
	if !yield(file) {
		return false
	}
	if k.parts == nil {
		return true
	}
	for part := range k.parts(ctx, file) {
		if !yield(part) {
			return false
		}
	}
	return true
}

// existing yields those of some names that are files.
func existing(ctx context.Context, names ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range names {
			if ok, err := files.Exists(ctx, name); err == nil && ok && !yield(name) {
				return
			}
		}
	}
}
