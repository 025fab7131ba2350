package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Card is the content of model.json: it describes a model with a classifier.
type Card struct {
	// Format is that of the file; see run.CheckFormat.
	Format int `json:"format"`
	Result
	// ClassNames are the names of the classes, in the order of the classifier's outputs.
	ClassNames []string `json:"class_names"`
	// Backbone is the model's architecture, and Input says how it expects images to be prepared.
	Backbone nn.Backbone     `json:"backbone"`
	Input    inference.Input `json:"input"`
	// Features is the number of features per image.
	Features int `json:"features"`
	// Start describes the net that the training began with, as far as that is known.
	Start route.Card `json:"start,omitzero"`
	// Config is how it was trained, and Inputs identifies everything that determines it.
	Config Config `json:"config"`
	Inputs string `json:"inputs"`
}

// The files of the output folder.
const (
	modelFile      = "model.safetensors"
	cardFile       = "model.json"
	checkpointFile = "checkpoint.safetensors"
)

// Files lists those that Finetune leaves in a task's folder, and an event file, which the next training replaces.
var Files = []string{modelFile, cardFile, curves.EpochsFile, checkpointFile}

// finetune trains a net for a task, unless that is done, and writes the files of the output folder. The card comes last.
func (fn *finetuneFn) finetune(ctx context.Context, p route.Pair) (*Result, error) {
	dir := fn.Output.Dir
	if fn.Output.PerTask {
		dir = files.Join(dir, p.Task)
	}
	if done, err := fn.done(ctx, dir); done != nil || err != nil {
		return done, err
	}
	checkpoint := files.Join(dir, checkpointFile)
	t, err := fn.train(ctx, p, checkpoint)
	if err != nil {
		return nil, err
	}
	t.result.Model = files.Join(dir, modelFile)
	if err := fn.write(ctx, dir, t); err != nil {
		return nil, err
	}
	return &t.result, files.Discard(ctx, checkpoint) // a short training has none
}

// done returns the result of an earlier attempt that has finished; nil if there is none.
func (fn *finetuneFn) done(ctx context.Context, dir string) (*Result, error) {
	path := files.Join(dir, cardFile)
	text, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var card Card
	if err != nil || json.Unmarshal(text, &card) != nil {
		return nil, err
	}
	if err := run.CheckFormat(card.Format); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if card.Inputs != fn.Output.Inputs {
		return nil, nil
	}
	card.Model = files.Join(dir, modelFile) // the folder may have been moved
	if _, err := inference.Load(ctx, card.Model); err != nil {
		return nil, nil // lost or damaged since
	}
	return &card.Result, nil
}

// trained is a net that was trained for a task.
type trained struct {
	net    *inference.Model
	start  route.Card
	result Result
}

// CheckMetric returns an error if a metric is not of images with one class each, which a classifier is for.
func CheckMetric(metric string) error {
	if metric == tasks.MeanAP {
		return fmt.Errorf("fine-tuning makes a classifier of images with one class each, but the metric is %s; such tasks can be routed, customized and evaluated", metric)
	}
	return nil
}

