// Package finetune is the stage that trains classifiers: a net that pre-training finished gets a linear classifier, and
// both are trained on a task's labeled training images. Part of these are held out, to choose the best epoch and to stop
// early; test images are only looked at when the model is finished.
//
// Training is SGD with momentum and a cosine schedule, with rates that decay from the classifier down to the stem
// (layer-wise learning-rate decay, as in BEiT, arXiv 2106.08254), label smoothing, and optionally mixup (arXiv 1710.09412).
// It computes on the CPU. The same images, model and configuration give bitwise the same weights on the same machine, also
// if the training was interrupted and continued from its checkpoint.
package finetune

import (
	"context"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Config says how to train.
type Config struct {
	// Epochs is the number of passes over the images to train on, before which training may stop early.
	Epochs int
	// Batch is the number of images per step, all of them if there are fewer.
	Batch int
	// LR is the peak learning rate of the classifier. That of each block of the backbone is LayerDecay times that of the
	// block above it, down to the stem.
	LR, LayerDecay float64
	// Momentum is that of SGD. WeightDecay is added to the gradient of weights, but not of biases and BatchNorm.
	Momentum, WeightDecay float64
	// Smoothing is the label smoothing, from 0, for none, to 1.
	Smoothing float64
	// Mixup is the parameter of the Beta distribution of mixup's weights; 0 means that no images are mixed.
	Mixup float64
	// Scale is the least area of a random crop, as a fraction of the image's.
	Scale float64
	// Flip is the probability of a horizontal flip.
	Flip float64
	// HeldOut is the fraction of the training images, of every class, that is held out. With 0, the last epoch's weights
	// are taken.
	HeldOut float64
	// Patience is the number of epochs without a better result on the held-out images after which training stops.
	Patience int
	// Seed determines all random numbers.
	Seed uint64
}

// Default suits from a few hundred images on.
var Default = Config{
	Epochs: 50, Batch: 64, LR: 0.1, LayerDecay: 0.8, Momentum: 0.9, WeightDecay: 5e-4, Smoothing: 0.1,
	Scale: 0.25, Flip: 0.5, HeldOut: 0.1, Patience: 20, Seed: 1,
}

// Validate returns an error for the first field that is out of range.
func (c Config) Validate() error {
	within := func(name string, v, low, high float64) error {
		if !(low <= v && v <= high) {
			return fmt.Errorf("%s %v: want %v to %v", name, v, low, high)
		}
		return nil
	}
	if c.Epochs < 1 || c.Batch < 1 || c.Patience < 1 {
		return fmt.Errorf("epochs %d, batch %d, patience %d: want at least 1 of each", c.Epochs, c.Batch, c.Patience)
	}
	if !(c.LR > 0) {
		return fmt.Errorf("lr %v: want a learning rate above 0", c.LR)
	}
	for _, err := range []error{
		within("layer-decay", c.LayerDecay, 0, 1), within("momentum", c.Momentum, 0, 1), within("weight-decay", c.WeightDecay, 0, 1),
		within("label-smoothing", c.Smoothing, 0, 1), within("mixup", c.Mixup, 0, 100), within("crop-scale", c.Scale, 0.01, 1),
		within("flip", c.Flip, 0, 1), within("held-out", c.HeldOut, 0, 0.9),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Result is the schema of Finetune's output: a net that was trained for a task.
type Result struct {
	Task   string `arrow:"task" json:"task"`
	Metric string `arrow:"metric" json:"metric"`
	// Subnet is the name of the net that the training began with; empty if it is not known.
	Subnet string `arrow:"subnet" json:"subnet"`
	// Classes is the number of classes, and Images that of the images trained on.
	Classes int64 `arrow:"classes" json:"classes"`
	Images  int64 `arrow:"images" json:"images"`
	// Epochs is the number of epochs that were trained, and Epoch the one whose weights were taken.
	Epochs int64 `arrow:"epochs" json:"epochs"`
	Epoch  int64 `arrow:"epoch" json:"epoch"`
	// Validation is the metric on the ValidationImages that were held out, in percent, and Test that on the TestImages of
	// the task's test split. Both are only meaningful if there are such images.
	Validation       float64 `arrow:"validation" json:"validation"`
	ValidationImages int64   `arrow:"validation_images" json:"validation_images"`
	Test             float64 `arrow:"test" json:"test"`
	TestImages       int64   `arrow:"test_images" json:"test_images"`
	// Model is the path of the model file.
	Model string `arrow:"model" json:"model"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[finetuneFn]())
}

// Output says where the models go.
type Output struct {
	// Dir is the folder for the model and its files; with PerTask, each task gets a subfolder.
	Dir     string
	PerTask bool
	// Start describes the nets that the trainings begin with, as far as it is known and the same for all tasks. What the
	// router chose for a task is in its route.Pair.
	Start route.Card
	// Inputs identifies the nets, images and settings: what another attempt with the same Inputs left in the folder is
	// continued.
	Inputs string
}

// Finetune trains every pair of a net and a task. It writes model.safetensors, the backbone and classifier; model.json, its
// Card; and metrics.jsonl, a line per epoch.
//
// in: *record.Batch of route.Pair, of which no two are for the same task. out: *record.Batch of Result, one row per batch.
func Finetune(s beam.Scope, pairs beam.PCollection, cfg Config, out Output) beam.PCollection {
	s = s.Scope("finetune.Finetune")
	return compute.ParDo(s, &finetuneFn{cfg, out}, pairs)
}

type finetuneFn struct {
	Config Config
	Output Output
}

func (fn *finetuneFn) ProcessElement(ctx context.Context, b *record.Batch, emit func(*record.Batch)) error {
	pairs, err := record.Rows[route.Pair](b)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		result, err := fn.finetune(ctx, p)
		if err != nil {
			return fmt.Errorf("finetune: task %s: %w", p.Task, err)
		}
		emit(record.Of([]Result{*result}))
	}
	return nil
}
