package files

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
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

// ReadDir lists a folder, sorted by name. On an object store, a folder is what is in the paths of files; if there are
// none, the error wraps fs.ErrNotExist.
func ReadDir(ctx context.Context, dir string) (entries []Entry, err error) {
	if IsLocal(dir) {
		found, err := os.ReadDir(dir)
		for _, e := range found {
			entries = append(entries, Entry{e.Name(), IsFolder(ctx, Join(dir, e.Name()))})
		}
		return entries, err
	}
	dir = strings.TrimSuffix(dir, "/") + "/"
	pattern := Quote(dir)
	for range depth {
		pattern += "*"
		found, err := List(ctx, pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			name, _, folder := strings.Cut(strings.TrimPrefix(path, dir), "/")
			if name != "" {
				entries = append(entries, Entry{name, folder})
			}
		}
		pattern += "/"
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("folder %s: %w", dir, fs.ErrNotExist)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), boolean(b.Folder)-boolean(a.Folder))
	})
	return slices.CompactFunc(entries, func(a, b Entry) bool { return a.Name == b.Name }), nil
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
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
