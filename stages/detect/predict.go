package detect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Predict detects objects in the images of a split.
//
// in: *record.Batch of Detector. out: *record.Batch of Detection, one batch per detector that finds something, in the
// order of the images and the surest of each first; and *record.Batch of imageio.Dead, the images that are left out, once
// per detector.
func Predict(s beam.Scope, detectors beam.PCollection, data annotations.Config, limit Limit) (found, dead beam.PCollection) {
	s = s.Scope("detect.Predict")
	found, dead = beam.ParDo2(s, &predictFn{data, limit}, beam.Reshuffle(s, detectors))
	return beam.Reshuffle(s, found), beam.Reshuffle(s, dead) // see compute.ParDo
}

type predictFn struct {
	Data  annotations.Config
	Limit Limit
}

func (fn *predictFn) ProcessElement(ctx context.Context, b *record.Batch, emit, emitDead func(*record.Batch)) error {
	detectors, err := record.Rows[Detector](b)
	if err != nil {
		return err
	}
	set, err := annotations.Open(ctx, fn.Data)
	if err != nil {
		return err
	}
	for _, d := range detectors {
		found, dead, err := fn.predict(ctx, set, d)
		if err != nil {
			return errors.Join(fmt.Errorf("detect: %w", err), set.Close())
		}
		if len(dead) > 0 {
			emitDead(record.Of(dead))
		}
		if len(found) > 0 {
			emit(record.Of(found))
		}
	}
	return set.Close()
}

// predict detects objects in the images of a set.
func (fn *predictFn) predict(ctx context.Context, set *annotations.Set, d Detector) (rows []Detection, dead []imageio.Dead, err error) {
	card, err := ReadCard(ctx, d.Path)
	if err != nil {
		return nil, nil, err
	}
	pictures, dead, err := fn.Limit.load(ctx, set, card.Input.Size)
	if err != nil {
		return nil, nil, err
	}
	err = compute.Run(func(pool *kernels.Pool) error {
		f, err := newFinder(ctx, d.Path, pool)
		if err != nil {
			return err
		}
		bar := progress.Start(fmt.Sprintf("predict %s/%d", d.Net, d.Seed), "images", 0, int64(len(pictures)))
		defer bar.End()
		for part := range slices.Chunk(pictures, finderBatch) {
			if err := ctx.Err(); err != nil {
				return err
			}
			for i, objects := range f.find(part) {
				for _, o := range objects {
					rows = append(rows, Detection{
						Net: d.Net, Seed: d.Seed, Image: part[i].number, Source: set.Images[part[i].number].Source,
						Class: f.Classes[o.class], Score: o.score, Left: o.box[0], Top: o.box[1], Width: o.box[2], Height: o.box[3],
					})
				}
			}
			bar.Add(int64(len(part)))
		}
		return nil
	})
	return rows, dead, err
}
