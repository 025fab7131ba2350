package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/google/uuid"
)

// writeLocal writes a hidden file in the same folder, syncs it to disk and renames it.
func writeLocal(path string, write func(io.Writer) error) error {
	dir, name := filepath.Split(path)
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	hidden := dir + "." + name + "." + uuid.NewString()
	f, err := os.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(hidden) // a no-op after the rename
	defer f.Close()         // in case write panics
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}

// writeRemote buffers the content first: object stores publish a file when its writer is closed, even if the content is
// incomplete.
func writeRemote(ctx context.Context, path string, write func(io.Writer) error) error {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return err
	}
	fsys, err := filesystem.New(ctx, path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // aborts a failed upload
	return errors.Join(filesystem.Write(ctx, fsys, path, content.Bytes()), fsys.Close())
}
