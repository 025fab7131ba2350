package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Card is the content of model.json: it describes a model with a classifier.
type Card struct {
	Result
	// ClassNames are the names of the classes, in the order of the classifier's outputs.
	ClassNames []string `json:"class_names"`
	// Backbone is the model's architecture, and Input says how it expects images to be prepared.
	Backbone nn.Backbone     `json:"backbone"`
	Input    inference.Input `json:"input"`
	// Features is the number of features per image.
	Features int `json:"features"`
	// Config is how it was trained, and Inputs identifies everything that determines it.
	Config Config `json:"config"`
	Inputs string `json:"inputs"`
}

// Files of the output folder.
const (
	modelFile      = "model.safetensors"
	cardFile       = "model.json"
	metricsFile    = "metrics.jsonl"
	checkpointFile = "checkpoint.safetensors"
)

// Files lists those that Finetune leaves in a task's folder.
var Files = []string{modelFile, cardFile, metricsFile, checkpointFile}

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
	t, err := Train(ctx, p, fn.Config, fn.Output.Inputs, checkpoint)
	if err != nil {
		return nil, err
	}
	r := &t.Result
	r.Model = files.Join(dir, modelFile)
	if err := t.write(ctx, dir, fn.Config, fn.Output.Inputs); err != nil {
		return nil, err
	}
	err = files.Remove(ctx, checkpoint)
	if errors.Is(err, fs.ErrNotExist) { // the training was shorter than the time between checkpoints
		err = nil
	}
	return r, err
}

// done returns the result of an earlier attempt that has finished; nil if there is none.
func (fn *finetuneFn) done(ctx context.Context, dir string) (*Result, error) {
	text, err := files.Read(ctx, files.Join(dir, cardFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var card Card
	if err != nil || json.Unmarshal(text, &card) != nil || card.Inputs != fn.Output.Inputs {
		return nil, err
	}
	if _, err := inference.Load(ctx, files.Join(dir, modelFile)); err != nil {
		return nil, nil // lost or damaged since
	}
	return &card.Result, nil
}

// Trained is a net that was trained for a task.
type Trained struct {
	// Result describes it; its Model is empty.
	Result Result
	Net    *inference.Model
	Epochs []Epoch
	// Predicted are the classes predicted for the test images, whose true ones are Labels.
	Predicted, Labels []int64
}

// Train trains a net for a task and measures it. It goes on from the checkpoint at a path if that is of the same inputs;
// with an empty path there are none.
func Train(ctx context.Context, p route.Pair, cfg Config, inputs, checkpoint string) (*Trained, error) {
	m, err := p.Open(ctx)
	if err != nil {
		return nil, err
	}
	images, err := labeled.Images(ctx, p.Train, m.Input.Size, nil)
	if err != nil {
		return nil, err
	}
	var t *trainer
	err = compute.Run(func(pool *kernels.Pool) error {
		if err := inference.Release(); err != nil {
			return err
		}
		t = newTrainer(m, images, p.Metric, cfg, inputs, pool)
		return t.run(ctx, checkpoint)
	})
	if err != nil {
		return nil, err
	}
	made := &Trained{Net: t.model(), Epochs: t.History, Result: Result{
		Task: p.Task, Metric: p.Metric, Subnet: p.Subnet, Classes: int64(len(images.Classes)), Images: int64(len(t.train)),
		Epochs: int64(len(t.History)), Epoch: int64(t.Best), ValidationImages: int64(len(t.held)),
	}}
	r := &made.Result
	if r.ValidationImages > 0 {
		if r.Validation, _, _, err = made.measure(ctx, images, t.held); err != nil {
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
	r.Test, made.Predicted, made.Labels, err = made.measure(ctx, test, rows)
	return made, err
}

// measure returns the metric of the net on some of the images, in percent, as Predict would find it.
func (t *Trained) measure(ctx context.Context, images *tasks.Images, rows []int32) (value float64, predicted, labels []int64, err error) {
	features, err := inference.Features(ctx, t.Net, len(rows), func(i int) []uint8 { return images.At(int(rows[i])) })
	if err != nil {
		return 0, nil, nil, err
	}
	var p *tensor.Dense
	err = compute.Run(func(*kernels.Pool) (err error) {
		p, err = t.Net.Classifier.Probabilities(features)
		return err
	})
	if err != nil {
		return 0, nil, nil, err
	}
	predicted, labels = inference.Top(p.Data().([]float32), len(t.Net.Classifier.Classes)), make([]int64, len(rows))
	for i, row := range rows {
		labels[i] = images.Labels[row]
	}
	return tasks.Percent(t.Result.Metric, predicted, labels), predicted, labels, nil
}

// write writes the net and what describes it.
func (t *Trained) write(ctx context.Context, dir string, cfg Config, inputs string) error {
	if err := inference.Save(ctx, files.Join(dir, modelFile), &t.Net.Model); err != nil {
		return err
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, e := range t.Epochs {
		if err := encoder.Encode(e); err != nil {
			return err
		}
	}
	if err := files.WriteBytes(ctx, files.Join(dir, metricsFile), lines.Bytes()); err != nil {
		return err
	}
	text, err := json.MarshalIndent(Card{
		Result: t.Result, ClassNames: t.Net.Classifier.Classes, Backbone: t.Net.Backbone, Input: t.Net.Input,
		Features: t.Net.Backbone.FeatureDim(), Config: cfg, Inputs: inputs,
	}, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(dir, cardFile), append(text, '\n'))
}
