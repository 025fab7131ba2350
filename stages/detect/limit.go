package detect

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Limit says what becomes of images that are broken, or whose annotation is: they are left out and listed, unless there are
// too many.
type Limit struct {
	// DeadLetter is the Parquet file that lists them, as rows imageio.Dead whose Index is the image's number in the split;
	// none is written if it is empty.
	DeadLetter string
	// MaxBad is the fraction of them, 0 to 1, above which the work fails with ingest.ErrTooManyBad.
	MaxBad float64
}

// brokenError is the error of an image that is to be left out.
type brokenError imageio.Dead

func (e *brokenError) Error() string { return e.Source + ": " + e.Reason }

// check lists what is left out of so many images, and returns an error if it is too much. Of the errors, those of broken
// images are dead letters, and the first other one is returned.
func (l Limit) check(ctx context.Context, images int, errs []error) (dead []imageio.Dead, err error) {
	for _, err := range errs {
		if b := (*brokenError)(nil); errors.As(err, &b) {
			dead = append(dead, imageio.Dead(*b))
		} else if err != nil {
			return nil, err
		}
	}
	switch {
	case l.DeadLetter == "":
	case len(dead) > 0:
		err = arrowio.SaveParquet(ctx, l.DeadLetter, record.Of(dead).Record)
	default: // those of another time
		err = files.Discard(ctx, l.DeadLetter)
	}
	if err == nil {
		err = ingest.CheckBad(dead, int64(images), l.MaxBad, l.DeadLetter)
	}
	return dead, err
}

// load decodes and scales the images of a set, without those that are left out.
func (l Limit) load(ctx context.Context, set *annotations.Set, size int) (pictures []picture, dead []imageio.Dead, err error) {
	all, errs := make([]picture, len(set.Images)), make([]error, len(set.Images))
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range set.Images {
		group.Go(func() error {
			if err := reading.Err(); err != nil {
				return err
			}
			if all[i], errs[i] = read(reading, set, i, size); errors.As(errs[i], new(*brokenError)) {
				return nil
			}
			return errs[i]
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	if dead, err = l.check(ctx, len(all), errs); err != nil {
		return nil, nil, err
	}
	for i, p := range all {
		if errs[i] == nil {
			pictures = append(pictures, p)
		}
	}
	return pictures, dead, nil
}
