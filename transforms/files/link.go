package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Link makes to the same file as from, by a hard link, or a copy of it where links do not work. It replaces what was
// there. Since files are only ever replaced, not changed, one does not change with the other.
func Link(ctx context.Context, from, to string) error {
	if IsLocal(from) && IsLocal(to) {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if Same(from, to) {
			return nil
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if os.Link(from, to) == nil {
			return nil
		}
	}
	data, release, err := Map(ctx, from)
	if err != nil {
		return err
	}
	err = Write(ctx, to, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return errors.Join(err, release())
}

// Same reports whether two paths are those of one file, which exists.
func Same(a, b string) bool {
	if !IsLocal(a) || !IsLocal(b) {
		return a == b
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
