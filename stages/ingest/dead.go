package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// ReadDead reads a dead-letter file. A file that does not exist has no rows.
func ReadDead(ctx context.Context, path string) ([]imageio.Dead, error) {
	return arrowio.LoadRows[imageio.Dead](ctx, path)
}

// ErrTooManyBad is returned if there are more unreadable images than Config.MaxBad allows.
var ErrTooManyBad = fault.New("too-many-bad-images")

// ErrTooFew is returned if there are fewer different images than Config.Least.
var ErrTooFew = fault.New("too-few-images")

// check returns an error if too many of total images are unreadable, or too few different ones are left.
func (fn *checkFn) check(total int64, bad []imageio.Dead, read []tally) error {
	if err := CheckBad(bad, total, fn.MaxBad, fn.DeadLetter); err != nil {
		return err
	}
	return fn.checkFew(total-int64(len(bad)), read)
}

// CheckBad returns ErrTooManyBad if the dead letters, which are listed in a file, are of all of so many images or of more than
// a fraction of them.
func CheckBad(bad []imageio.Dead, total int64, maxBad float64, file string) error {
	n := int64(len(bad))
	if n == 0 || n < total && float64(n) <= maxBad*float64(total) {
		return nil
	}
	var first []string
	for _, d := range bad[:min(n, 3)] {
		first = append(first, fmt.Sprintf("%s, row %d: %s", d.Source, d.Row, d.Reason))
	}
	return fmt.Errorf("%d of %d images cannot be read, more than the allowed fraction of %g [%w]; the first: %s; all are listed in %s",
		n, total, maxBad, ErrTooManyBad, strings.Join(first, "; "), files.Text(file))
}

// checkFew returns an error if too few of some images are different.
func (fn *checkFn) checkFew(images int64, read []tally) error {
	different := map[[hashBytes]byte]bool{}
	for _, r := range read {
		for hash := range slices.Chunk(r.Hashes, hashBytes) {
			different[[hashBytes]byte(hash)] = true
		}
	}
	switch least := int64(fn.Least); {
	case images < least:
		return fmt.Errorf("%d images are fewer than a mini-batch of %d has [%w]", images, least, ErrTooFew)
	case len(different) < fn.Least:
		return fmt.Errorf("only %d of the %d images are different, fewer than a mini-batch of %d has [%w]", len(different), images, least, ErrTooFew)
	case images < least*int64(fn.Subsets):
		slog.Warn("there are few images: many of the subsets will have less than a mini-batch, so that their sub-nets see the same images again and again",
			"images", images, "subsets", fn.Subsets, "batch", least)
	}
	return nil
}
