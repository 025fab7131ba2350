package inference

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// Batch is the maximum number of images per forward pass.
const Batch = 256

// batchPixels limits the pixels of a forward pass, since the activations of large images need much memory.
const batchPixels = Batch * 64 * 64

// Embedder computes features on the caller's thread pool. It is not safe for concurrent use.
type Embedder struct {
	extractor ssl.Extractor
	pool      *kernels.Pool
	model     *Model
}

// NewEmbedder returns an embedder for the model's backbone. The model must not be modified while it is in use.
func NewEmbedder(m *Model, pool *kernels.Pool) *Embedder {
	x, err := ssl.OpenExtractor(ssl.Device{}, m.Backbone, nn.Heads{}, m.Input.Size, passImages(m.Input.Size), pool)
	if err != nil {
		panic(err) // the CPU has none
	}
	return &Embedder{x, pool, m}
}

// passImages returns the largest number of images per forward pass. It must not depend on how many images there are, since
// another batch size may select other algorithms, which round differently.
func passImages(size int) int { return min(Batch, max(1, batchPixels/(size*size))) }

// Dim returns the number of features per image.
func (e *Embedder) Dim() int { return e.model.Backbone.FeatureDim() }

// Embed returns the features of n images, at least one, as a matrix of shape (n, Dim) on the pool's engine: the
// globally pooled output of the last residual stage, with running BatchNorm statistics. at returns image i as [Size,
// Size, 3] bytes of red, green and blue; it is called from several goroutines. The features of an image do not depend
// on the other images, down to the last bit.
func (e *Embedder) Embed(n int, at func(i int) []uint8) *tensor.Dense {
	features, err := featuresEach(e.extractor, e.pool, []*Model{e.model}, n, at)
	if err != nil {
		panic(err) // the CPU has none
	}
	return features[0]
}

// fill normalizes images from to from+rows into an extractor's batch.
func fill(x ssl.Extractor, in Input, pool *kernels.Pool, from, rows int, at func(i int) []uint8) {
	images, pixels := x.Images(rows), in.Size*in.Size*3
	pool.For(rows, func(_, i int) {
		augment.Normalize(images[i*pixels:(i+1)*pixels], at(from+i), in.Mean, in.Std)
	})
}

// extractors are those that the thread pool's users had last, for one shape each, the latest at the end.
var extractors []opened

type opened struct {
	shape
	ssl.Extractor
}

type shape struct {
	backbone    nn.Backbone
	heads       nn.Heads
	size, batch int
	pool        *kernels.Pool
}

func (s shape) open(d ssl.Device) (ssl.Extractor, error) {
	return ssl.OpenExtractor(d, s.backbone, s.heads, s.size, s.batch, s.pool)
}

// Release frees what Features and Estimate keep for the next call: buffers, or memory of a GPU, that a training may need.
// The caller has the thread pool from compute.Run.
func Release() (err error) {
	for _, o := range extractors {
		err = errors.Join(err, o.Close())
	}
	extractors = nil
	return err
}

// withExtractor calls work with an extractor of a shape on the process's device (see compute.Device). The caller has the
// shape's thread pool. A panic in the network is returned as an error.
func withExtractor(s shape, work func(x ssl.Extractor) error) (err error) {
	const kept = 2 // of features, and of statistics
	var x ssl.Extractor
	if i := slices.IndexFunc(extractors, func(o opened) bool { return o.shape == s }); i >= 0 {
		x = extractors[i].Extractor
		extractors = slices.Delete(extractors, i, i+1)
	} else {
		if len(extractors) == kept {
			err := extractors[0].Close()
			extractors = slices.Delete(extractors, 0, 1)
			if err != nil {
				return err
			}
		}
		if x, err = s.open(compute.Device()); errors.Is(err, ssl.ErrOutOfMemory) {
			slog.Warn("too little GPU memory to compute features beside the training; the CPU computes them", "error", err)
			x, err = s.open(ssl.Device{})
		}
		if err != nil {
			return err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("inference: panic: %v", p)
		}
		if err != nil {
			err = errors.Join(err, x.Close())
			return
		}
		extractors = append(extractors, opened{s, x})
	}()
	return work(x)
}

// Features returns the features of n images as [Embedder.Embed] does. All DoFns compute features with it: on the shared
// thread pool and device (see package compute; do not call Features from inside Run), with shared buffers, counted by Beam
// metrics. It is safe for concurrent use. A panic in the network is returned as an error.
func Features(ctx context.Context, m *Model, n int, at func(i int) []uint8) (*tensor.Dense, error) {
	all, err := FeaturesEach(ctx, []*Model{m}, n, at)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// FeaturesEach returns the features of n images under several models of the same backbone and input. What consecutive
// models have in common, from the stem on, is computed once: the weights of a stage and its BatchNorm statistics must be
// equal.
func FeaturesEach(ctx context.Context, models []*Model, n int, at func(i int) []uint8) (features []*tensor.Dense, err error) {
	if err := sameShape(models); err != nil {
		return nil, err
	}
	err = compute.Run(func(pool *kernels.Pool) error {
		m := models[0]
		of := shape{m.Backbone, nn.Heads{}, m.Input.Size, passImages(m.Input.Size), pool}
		return withExtractor(of, func(x ssl.Extractor) (err error) {
			start := time.Now()
			features, err = featuresEach(x, pool, models, n, at)
			latency.Update(ctx, time.Since(start).Microseconds())
			return err
		})
	})
	if err == nil {
		inferences.Inc(ctx, int64(n*len(models)))
		requestSize.Update(ctx, int64(n))
	}
	return features, err
}

// featuresEach is FeaturesEach with an extractor.
func featuresEach(x ssl.Extractor, pool *kernels.Pool, models []*Model, n int, at func(i int) []uint8) ([]*tensor.Dense, error) {
	input, dim, batch := models[0].Input, models[0].Backbone.FeatureDim(), passImages(models[0].Input.Size)
	backbones, values, out := make([]*nn.Model, len(models)), make([][]float32, len(models)), make([]*tensor.Dense, len(models))
	for i, m := range models {
		backbones[i], values[i] = m.WithoutHeads(), make([]float32, 0, n*dim)
	}
	for from := 0; from < n; from += batch {
		rows := min(batch, n-from)
		fill(x, input, pool, from, rows, at)
		for i, b := range backbones {
			if err := x.Load(b.Params, b.Stats); err != nil {
				return nil, err
			}
			pass, err := x.Features()
			if err != nil {
				return nil, err
			}
			values[i] = append(values[i], pass[:rows*dim]...)
		}
	}
	for i, v := range values {
		out[i] = dense.NewEngine(pool).Matrix(v, n, dim)
	}
	return out, nil
}

// sameShape returns an error unless models can share an extractor.
func sameShape(models []*Model) error {
	for _, m := range models {
		if m.Backbone != models[0].Backbone || m.Heads != models[0].Heads || m.Input != models[0].Input {
			return errors.New("inference: the models differ in backbone, heads or input; compute the features of each by itself")
		}
	}
	return nil
}
