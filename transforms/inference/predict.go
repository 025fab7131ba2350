package inference

import (
	"context"
	"fmt"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[predictFn]()) }

// Predict classifies the images of in by a model that has a [Classifier]. It is [Embed] with other columns instead of the
// features:
//
//   - predicted (int64), the index of the most probable class, and predicted_class (string), its name;
//   - probabilities (fixed_size_list<float32>) of all classes, in the order of Classifier.Classes.
//
// Config.Column is not used. A model without a classifier fails the pipeline.
func Predict(s beam.Scope, in beam.PCollection, cfg Config) (predictions, dead beam.PCollection) {
	s = s.Scope("inference.Predict")
	cfg.Column = ""
	features, dead := Embed(s, in, cfg)
	return beam.ParDo(s, &predictFn{Model: cfg.Model}, features), dead
}

// predictFn replaces features by predictions.
type predictFn struct{ Model string }

func (fn *predictFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	m, err := Open(ctx, fn.Model)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	out, err := predict(m, b)
	if err != nil {
		return nil, fmt.Errorf("inference: model %s: %w", fn.Model, err)
	}
	return out, nil
}

func predict(m *Model, b *record.Batch) (*record.Batch, error) {
	if m.Classifier == nil {
		return nil, ErrNoClassifier
	}
	if err := record.Reserve(b, "predicted", "predicted_class", "probabilities"); err != nil {
		return nil, err
	}
	features, err := record.Dense(b, "feature")
	if err != nil {
		return nil, err
	}
	var p *tensor.Dense
	err = compute.Run(func(*kernels.Pool) (err error) {
		p, err = m.Classifier.Probabilities(features)
		return err
	})
	if err != nil {
		return nil, err
	}
	predicted, names := array.NewInt64Builder(record.Mem), array.NewStringBuilder(record.Mem)
	classes := m.Classifier.Classes
	for _, c := range metrics.Top(p.Data().([]float32), len(classes)) {
		predicted.Append(c)
		names.Append(classes[c])
	}
	probabilities, err := record.FromDense("probabilities", p)
	if err != nil {
		return nil, err
	}
	out := record.With(record.Without(b, "feature"), "predicted", predicted.NewArray())
	return record.With(record.With(out, "predicted_class", names.NewArray()), "probabilities", probabilities), nil
}
