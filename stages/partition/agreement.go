package partition

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// Agreement returns the adjusted mutual information of the subsets and the data sets that the images come from: 1 if
// each subset is a data set, 0 if they have nothing to do with each other. An image's data set is the file or archive
// that holds it or, if that holds no other, its folder. No training reads these names.
func Agreement(ctx context.Context, refs []shards.Ref) (float64, error) {
	counts := map[string]map[string]int64{} // by source and subset
	byShard := map[string][]shards.Ref{}
	for _, ref := range refs {
		byShard[ref.Path] = append(byShard[ref.Path], ref)
	}
	for shard, refs := range byShard {
		if err := countSources(ctx, shard, refs, counts); err != nil {
			return 0, err
		}
	}
	sets, subsets := map[string]map[string]int64{}, map[string]int{}
	for source, of := range counts {
		var images int64
		for subset, n := range of {
			images += n
			if _, known := subsets[subset]; !known {
				subsets[subset] = len(subsets)
			}
		}
		if archive, _, ok := strings.Cut(source, "!"); ok {
			source = archive
		} else if images == 1 {
			source = path.Dir(source)
		}
		if sets[source] == nil {
			sets[source] = map[string]int64{}
		}
		for subset, n := range of {
			sets[source][subset] += n
		}
	}
	var table [][]int64
	for _, of := range sets {
		row := make([]int64, len(subsets))
		for subset, n := range of {
			row[subsets[subset]] = n
		}
		table = append(table, row)
	}
	return metrics.AdjustedMutualInfo(table), nil
}

// countSources counts the images of a shard by source and subset.
func countSources(ctx context.Context, shard string, refs []shards.Ref, counts map[string]map[string]int64) (err error) {
	f, err := arrowio.OpenFile(ctx, shard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, ref := range refs {
		rec, err := f.Record(int(ref.Batch))
		if err != nil {
			return err
		}
		sources := rec.Column(0).(*array.String)
		for i := range sources.Len() {
			of := counts[sources.Value(i)]
			if of == nil {
				of = map[string]int64{}
				counts[strings.Clone(sources.Value(i))] = of // the file is unmapped
			}
			of[ref.Subset]++
		}
	}
	return nil
}
