// Package files reads, writes and lists whole files on any Beam filesystem. Writes are atomic: a file appears under its
// name only when it is complete. The scheme of a path selects the filesystem: paths without one are local, others
// (gs://, s3://, memfs://) need a filesystem that the program imports, as for Beam's own textio.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local" // for paths without a scheme
)

// IsLocal reports whether the path names a file on this machine.
func IsLocal(path string) bool { return !strings.Contains(path, "://") }

// Join appends path elements to a folder on any filesystem.
func Join(dir string, elem ...string) string {
	if IsLocal(dir) {
		return filepath.Join(append([]string{dir}, elem...)...)
	}
	if below := path.Join(elem...); below != "." {
		return strings.TrimSuffix(dir, "/") + "/" + below
	}
	return strings.TrimSuffix(dir, "/")
}

// Dir returns the folder of a file on any filesystem.
func Dir(file string) string {
	if IsLocal(file) {
		return filepath.Dir(file)
	}
	scheme, rest, _ := strings.Cut(file, "://")
	return scheme + "://" + path.Dir(rest)
}

// Text returns a path, or text with paths in it, as valid UTF-8, which Parquet files and the messages of Beam's runners
// have to be. Other bytes, which names on local filesystems may have, are written as in \xe9.
func Text(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	var b strings.Builder
	for len(path) > 0 {
		r, n := utf8.DecodeRuneInString(path)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, path[0])
		} else {
			b.WriteString(path[:n])
		}
		path = path[n:]
	}
	return b.String()
}

// Map returns the whole content of a file, which must not be modified. Local files are memory-mapped if the system
// supports it; others are read. Data must not be accessed after release.
func Map(ctx context.Context, path string) (data []byte, release func() error, err error) {
	if IsLocal(path) {
		return mapFile(path)
	}
	data, err = Read(ctx, path)
	return data, func() error { return nil }, err
}

// Read returns a file's content. If the file is missing, the error wraps fs.ErrNotExist.
func Read(ctx context.Context, path string) ([]byte, error) {
	if IsLocal(path) {
		return os.ReadFile(path)
	}
	if found, err := Exists(ctx, path); err != nil {
		return nil, err
	} else if !found {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	var data []byte
	err := on(ctx, "read", path, func(fsys filesystem.Interface) (err error) {
		data, err = filesystem.Read(ctx, fsys, path)
		return err
	})
	return data, err
}

// Exists reports whether there is a file of that name. A local folder counts as a file; other filesystems have no
// folders.
func Exists(ctx context.Context, path string) (bool, error) {
	if IsLocal(path) {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	var matches []string
	err := on(ctx, "look for", path, func(fsys filesystem.Interface) (err error) {
		matches, err = fsys.List(ctx, Quote(path))
		return err
	})
	return slices.Contains(matches, path), err
}

// List returns the files that match a glob, sorted by name. It omits hidden files, whose names begin with a dot,
// including files that are still being written. Use [Quote] for a folder whose name may contain *, ? or [.
func List(ctx context.Context, glob string) ([]string, error) {
	var matches []string
	err := on(ctx, "list", glob, func(fsys filesystem.Interface) (err error) {
		matches, err = fsys.List(ctx, glob)
		return err
	})
	matches = slices.DeleteFunc(matches, func(m string) bool {
		return strings.HasPrefix(m[strings.LastIndexByte(filepath.ToSlash(m), '/')+1:], ".")
	})
	slices.Sort(matches)
	return matches, err
}

// Quote returns a glob that matches only the given path. It escapes with character classes, which all filesystems
// support, unlike backslashes.
func Quote(path string) string {
	special := []string{"*", "[*]", "?", "[?]", "[", "[[]"}
	if filepath.Separator == '/' {
		special = append(special, `\`, `[\\]`)
	}
	return strings.NewReplacer(special...).Replace(path)
}

// Remove deletes a file. If there is no such file, the error wraps fs.ErrNotExist, unless the filesystem reports none.
func Remove(ctx context.Context, path string) error {
	err := on(ctx, "remove", path, func(fsys filesystem.Interface) error {
		if remover, ok := fsys.(filesystem.Remover); ok {
			return remover.Remove(ctx, path)
		}
		return fmt.Errorf("this filesystem cannot remove files: %w", errors.ErrUnsupported)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if found, no := Exists(ctx, path); no == nil && !found { // Beam's errors do not tell
			return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
		}
	}
	return err
}

// Discard deletes a file if there is one.
func Discard(ctx context.Context, path string) error {
	if err := Remove(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Modified returns the modification time of a file, or the zero time on filesystems that do not provide it.
func Modified(ctx context.Context, path string) (at time.Time, err error) {
	err = on(ctx, "look up", path, func(fsys filesystem.Interface) (err error) {
		if getter, ok := fsys.(filesystem.LastModifiedGetter); ok {
			at, err = getter.LastModified(ctx, path)
		}
		return err
	})
	return at, err
}

// Identity identifies a file and its content by path and modification time, since a file may be rewritten under the
// same name. If there is no modification time, because the path is missing or a folder on an object store, only the
// path counts.
func Identity(ctx context.Context, path string) string {
	at, _ := Modified(ctx, path)
	return fmt.Sprintf("%q %d", path, at.UnixNano())
}

// on calls use with the filesystem of a path and adds the verb and the path to an error.
func on(ctx context.Context, verb, path string, use func(filesystem.Interface) error) error {
	fsys, err := filesystem.New(ctx, path)
	if err == nil {
		err = errors.Join(use(fsys), fsys.Close())
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, path, err)
	}
	return nil
}

// Write writes a file atomically: readers see the old content, or none, and then all of the new. It creates the folder
// if needed. If write fails, nothing changes.
func Write(ctx context.Context, path string, write func(io.Writer) error) error {
	var err error
	if IsLocal(path) {
		err = writeLocal(path, write)
	} else {
		err = writeRemote(ctx, path, write)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteBytes is [Write] for content in memory.
func WriteBytes(ctx context.Context, path string, data []byte) error {
	return Write(ctx, path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