// train trains a net for a task and measures it. It goes on from the checkpoint at a path if that is of the same inputs; without
// a path, there are none.
func (fn *finetuneFn) train(ctx context.Context, p route.Pair, checkpoint string) (*trained, error) {
	m, err := p.Open(ctx)
	if err != nil {
		return nil, err
	}
	images, err := labeled.Images(ctx, p.Train, m.Input.Size, nil)
	if err != nil {
		return nil, err
	}
	if err := CheckMetric(p.Metric); err != nil {
		return nil, fmt.Errorf("task %s: %w", p.Task, err)
	}
	var t *trainer
	err = compute.Run(func(pool *kernels.Pool) error {
		if err := inference.Release(); err != nil {
			return err
		}
		t = newTrainer(m, images, p.Metric, fn.Config, fn.Output.Inputs, pool)
		return t.run(ctx, checkpoint)
	})
	if err != nil {
		return nil, err
	}
	made := &trained{net: t.model(), start: fn.start(p, m), result: Result{
		Task: p.Task, Metric: p.Metric, Subnet: p.Subnet, Classes: int64(len(images.Classes)), Images: int64(len(t.train)),
		Epochs: int64(len(t.History)), Epoch: int64(t.Best), ValidationImages: int64(len(t.held)),
	}}
	r := &made.result
	if r.ValidationImages > 0 {
		if r.Validation, err = made.measure(ctx, images, t.held); err != nil {
			return nil, err
		}
	}
	if p.Test == "" {
		return made, nil
	}
	test, err := labeled.Images(ctx, p.Test, m.Input.Size, images.Classes)
	if err != nil {
		return nil, err
	}
	rows := make([]int32, test.Len())
	for i := range rows {
		rows[i] = int32(i)
	}
	r.TestImages = int64(len(rows))
	r.Test, err = made.measure(ctx, test, rows)
	return made, err
}

// start describes the net that a training begins with.
func (fn *finetuneFn) start(p route.Pair, m *inference.Model) route.Card {
	card := fn.Output.Start
	card.Format, card.Backbone, card.Input, card.Features = run.Format, m.Backbone, m.Input, m.Backbone.FeatureDim()
	if p.Scorer != "" {
		card.Task, card.Subnet, card.Subset, card.Norm = p.Task, p.Subnet, route.Subset(p.Subnet, p.Level), p.Norm
		card.Scorer, card.Score = p.Scorer, p.Score
	}
	return card
}

// measure returns the metric of the net on some of the images, in percent, as Predict would find it.
func (t *trained) measure(ctx context.Context, images *tasks.Images, rows []int32) (percent float64, err error) {
	predicted, err := t.predict(ctx, len(rows), func(i int) []uint8 { return images.At(int(rows[i])) })
	if err != nil {
		return 0, err
	}
	labels := make([]int64, len(rows))
	for i, row := range rows {
		labels[i] = images.Labels[row]
	}
	return tasks.Percent(t.result.Metric, predicted, labels), nil
}

// predict returns the most probable classes of n images.
func (t *trained) predict(ctx context.Context, n int, at func(i int) []uint8) ([]int64, error) {
	features, err := inference.Features(ctx, t.net, n, at)
	if err != nil {
		return nil, err
	}
	var p *tensor.Dense
	err = compute.Run(func(*kernels.Pool) (err error) {
		p, err = t.net.Classifier.Probabilities(features)
		return err
	})
	if err != nil {
		return nil, err
	}
	return metrics.Top(p.Data().([]float32), len(t.net.Classifier.Classes)), nil
}

// Classify trains a net for a task as Finetune does, but leaves no files. It returns the true and the predicted classes of
// the test images.
func Classify(ctx context.Context, p route.Pair, cfg Config) (labels, predicted []int64, err error) {
	of := p
	of.Test = "" // is only looked at below
	t, err := (&finetuneFn{Config: cfg}).train(ctx, of, "")
	if err != nil {
		return nil, nil, err
	}
	test, err := labeled.Images(ctx, p.Test, t.net.Input.Size, t.net.Classifier.Classes)
	if err != nil {
		return nil, nil, err
	}
	predicted, err = t.predict(ctx, test.Len(), test.At)
	return test.Labels, predicted, err
}

// write writes the net and what describes it.
func (fn *finetuneFn) write(ctx context.Context, dir string, t *trained) error {
	if err := inference.Save(ctx, t.result.Model, &t.net.Model); err != nil {
		return err
	}
	text, err := json.MarshalIndent(Card{
		Format: run.Format, Result: t.result, ClassNames: t.net.Classifier.Classes, Backbone: t.net.Backbone, Input: t.net.Input,
		Features: t.net.Backbone.FeatureDim(), Start: t.start, Config: fn.Config, Inputs: fn.Output.Inputs,
	}, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(dir, cardFile), append(text, '\n'))
}
