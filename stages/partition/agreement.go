package partition

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Agreement returns the adjusted mutual information of the subsets and the data sets that the images come from: 1 if
// each subset is a data set, 0 if they have nothing to do with each other. An image's data set is the file or archive
// that holds it or, if that holds no other, its folder. No training reads these names.
func Agreement(ctx context.Context, refs []shards.Ref) (float64, error) {
	sources := counts{}
	err := each(ctx, refs, func(im shards.Source, subset string) { sources.add(im.Source, subset, 1) })
	if err != nil {
		return 0, err
	}
	sets := counts{}
	for source, of := range sources {
		var images int64
		for _, n := range of {
			images += n
		}
		if archive, _, ok := strings.Cut(source, "!"); ok {
			source = archive
		} else if images == 1 {
			source = path.Dir(source)
		}
		for subset, n := range of {
			sets.add(source, subset, n)
		}
	}
	return sets.agreement(), nil
}

// LabelAgreement returns the adjusted mutual information of the subsets and the labels of the images that have one, and
// the number of these.
func LabelAgreement(ctx context.Context, refs []shards.Ref, labels map[shards.Source]string) (ami float64, images int64, err error) {
	classes := counts{}
	err = each(ctx, refs, func(im shards.Source, subset string) {
		if label, ok := labels[im]; ok {
			classes.add(label, subset, 1)
			images++
		}
	})
	return classes.agreement(), images, err
}

// counts are numbers of images by class and subset.
type counts map[string]map[string]int64

func (c counts) add(class, subset string, n int64) {
	of := c[class]
	if of == nil {
		of = map[string]int64{}
		c[class] = of
	}
	of[subset] += n
}

// agreement returns the adjusted mutual information of classes and subsets.
func (c counts) agreement() float64 {
	subsets := map[string]int{}
	for _, of := range c {
		for subset := range of {
			if _, known := subsets[subset]; !known {
				subsets[subset] = len(subsets)
			}
		}
	}
	var table [][]int64
	for _, of := range c {
		row := make([]int64, len(subsets))
		for subset, n := range of {
			row[subsets[subset]] = n
		}
		table = append(table, row)
	}
	return metrics.AdjustedMutualInfo(table)
}

// each calls yield with every image of shards and its subset.
func each(ctx context.Context, refs []shards.Ref, yield func(im shards.Source, subset string)) error {
	byShard := map[string][]shards.Ref{}
	for _, ref := range refs {
		byShard[ref.Path] = append(byShard[ref.Path], ref)
	}
	for shard, refs := range byShard {
		if err := eachOf(ctx, shard, refs, yield); err != nil {
			return err
		}
	}
	return nil
}

func eachOf(ctx context.Context, shard string, refs []shards.Ref, yield func(im shards.Source, subset string)) (err error) {
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
		rows, err := record.Rows[shards.Source](record.New(rec))
		if err != nil {
			return err
		}
		for _, im := range rows {
			yield(im, ref.Subset)
		}
	}
	return nil
}
