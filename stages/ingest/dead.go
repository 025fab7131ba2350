package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Dead is a row of the dead-letter file: one image that cannot be read.
type Dead struct {
	// Path is the image's file, the file that holds it, or archive!member.
	Path string `arrow:"path"`
	// Row is the image's number in a Parquet or IDX file, else 0.
	Row int64 `arrow:"row"`
	// Reason is the decoder's error.
	Reason string `arrow:"reason"`
}

// WriteDead writes a dead-letter file, a Parquet file of the rows.
func WriteDead(ctx context.Context, path string, rows []Dead) error {
	return arrowio.SaveParquet(ctx, path, record.Of(rows).Record)
}

// ReadDead reads a dead-letter file. A file that does not exist has no rows.
func ReadDead(ctx context.Context, path string) ([]Dead, error) {
	recs, err := arrowio.LoadParquet(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []Dead
	for _, rec := range recs {
		rows, err := record.Rows[Dead](record.New(rec))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, rows...)
	}
	return all, nil
}

// check is the error of too many bad images of a total, nil if there are few.
func (fn *checkFn) check(total int64, bad []Dead) error {
	n := int64(len(bad))
	if n == 0 || n < total && float64(n) <= fn.MaxBad*float64(total) {
		return nil
	}
	var first []string
	for _, d := range bad[:min(n, 3)] {
		first = append(first, fmt.Sprintf("%s, row %d: %s", d.Path, d.Row, d.Reason))
	}
	return fmt.Errorf("%d of %d images cannot be read, more than the share of %g that --max-bad allows; the first: %s; all of them: %s; mend or remove them, or raise --max-bad",
		n, total, fn.MaxBad, strings.Join(first, "; "), fn.DeadLetter)
}
