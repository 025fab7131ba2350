package arrowio

import (
	"context"
	"fmt"

	"github.com/sdr-ml/sdr/transforms/files"
)

// get returns the whole content of path, mapped into memory where the system
// can; release gives it back, after which data must not be touched.
func get(ctx context.Context, path string) (data []byte, release func() error, err error) {
	if files.IsLocal(path) {
		return mapFile(path)
	}
	data, err = files.Read(ctx, path)
	return data, func() error { return nil }, err
}

// list returns the *.arrow files of a folder in name order.
func list(ctx context.Context, dir string) ([]string, error) {
	paths, err := files.List(ctx, files.Join(files.Quote(dir), "*.arrow"))
	if err != nil {
		return nil, fmt.Errorf("arrowio: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("arrowio: no *.arrow file in %s; check the path, and that what writes the folder has run", dir)
	}
	return paths, nil
}
