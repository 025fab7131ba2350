package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
)

// maxSize is more than any model's Input.Size: larger ones are damage.
const maxSize = 1 << 13

// Input is how a model wants its images.
type Input struct {
	// Size is their height and width in pixels.
	Size int `json:"size"`
	// Mean is subtracted from red, green and blue, scaled to 0..1.
	Mean [3]float32 `json:"mean"`
	// Std is the divisor after Mean is subtracted.
	Std [3]float32 `json:"std"`
}

// inputKey is where a model file's metadata keep its Input.
const inputKey = "input"

// Validate reports an input that no image can be brought to.
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

// Metadata returns what a model file says of its input.
func (in Input) Metadata() (key, value string) {
	data, err := json.Marshal(in)
	if err != nil {
		panic(err) // finite numbers only
	}
	return inputKey, string(data)
}

// Model is a trained net and what it wants to see.
type Model struct {
	nn.Model
	// Input is how its images are prepared.
	Input Input
}

// Load reads a model file as nn.SaveModel writes it, with its Input.
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
		return nil, fmt.Errorf("model %s: its metadata %q, how images are prepared, is %q: %w", path, inputKey, m.Meta[inputKey], err)
	}
	if err := m.Input.Validate(); err != nil {
		return nil, fmt.Errorf("model %s: its metadata %q: %w", path, inputKey, err)
	}
	return m, nil
}

// models are those that were used last, without their heads, up to half a GiB.
var models = compute.NewCache[*Model](512 << 20)

// Open is [Load] for the DoFns of this process, which share one copy of a model's
// backbone; its heads are left out. The model must not be changed. A file that
// was written anew since is read again.
func Open(ctx context.Context, path string) (*Model, error) {
	return models.Get(files.Identity(ctx, path), func() (*Model, int, error) {
		start := time.Now()
		m, err := Load(ctx, path)
		if err != nil {
			return nil, 0, err
		}
		m.Model = *m.WithoutHeads()
		m.Params, m.Stats = slices.Clone(m.Params), slices.Clone(m.Stats) // the heads' memory goes
		loadLatency.Update(ctx, time.Since(start).Milliseconds())
		return m, 4 * (len(m.Params) + len(m.Stats)), nil
	})
}
