// Package features is the stage that describes every image by the features of
// the net that phase 0 trained, for partition to cluster.
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
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is a row of what Extract emits.
type Row struct {
	// Shard is the name of the file that holds the image, without its folder, so
	// that what is computed from rows does not depend on where a run lies; and
	// Row is the image's number there.
	Shard string `arrow:"shard"`
	Row   int64  `arrow:"row"`
	// Feature is its description, of the backbone's feature dimension.
	Feature []float32 `arrow:"feature"`
}

// batchRows bounds the rows of an emitted batch.
const batchRows = 1024

func init() {
	beam.RegisterDoFn(reflect.TypeFor[modelFn]())
	beam.RegisterDoFn(reflect.TypeFor[extractFn]())
}

// Extract computes the features of every image under the model of a name.
//
// in: *record.Batch of shards.Ref and, as a side input, of train.Model. out:
// *record.Batch of Row.
func Extract(s beam.Scope, refs, models beam.PCollection, subnet string) beam.PCollection {
	s = s.Scope("features.Extract")
	work := beam.ParDo(s, &modelFn{Subnet: subnet}, refs, beam.SideInput{Input: models})
	return compute.ParDo(s, &extractFn{}, work)
}

// modelFn gives every batch of references the path of the model.
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

func extract(ctx context.Context, modelPath string, refs []shards.Ref, emit func(*record.Batch)) (err error) {
	model, err := inference.Load(ctx, modelPath)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		images, err := shards.Open(ctx, []shards.Ref{ref})
		if err != nil {
			return err
		}
		err = compute.Run(func(pool *kernels.Pool) error {
			bar := progress.Start("features", "images", 0, ref.Rows)
			defer bar.End()
			e := inference.NewEmbedder(model, pool)
			for from := 0; from < images.Len(); from += batchRows {
				n := min(batchRows, images.Len()-from)
				features := e.Embed(n, func(i int) []uint8 { return images.At(from + i) }).Data().([]float32)
				out := make([]Row, n)
				for i := range out {
					out[i] = Row{Shard: path.Base(ref.Path), Row: int64(from + i), Feature: features[i*e.Dim() : (i+1)*e.Dim()]}
				}
				emit(record.Of(out))
				bar.Add(int64(n))
			}
			return nil
		})
		if err := errors.Join(err, images.Close()); err != nil {
			return err
		}
	}
	return nil
}
