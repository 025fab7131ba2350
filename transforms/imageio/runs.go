package imageio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/parquet"
)

// Run is a range [Begin, End) of rows of a Parquet file with the same value in a column.
type Run struct {
	Value      string
	Begin, End int64
}

// Runs lists the runs of equal values in a column of a Parquet file, as text, in order; nothing if it has no such column. A
// missing value is empty. It reads that column alone.
func Runs(ctx context.Context, path, column string) (runs []Run, err error) {
	r, err := openParquet(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if !slices.ContainsFunc(r.Leaves(), func(l parquet.Leaf) bool { return l.Path == column && !l.InList }) {
		return nil, nil
	}
	row := int64(0)
	for rec, err := range r.Records(0, r.NumRows(), parquetBatch, column) {
		if err != nil {
			return nil, fmt.Errorf("read %s: column %s: %w", path, column, err)
		}
		values := rec.Column(0)
		for i := range values.Len() {
			value := ""
			if values.IsValid(i) {
				value = values.ValueStr(i)
			}
			if len(runs) == 0 || runs[len(runs)-1].Value != value {
				runs = append(runs, Run{Value: strings.Clone(value), Begin: row})
			}
			row++
			runs[len(runs)-1].End = row
		}
	}
	return runs, nil
}
