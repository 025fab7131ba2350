package extend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterFunction(twice)
	beam.RegisterDoFn(reflect.TypeFor[sumFn]())
	beam.RegisterDoFn(reflect.TypeFor[distanceFn]())
	beam.RegisterDoFn(reflect.TypeFor[judgeFn]())
}

// unscaled is the column of whitened features that are not scaled to unit length.
const unscaled = "unscaled"

// Assign assigns each new image to the nearest leaf, and says whether it is far from it.
//
// The nearest is that with the nearest centroid, among features of unit length. Their length, though, is what tells
// images of another kind: so the distance is that of the whitened features before scaling from the mean of the leaf's old
// images, the Mahalanobis distance (arXiv 1807.03888).
//
// in: *record.Batch of features.Row, of old and new images. out: *record.Batch of Image, one batch per shard.
func Assign(s beam.Scope, features beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("extend.Assign")
	whole := partition.Whitening
	whole.Column, whole.Normalize = unscaled, false
	features = cfg.whiten(s, cfg.whiten(s, beam.ParDo(s, twice, features), whole), partition.Whitening)
	assigned := kmeans.Assign(s, features, cfg.leaves(s), kmeans.AssignConfig{Column: partition.Whitening.Column})
	sums := beam.ParDo(s, &sumFn{First: cfg.First}, assigned)
	measured := beam.ParDo(s, &distanceFn{}, assigned, beam.SideInput{Input: sums})
	return beam.ParDo(s, &judgeFn{Config: cfg}, beam.Impulse(s), beam.SideInput{Input: measured})
}

// twice copies the features to the column unscaled.
func twice(b *record.Batch) (*record.Batch, error) {
	at := b.Schema().FieldIndices(partition.Whitening.Column)
	if len(at) != 1 {
		return nil, fmt.Errorf("extend: there is no column %q of features", partition.Whitening.Column)
	}
	return record.With(b, unscaled, b.Column(at[0])), nil
}

// assignedRow is a row of kmeans.Assign's output.
type assignedRow struct {
	Shard    string    `arrow:"shard"`
	Row      int64     `arrow:"row"`
	Code     string    `arrow:"code"`
	Unscaled []float32 `arrow:"unscaled"`
}

// sum is the sum of the features of a leaf's old images in one batch, which begins with a row of a shard.
type sum struct {
	Shard  string    `arrow:"shard"`
	Row    int64     `arrow:"row"`
	Code   string    `arrow:"code"`
	Images int64     `arrow:"images"`
	Sum    []float32 `arrow:"sum"`
}

// sumFn sums up the features of the old images of each leaf.
type sumFn struct{ First int64 }

func (fn *sumFn) ProcessElement(b *record.Batch, emit func(*record.Batch)) error {
	rows, err := record.Rows[assignedRow](b)
	if err != nil {
		return err
	}
	sums := map[string]*sum{}
	for _, r := range rows {
		n, err := shards.Number(r.Shard)
		if err != nil {
			return fmt.Errorf("extend: %w", err)
		}
		if n >= fn.First {
			continue
		}
		of := sums[r.Code]
		if of == nil {
			of = &sum{Shard: r.Shard, Row: r.Row, Code: r.Code, Sum: make([]float32, len(r.Unscaled))}
			sums[r.Code] = of
		}
		of.Images++
		for i, v := range r.Unscaled {
			of.Sum[i] += v
		}
	}
	for _, of := range sums {
		emit(record.Of([]sum{*of}))
	}
	return nil
}

// distanceFn replaces the features by their distances from the means of the leaves' old images.
type distanceFn struct {
	means record.Side[map[string][]float32]
}

func (fn *distanceFn) ProcessElement(w beam.Window, b *record.Batch, sums func(**record.Batch) bool) (*record.Batch, error) {
	means, err := fn.means.Get(w, func() (map[string][]float32, error) {
		all, err := record.All[sum](sums)
		return means(all), err
	})
	if err != nil {
		return nil, err
	}
	rows, err := record.Rows[assignedRow](b)
	if err != nil {
		return nil, err
	}
	places := make([]place, len(rows))
	for i, r := range rows {
		mean := means[r.Code]
		if mean == nil { // balance gave the leaf images that are nearer to others
			mean = means[""]
		}
		if len(mean) != len(r.Unscaled) {
			return nil, errors.New("extend: there are no features of old images to compare new ones with")
		}
		places[i] = place{r.Shard, r.Row, r.Code, float32(math.Sqrt(vecs.SquareDistance(r.Unscaled, mean)))}
	}
	return record.Of(places), nil
}

// means returns the means of the leaves, and that of all under "".
func means(sums []sum) map[string][]float32 {
	slices.SortFunc(sums, func(a, b sum) int {
		return cmp.Or(strings.Compare(a.Shard, b.Shard), cmp.Compare(a.Row, b.Row), strings.Compare(a.Code, b.Code))
	})
	totals, images := map[string][]float64{}, map[string]int64{}
	for _, s := range sums {
		for _, code := range []string{s.Code, ""} {
			if totals[code] == nil {
				totals[code] = make([]float64, len(s.Sum))
			}
			images[code] += s.Images
			for i, v := range s.Sum {
				totals[code][i] += float64(v)
			}
		}
	}
	found := map[string][]float32{}
	for code, total := range totals {
		for _, v := range total {
			found[code] = append(found[code], float32(v/float64(images[code])))
		}
	}
	return found
}

// judgeFn takes the distances of the old images as the measure of those of the new ones.
type judgeFn struct{ Config Config }

func (fn *judgeFn) ProcessElement(ctx context.Context, _ []byte, assigned func(**record.Batch) bool, emit func(*record.Batch)) error {
	rows, err := record.All[place](assigned)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, place.compare)
	old := map[string][]float32{} // distances by leaf; of all leaves under ""
	fresh := map[string][]place{}
	for _, r := range rows {
		n, err := shards.Number(r.Shard)
		switch {
		case err != nil:
			return fmt.Errorf("extend: %w", err)
		case n >= fn.Config.First:
			fresh[r.Shard] = append(fresh[r.Shard], r)
		default:
			old[r.Code], old[""] = append(old[r.Code], r.Distance), append(old[""], r.Distance)
		}
	}
	if len(old) == 0 {
		return fmt.Errorf("extend: there are no features of old images to compare new ones with")
	}
	limits := map[string]float32{}
	for leaf, distances := range old {
		limits[leaf] = quantile(distances, fn.Config.Far)
	}
	for shard, list := range fresh {
		sources, err := shards.ReadSources(ctx, files.Join(fn.Config.Shards, shard))
		if err != nil {
			return fmt.Errorf("extend: shard %s: %w", shard, err)
		}
		var images []Image
		for _, r := range list {
			limit, ok := limits[r.Code]
			if !ok { // balance gave the leaf images that are nearer to others
				limit = limits[""]
			}
			images = append(images, Image{
				Source: sources[r.Row].Source, Row: sources[r.Row].Row, Shard: r.Shard, Place: r.Row,
				Code: r.Code, Distance: r.Distance, Limit: limit, Far: r.Distance > limit,
			})
		}
		emit(record.Of(images))
	}
	return nil
}
