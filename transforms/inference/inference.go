// Package inference computes the features of images under a trained model, in
// batches.
package inference

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Batch is the most images of a forward pass.
const Batch = 256

// batchPixels bounds a forward pass of large images, whose activations would
// need too much memory.
const batchPixels = Batch * 64 * 64

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

// Embedder computes features. It is for one goroutine.
type Embedder struct {
	input  Input
	pool   *kernels.Pool
	net    *nn.Net
	batch  int       // images of a forward pass
	images []float32 // [batch, Size, Size, 3]
}

// NewEmbedder makes the buffers to run a model's backbone. The model must not
// change while it is in use.
func NewEmbedder(m *Model, pool *kernels.Pool) *Embedder {
	size := m.Input.Size
	batch := min(Batch, max(1, batchPixels/(size*size)))
	net := nn.New(m.Backbone, nn.Heads{}, size, batch, 1, pool, nn.Inference)
	backbone := m.WithoutHeads()
	net.Params, net.Stats = backbone.Params, backbone.Stats
	return &Embedder{input: m.Input, pool: pool, net: net, batch: batch, images: make([]float32, batch*size*size*3)}
}

// Dim returns the number of features of an image.
func (e *Embedder) Dim() int { return e.net.Backbone.FeatureDim() }

// Embed returns the features of n images, at least one, as a matrix of shape
// (n, Dim) on the pool's engine: the globally pooled output of the last residual stage, with running BatchNorm statistics.
// at gives image i as [Size,Size,3] bytes of red, green and blue; it is called
// from several goroutines. The features of an image do not depend on the
// others, to the bit.
func (e *Embedder) Embed(n int, at func(i int) []uint8) *tensor.Dense {
	features := make([]float32, 0, n*e.Dim())
	for from := 0; from < n; from += e.batch {
		rows := min(e.batch, n-from)
		e.fill(from, rows, at)
		e.net.Forward(e.images, nn.RunningStats)
		features = append(features, e.net.Features[:rows*e.Dim()]...)
	}
	return dense.NewEngine(e.pool).Matrix(features, n, e.Dim())
}

// fill prepares images from..from+rows. What is left of the batch keeps what it
// held, which changes no other image's features.
func (e *Embedder) fill(from, rows int, at func(i int) []uint8) {
	view := len(e.images) / e.batch
	e.pool.For(rows, func(_, i int) {
		augment.Normalize(e.images[i*view:(i+1)*view], at(from+i), e.input.Mean, e.input.Std)
	})
}
