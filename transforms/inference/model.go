package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
)

// maxSize exceeds the Input.Size of any model; a larger one means a corrupt file.
const maxSize = 1 << 13

// Input describes a model's input: the size and normalization of images.
type Input struct {
	// Size is the height and width in pixels.
	Size int `json:"size"`
	// Mean is subtracted from red, green and blue, scaled to 0..1.
	Mean [3]float32 `json:"mean"`
	// Std is the divisor after the subtraction of Mean.
	Std [3]float32 `json:"std"`
}

// inputKey is the metadata key of the Input in a model file.
const inputKey = "input"

// Validate returns an error if a field is out of range.
func (in Input) Validate() error {
	if in.Size < 1 || in.Size > maxSize {
		return fmt.Errorf("size is %d px; want 1 to %d", in.Size, maxSize)
	}
	for _, s := range in.Std {
		if !(s > 0) {
			return fmt.Errorf("std is %v; want numbers above 0", in.Std)
		}
	}
	return nil
}

// Metadata returns the metadata entry of a model file that stores the input.
func (in Input) Metadata() (key, value string) {
	data, err := json.Marshal(in)
	if err != nil {
		panic(err) // finite numbers only
	}
	return inputKey, string(data)
}

// Model is a trained network with its input description.
type Model struct {
	nn.Model
	// Input is the size and normalization of its images.
	Input Input
	// Classifier predicts classes from the features; nil if the model has none. Save takes it from the Model's parameters.
	Classifier *Classifier
}

// Load reads a model file that [Save] wrote with an [Input] in its metadata.
func Load(ctx context.Context, path string) (*Model, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	loaded, err := nn.LoadModel(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	m := &Model{Model: *loaded}
	if err := json.Unmarshal([]byte(m.Meta[inputKey]), &m.Input); err != nil {
		return nil, fmt.Errorf("model %s: its metadata %q, the size and normalization of images, is %q: %w", path, inputKey, m.Meta[inputKey], err)
	}
	if err := m.Input.Validate(); err != nil {
		return nil, fmt.Errorf("model %s: its metadata %q: %w", path, inputKey, err)
	}
	if m.Classifier, err = classifierOf(loaded); err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return m, nil
}

// Metadata reads the metadata of a model file, and checks that it is whole, without reading the weights.
func Metadata(ctx context.Context, path string) (_ map[string]string, err error) {
	data, release, err := files.Map(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	metadata, err := safetensors.Metadata(data)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return metadata, nil
}

// Save writes a model file; [Load] needs the [Input] in its metadata, see [Input.Metadata].
func Save(ctx context.Context, path string, m *nn.Model) error {
	return files.Write(ctx, path, func(w io.Writer) error {
		return nn.SaveModel(w, m.Backbone, m.Heads, m.Params, m.Stats, m.Meta)
	})
}

// models caches the models used last, without their heads, up to 512 MiB.
var models = compute.NewCache[*Model](512 << 20)

// Open is a cached [Load] for DoFns: the process shares one copy of the model's backbone and classifier, without heads. The
// model must not be modified. A file that has changed since is read again.
func Open(ctx context.Context, path string) (*Model, error) {
	return models.Get(files.Identity(ctx, path), func() (*Model, int, error) {
		start := time.Now()
		m, err := Load(ctx, path)
		if err != nil {
			return nil, 0, err
		}
		m.Model = *m.WithoutHeads()
		m.Params, m.Stats = slices.Clone(m.Params), slices.Clone(m.Stats) // frees the heads' memory
		m.Classifier = m.Classifier.clone()
		loadLatency.Update(ctx, time.Since(start).Milliseconds())
		return m, 4*(len(m.Params)+len(m.Stats)) + m.Classifier.bytes(), nil
	})
}
