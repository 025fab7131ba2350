package arrowio

import (
	"context"

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
