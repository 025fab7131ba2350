// Package features is the stage that computes the features of every image with the net that phase 0 trained; partition
// clusters them.
package features

import (
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is the schema of Extract's output: the features of one image.
type Row struct {
	// Shard is the name of the image's shard file, without its folder, so that results do not depend on where the run
	// folder is; Row is the image's index in that file.
	Shard string `arrow:"shard"`
	Row   int64  `arrow:"row"`
	// Feature has the backbone's feature dimension.
	Feature []float32 `arrow:"feature"`
}

// place is a Row without its features.
type place struct {
	Shard string `arrow:"shard"`
	Row   int64  `arrow:"row"`
}

// batchRows is the maximum number of rows per emitted batch.
const batchRows = 1024

func init() {
	beam.RegisterDoFn(reflect.TypeFor[modelFn]())
	beam.RegisterDoFn(reflect.TypeFor[extractFn]())
}

// Extract computes the features of every image with the model named subnet.
//
// in: *record.Batch of shards.Ref, and *record.Batch of train.Model as a side input. out: *record.Batch of Row.
func Extract(s beam.Scope, refs, models beam.PCollection, subnet string) beam.PCollection {
	s = s.Scope("features.Extract")
	work := beam.ParDo(s, &modelFn{Subnet: subnet}, refs, beam.SideInput{Input: models})
	return compute.ParDo(s, &extractFn{}, work)
}

// modelFn pairs every batch of references with the path of the model.
type modelFn struct{ Subnet string }

func (fn *modelFn) ProcessElement(refs *record.Batch, models func(**record.Batch) bool) (string, *record.Batch, error) {
	found, err := record.All[train.Model](models)
	if err != nil {
		return "", nil, err
	}
	for _, m := range found {
		if m.Subnet == fn.Subnet {
			return m.Path, refs, nil
		}
	}
	return "", nil, fmt.Errorf("features: there is no model %q", fn.Subnet)
}

type extractFn struct{}

func (*extractFn) ProcessElement(ctx context.Context, model string, refs *record.Batch, emit func(*record.Batch)) error {
	rows, err := record.Rows[shards.Ref](refs)
	if err != nil {
		return err
	}
	return extract(ctx, model, rows, emit)
}

// extract computes the features of the images of refs, batchRows at a time.
func extract(ctx context.Context, file string, refs []shards.Ref, emit func(*record.Batch)) error {
	model, err := inference.Open(ctx, file)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if err := extractShard(ctx, model, ref, emit); err != nil {
			return err
		}
	}
	return nil
}

func extractShard(ctx context.Context, model *inference.Model, ref shards.Ref, emit func(*record.Batch)) (err error) {
	images, err := shards.Open(ctx, []shards.Ref{ref})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	bar := progress.Start("features", "images", 0, ref.Rows)
	defer bar.End()
	for from := 0; from < images.Len(); from += batchRows {
		n := min(batchRows, images.Len()-from)
		features, err := inference.Features(ctx, model, n, func(i int) []uint8 { return images.At(from + i) })
		if err != nil {
			return err
		}
		column, err := record.FromDense("feature", features)
		if err != nil {
			return err
		}
		places := make([]place, n)
		for i := range places {
			places[i] = place{Shard: path.Base(ref.Path), Row: int64(from + i)}
		}
		emit(record.With(record.Of(places), "feature", column))
		bar.Add(int64(n))
	}
	return nil
}
