package ingest

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/stages/run/fault"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// ReadDead reads a dead-letter file. A file that does not exist has no rows.
func ReadDead(ctx context.Context, path string) ([]imageio.Dead, error) {
	return arrowio.LoadRows[imageio.Dead](ctx, path)
}

// ErrTooManyBad is returned if there are more unreadable images than Config.MaxBad allows.
var ErrTooManyBad = fault.New("too-many-bad-images")

// ErrTooFew is returned if there are fewer images than Config.Least.
var ErrTooFew = fault.New("too-few-images")

// check returns an error if too many of total images are unreadable, or too few are left.
func (fn *checkFn) check(total int64, bad []imageio.Dead) error {
	n := int64(len(bad))
	if n == 0 || n < total && float64(n) <= fn.MaxBad*float64(total) {
		if left := total - n; left < int64(fn.Least) {
			return fmt.Errorf("%d images are fewer than a mini-batch of %d has [%w]", left, fn.Least, ErrTooFew)
		}
		return nil
	}
	var first []string
	for _, d := range bad[:min(n, 3)] {
		first = append(first, fmt.Sprintf("%s, row %d: %s", d.Source, d.Row, d.Reason))
	}
	return fmt.Errorf("%d of %d images cannot be read, more than the allowed fraction of %g [%w]; the first: %s; all are listed in %s",
		n, total, fn.MaxBad, ErrTooManyBad, strings.Join(first, "; "), fn.DeadLetter)
}
