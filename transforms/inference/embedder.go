package inference

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// Batch is the maximum number of images per forward pass.
const Batch = 256

// batchPixels limits the pixels of a forward pass, since the activations of large images need much memory.
const batchPixels = Batch * 64 * 64

// Embedder computes features on the caller's thread pool. It is not safe for concurrent use.
type Embedder struct {
	size   int // height and width of an image
	input  Input
	pool   *kernels.Pool
	net    *nn.Net
	batch  int       // images per forward pass
	images []float32 // [batch, Size, Size, 3]
}

// NewEmbedder returns an embedder for the model's backbone. The model must not be modified while it is in use.
func NewEmbedder(m *Model, pool *kernels.Pool) *Embedder {
	size, batch := m.Input.Size, passImages(m.Input.Size)
	e := &Embedder{
		size: size, pool: pool, net: nn.New(m.Backbone, nn.Heads{}, size, batch, 1, pool, nn.Inference),
		batch: batch, images: make([]float32, batch*size*size*3),
	}
	e.use(m)
	return e
}

// passImages returns the number of images per forward pass. It must not depend on how many images there are, since
// another batch size may select other algorithms, which round differently.
func passImages(size int) int { return min(Batch, max(1, batchPixels/(size*size))) }

// use replaces the model and reports whether the new one fits the buffers.
func (e *Embedder) use(m *Model) bool {
	if e.net.Backbone != m.Backbone || e.size != m.Input.Size {
		return false
	}
	backbone := m.WithoutHeads()
	e.input, e.net.Params, e.net.Stats = m.Input, backbone.Params, backbone.Stats
	return true
}

// Dim returns the number of features per image.
func (e *Embedder) Dim() int { return e.net.Backbone.FeatureDim() }

// Embed returns the features of n images, at least one, as a matrix of shape (n, Dim) on the pool's engine: the
// globally pooled output of the last residual stage, with running BatchNorm statistics. at returns image i as [Size,
// Size, 3] bytes of red, green and blue; it is called from several goroutines. The features of an image do not depend
// on the other images, down to the last bit.
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

// fill normalizes images from to from+rows into the batch. The rest of the batch keeps its old content, which does not
// affect the features of other images.
func (e *Embedder) fill(from, rows int, at func(i int) []uint8) {
	view := len(e.images) / e.batch
	e.pool.For(rows, func(_, i int) {
		augment.Normalize(e.images[i*view:(i+1)*view], at(from+i), e.input.Mean, e.input.Std)
	})
}

// embedders keeps the embedder that was used last until the garbage collector frees it. Its buffers fit every model of
// the same shape.
var embedders sync.Pool

// Features returns the features of n images as [Embedder.Embed] does. All DoFns compute features with it: on the shared
// thread pool (see compute.Run; do not call Features from inside Run), with shared buffers, counted by Beam metrics. It
// is safe for concurrent use. A panic in the network is returned as an error.
func Features(ctx context.Context, m *Model, n int, at func(i int) []uint8) (features *tensor.Dense, err error) {
	err = compute.Run(func(pool *kernels.Pool) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("inference: panic: %v", p)
			}
		}()
		e, _ := embedders.Get().(*Embedder)
		if e == nil || !e.use(m) {
			e = NewEmbedder(m, pool)
		}
		start := time.Now()
		features = e.Embed(n, at)
		latency.Update(ctx, time.Since(start).Microseconds())
		embedders.Put(e)
		return nil
	})
	if err == nil {
		inferences.Inc(ctx, int64(n))
		requestSize.Update(ctx, int64(n))
	}
	return features, err
}
