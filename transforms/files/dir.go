package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Entry is what a folder has directly in it.
type Entry struct {
	// Name is its name there, and Folder says whether it is a folder, or a link to one.
	Name   string
	Folder bool
}

// depth is how far down a folder's files are looked for on filesystems that have no folders of their own.
const depth = 6

// Below lists all files below a folder of an object store, as List does: down to a depth of six or, on gs://, which has a
// glob for it, to any.
func Below(ctx context.Context, dir string) (all []string, err error) {
	pattern := Quote(strings.TrimSuffix(dir, "/"))
	if strings.HasPrefix(dir, "gs://") {
		return List(ctx, pattern+"/**")
	}
	for range depth {
		pattern += "/*"
		found, err := List(ctx, pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// ReadDir lists a folder, sorted by name. On an object store, a folder is what is in the paths of files; if there are
// none, the error wraps fs.ErrNotExist.
func ReadDir(ctx context.Context, dir string) (entries []Entry, err error) {
	if IsLocal(dir) {
		found, err := os.ReadDir(dir)
		for _, e := range found {
			folder := e.IsDir() || e.Type()&fs.ModeSymlink != 0 && IsFolder(ctx, Join(dir, e.Name()))
			entries = append(entries, Entry{e.Name(), folder})
		}
		return entries, err
	}
	found, err := Below(ctx, dir)
	if err != nil {
		return nil, err
	}
	folders := map[string]bool{} // by name
	for _, path := range found {
		name, _, folder := strings.Cut(strings.TrimPrefix(path, strings.TrimSuffix(dir, "/")+"/"), "/")
		if name != "" {
			folders[name] = folders[name] || folder
		}
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("folder %s: %w", dir, fs.ErrNotExist)
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		entries = append(entries, Entry{name, folders[name]})
	}
	return entries, nil
}

// IsFolder reports whether a path is that of a folder.
func IsFolder(ctx context.Context, path string) bool {
	if IsLocal(path) {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}
	_, err := ReadDir(ctx, path)
	return err == nil
}

// RemoveAll deletes a folder with all that is below it.
func RemoveAll(ctx context.Context, dir string) error {
	if IsLocal(dir) {
		return os.RemoveAll(dir)
	}
	found, err := Below(ctx, dir)
	for _, file := range found {
		if err == nil {
			err = Remove(ctx, file)
		}
	}
	return err
}

// CheckWritable makes a local folder if there is none, and returns an error if no file can be created in it. Of other
// filesystems it knows nothing.
func CheckWritable(dir string) error {
	if !IsLocal(dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".sdr-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
