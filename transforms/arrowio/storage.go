package arrowio

import (
	"context"
	"fmt"

	"github.com/sdr-ml/sdr/transforms/files"
)

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
