package evaluate

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// fineTuned trains every net with a classifier on the training images. The statistics of a net's BatchNorm are soon those
// of its training, so it is trained only once for all norms.
var fineTuned = Protocol{
	Name: "finetune", Scorer: route.KNN, OneClass: true,
	Summary: fmt.Sprintf("fine-tuning as by sdr finetune, for at most %d epochs; slow: trains every net on every task", fineTuning().Epochs),
	train: func(s beam.Scope, pairs beam.PCollection) beam.PCollection {
		return compute.ParDo(s, &fineTuneFn{fineTuning()}, beam.ParDo(s, &apartFn{}, pairs))
	},
}

// fineTuning is the default schedule of fine-tuning, shortened.
func fineTuning() finetune.Config {
	cfg := finetune.Default
	cfg.Epochs, cfg.Patience = 20, 10
	return cfg
}

// apartFn emits a batch for each net of a task, of all its norms.
type apartFn struct{}

func (*apartFn) ProcessElement(in *record.Batch, emit func(*record.Batch)) error {
	pairs, err := record.Rows[route.Pair](in)
	if err != nil {
		return err
	}
	nets := map[string][]route.Pair{}
	for _, p := range pairs {
		if p.Metric == tasks.MeanAP { // a classifier is of images with one class
			continue
		}
		nets[p.Model] = append(nets[p.Model], p)
	}
	for _, of := range nets {
		emit(record.Of(of))
	}
	return nil
}

// fineTuneFn trains and measures a net.
type fineTuneFn struct{ Config finetune.Config }

func (fn *fineTuneFn) ProcessElement(ctx context.Context, in *record.Batch, emit func(*record.Batch)) error {
	pairs, err := record.Rows[route.Pair](in)
	if err != nil {
		return err
	}
	labels, predicted, err := finetune.Classify(ctx, pairs[0], fn.Config)
	if err != nil {
		return fmt.Errorf("evaluate: task %s: fine-tuning of %s: %w", pairs[0].Task, pairs[0].Subnet, err)
	}
	for _, p := range pairs {
		emit(record.Of([]Row{newRow("finetune", p, labels, predicted)}))
	}
	return nil
}
